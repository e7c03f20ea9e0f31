//! Jobs whose message SQS moved to a dead-letter queue, so that no message will start them. They become `dead` with the
//! reason, and an admin can redrive them.

use super::{Jobs, Start, Status, is_running, key};
use crate::error::Result;
use crate::store::item::{integer, number, string};
use crate::store::{Expression, WriteOutcome};

/// The error recorded on such a job.
const REASON: &str =
    "Its message could not be handled because the worker was unavailable or could not reach its table.";

impl Jobs {
    /// Ends the job of an undeliverable message of this run. Repeating it changes nothing.
    ///
    /// Returns `Busy` while a worker still runs the job, else `Settled`.
    ///
    /// # Errors
    /// `Unavailable` when the table does not respond.
    pub async fn undelivered(&self, id: &str, run: u64) -> Result<Start> {
        let now = self.clock.seconds();
        let condition = Expression::new(
            "run = :run AND (#status IN (:queued, :retrying) OR (#status = :running AND lease < :now))",
        )
        .value(":run", number(run))
        .value(":queued", string(Status::Queued.as_str()))
        .value(":retrying", string(Status::Retrying.as_str()))
        .value(":running", string(Status::Running.as_str()))
        .value(":now", number(now));
        let change = self.to_dead("").value(":error", string(REASON));
        match self.table.update(key(id), change, condition).await? {
            WriteOutcome::ConditionFailed(Some(old)) if is_running(&old, run) => {
                Ok(Start::Busy(integer(&old, "lease").unwrap_or(0).saturating_sub(now).max(1)))
            }
            WriteOutcome::Done(_) | WriteOutcome::ConditionFailed(_) => Ok(Start::Settled),
        }
    }
}
