//! `POST /v1/jobs {type, payload, group?, delaySeconds?, maxAttempts?}` -> 202 and the job, with one write. The stream, the relay
//! and the queue deliver it to the worker.

use crate::{App, answer};
use axum::Extension;
use axum::extract::State;
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, HandlerResult, IdempotencyKey, Json, RequestId};
use undercroft::id;
use undercroft::jobs::JobRequest;
use undercroft::store::TransactionOutcome;
use undercroft::store::idempotency::{ScopedKey, StoredResponse};

/// Enqueues a job.
pub async fn enqueue(
    State(app): State<App>,
    admin: Admin,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    Json(body): Json<JobRequest>,
) -> HandlerResult {
    answer::once(&app, admin, &idempotency_key, |scoped_key| enqueued(&app, body, &request.0, scoped_key)).await
}

async fn enqueued(app: &App, body: JobRequest, request: &str, scoped_key: Option<ScopedKey>) -> Result<StoredResponse> {
    let job = body.into_job(&app.definitions, id::new(&app.clock), request).await?;
    let answer = StoredResponse { location: Some(format!("/v1/jobs/{}", job.id)), ..answer::shown(202, &job)? };
    match scoped_key {
        None => app.jobs.enqueue(&job).await?,
        Some(scoped_key) => {
            let enqueuing = vec![app.jobs.enqueuing(&job)?];
            if let TransactionOutcome::Cancelled(_) = scoped_key.together(&app.responses, enqueuing, &answer).await? {
                return Err(Error::conflict("exists", "A job with this id already exists."));
            }
        }
    }
    Ok(answer)
}
