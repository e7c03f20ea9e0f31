//! `POST /v1/jobs/{id}/cancel` -> the job, which will not run.

use crate::{App, job_id};
use axum::extract::State;
use undercroft::error::Result;
use undercroft::http::{Admin, Path};
use undercroft::store::jobs::Job;

/// Takes a queued or retrying job back.
pub async fn cancel(State(app): State<App>, _: Admin, Path(id): Path<String>) -> Result<axum::Json<Job>> {
    Ok(axum::Json(app.jobs.cancel(job_id(&id)?).await?))
}
