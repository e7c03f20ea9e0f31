//! Jobs: one item each in the `Jobs` table. A job is enqueued by one write; its stream tells the relay, which tells the
//! worker. Every step from state to state is a condition on the write, so a step taken twice is taken once.
//!
//! ```text
//! queued ──start──> running ──succeed──> succeeded
//!   ^ │               ││ └────fail─────> retrying ──start──> running      (attempts left)
//!   │ └─cancel─> cancelled└───fail─────> dead                             (none left, or none would help)
//!   ├───────redrive────│─── dead, cancelled
//!   └────────────go_on─┘                                                  (the next slice of a long job)
//! ```
//!
//! A long job works in slices, each shorter than a worker may live. Between two it is queued again, a run further, with its
//! `progress` in the item: a crash repeats one slice at most.

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

/// Longest delay SQS can keep a message, in seconds.
pub const MAX_DELAY_SECONDS: u32 = 900;
/// How long a worker may hold a job before another may take it, in seconds: more than the worker's timeout.
pub const LEASE_SECONDS: u64 = 90;
/// How long a finished job is kept, in seconds.
const KEEP_FINISHED: u64 = 7 * 86_400;
/// How long a dead job is kept, in seconds.
const KEEP_DEAD: u64 = 90 * 86_400;
/// Index that lists jobs, newest first, and the dead ones apart.
const LISTED_INDEX: &str = "listed";

/// How an attempt to start a job ended.
#[derive(Debug)]
pub enum Start {
    /// It is ours to run.
    Ours(Box<Job>),
    /// Another worker has it, for at most this many seconds.
    Busy(u64),
    /// There is nothing left to do: finished, cancelled, gone, or the message is of an earlier run.
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

    /// The enqueuing of a job as a part of a transaction, so that what asks for it is written with it or not at all.
    ///
    /// # Errors
    /// None that a caller could cause.
    pub fn enqueuing(&self, job: &Job) -> Result<TransactWriteItem> {
        let put = Put::builder()
            .table_name(self.table.name())
            .set_item(Some(job.to_item()))
            .condition_expression("attribute_not_exists(id)")
            .build()
            .map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Enqueues a job: one write, and the stream does the rest.
    pub async fn enqueue(&self, job: &Job) -> Result<()> {
        let condition = Expression::new("attribute_not_exists(id)");
        match self.table.put(job.to_item(), condition).await? {
            WriteOutcome::Done(()) => Ok(()),
            // Our own retry after a lost answer: the first try had arrived.
            WriteOutcome::ConditionFailed(Some(old)) if text(&old, "requestId") == Some(&job.request_id) => Ok(()),
            WriteOutcome::ConditionFailed(_) => Err(Error::conflict("exists", "a job with this id exists")),
        }
    }

    /// A job by id.
    pub async fn get(&self, id: &str) -> Result<Option<Job>> {
        let found = self.table.get_by(key(id), true).await?.filter(|found| !self.is_over(found));
        found.map(|found| Job::from_item(&found)).transpose()
    }

    /// Jobs newest first, after the job `after`: all that are not dead, or the dead ones. Also the id after which the next
    /// page begins, if there is one.
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

    /// Starts an attempt, unless somebody else has the job or it is settled.
    pub async fn start(&self, id: &str, run: u64) -> Result<Start> {
        let now = self.clock.seconds();
        // Names this start, so that our own retry after a lost answer is known as ours.
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

    /// Ends a job whose last attempt never came back: its worker was killed, and it may not be tried again.
    async fn bury(&self, job: &Job) -> Result<Start> {
        let condition = Expression::new("run = :run AND #status = :running AND lease < :now")
            .value(":run", number(job.run))
            .value(":running", string(Status::Running.as_str()))
            .value(":now", number(self.clock.seconds()));
        let change = self.to_dead("").value(":error", string("the worker was killed during the last attempt"));
        self.table.update(key(&job.id), change, condition).await.map(|_| Start::Settled)
    }

    /// Ends a job well: its result stays, its progress goes. Only the attempt that started it can.
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

    /// Ends an attempt badly. Returns whether there will be another: where it `may_pass` and attempts are left. `progress`:
    /// from where that goes on, if not from where this one did.
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

    /// Ends a slice of a long job and queues the next, to start after `delay_seconds`, with all attempts anew. Only the
    /// attempt that started this slice can.
    pub async fn go_on(&self, job: &Job, progress: &Value, delay_seconds: u32) -> Result<()> {
        let set = ", progress = :progress, run = run + :one, attempts = :zero, delaySeconds = :delay";
        let change = self
            .to_status(Status::Queued, set, " REMOVE lease, lastError")
            .value(":progress", item::from_json(progress))
            .value(":one", number(1))
            .value(":zero", number(0))
            .value(":delay", number(delay_seconds.min(MAX_DELAY_SECONDS).into()));
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
            // Our own retry after a lost answer: the first try had arrived.
            WriteOutcome::ConditionFailed(Some(old)) if is_ended(&old, job, &ended) => Ok(()),
            // Somebody else has taken it over since: what became of it is theirs to say.
            WriteOutcome::ConditionFailed(_) => Err(Error::conflict("lost", "another worker has taken this job over")),
        }
    }

    /// Whether it has been kept for long enough. Time to live removes items late, so the time is compared here as well.
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

/// Whether an item is this very attempt, ended this way. What is a run further has had its slice, whoever wrote it down.
fn is_ended(found: &Item, job: &Job, status: &str) -> bool {
    if status == Status::Queued.as_str() {
        return integer(found, "run").is_some_and(|run| run > job.run);
    }
    text(found, "status") == Some(status)
        && integer(found, "run") == Some(job.run)
        && integer(found, "attempts") == Some(job.attempts.into())
}
