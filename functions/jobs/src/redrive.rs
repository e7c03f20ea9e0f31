//! `POST /v1/jobs/{id}/redrive` and `POST /v1/jobs/redrive`: queue dead jobs again, with all their attempts.

use crate::{App, answer};
use axum::Extension;
use axum::extract::State;
use serde_json::json;
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, HandlerResult, IdempotencyKey, Path, RequestId};
use undercroft::store::TransactionOutcome;
use undercroft::store::idempotency::{ScopedKey, StoredResponse};
use undercroft::store::jobs::{Job, Step};

/// Maximum number of jobs that one call redrives.
const MOST: i32 = 100;
/// Maximum number of jobs that one call with a key redrives: one transaction of at most 4 MB has them and the answer.
const MOST_TOGETHER: i32 = 25;

/// Redrives one job.
pub async fn redrive(
    State(app): State<App>,
    admin: Admin,
    Path(id): Path<String>,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
) -> HandlerResult {
    answer::once(&app, admin, &idempotency_key, |scoped_key| {
        answer::step(&app, Step::Redrive, &id, &request.0, scoped_key)
    })
    .await
}

/// Redrives up to 100 dead jobs; `more` says whether to call again. With a key it redrives up to 25, in one transaction with the
/// answer; the next call needs another key.
pub async fn redrive_all(
    State(app): State<App>,
    admin: Admin,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
) -> HandlerResult {
    let request = request.0.as_str();
    answer::once(&app, admin, &idempotency_key, |scoped_key| async {
        match scoped_key {
            None => each(&app, request).await,
            Some(scoped_key) => together(&app, request, &scoped_key).await,
        }
    })
    .await
}

async fn each(app: &App, request: &str) -> Result<StoredResponse> {
    let (dead, next) = app.jobs.list(true, MOST, None).await?;
    let mut redriven = 0;
    for job in &dead {
        match app.jobs.step(Step::Redrive, &job.id, request).await {
            Ok(_) => redriven += 1,
            // The index lags behind the table: this job is no longer dead.
            Err(Error::Conflict { .. } | Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(reported(redriven, next.is_some()))
}

async fn together(app: &App, request: &str, scoped_key: &ScopedKey) -> Result<StoredResponse> {
    let (mut dead, next) = app.jobs.list(true, MOST_TOGETHER, None).await?;
    for _ in 0..answer::TRIES {
        // The index lags behind the table: a job that cannot be redriven is no longer dead.
        let stepping = |job: Job| {
            let stepped = app.jobs.stepping(Step::Redrive, &job, request).ok()?;
            Some((job, stepped.item))
        };
        let (jobs, items): (Vec<Job>, Vec<_>) = dead.into_iter().filter_map(stepping).unzip();
        let answer = reported(jobs.len(), next.is_some());
        let TransactionOutcome::Cancelled(reasons) = scoped_key.together(&app.responses, items, &answer).await? else {
            return Ok(answer);
        };
        dead = jobs.into_iter().zip(reasons).filter(|(_, reason)| reason.is_none()).map(|(job, _)| job).collect();
    }
    Err(Error::Unavailable { retry_after: 1, source: Some("Dead jobs kept changing while they were read.".into()) })
}

fn reported(redriven: usize, more: bool) -> StoredResponse {
    StoredResponse {
        status: 200,
        body: Some(json!({ "redriven": redriven, "more": more })),
        ..StoredResponse::default()
    }
}
