//! Turns DynamoDB stream records into SQS messages, cascade jobs and the change log.
//!
//! HTTP handlers never send to a queue. They only write, and this function reads the stream of writes, so a write without its
//! message, or a message without its write, is impossible.

mod cascades;
mod change_log;
mod job_messages;

use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use job_messages::{Send, sends};
use undercroft::aws::Aws;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::error::{Error, Result, Source};
use undercroft::queue::Queue;
use undercroft::store::Table;
use undercroft::store::change_log::{Change, ChangeLog};
use undercroft::store::jobs::Jobs;

/// The state of this function: the queues it sends to, the change log it writes, and the jobs for cascades.
#[derive(Debug, Clone)]
pub struct App {
    queue: Queue,
    fifo: Queue,
    change_log: ChangeLog,
    jobs: Jobs,
    clock: Clock,
}

impl App {
    /// Builds the function from its environment.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn from_env(env: &Env) -> Result<Self, Source> {
        Self::with_clock(env, Clock::default())
    }

    /// Builds the function from its environment, with this clock.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn with_clock(env: &Env, clock: Clock) -> Result<Self, Source> {
        let aws = Aws::from_env(env)?;
        let sqs = aws.sqs();
        Ok(Self {
            queue: Queue::new(sqs.clone(), env.required("JOBS_QUEUE_URL")?),
            fifo: Queue::new(sqs, env.required("JOBS_FIFO_QUEUE_URL")?),
            change_log: ChangeLog::new(Table::new(aws.dynamodb(), env.required("RECORDS_TABLE")?), clock.clone()),
            jobs: Jobs::new(Table::new(aws.dynamodb(), env.required("JOBS_TABLE")?), clock.clone()),
            clock,
        })
    }
}

/// Relays a batch in order. It stops at the first record that fails and reports it, so the stream retries that record and all
/// after it, but none before it.
pub async fn handle(app: &App, event: Event) -> DynamoDbEventResponse {
    let mut response = DynamoDbEventResponse::default();
    // A batch has records of one stream, and a stream belongs to one table.
    let (of_records, of_jobs): (Vec<_>, Vec<_>) = event.records.into_iter().partition(change_log::is_of_records);
    let stopped = if of_records.is_empty() { relay_all(app, &of_jobs).await } else { keep(app, &of_records).await };
    if let Err((record, error)) = stopped {
        let sequence = record.change.sequence_number.clone();
        tracing::error!(function = "relay", outcome = "failed", sequence = sequence.as_deref(), cause = %error, "record");
        let mut failure = DynamoDbBatchItemFailure::default();
        failure.item_identifier = sequence;
        response.batch_item_failures.push(failure);
    }
    response
}

/// Enqueues the jobs of deletions and undeletes, then writes changes of records into the change log, as many at once as fit. If a cascade
/// fails, the changes before it are written anyway, because the stream does not retry them.
async fn keep<'a>(app: &App, records: &'a [EventRecord]) -> Result<(), (&'a EventRecord, Error)> {
    let (reached, stopped) = enqueue_followers(app, records).await;
    take_in(app, records.iter().take(reached)).await?;
    stopped
}

/// How many of the first records have their jobs enqueued, and the error of the next.
async fn enqueue_followers<'a>(app: &App, records: &'a [EventRecord]) -> (usize, Result<(), (&'a EventRecord, Error)>) {
    for (position, record) in records.iter().enumerate() {
        let Some(job) = cascades::job(record) else { continue };
        if let Err(error) = app.jobs.enqueue(&job).await {
            return (position, Err((record, error)));
        }
        tracing::info!(requestId = job.request_id, function = "relay", outcome = "enqueued", job = job.id, "record");
    }
    (records.len(), Ok(()))
}

async fn take_in<'a>(
    app: &App,
    records: impl Iterator<Item = &'a EventRecord>,
) -> Result<(), (&'a EventRecord, Error)> {
    let changes =
        records.flat_map(|record| change_log::changes(record).into_iter().map(move |change| (record, change)));
    let (records, changes): (Vec<&EventRecord>, Vec<Change>) = changes.unzip();
    if let Err(stopped) = app.change_log.keep(&changes).await {
        let record = records.get(stopped.kept).expect("the failed record is one of these");
        return Err((record, stopped.error));
    }
    tracing::info!(function = "relay", outcome = "kept", changes = changes.len(), "change log");
    Ok(())
}

async fn relay_all<'a>(app: &App, records: &'a [EventRecord]) -> Result<(), (&'a EventRecord, Error)> {
    for record in records {
        relay(app, record).await.map_err(|error| (record, error))?;
    }
    Ok(())
}

async fn relay(app: &App, record: &EventRecord) -> Result<()> {
    for Send { task, request_id, delay, group, deduplication } in sends(record, app.clock.millis()) {
        match group {
            None => app.queue.send(&task, delay).await?,
            Some(group) => app.fifo.send_in_order(&task, &group, &deduplication).await?,
        }
        tracing::info!(requestId = request_id, function = "relay", outcome = "sent", task = deduplication, "record");
    }
    Ok(())
}
