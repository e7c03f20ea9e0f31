//! Definitions that wait for a job that has stopped.

use crate::App;
use undercroft::error::Result;
use undercroft::schema::Definition;
use undercroft::store::jobs::Status;

/// Whether the definition waits for a job that is dead, cancelled or removed.
pub async fn is_stalled(app: &App, definition: &Definition) -> Result<bool> {
    let Some(work) = &definition.work else { return Ok(false) };
    let job = app.jobs.get(&work.job).await?;
    Ok(job.is_none_or(|job| matches!(job.status, Status::Dead | Status::Cancelled)))
}
