//! From a queue to a function: receive, filter, invoke, delete exactly what is done.
//!
//! What failed is left alone: it comes back when its visibility timeout is over, and counts towards its dead-letter queue.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::answer::{Verdict, verdict};
use super::{Invoke, MAXIMUM_EVENT, Patience, Reach};
use crate::client::CallError;
use crate::template::{QueueEvent, REGION};

/// SQS hands out at most this many messages at once.
const RECEIVE_LIMIT: usize = 10;
/// Longest wait SQS offers.
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// One SQS event source.
#[derive(Debug)]
pub struct QueueMapping {
    /// Binary of the function that is called.
    pub function: String,
    /// What the template says of it.
    pub event: QueueEvent,
    /// Address of the queue.
    pub url: String,
    /// The queue's own visibility timeout.
    pub visibility: Duration,
    /// How long the function may take.
    pub timeout: Duration,
    /// Groups of a FIFO queue that are closed, for a queue that cannot be trusted to keep them closed itself.
    pub guard: Option<GroupGuard>,
}

/// Keeps a FIFO group closed while one of its messages is being worked on or waits for its retry.
#[derive(Debug, Default)]
pub struct GroupGuard {
    closed: Mutex<BTreeMap<String, Closed>>,
}

#[derive(Debug, Clone)]
struct Closed {
    /// The message the group waits for; nobody else may pass it.
    waits_for: String,
    until: u64,
}

impl QueueMapping {
    pub(super) async fn step(
        &self,
        reach: &Reach,
        invoker: &impl Invoke,
        patience: Patience,
    ) -> Result<usize, CallError> {
        let gathered = self.gather(reach, patience).await?;
        let found = gathered.len();
        let admitted = self.put_back_closed(reach, gathered).await?;
        let put_back = found - admitted.len();
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            admitted.into_iter().partition(|message| self.event.batching.filter.wants_message(&self.record(message)));
        self.delete(reach, &unwanted).await?;
        for batch in self.batches(wanted) {
            self.deliver(reach, invoker, &batch).await?;
        }
        Ok(found - put_back)
    }

    /// Receives up to a batch of messages. A patient gatherer waits for the first and then for the window to pass.
    async fn gather(&self, reach: &Reach, patience: Patience) -> Result<Vec<Value>, CallError> {
        let size = self.event.batching.size;
        let first = if patience == Patience::Patient { LONGEST_WAIT } else { Duration::ZERO };
        let mut messages = self.receive(reach, size, first).await?;
        let closes = tokio::time::Instant::now() + self.event.batching.window;
        while !messages.is_empty() && messages.len() < size {
            let mut left = Duration::ZERO;
            if patience == Patience::Patient {
                left = closes.saturating_duration_since(tokio::time::Instant::now()).min(LONGEST_WAIT);
            }
            // SQS waits whole seconds only.
            if left < Duration::from_secs(1) {
                tokio::time::sleep(std::mem::take(&mut left)).await;
            }
            let received = self.receive(reach, size - messages.len(), left).await?;
            if received.is_empty() && left.is_zero() {
                break;
            }
            messages.extend(received);
        }
        Ok(messages)
    }

    async fn receive(&self, reach: &Reach, room: usize, wait: Duration) -> Result<Vec<Value>, CallError> {
        let mut request = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": room.min(RECEIVE_LIMIT),
            "WaitTimeSeconds": wait.as_secs(),
            "AttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        if let (Some(visibility), Some(fields)) = (self.stretched_visibility(), request.as_object_mut()) {
            fields.insert("VisibilityTimeout".into(), visibility.as_secs().into());
        }
        let mut answer = reach.call("AmazonSQS.ReceiveMessage", &request).await?;
        Ok(match answer.get_mut("Messages").map(Value::take) {
            Some(Value::Array(messages)) => messages,
            _ => Vec::new(),
        })
    }

    /// A batch that waits in a window and then for its function must not come back meanwhile.
    fn stretched_visibility(&self) -> Option<Duration> {
        let window = self.event.batching.window;
        let needed = window + self.timeout;
        (!window.is_zero() && needed > self.visibility).then_some(needed + Duration::from_secs(30))
    }

    /// Cuts what was gathered into batches that fit into one event.
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

    async fn deliver(&self, reach: &Reach, invoker: &impl Invoke, batch: &[Value]) -> Result<(), CallError> {
        let records: Vec<_> = batch.iter().map(|message| self.record(message)).collect();
        let answer = invoker.invoke(&self.function, json!({ "Records": records })).await;
        let identifiers: Vec<_> = batch.iter().map(|message| text(message, "MessageId")).collect();
        let failed = match verdict(&answer, self.event.batching.reports_failures, &identifiers) {
            Verdict::Done => BTreeSet::new(),
            Verdict::Failed(failed) => failed,
            Verdict::AllFailed => identifiers.iter().map(|identifier| (*identifier).to_owned()).collect(),
        };
        let (left, done): (Vec<_>, Vec<_>) =
            batch.iter().cloned().partition(|message| failed.contains(text(message, "MessageId")));
        self.settle_groups(reach, &left, &done);
        self.delete(reach, &done).await
    }

    /// Deletes messages that are done. One that cannot be deleted comes back and is delivered again, as in AWS.
    async fn delete(&self, reach: &Reach, messages: &[Value]) -> Result<(), CallError> {
        for chunk in messages.chunks(RECEIVE_LIMIT) {
            let entries = chunk.iter().enumerate();
            let entries: Vec<_> = entries
                .map(|(at, message)| json!({ "Id": at.to_string(), "ReceiptHandle": message.get("ReceiptHandle") }))
                .collect();
            reach.call("AmazonSQS.DeleteMessageBatch", &json!({ "QueueUrl": self.url, "Entries": entries })).await?;
        }
        Ok(())
    }

    /// Puts messages of closed groups back for as long as their group stays closed, and closes the groups of the rest.
    async fn put_back_closed(&self, reach: &Reach, messages: Vec<Value>) -> Result<Vec<Value>, CallError> {
        let Some(guard) = &self.guard else { return Ok(messages) };
        let now = reach.clock.now();
        let (admitted, refused) = guard.admit(messages, now, now + self.claim().as_secs() * 1000);
        for (message, until) in refused {
            let request = json!({
                "QueueUrl": self.url,
                "ReceiptHandle": message.get("ReceiptHandle"),
                "VisibilityTimeout": until.saturating_sub(now).div_ceil(1000),
            });
            reach.call("AmazonSQS.ChangeMessageVisibility", &request).await?;
        }
        Ok(admitted)
    }

    fn settle_groups(&self, reach: &Reach, left: &[Value], done: &[Value]) {
        if let Some(guard) = &self.guard {
            guard.settle(left, done, reach.clock.now() + self.claim().as_secs() * 1000);
        }
    }

    /// How long a received message is ours.
    fn claim(&self) -> Duration {
        self.stretched_visibility().unwrap_or(self.visibility)
    }

    /// A message in the shape a function sees it.
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

impl GroupGuard {
    /// Tells apart the messages that may be delivered (their groups are closed from now on) and those that may not, each
    /// with the time its group opens again.
    fn admit(&self, messages: Vec<Value>, now: u64, until: u64) -> (Vec<Value>, Vec<(Value, u64)>) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.retain(|_, group| group.until > now);
        let (mut admitted, mut refused, mut ours) = (Vec::new(), Vec::new(), BTreeSet::new());
        for message in messages {
            let group = group_of(&message).to_owned();
            match closed.get(&group) {
                Some(closed) if !ours.contains(&group) && closed.waits_for != text(&message, "MessageId") => {
                    refused.push((message, closed.until));
                }
                _ => {
                    let waits_for = text(&message, "MessageId").to_owned();
                    closed.insert(group.clone(), Closed { waits_for, until });
                    ours.insert(group);
                    admitted.push(message);
                }
            }
        }
        (admitted, refused)
    }

    /// Opens the groups that are done, and keeps those with a failed message closed for everyone but that message.
    fn settle(&self, left: &[Value], done: &[Value], until: u64) {
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        for message in done {
            closed.remove(group_of(message));
        }
        for message in left.iter().rev() {
            let waits_for = text(message, "MessageId").to_owned();
            closed.insert(group_of(message).to_owned(), Closed { waits_for, until });
        }
    }
}

fn group_of(message: &Value) -> &str {
    message.pointer("/Attributes/MessageGroupId").and_then(Value::as_str).unwrap_or_default()
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
