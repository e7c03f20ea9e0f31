//! `POST /v1/jobs/{id}/cancel` -> the cancelled job.

use crate::{App, answer};
use axum::Extension;
use axum::extract::State;
use undercroft::http::{Admin, HandlerResult, IdempotencyKey, Path, RequestId};
use undercroft::store::jobs::Step;

/// Cancels a queued or retrying job.
pub async fn cancel(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
) -> HandlerResult {
    answer::once(&app, admin, &idempotency_key, |scoped_key| {
        answer::step(&app, Step::Cancel, &id, &request.0, scoped_key)
    })
    .await
}
