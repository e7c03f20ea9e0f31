//! Answers about jobs, and changes of a single job. An answer stored for an idempotency key is the same.

use crate::App;
use axum::response::IntoResponse;
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, HandlerResult, IdempotencyKey, idempotent};
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::store::TransactionOutcome;
use undercroft::store::idempotency::{ScopedKey, StoredResponse};
use undercroft::store::jobs::{Job, Step, Stepped};

/// How often a job that changed between read and write is read again.
pub const TRIES: usize = 8;

/// The answer that contains a job.
pub fn shown(status: u16, job: &Job) -> Result<StoredResponse> {
    let body = serde_json::to_value(job).map_err(Error::internal)?;
    Ok(StoredResponse { status, body: Some(body), ..StoredResponse::default() })
}

/// A write by an admin, once for an idempotency key.
pub async fn once<F>(
    app: &App,
    admin: Admin,
    idempotency_key: &IdempotencyKey,
    work: impl FnOnce(Option<ScopedKey>) -> F,
) -> HandlerResult
where
    F: Future<Output = Result<StoredResponse>>,
{
    let scoped_key = idempotency_key.of(&Caller::User(admin.0))?;
    let work = work(scoped_key.clone());
    let answered = async { Ok(work.await?.into_response()) };
    Ok(idempotent(scoped_key.as_ref(), &app.responses, answered).await?)
}

/// Changes the status of a job in one write. With a key the job is read first, because the answer is stored with the write.
pub async fn step(
    app: &App,
    step: Step,
    id: &str,
    request: &str,
    scoped_key: Option<ScopedKey>,
) -> Result<StoredResponse> {
    let id = job_id(id)?;
    let Some(scoped_key) = scoped_key else { return shown(200, &app.jobs.step(step, id, request).await?) };
    for _ in 0..TRIES {
        let job = app.jobs.get(id).await?.ok_or(Error::NotFound("job"))?;
        let Stepped { item, job: after } = app.jobs.stepping(step, &job, request)?;
        let answer = shown(200, &after)?;
        let TransactionOutcome::Cancelled(reasons) = scoped_key.together(&app.responses, vec![item], &answer).await?
        else {
            return Ok(answer);
        };
        let old = reasons.into_iter().next().flatten().flatten();
        if let Some(error) = app.jobs.refused(step, &job, old.as_ref()) {
            return Err(error);
        }
    }
    Err(Error::Unavailable { retry_after: 1, source: Some("A job kept changing while it was read.".into()) })
}

/// The job id from the path. An invalid id answers 404.
pub fn job_id(text: &str) -> Result<&str> {
    if id::is_valid(text) { Ok(text) } else { Err(Error::NotFound("job")) }
}
