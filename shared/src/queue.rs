//! SQS: sends tasks, and handles batches with partial batch responses.

use crate::error::Result;
use crate::task::Task;
use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use futures_util::FutureExt as _;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;

/// A queue, standard or FIFO.
#[derive(Debug, Clone)]
pub struct Queue {
    client: Client,
    url: String,
}

impl Queue {
    /// The queue at `url`.
    pub fn new(client: Client, url: String) -> Self {
        Self { client, url }
    }

    /// Whether this is the queue of an event source, compared by the last segment of URL and ARN.
    pub fn is_source(&self, arn: &str) -> bool {
        arn.rsplit(':').next() == self.url.rsplit('/').next()
    }

    /// Sends a task to a standard queue, visible after `delay` seconds (at most 900).
    ///
    /// # Errors
    /// `Unavailable` when SQS did not accept it.
    pub async fn send(&self, task: &Task, delay: u32) -> Result<()> {
        let send = self.client.send_message().queue_url(&self.url).message_body(body(task)?);
        let send = send.set_delay_seconds((delay > 0).then(|| i32::try_from(delay).unwrap_or(900)));
        send.send().await.map(|_| ()).map_err(failed)
    }

    /// Sends a task to a FIFO queue, behind all other tasks of its group. SQS drops a task with the same `deduplication` id
    /// within five minutes.
    ///
    /// # Errors
    /// `Unavailable` when SQS did not accept it.
    pub async fn send_in_order(&self, task: &Task, group: &str, deduplication: &str) -> Result<()> {
        let send = self.client.send_message().queue_url(&self.url).message_body(body(task)?);
        send.message_group_id(group).message_deduplication_id(deduplication).send().await.map(|_| ()).map_err(failed)
    }

    /// Makes a received message visible again after `seconds`.
    ///
    /// # Errors
    /// `Unavailable` when SQS did not respond; the visibility timeout then returns the message.
    pub async fn return_after(&self, receipt: &str, seconds: u64) -> Result<()> {
        let seconds = i32::try_from(seconds.min(43_200)).unwrap_or(43_200);
        let change = self.client.change_message_visibility().queue_url(&self.url).receipt_handle(receipt);
        change.visibility_timeout(seconds).send().await.map(|_| ()).map_err(failed)
    }
}

fn body(task: &Task) -> Result<String> {
    serde_json::to_string(task).map_err(crate::error::Error::internal)
}

fn failed<E: std::error::Error + Send + Sync + 'static>(error: aws_sdk_sqs::error::SdkError<E>) -> crate::error::Error {
    let source = DisplayErrorContext(&error).to_string();
    crate::error::Error::Unavailable { retry_after: 1, source: Some(source.into()) }
}

/// Handles each message of a batch separately and reports the failed ones (partial batch response). A panic fails only its
/// own message (R121). In a FIFO batch, the messages after a failed one in the same group are returned unhandled, which
/// preserves the order.
pub async fn each<'a, F, H>(event: &'a SqsEvent, handle: F) -> SqsBatchResponse
where
    F: Fn(&'a SqsMessage) -> H,
    H: Future<Output = Result<(), Failed>>,
{
    let mut response = SqsBatchResponse::default();
    let mut blocked: HashSet<String> = HashSet::new();
    for message in &event.records {
        let group = message.attributes.get("MessageGroupId").cloned();
        if group.as_ref().is_some_and(|group| blocked.contains(group)) {
            response.batch_item_failures.push(failure(message));
            continue;
        }
        let outcome = AssertUnwindSafe(handle(message)).catch_unwind().await;
        if outcome.is_err() {
            tracing::error!(message = message.message_id.as_deref(), "a handler panicked");
        }
        if !matches!(outcome, Ok(Ok(()))) {
            response.batch_item_failures.push(failure(message));
            blocked.extend(group);
        }
    }
    response
}

/// A message to return to the queue. The handler has logged the reason.
#[derive(Debug)]
pub struct Failed;

fn failure(message: &SqsMessage) -> BatchItemFailure {
    let mut failure = BatchItemFailure::default();
    failure.item_identifier = message.message_id.clone().unwrap_or_default();
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &str, group: Option<&str>) -> SqsMessage {
        let mut message = SqsMessage::default();
        message.message_id = Some(id.to_owned());
        message.body = Some(id.to_owned());
        message.attributes.extend(group.map(|group| ("MessageGroupId".to_owned(), group.to_owned())));
        message
    }

    async fn failed(messages: Vec<SqsMessage>) -> Vec<String> {
        let mut event = SqsEvent::default();
        event.records = messages;
        let response = each(&event, |message| async {
            match message.body.as_deref() {
                Some(body) if body.starts_with("panic") => panic!("on purpose"),
                Some(body) if body.starts_with("fail") => Err(Failed),
                _ => Ok(()),
            }
        });
        response.await.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }

    #[tokio::test]
    async fn a_panic_fails_only_its_own_message() {
        let ids = ["1", "2", "panic", "3", "fail", "4", "5", "6", "7", "8"];
        assert_eq!(failed(ids.iter().map(|id| message(id, None)).collect()).await, ["panic", "fail"]);
    }

    #[tokio::test]
    async fn messages_after_a_failed_one_in_its_group_are_returned_unhandled() {
        let batch = [("1", "a"), ("fail", "a"), ("2", "b"), ("3", "a"), ("panic", "b"), ("4", "b"), ("5", "c")];
        let batch = batch.iter().map(|(id, group)| message(id, Some(group))).collect();
        assert_eq!(failed(batch).await, ["fail", "3", "panic", "4"]);
    }

    #[tokio::test]
    async fn a_batch_without_failures_reports_nothing() {
        assert!(failed(Vec::new()).await.is_empty());
        assert!(failed(vec![message("1", None), message("2", Some("a"))]).await.is_empty());
    }
}
