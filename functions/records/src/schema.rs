//! `GET /v1/collections/{collection}/schema` -> the JSON Schema (2020-12) of a record as the caller sees it, for code
//! generators.

use crate::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::IntoResponse;
use undercroft::http::{Bearer, Conditional, HandlerResult, Path};
use undercroft::records::PublishedSchema;

/// Publishes the schema.
pub async fn schema(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path(name): Path<String>,
    Conditional(preconditions): Conditional,
) -> HandlerResult {
    let PublishedSchema { etag, schema } = app.operations.published_schema(&caller, &name, &preconditions).await?;
    let Some(schema) = schema else { return Ok((StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response()) };
    let headers = [(ETAG, etag), (CONTENT_TYPE, "application/schema+json".to_owned())];
    Ok((headers, schema.to_string()).into_response())
}
