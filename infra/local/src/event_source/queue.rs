//! An SQS queue as an event source: receives messages, filters them, invokes the function and deletes the messages that are
//! done.
//!
//! Failed messages become visible again when their visibility timeout expires; each receive counts towards `maxReceiveCount`.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::batch_response::{BatchResult, batch_result};
use super::fifo_groups::FifoGroupLocks;
use super::invoke::{Invoke, MAXIMUM_EVENT, PollMode};
use crate::aws_client::AwsClient;
use crate::http_client::CallError;
use crate::template::{QueueEvent, REGION};

/// Maximum number of messages in one SQS request.
const RECEIVE_LIMIT: usize = 10;
/// Maximum `WaitTimeSeconds` of SQS.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// One SQS event source.
#[derive(Debug)]
pub struct QueueEventSource {
    /// Binary of the function that is invoked.
    pub function: String,
    /// The event source as the template declares it.
    pub event: QueueEvent,
    /// URL of the queue.
    pub url: String,
    /// The queue's visibility timeout.
    pub visibility: Duration,
    /// The function's timeout.
    pub timeout: Duration,
    /// Locks on message groups, for a FIFO queue of an external endpoint.
    pub group_locks: Option<FifoGroupLocks>,
}

impl QueueEventSource {
    pub(super) async fn poll(
        &self,
        aws: &AwsClient,
        invoker: &impl Invoke,
        mode: PollMode,
    ) -> Result<usize, CallError> {
        let received = self.receive_batch(aws, mode).await?;
        let count = received.len();
        let admitted = self.return_locked(aws, received).await?;
        let returned = count - admitted.len();
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            admitted.into_iter().partition(|message| self.event.batching.filter.matches_message(&self.record(message)));
        self.delete(aws, &unwanted).await?;
        for batch in self.batches(wanted) {
            self.deliver(aws, invoker, &batch).await?;
        }
        Ok(count - returned)
    }

    /// Receives up to one batch of messages. In long-poll mode it waits for the first message, and then for the batching window.
    async fn receive_batch(&self, aws: &AwsClient, mode: PollMode) -> Result<Vec<Value>, CallError> {
        let size = self.event.batching.size;
        let first = if mode == PollMode::LongPoll { LONGEST_WAIT } else { Duration::ZERO };
        let mut messages = self.receive(aws, size, first).await?;
        let window_ends = tokio::time::Instant::now() + self.event.batching.window;
        while !messages.is_empty() && messages.len() < size {
            let mut left = Duration::ZERO;
            if mode == PollMode::LongPoll {
                left = window_ends.saturating_duration_since(tokio::time::Instant::now()).min(LONGEST_WAIT);
            }
            // `WaitTimeSeconds` is a whole number of seconds.
            if left < Duration::from_secs(1) {
                tokio::time::sleep(std::mem::take(&mut left)).await;
            }
            let received = self.receive(aws, size - messages.len(), left).await?;
            if received.is_empty() && left.is_zero() {
                break;
            }
            messages.extend(received);
        }
        Ok(messages)
    }

    async fn receive(&self, aws: &AwsClient, room: usize, wait: Duration) -> Result<Vec<Value>, CallError> {
        let mut request = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": room.min(RECEIVE_LIMIT),
            "WaitTimeSeconds": wait.as_secs(),
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        if let (Some(visibility), Some(fields)) = (self.extended_visibility(), request.as_object_mut()) {
            fields.insert("VisibilityTimeout".into(), visibility.as_secs().into());
        }
        let mut answer = aws.call("AmazonSQS.ReceiveMessage", &request).await?;
        Ok(match answer.get_mut("Messages").map(Value::take) {
            Some(Value::Array(messages)) => messages,
            _ => Vec::new(),
        })
    }

    /// A visibility timeout that covers the batching window and the function's timeout, where the queue's own is too short.
    fn extended_visibility(&self) -> Option<Duration> {
        let window = self.event.batching.window;
        let needed = window + self.timeout;
        (!window.is_zero() && needed > self.visibility).then_some(needed + Duration::from_secs(30))
    }

    /// Divides messages into batches that each fit into one event.
    fn batches(&self, messages: Vec<Value>) -> Vec<Vec<Value>> {
        let (mut batches, mut size) = (Vec::<Vec<Value>>::new(), 0);
        for message in messages {
            let length = self.record(&message).to_string().len() + 1;
            match batches.last_mut() {
                Some(batch) if size + length <= MAXIMUM_EVENT - 64 => batch.push(message),
                _ => {
                    batches.push(vec![message]);
                    size = 0;
                }
            }
            size += length;
        }
        batches
    }

    async fn deliver(&self, aws: &AwsClient, invoker: &impl Invoke, batch: &[Value]) -> Result<(), CallError> {
        let records: Vec<_> = batch.iter().map(|message| self.record(message)).collect();
        let answer = invoker.invoke(&self.function, json!({ "Records": records })).await;
        let identifiers: Vec<_> = batch.iter().map(|message| text(message, "MessageId")).collect();
        let failed = match batch_result(&answer, self.event.batching.reports_failures, &identifiers) {
            BatchResult::Success => BTreeSet::new(),
            BatchResult::PartialFailure(failed) => failed,
            BatchResult::Failure => identifiers.iter().map(|identifier| (*identifier).to_owned()).collect(),
        };
        let (failed, done): (Vec<_>, Vec<_>) =
            batch.iter().cloned().partition(|message| failed.contains(text(message, "MessageId")));
        self.release_groups(aws, &failed, &done);
        self.delete(aws, &done).await
    }

    /// Deletes messages. One that cannot be deleted becomes visible and is delivered again, as in AWS.
    async fn delete(&self, aws: &AwsClient, messages: &[Value]) -> Result<(), CallError> {
        for chunk in messages.chunks(RECEIVE_LIMIT) {
            let entries = chunk.iter().enumerate();
            let entries: Vec<_> = entries
                .map(|(at, message)| json!({ "Id": at.to_string(), "ReceiptHandle": message.get("ReceiptHandle") }))
                .collect();
            aws.call("AmazonSQS.DeleteMessageBatch", &json!({ "QueueUrl": self.url, "Entries": entries })).await?;
        }
        Ok(())
    }

    /// Returns messages of locked groups to the queue until the lock expires, and locks the groups of the other messages.
    async fn return_locked(&self, aws: &AwsClient, messages: Vec<Value>) -> Result<Vec<Value>, CallError> {
        let Some(locks) = &self.group_locks else { return Ok(messages) };
        let now = aws.clock.now();
        let result = locks.lock(messages, now, now + self.effective_visibility().as_secs() * 1000);
        for (message, until) in result.rejected {
            let request = json!({
                "QueueUrl": self.url,
                "ReceiptHandle": message.get("ReceiptHandle"),
                "VisibilityTimeout": until.saturating_sub(now).div_ceil(1000),
            });
            aws.call("AmazonSQS.ChangeMessageVisibility", &request).await?;
        }
        Ok(result.locked)
    }

    fn release_groups(&self, aws: &AwsClient, failed: &[Value], done: &[Value]) {
        if let Some(locks) = &self.group_locks {
            locks.release(failed, done, aws.clock.now() + self.effective_visibility().as_secs() * 1000);
        }
    }

    /// The visibility timeout that received messages get.
    fn effective_visibility(&self) -> Duration {
        self.extended_visibility().unwrap_or(self.visibility)
    }

    /// A message in the format of a Lambda event.
    fn record(&self, message: &Value) -> Value {
        let field = |name: &str| message.get(name).cloned();
        let attributes = field("MessageAttributes").unwrap_or_default();
        let attributes =
            attributes.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), attribute(value)));
        let mut record = json!({
            "messageId": field("MessageId"),
            "receiptHandle": field("ReceiptHandle"),
            "body": field("Body"),
            "attributes": field("Attributes").unwrap_or_else(|| json!({})),
            "messageAttributes": attributes.collect::<Map<_, _>>(),
            "md5OfBody": field("MD5OfBody"),
            "eventSource": "aws:sqs",
            "eventSourceARN": self.event.queue,
            "awsRegion": REGION,
        });
        if let (Some(digest), Some(fields)) = (field("MD5OfMessageAttributes"), record.as_object_mut()) {
            fields.insert("md5OfMessageAttributes".into(), digest);
        }
        record
    }
}

fn text<'a>(message: &'a Value, field: &str) -> &'a str {
    message.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn attribute(value: &Value) -> Value {
    let mut attribute = json!({ "stringListValues": [], "binaryListValues": [], "dataType": value.get("DataType") });
    if let Some(fields) = attribute.as_object_mut() {
        let parts = [("stringValue", "StringValue"), ("binaryValue", "BinaryValue")];
        fields
            .extend(parts.into_iter().filter_map(|(ours, theirs)| Some((ours.to_owned(), value.get(theirs)?.clone()))));
    }
    attribute
}
