//! `POST /v1/jobs/{id}/cancel` -> the job, which will not run.

use crate::{App, admins_only};
use axum::extract::State;
use undercroft::error::Result;
use undercroft::http::Path;
use undercroft::identity::Caller;
use undercroft::store::jobs::Job;

/// Takes a queued or retrying job back.
pub async fn cancel(State(app): State<App>, caller: Caller, Path(id): Path<String>) -> Result<axum::Json<Job>> {
    admins_only(&caller)?;
    Ok(axum::Json(app.jobs.cancel(&id).await?))
}
