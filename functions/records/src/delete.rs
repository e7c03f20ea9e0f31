//! `DELETE /v1/collections/{collection}/records/{id}` -> 204: the record is absent for everybody at once.
//! `POST .../{id}/undelete` -> the restored record, within the 30 days that its tombstone is kept.

use crate::{App, response};
use axum::Extension;
use axum::extract::State;
use undercroft::http::{Bearer, Conditional, HandlerResult, IdempotencyKey, Path, RequestId};
use undercroft::records::{Operation, OperationKind};

/// Deletes a record.
pub async fn delete(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path((collection, id)): Path<(String, String)>,
    Conditional(preconditions): Conditional,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
) -> HandlerResult {
    let delete = Operation { collection, kind: OperationKind::Delete(id), preconditions };
    response::write(&app, &caller, &idempotency_key, &request.0, delete).await
}

/// Restores a deleted record.
pub async fn undelete(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path((collection, id)): Path<(String, String)>,
    Conditional(preconditions): Conditional,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
) -> HandlerResult {
    let undelete = Operation { collection, kind: OperationKind::Undelete(id), preconditions };
    response::write(&app, &caller, &idempotency_key, &request.0, undelete).await
}
