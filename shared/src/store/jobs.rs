//! Jobs: one item each in the `Jobs` table. One write enqueues a job; the table's stream notifies the relay, which notifies
//! the worker. Every status transition is a conditional write, so repeating it has no effect.
//!
//! ```text
//! queued ──start──> running ──succeed──> succeeded
//!   ^ │               ││ └────fail─────> retrying ──start──> running      (attempts left)
//!   │ └─cancel─> cancelled└───fail─────> dead                             (none left, or none would help)
//!   ├───────redrive────│─── dead, cancelled
//!   └────────────go_on─┘                                                  (the next slice of a long job)
//! ```
//!
//! A long job works in slices, each shorter than the worker's timeout. Between slices it is queued again with the next run
//! number, and its `progress` is in the item: a crash repeats at most one slice.

mod steps;
mod undelivered;
pub use super::job::{Job, Status};
pub use steps::{Step, Stepped};

use super::item::{self, Item, integer, number, string, text};
use super::{Expression, Page, Table, TableQuery, WriteOutcome};
use crate::clock::{Clock, rfc3339};
use crate::error::{Error, Result};
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use serde_json::Value;

/// Longest delay of an SQS message, in seconds.
pub const MAX_DELAY_SECONDS: u32 = 900;
/// How long a worker may hold a job before another may start it, in seconds: longer than the worker's timeout.
pub const LEASE_SECONDS: u64 = 90;
/// How long a finished job is kept, in seconds.
const KEEP_FINISHED: u64 = 7 * 86_400;
/// How long a dead job is kept, in seconds.
const KEEP_DEAD: u64 = 90 * 86_400;
/// Index that lists jobs, newest first, with dead jobs listed separately.
const LISTED_INDEX: &str = "listed";

/// The outcome of trying to start a job.
#[derive(Debug)]
pub enum Start {
    /// Started.
    Ours(Box<Job>),
    /// Another worker is running it, for at most this many seconds.
    Busy(u64),
    /// Nothing to do: the job is finished, cancelled or gone, or the message belongs to an earlier run.
    Settled,
}

/// The `Jobs` table.
#[derive(Debug, Clone)]
pub struct Jobs {
    table: Table,
    clock: Clock,
}

impl Jobs {
    /// Jobs in `table`, at the time of `clock`.
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock }
    }

    /// Enqueuing a job as one item of a transaction, so that it is written with the change that requires it or not at all.
    ///
    /// # Errors
    /// None that a caller can cause.
    pub fn enqueuing(&self, job: &Job) -> Result<TransactWriteItem> {
        let put = Put::builder()
            .table_name(self.table.name())
            .set_item(Some(job.to_item()))
            .condition_expression("attribute_not_exists(id)")
            .build()
            .map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Enqueues a job with one write. The stream does the rest.
    pub async fn enqueue(&self, job: &Job) -> Result<()> {
        let condition = Expression::new("attribute_not_exists(id)");
        match self.table.put(job.to_item(), condition).await? {
            WriteOutcome::Done(()) => Ok(()),
            // The SDK retried after a lost response: the first attempt succeeded.
            WriteOutcome::ConditionFailed(Some(old)) if text(&old, "requestId") == Some(&job.request_id) => Ok(()),
            WriteOutcome::ConditionFailed(_) => Err(Error::conflict("exists", "A job with this id already exists.")),
        }
    }

    /// A job by id.
    pub async fn get(&self, id: &str) -> Result<Option<Job>> {
        let found = self.table.get_by(key(id), true).await?.filter(|found| !self.is_over(found));
        found.map(|found| Job::from_item(&found)).transpose()
    }

    /// Jobs, newest first, after the job `after`: either all but the dead ones, or the dead ones. Also returns the id after
    /// which the next page begins, if there is a next page.
    pub async fn list(&self, dead: bool, limit: i32, after: Option<&str>) -> Result<(Vec<Job>, Option<String>)> {
        let listed = string(if dead { "dead" } else { "live" });
        let condition = match after {
            None => Expression::new("listed = :listed"),
            Some(after) => Expression::new("listed = :listed AND id < :after").value(":after", string(after)),
        };
        let condition = condition.value(":listed", listed);
        let query = TableQuery { index: Some(LISTED_INDEX.into()), key: condition, limit, ..TableQuery::default() };
        let Page { items, last_key } = self.table.query(&query).await?;
        let keys: Vec<Item> = items.iter().filter_map(|found| text(found, "id").map(key)).collect();
        let mut jobs: Vec<Job> = Vec::new();
        for found in self.table.batch_get(keys).await?.iter().filter(|found| !self.is_over(found)) {
            jobs.push(Job::from_item(found)?);
        }
        jobs.sort_by(|a, b| b.id.cmp(&a.id));
        Ok((jobs, last_key.and_then(|last| text(&last, "id").map(str::to_owned))))
    }

    /// Starts an attempt, unless another worker has the job or it is finished.
    pub async fn start(&self, id: &str, run: u64) -> Result<Start> {
        let now = self.clock.seconds();
        // Identifies this start, so that the SDK's retry after a lost response is recognised.
        let starter = crate::id::base64url(&crate::id::random::<12>());
        let condition = Expression::new(
            "run = :run AND attempts < maxAttempts AND (#status IN (:queued, :retrying) OR (#status = :running AND lease < :now))",
        )
        .name("#status", "status")
        .value(":run", number(run))
        .value(":queued", string(Status::Queued.as_str()))
        .value(":retrying", string(Status::Retrying.as_str()))
        .value(":now", number(now));
        let change = self
            .to_status(Status::Running, ", attempts = attempts + :one, lease = :lease, starter = :starter", "")
            .value(":starter", string(&starter))
            .value(":one", number(1))
            .value(":lease", number(now + LEASE_SECONDS));
        let condition = condition.value(":running", string(Status::Running.as_str()));
        match self.table.update(key(id), change, condition).await? {
            WriteOutcome::Done(started) => Ok(Start::Ours(Box::new(Job::from_item(&started)?))),
            WriteOutcome::ConditionFailed(Some(old)) if text(&old, "starter") == Some(&starter) => {
                Ok(Start::Ours(Box::new(Job::from_item(&old)?)))
            }
            WriteOutcome::ConditionFailed(Some(old))
                if is_running(&old, run) && integer(&old, "lease").unwrap_or(0) < now =>
            {
                self.bury(&Job::from_item(&old)?).await
            }
            WriteOutcome::ConditionFailed(Some(old)) if is_running(&old, run) => {
                Ok(Start::Busy(integer(&old, "lease").unwrap_or(0).saturating_sub(now).max(1)))
            }
            WriteOutcome::ConditionFailed(_) => Ok(Start::Settled),
        }
    }

    /// Ends a job whose last attempt never reported back: its worker was killed, and no attempts are left.
    async fn bury(&self, job: &Job) -> Result<Start> {
        let condition = Expression::new("run = :run AND #status = :running AND lease < :now")
            .value(":run", number(job.run))
            .value(":running", string(Status::Running.as_str()))
            .value(":now", number(self.clock.seconds()));
        let change = self.to_dead("").value(":error", string("The worker was killed during the last attempt."));
        self.table.update(key(&job.id), change, condition).await.map(|_| Start::Settled)
    }

    /// Ends a job successfully: stores its result and removes its progress. Only the attempt that started it can do so.
    pub async fn succeed(&self, job: &Job, result: Option<&Value>) -> Result<()> {
        let set = if result.is_some() { ", #ttl = :ttl, #result = :result" } else { ", #ttl = :ttl" };
        let mut change = self
            .to_status(Status::Succeeded, set, " REMOVE lease, progress")
            .name("#ttl", "ttl")
            .value(":ttl", self.in_seconds(KEEP_FINISHED));
        if let Some(result) = result {
            change = change.name("#result", "result").value(":result", item::from_json(result));
        }
        self.finish(job, change).await
    }

    /// Ends a failed attempt. Returns whether another attempt follows: only if the error `may_pass` and attempts are left.
    /// `progress` is where that attempt continues, if not where this one did.
    pub async fn fail(&self, job: &Job, error: &str, may_pass: bool, progress: Option<&Value>) -> Result<bool> {
        let again = may_pass && job.attempts < job.max_attempts;
        let set = if progress.is_some() { ", progress = :progress" } else { "" };
        let mut change = if again {
            self.to_status(Status::Retrying, &format!(", lastError = :error{set}"), " REMOVE lease")
        } else {
            self.to_dead(set)
        };
        if let Some(progress) = progress {
            change = change.value(":progress", item::from_json(progress));
        }
        self.finish(job, change.value(":error", string(error))).await?;
        Ok(again)
    }

    /// Ends a slice of a long job and queues the next one with a full set of attempts, to start after `delay_seconds`. Only
    /// the attempt that started this slice can do so.
    pub async fn go_on(&self, job: &Job, progress: &Value, delay_seconds: u32) -> Result<()> {
        let set = ", progress = :progress, run = run + :one, attempts = :zero";
        let (set, rest) = match delay_seconds {
            0 => (set.to_owned(), " REMOVE lease, lastError, runAt"),
            _ => (format!("{set}, runAt = :runAt"), " REMOVE lease, lastError"),
        };
        let mut change = self
            .to_status(Status::Queued, &set, rest)
            .value(":progress", item::from_json(progress))
            .value(":one", number(1))
            .value(":zero", number(0));
        if delay_seconds > 0 {
            let delay = u64::from(delay_seconds.min(MAX_DELAY_SECONDS)) * 1_000;
            change = change.value(":runAt", string(rfc3339(self.clock.millis() + delay)));
        }
        self.finish(job, change).await
    }

    async fn finish(&self, job: &Job, change: Expression) -> Result<()> {
        let ended = change.values.get(":status").and_then(|status| status.as_s().ok()).cloned().unwrap_or_default();
        let condition = Expression::new("run = :run AND attempts = :attempts AND #status = :running")
            .name("#status", "status")
            .value(":run", number(job.run))
            .value(":attempts", number(job.attempts.into()))
            .value(":running", string(Status::Running.as_str()));
        match self.table.update(key(&job.id), change, condition).await? {
            WriteOutcome::Done(_) => Ok(()),
            // The SDK retried after a lost response: the first attempt succeeded.
            WriteOutcome::ConditionFailed(Some(old)) if is_ended(&old, job, &ended) => Ok(()),
            // Another worker has started it since and reports its outcome.
            WriteOutcome::ConditionFailed(_) => Err(Error::conflict("lost", "Another worker is running this job now.")),
        }
    }

    /// Whether its retention has ended. Time to live removes items late, so the time is compared here too.
    fn is_over(&self, found: &Item) -> bool {
        integer(found, "ttl").is_some_and(|until| until <= self.clock.seconds())
    }

    fn to_status(&self, status: Status, set: &str, rest: &str) -> Expression {
        Expression::new(format!("SET #status = :status, updatedAt = :at{set}{rest}"))
            .name("#status", "status")
            .value(":status", string(status.as_str()))
            .value(":at", string(rfc3339(self.clock.millis())))
    }

    fn to_dead(&self, set: &str) -> Expression {
        let set = format!(", lastError = :error, listed = :dead, #ttl = :ttl{set}");
        self.to_status(Status::Dead, &set, " REMOVE lease")
            .name("#ttl", "ttl")
            .value(":dead", string("dead"))
            .value(":ttl", self.in_seconds(KEEP_DEAD))
    }

    fn in_seconds(&self, seconds: u64) -> aws_sdk_dynamodb::types::AttributeValue {
        number(self.clock.seconds() + seconds)
    }
}

fn key(id: &str) -> Item {
    [("id".to_owned(), string(id))].into()
}

fn is_running(found: &Item, run: u64) -> bool {
    text(found, "status") == Some(Status::Running.as_str()) && integer(found, "run") == Some(run)
}

/// Whether an item is this attempt, ended this way. A later run means that this slice ended, no matter who recorded it.
fn is_ended(found: &Item, job: &Job, status: &str) -> bool {
    if status == Status::Queued.as_str() {
        return integer(found, "run").is_some_and(|run| run > job.run);
    }
    text(found, "status") == Some(status)
        && integer(found, "run") == Some(job.run)
        && integer(found, "attempts") == Some(job.attempts.into())
}
