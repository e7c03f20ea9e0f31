//! `GET /v1/jobs/{id}` -> the job, with a link to the file that it made.

use crate::answer::job_id;
use crate::{App, files};
use axum::extract::State;
use undercroft::error::Error;
use undercroft::http::{Admin, HandlerResult, Path};
use undercroft::store::jobs::Job;

/// Reads a job.
pub async fn get(State(app): State<App>, _: Admin, Path(id): Path<String>) -> HandlerResult<axum::Json<Job>> {
    let mut job = app.jobs.get(job_id(&id)?).await?.ok_or(Error::NotFound("job"))?;
    files::link_result(&app, &mut job)?;
    Ok(axum::Json(job))
}
