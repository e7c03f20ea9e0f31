//! One message: starts its job, runs it, and stores the outcome. Each step is a conditional write on the job's item, so a message
//! that is repeated, late, or handled by another worker has no second effect.

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

/// Handles a message. After an error SQS delivers it again, at the visibility timeout set here.
pub async fn message(app: &App, message: &SqsMessage, slice: &Slice) -> Result<(), Failed> {
    let body = message.body.as_deref().unwrap_or_default();
    let Ok(Task::RunJob { job, run, request_id }) = serde_json::from_str(body) else {
        // It cannot be handled. SQS delivers it again until it moves to the dead-letter queue.
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
        // Another attempt has started the job, and the message belongs to that attempt.
        Err(Error::Conflict { .. }) => return Ok(()),
        Err(error) => {
            tracing::error!(
                requestId = request_id,
                function = "worker",
                job = job.id,
                cause = %error,
                "Storing the outcome failed."
            );
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

/// The outcome of a job. A panic is a failure of this job (R121) like any other.
async fn caught(work: impl Future<Output = Result<Outcome, Failure>>) -> Result<Outcome, Failure> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(Failure::new("The job panicked.")))
}

/// Stores the outcome of an attempt. An outcome that cannot be stored, because it is too large or has too long numbers, ends the
/// job: another attempt would repeat its work with the same result.
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

/// Stores the outcome of an attempt, and returns the new status.
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

/// How often SQS delivered this message. It decides on the wait if the job cannot be read.
fn receives(message: &SqsMessage) -> u32 {
    message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok()).unwrap_or(1)
}

/// Sets when a failed message is delivered again. After an error the queue's visibility timeout applies.
pub async fn come_back(queue: &Queue, message: &SqsMessage, seconds: u64) {
    let receipt = message.receipt_handle.as_deref().unwrap_or_default();
    if let Err(error) = queue.return_after(receipt, seconds).await {
        tracing::warn!(
            function = "worker",
            message = message.message_id.as_deref(),
            cause = %error,
            "Changing the visibility timeout failed."
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_panics_fails_and_is_tried_again() {
        #[allow(clippy::panic, reason = "the panic that the test catches")]
        let outcome = caught(async { panic!("on purpose") }).await;
        assert!(matches!(outcome, Err(failure) if failure.reason() == "The job panicked." && failure.may_pass()));
        assert!(matches!(caught(async { Ok(Outcome::Done(None)) }).await, Ok(Outcome::Done(None))));
    }
}
