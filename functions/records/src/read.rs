//! `GET /v1/collections/{collection}/records/{id}?expand=&consistent=` -> the record and its `ETag`. One round trip, half a
//! read unit, and one more trip for each level of `expand`.

use crate::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::IntoResponse;
use undercroft::http::{Bearer, Conditional, HandlerResult, Path, Query};
use undercroft::records::{Found, ReadRequest};

/// Reads a record.
pub async fn read(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path((name, id)): Path<(String, String)>,
    Query(request): Query<ReadRequest>,
    Conditional(preconditions): Conditional,
) -> HandlerResult {
    let Found { etag, shown } = app.operations.read(&caller, (&name, &id), &request, &preconditions).await?;
    Ok(match shown {
        Some(shown) => ([(ETAG, etag)], axum::Json(shown)).into_response(),
        None => (StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response(),
    })
}
