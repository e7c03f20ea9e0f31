//! Onto SQS, and off it again reporting only what failed.

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

    /// Whether this is the queue that an event source names, by the name both end in.
    pub fn is_source(&self, arn: &str) -> bool {
        arn.rsplit(':').next() == self.url.rsplit('/').next()
    }

    /// Sends a task to a standard queue, to be seen after `delay` seconds (at most 900).
    ///
    /// # Errors
    /// `Unavailable` when SQS did not take it.
    pub async fn send(&self, task: &Task, delay: u32) -> Result<()> {
        let send = self.client.send_message().queue_url(&self.url).message_body(body(task)?);
        let send = send.set_delay_seconds((delay > 0).then(|| i32::try_from(delay).unwrap_or(900)));
        send.send().await.map(|_| ()).map_err(failed)
    }

    /// Sends a task to a FIFO queue, behind all others of its group. The same `deduplication` id within five minutes is
    /// sent once.
    ///
    /// # Errors
    /// `Unavailable` when SQS did not take it.
    pub async fn send_in_order(&self, task: &Task, group: &str, deduplication: &str) -> Result<()> {
        let send = self.client.send_message().queue_url(&self.url).message_body(body(task)?);
        send.message_group_id(group).message_deduplication_id(deduplication).send().await.map(|_| ()).map_err(failed)
    }

    /// Makes a received message visible again after `seconds`.
    ///
    /// # Errors
    /// `Unavailable` when SQS did not answer; the message then comes back by its visibility timeout.
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

/// Handles each message of a batch by itself and reports exactly those that failed (partial batch response). A panic fails
/// its message alone (R121). In a FIFO batch, what follows a failed message in its group is returned unhandled, so order
/// holds.
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

/// A message that must come back. Why has been logged where it happened.
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
    async fn a_message_that_panics_fails_alone() {
        let ids = ["1", "2", "panic", "3", "fail", "4", "5", "6", "7", "8"];
        assert_eq!(failed(ids.iter().map(|id| message(id, None)).collect()).await, ["panic", "fail"]);
    }

    #[tokio::test]
    async fn behind_a_failed_message_its_group_comes_back_unhandled_and_no_other() {
        let batch = [("1", "a"), ("fail", "a"), ("2", "b"), ("3", "a"), ("panic", "b"), ("4", "b"), ("5", "c")];
        let batch = batch.iter().map(|(id, group)| message(id, Some(group))).collect();
        assert_eq!(failed(batch).await, ["fail", "3", "panic", "4"]);
    }

    #[tokio::test]
    async fn an_empty_batch_and_one_without_failures_report_nothing() {
        assert!(failed(Vec::new()).await.is_empty());
        assert!(failed(vec![message("1", None), message("2", Some("a"))]).await.is_empty());
    }
}
