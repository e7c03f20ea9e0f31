//! `POST /v1/collections/{collection}/records` -> 201, `Location`, `ETag` and the record.

use crate::{App, answer, intent};
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};
use undercroft::error::Result;
use undercroft::http::{Json, Keyed, Path, RequestId};
use undercroft::identity::Caller;

/// Creates a record with an id of the server's.
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    keyed: Keyed,
    Extension(request): Extension<RequestId>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response> {
    answer::write(&app, &caller, &keyed, &request.0, intent::create(&app, &caller, &name, body)).await
}
