//! Jobs whose message SQS gave up: it lies in a dead-letter queue, so nothing will ever start them again. They end `dead`, with
//! the reason, where an admin sees them and can redrive them.

use super::{Jobs, Start, Status, is_running, key};
use crate::error::Result;
use crate::store::item::{integer, number, string};
use crate::store::{Expression, WriteOutcome};

/// What is said of such a job.
const REASON: &str = "its message could not be handled: the worker was not there, or could not reach its table";

impl Jobs {
    /// Ends the job that an undeliverable message of this run was for. Ending it twice, or late, changes nothing.
    ///
    /// Returns `Busy` while a worker that got hold of it in time still has it, else `Settled`.
    ///
    /// # Errors
    /// `Unavailable` when the table does not answer.
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
