//! `GET /v1/collections` and `GET /v1/collections/{collection}`: definitions as they were put, with their version and what they wait for.

use crate::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use undercroft::definitions::Found;
use undercroft::http::{Admin, Conditional, HandlerResult, Path};
use undercroft::identity::Caller;

/// All definitions, by name.
pub async fn list(State(app): State<App>, admin: Admin) -> HandlerResult<axum::Json<Value>> {
    Ok(axum::Json(json!({ "items": app.operations.list(&Caller::User(admin.0)).await? })))
}

/// One definition.
pub async fn one(
    State(app): State<App>,
    admin: Admin,
    Path(name): Path<String>,
    Conditional(preconditions): Conditional,
) -> HandlerResult {
    let Found { etag, shown } = app.operations.read(&Caller::User(admin.0), &name, &preconditions).await?;
    Ok(match shown {
        Some(shown) => ([(ETAG, etag)], axum::Json(shown)).into_response(),
        None => (StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response(),
    })
}
