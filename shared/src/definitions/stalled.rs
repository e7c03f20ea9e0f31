//! Definitions that wait for a job that has stopped.

use super::operations::Operations;
use crate::error::Result;
use crate::schema::Definition;
use crate::store::jobs::Status;

/// Whether the definition waits for a job that is dead, cancelled or removed.
pub async fn is_stalled(operations: &Operations, definition: &Definition) -> Result<bool> {
    let Some(work) = &definition.work else { return Ok(false) };
    let job = operations.jobs.get(&work.job).await?;
    Ok(job.is_none_or(|job| matches!(job.status, Status::Dead | Status::Cancelled)))
}
