//! `POST /v1/collections/{collection}/records` -> 201, `Location`, `ETag` and the record.

use crate::{App, response};
use axum::Extension;
use axum::extract::State;
use serde_json::{Map, Value};
use undercroft::http::{Bearer, HandlerResult, IdempotencyKey, Json, Path, RequestId};
use undercroft::preconditions::Preconditions;
use undercroft::records::{Operation, OperationKind};

/// Creates a record under an id chosen by the server.
pub async fn create(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path(collection): Path<String>,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    Json(body): Json<Map<String, Value>>,
) -> HandlerResult {
    let create = Operation { collection, kind: OperationKind::Create(body), preconditions: Preconditions::NONE };
    response::write(&app, &caller, &idempotency_key, &request.0, create).await
}
