//! `DELETE /v1/collections/{collection}/records/{id}` -> 204: the record is gone for everybody at once. And
//! `POST .../{id}/undelete` -> the record again, within the 30 days that its tombstone stays.

use crate::{App, intent, response};
use axum::Extension;
use axum::extract::State;
use undercroft::http::{Bearer, Conditional, HandlerResult, IdempotencyKey, Path, RequestId};

/// Deletes a record.
pub async fn delete(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path((name, id)): Path<(String, String)>,
    Conditional(preconditions): Conditional,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
) -> HandlerResult {
    let begun = intent::delete(&app, &caller, (&name, &id), preconditions);
    Ok(response::write(&app, &caller, &idempotency_key, &request.0, begun).await?)
}

/// Brings a deleted record back.
pub async fn undelete(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path((name, id)): Path<(String, String)>,
    Conditional(preconditions): Conditional,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
) -> HandlerResult {
    let begun = intent::undelete(&app, &caller, (&name, &id), preconditions);
    Ok(response::write(&app, &caller, &idempotency_key, &request.0, begun).await?)
}
