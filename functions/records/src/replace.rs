//! `PUT /v1/collections/{collection}/records/{id}`: replaces a record (`If-Match`) or creates one under an id chosen by the
//! client (`If-None-Match: *`). One of the two is required, because an unconditional replacement could lose another update.

use crate::{App, response};
use axum::Extension;
use axum::extract::State;
use serde_json::{Map, Value};
use undercroft::http::{Bearer, Conditional, HandlerResult, IdempotencyKey, Json, Path, RequestId};
use undercroft::records::{Operation, OperationKind};

/// Replaces or creates a record.
pub async fn replace(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path((collection, id)): Path<(String, String)>,
    Conditional(preconditions): Conditional,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    Json(body): Json<Map<String, Value>>,
) -> HandlerResult {
    let put = Operation { collection, kind: OperationKind::Put(id, body), preconditions };
    response::write(&app, &caller, &idempotency_key, &request.0, put).await
}
