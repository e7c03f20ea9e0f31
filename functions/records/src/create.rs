//! `POST /v1/collections/{collection}/records` -> 201, `Location`, `ETag` and the record.

use crate::{App, intent, response};
use axum::Extension;
use axum::extract::State;
use serde_json::{Map, Value};
use undercroft::http::{Bearer, HandlerResult, IdempotencyKey, Json, Path, RequestId};

/// Creates a record with an id of the server's.
pub async fn create(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path(name): Path<String>,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    Json(body): Json<Map<String, Value>>,
) -> HandlerResult {
    Ok(response::write(&app, &caller, &idempotency_key, &request.0, intent::create(&app, &caller, &name, body)).await?)
}
