//! One message of a dead-letter queue: SQS delivered it the maximum number of times, and no worker finished it. Its job is marked
//! dead, and the message is deleted.

use crate::App;
use crate::run::come_back;
use aws_lambda_events::event::sqs::SqsMessage;
use undercroft::queue::{Failed, Queue};
use undercroft::store::jobs::{LEASE_SECONDS, Start};
use undercroft::task::Task;

/// Visibility timeout of a message that cannot be parsed, in seconds: SQS's maximum.
const REST_SECONDS: u64 = 43_200;

/// Handles a message of `queue`. After an error it stays there, until the visibility timeout set here.
pub async fn message(app: &App, queue: &Queue, message: &SqsMessage) -> Result<(), Failed> {
    let body = message.body.as_deref().unwrap_or_default();
    let Ok(Task::RunJob { job, run, request_id }) = serde_json::from_str(body) else {
        // It stays for inspection, and for a version of this function that can parse it.
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
            tracing::error!(requestId = request_id, function = "worker", job, cause = %error, "Marking the job dead failed.");
            come_back(queue, message, LEASE_SECONDS).await;
        }
    }
    Err(Failed)
}
