//! One message: start the job it names, run it, and write down how it ended. Each step is a condition on the job's item, so
//! a message that comes twice, or late, or while another worker is at it, does nothing twice.

use crate::jobs::{self, Failure, Outcome, Slice};
use crate::{App, backoff};
use aws_lambda_events::event::sqs::SqsMessage;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::Instant;
use undercroft::error::Error;
use undercroft::futures::FutureExt as _;
use undercroft::queue::{Failed, Queue};
use undercroft::store::jobs::{Job, Start};
use undercroft::task::Task;

/// Handles a message. An error means it must come back; when, has been arranged.
pub async fn message(app: &App, message: &SqsMessage, slice: &Slice) -> Result<(), Failed> {
    let body = message.body.as_deref().unwrap_or_default();
    let Ok(Task::RunJob { job, run, request_id }) = serde_json::from_str(body) else {
        // Nobody can do anything with it. It comes back until the queue gives up and keeps it as a dead letter.
        tracing::error!(
            function = "worker",
            message = message.message_id.as_deref(),
            "A message from the queue cannot be parsed."
        );
        come_back(app.queue_of(message), message, backoff::seconds(receives(message))).await;
        return Err(Failed);
    };
    match app.jobs.start(&job, run).await {
        Ok(Start::Ours(job)) => attempt(app, message, *job, slice, &request_id).await,
        Ok(Start::Settled) => Ok(()),
        Ok(Start::Busy(seconds)) => {
            come_back(app.queue_of(message), message, seconds).await;
            Err(Failed)
        }
        Err(error) => {
            tracing::error!(requestId = request_id, function = "worker", job, cause = %error, "A job could not be started.");
            come_back(app.queue_of(message), message, backoff::seconds(receives(message))).await;
            Err(Failed)
        }
    }
}

async fn attempt(app: &App, message: &SqsMessage, job: Job, slice: &Slice, request_id: &str) -> Result<(), Failed> {
    let started = Instant::now();
    let outcome = caught(pin!(jobs::run(&app.tools, &job, slice))).await;
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (outcome, written) = keep(app, &job, outcome).await;
    let ended = match written {
        Ok(ended) => ended,
        // Another attempt has taken it over: the message is theirs as well.
        Err(Error::Conflict { .. }) => return Ok(()),
        Err(error) => {
            tracing::error!(requestId = request_id, function = "worker", job = job.id, cause = %error, "The outcome of a job could not be written.");
            return Err(Failed);
        }
    };
    tracing::info!(
        requestId = request_id,
        function = "worker",
        caller = "queue",
        job = job.id,
        r#type = job.kind,
        attempt = job.attempts,
        outcome = ended,
        error = outcome.as_ref().err().map(Failure::logged),
        durationMs = millis,
        "job"
    );
    if ended == RETRYING {
        let times = outcome.err().map_or(0, |failure| failure.times());
        come_back(app.queue_of(message), message, backoff::seconds(times.max(job.attempts))).await;
        return Err(Failed);
    }
    Ok(())
}

const RETRYING: &str = "retrying";

/// What a job came to. A panic is a failure of this job (R121): it is written down, and the message comes back as after any other.
async fn caught(work: impl Future<Output = Result<Outcome, Failure>>) -> Result<Outcome, Failure> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(Failure::new("The job panicked.")))
}

/// Writes down how an attempt ended. An outcome that can never be kept, being too large or beyond the numbers of the table, ends
/// the job: another attempt would do its work again for the same.
async fn keep(
    app: &App,
    job: &Job,
    outcome: Result<Outcome, Failure>,
) -> (Result<Outcome, Failure>, Result<&'static str, Error>) {
    match write_down(app, job, &outcome).await {
        Err(error) if !matches!(error, Error::Unavailable { .. } | Error::Conflict { .. }) => {
            let why = match error {
                Error::BadRequest { .. } => Failure::new("it is larger than a DynamoDB item can be"),
                error => Failure::from(error),
            };
            let unkept = Err(Failure::last(format!("The outcome of the job could not be stored: {}", why.reason())));
            let written = write_down(app, job, &unkept).await;
            (unkept, written)
        }
        written => (outcome, written),
    }
}

/// Writes down how an attempt ended, and says it in one word.
async fn write_down(app: &App, job: &Job, outcome: &Result<Outcome, Failure>) -> Result<&'static str, Error> {
    match outcome {
        Ok(Outcome::Done(result)) => app.jobs.succeed(job, result.as_ref()).await.map(|()| "succeeded"),
        Ok(Outcome::More(progress)) => app.jobs.go_on(job, progress, 0).await.map(|()| "goes on"),
        Ok(Outcome::Later(progress, seconds)) => app.jobs.go_on(job, progress, *seconds).await.map(|()| "goes on"),
        Err(failure) => {
            let again = app.jobs.fail(job, failure.reason(), failure.may_pass(), failure.progress()).await?;
            Ok(if again { RETRYING } else { "dead" })
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
        tracing::warn!(function = "worker", message = message.message_id.as_deref(), cause = %error, "The visibility timeout of a message could not be changed.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_fails_and_is_tried_again() {
        #[allow(clippy::panic, reason = "what is to be caught")]
        let outcome = caught(async { panic!("on purpose") }).await;
        assert!(matches!(outcome, Err(failure) if failure.reason() == "The job panicked." && failure.may_pass()));
        assert!(matches!(caught(async { Ok(Outcome::Done(None)) }).await, Ok(Outcome::Done(None))));
    }
}
