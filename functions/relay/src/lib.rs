//! Turns what changed into what must happen: a DynamoDB stream in, messages on SQS out.
//!
//! HTTP handlers never send to a queue. They write, and this function reads what was written, so nothing can be written and
//! forgotten, or sent and not written.

mod changes;

use aws_lambda_events::event::dynamodb::{Event, EventRecord};
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use changes::{Send, sends};
use undercroft::aws::Aws;
use undercroft::config::Env;
use undercroft::error::{Result, Source};
use undercroft::queue::Queue;

/// What this function works with: the queues it may send to.
#[derive(Debug, Clone)]
pub struct App {
    jobs: Queue,
    jobs_fifo: Queue,
}

impl App {
    /// Builds the function from its environment.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn from_env(env: &Env) -> Result<Self, Source> {
        let sqs = Aws::from_env(env)?.sqs();
        Ok(Self {
            jobs: Queue::new(sqs.clone(), env.required("JOBS_QUEUE_URL")?),
            jobs_fifo: Queue::new(sqs, env.required("JOBS_FIFO_QUEUE_URL")?),
        })
    }
}

/// Relays a batch in order. At the first record that cannot be relayed it stops and reports that one, so the stream comes
/// back to it and to all after it; what was sent before is not sent again.
pub async fn handle(app: &App, event: Event) -> DynamoDbEventResponse {
    let mut response = DynamoDbEventResponse::default();
    for record in event.records {
        if let Err(error) = relay(app, &record).await {
            let sequence = record.change.sequence_number.clone();
            tracing::error!(function = "relay", outcome = "failed", sequence = sequence.as_deref(), cause = %error, "record");
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = sequence;
            response.batch_item_failures.push(failure);
            break;
        }
    }
    response
}

async fn relay(app: &App, record: &EventRecord) -> Result<()> {
    for Send { task, request_id, delay, group, deduplication } in sends(record) {
        match group {
            None => app.jobs.send(&task, delay).await?,
            Some(group) => app.jobs_fifo.send_in_order(&task, &group, &deduplication).await?,
        }
        tracing::info!(requestId = request_id, function = "relay", outcome = "sent", task = deduplication, "record");
    }
    Ok(())
}
