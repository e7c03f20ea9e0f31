//! The answers to what is asked of jobs, and steps of a single job: the same whether an answer is given now or kept for an
//! idempotency key.

use crate::App;
use axum::response::IntoResponse;
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, HandlerResult, IdempotencyKey, idempotent};
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::store::TransactionOutcome;
use undercroft::store::idempotency::{ScopedKey, StoredResponse};
use undercroft::store::jobs::{Job, Step, Stepped};

/// How often something that has changed between reading and writing is read again.
pub const TRIES: usize = 8;

/// The answer that shows a job.
pub fn shown(status: u16, job: &Job) -> Result<StoredResponse> {
    let body = serde_json::to_value(job).map_err(Error::internal)?;
    Ok(StoredResponse { status, body: Some(body), ..StoredResponse::default() })
}

/// What is done for an admin, once for a key.
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

/// Takes a job a step: one write; with a key the job is read first, because the answer is kept with the write.
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

/// A job's id from the path. What is no id names no job.
pub fn job_id(text: &str) -> Result<&str> {
    if id::is_valid(text) { Ok(text) } else { Err(Error::NotFound("job")) }
}
