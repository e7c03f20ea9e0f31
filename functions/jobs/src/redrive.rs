//! `POST /v1/jobs/{id}/redrive` and `POST /v1/jobs/redrive`: dead jobs are queued anew, with all their attempts.

use crate::{App, job_id};
use axum::extract::State;
use serde_json::{Value, json};
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, Path};
use undercroft::store::jobs::Job;

/// Most jobs one call redrives.
const MOST: i32 = 100;

/// Redrives one job.
pub async fn redrive(State(app): State<App>, _: Admin, Path(id): Path<String>) -> Result<axum::Json<Job>> {
    Ok(axum::Json(app.jobs.redrive(job_id(&id)?).await?))
}

/// Redrives dead jobs, a hundred a call; `more` says whether to call again.
pub async fn redrive_all(State(app): State<App>, _: Admin) -> Result<axum::Json<Value>> {
    let (dead, next) = app.jobs.list(true, MOST, None).await?;
    let mut redriven = 0;
    for job in &dead {
        match app.jobs.redrive(&job.id).await {
            Ok(_) => redriven += 1,
            // The index lags behind the table: this one is no longer dead.
            Err(Error::Conflict { .. } | Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(axum::Json(json!({ "redriven": redriven, "more": next.is_some() })))
}
