//! One message: start the job it names, run it, and write down how it ended. Each step is a condition on the job's item, so
//! a message that comes twice, or late, or while another worker is at it, does nothing twice.

use crate::{App, backoff, jobs};
use aws_lambda_events::event::sqs::SqsMessage;
use std::panic::AssertUnwindSafe;
use std::time::Instant;
use undercroft::error::Error;
use undercroft::futures::FutureExt as _;
use undercroft::queue::{Failed, Queue};
use undercroft::store::jobs::{Job, Start};
use undercroft::task::Task;

/// Handles a message. An error means it must come back; when, has been arranged.
pub async fn message(app: &App, message: &SqsMessage) -> Result<(), Failed> {
    let body = message.body.as_deref().unwrap_or_default();
    let Ok(Task::RunJob { job, run, request_id }) = serde_json::from_str(body) else {
        // Nobody can do anything with it. It comes back until the queue gives up and keeps it as a dead letter.
        tracing::error!(function = "worker", message = message.message_id.as_deref(), "a message of no known shape");
        come_back(app.queue_of(message), message, backoff::seconds(receives(message))).await;
        return Err(Failed);
    };
    match app.jobs.start(&job, run).await {
        Ok(Start::Ours(job)) => attempt(app, message, *job, &request_id).await,
        Ok(Start::Settled) => Ok(()),
        Ok(Start::Busy(seconds)) => {
            come_back(app.queue_of(message), message, seconds).await;
            Err(Failed)
        }
        Err(error) => {
            tracing::error!(requestId = request_id, function = "worker", job, cause = %error, "a job could not be started");
            come_back(app.queue_of(message), message, backoff::seconds(receives(message))).await;
            Err(Failed)
        }
    }
}

async fn attempt(app: &App, message: &SqsMessage, job: Job, request_id: &str) -> Result<(), Failed> {
    let started = Instant::now();
    let outcome = AssertUnwindSafe(jobs::run(&app.tools, &job)).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|_| Err(jobs::Failure::new("the job panicked")));
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let log = |outcome: &str, error: Option<&str>| {
        tracing::info!(
            requestId = request_id,
            function = "worker",
            caller = "queue",
            job = job.id,
            r#type = job.kind,
            attempt = job.attempts,
            outcome,
            error,
            durationMs = millis,
            "job"
        );
    };
    let (written, again) = match &outcome {
        Ok(result) => (app.jobs.succeed(&job, result.as_ref()).await.map(|()| false), false),
        Err(failure) => (app.jobs.fail(&job, failure.reason()).await, true),
    };
    match written {
        Ok(retry) => {
            log(
                if !again {
                    "succeeded"
                } else if retry {
                    "retrying"
                } else {
                    "dead"
                },
                outcome.err().as_ref().map(jobs::Failure::reason),
            );
            if retry {
                come_back(app.queue_of(message), message, backoff::seconds(job.attempts)).await;
                return Err(Failed);
            }
            Ok(())
        }
        // Another attempt has taken it over: the message is theirs as well.
        Err(Error::Conflict { .. }) => Ok(()),
        Err(error) => {
            tracing::error!(requestId = request_id, function = "worker", job = job.id, cause = %error, "an outcome could not be written");
            Err(Failed)
        }
    }
}

/// How often the queue has handed this message out: the measure of how long to wait when the job itself cannot be read.
fn receives(message: &SqsMessage) -> u32 {
    message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Arranges when a failed message is seen again. Should this fail, the queue's visibility timeout does it.
pub async fn come_back(queue: &Queue, message: &SqsMessage, seconds: u64) {
    let receipt = message.receipt_handle.as_deref().unwrap_or_default();
    if let Err(error) = queue.return_after(receipt, seconds).await {
        tracing::warn!(function = "worker", message = message.message_id.as_deref(), cause = %error, "visibility not changed");
    }
}
