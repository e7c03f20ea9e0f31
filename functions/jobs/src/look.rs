//! `GET /v1/jobs/{id}` -> the job as it stands.

use crate::{App, admins_only};
use axum::extract::State;
use undercroft::error::{Error, Result};
use undercroft::http::Path;
use undercroft::identity::Caller;
use undercroft::store::jobs::Job;

/// Looks at a job.
pub async fn look(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<axum::Json<Job>> {
    admins_only(&caller)?;
    let job = app.jobs.get(&id).await?.ok_or(Error::NotFound("job"))?;
    Ok(axum::Json(job))
}
