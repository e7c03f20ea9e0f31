//! One message out of a dead-letter queue: SQS handed it out as often as it may, and no worker finished it. Its job must not
//! wait for ever, so it ends here; the message is done with then.

use crate::App;
use crate::run::come_back;
use aws_lambda_events::event::sqs::SqsMessage;
use undercroft::queue::{Failed, Queue};
use undercroft::store::jobs::{LEASE_SECONDS, Start};
use undercroft::task::Task;

/// How long a message that nobody understands rests, in seconds: the most SQS allows.
const REST_SECONDS: u64 = 43_200;

/// Handles a message that lay in `queue`. An error means it stays there; until when, has been arranged.
pub async fn message(app: &App, queue: &Queue, message: &SqsMessage) -> Result<(), Failed> {
    let body = message.body.as_deref().unwrap_or_default();
    let Ok(Task::RunJob { job, run, request_id }) = serde_json::from_str(body) else {
        // Kept for whoever looks into the queue, and for a version of this function that knows what it is.
        tracing::error!(
            function = "worker",
            message = message.message_id.as_deref(),
            "A dead letter cannot be parsed."
        );
        come_back(queue, message, REST_SECONDS).await;
        return Err(Failed);
    };
    match app.jobs.undelivered(&job, run).await {
        Ok(Start::Busy(seconds)) => come_back(queue, message, seconds).await,
        Ok(_) => {
            tracing::error!(requestId = request_id, function = "worker", job, outcome = "undelivered", "job");
            return Ok(());
        }
        Err(error) => {
            tracing::error!(requestId = request_id, function = "worker", job, cause = %error, "An undelivered job could not be marked dead.");
            come_back(queue, message, LEASE_SECONDS).await;
        }
    }
    Err(Failed)
}
