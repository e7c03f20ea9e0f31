//! Shared by all tests: a cloud in memory with a standing clock, and functions that are closures.

use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use undercroft_local::{CallError, Clock, Data, FunctionError, Invoke, LocalCloud, Options, Template};

/// The time of the tests' clocks: 2026-01-01.
pub const NOW: u64 = 1_767_225_600;

pub type Answer = Result<String, FunctionError>;

/// Replaces all functions: responds with a closure and records the events.
pub struct Functions<F> {
    answer: F,
    seen: Mutex<Vec<(String, Value)>>,
}

impl<F: Fn(&Value) -> Answer + Send + Sync> Functions<F> {
    pub fn answering(answer: F) -> Self {
        Self { answer, seen: Mutex::default() }
    }

    /// The events of all calls so far, oldest first.
    pub fn events(&self) -> Vec<Value> {
        self.seen.lock().unwrap().iter().map(|(_, event)| event.clone()).collect()
    }

    /// The calls so far as lists of bodies (messages) or item ids (stream records).
    pub fn batches(&self) -> Vec<Vec<String>> {
        self.events().iter().map(labels).collect()
    }
}

impl<F: Fn(&Value) -> Answer + Send + Sync> Invoke for Functions<F> {
    async fn invoke(&self, function: &str, event: Value) -> Answer {
        self.seen.lock().unwrap().push((function.to_owned(), event.clone()));
        (self.answer)(&event)
    }
}

/// Body or item id of each record of an event.
pub fn labels(event: &Value) -> Vec<String> {
    let label = |record: &Value| {
        let label = record.pointer("/body").or_else(|| record.pointer("/dynamodb/Keys/id/S"));
        label.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    event["Records"].as_array().unwrap().iter().map(label).collect()
}

pub fn succeed(_: &Value) -> Answer {
    Ok("{}".into())
}

pub fn fail(_: &Value) -> Answer {
    Err(FunctionError("boom".into()))
}

/// A response that reports the records for which `failed` holds.
pub fn report(event: &Value, failed: impl Fn(&str) -> bool) -> Answer {
    let records = event["Records"].as_array().unwrap().iter().zip(labels(event));
    let items = records.filter(|(_, label)| failed(label)).map(|(record, _)| {
        let identifier = record.get("messageId").or_else(|| record.pointer("/dynamodb/SequenceNumber"));
        json!({ "itemIdentifier": identifier })
    });
    Ok(json!({ "batchItemFailures": items.collect::<Vec<_>>() }).to_string())
}

/// A cloud in memory with a standing clock.
pub async fn cloud(template: &str) -> LocalCloud {
    let template = Template::parse(template).unwrap();
    LocalCloud::start(Options { clock: Clock::standing_at(NOW), ..Options::in_memory(template) }).await.unwrap()
}

/// A cloud with a data folder.
pub async fn cloud_in(folder: &std::path::Path, template: &str, clock: Clock) -> LocalCloud {
    let template = Template::parse(template).unwrap();
    let data = Data::Folder(undercroft_local::DataFolder::open(folder).unwrap());
    LocalCloud::start(Options { clock, data, ..Options::in_memory(template) }).await.unwrap()
}

/// Polls all event sources until nothing moves.
pub async fn poll_until_idle(cloud: &LocalCloud, functions: &impl Invoke) {
    while cloud.pump(functions).await.unwrap() > 0 {}
}

/// Advances the clock, and then polls until nothing moves.
pub async fn poll_after(cloud: &LocalCloud, functions: &impl Invoke, wait: Duration) {
    cloud.advance(wait);
    poll_until_idle(cloud, functions).await;
}

/// A queue.
pub struct Queue<'a> {
    cloud: &'a LocalCloud,
    pub url: String,
}

impl<'a> Queue<'a> {
    /// The queue with this logical id, with `.fifo` for FIFO queues.
    pub async fn open(cloud: &'a LocalCloud, name: &str) -> Self {
        let request = json!({ "QueueName": format!("undercroft-local-{name}") });
        let answer = cloud.call("AmazonSQS.GetQueueUrl", &request).await.unwrap();
        Self { cloud, url: answer["QueueUrl"].as_str().unwrap().to_owned() }
    }

    pub async fn call(&self, action: &str, mut body: Value) -> Result<Value, CallError> {
        body["QueueUrl"] = self.url.clone().into();
        self.cloud.call(&format!("AmazonSQS.{action}"), &body).await
    }

    pub async fn send(&self, body: &str) {
        self.call("SendMessage", json!({ "MessageBody": body })).await.unwrap();
    }

    /// Sends to a FIFO queue, with the body as deduplication id.
    pub async fn send_in(&self, group: &str, body: &str) -> Value {
        let message = json!({ "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": body });
        self.call("SendMessage", message).await.unwrap()
    }

    /// Receives up to ten messages without waiting.
    pub async fn receive(&self) -> Vec<Value> {
        let request = json!({ "MaxNumberOfMessages": 10, "AttributeNames": ["All"], "MessageAttributeNames": ["All"] });
        let answer = self.call("ReceiveMessage", request).await.unwrap();
        answer.get("Messages").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    pub async fn receive_bodies(&self) -> Vec<String> {
        self.receive().await.iter().map(|message| message["Body"].as_str().unwrap().to_owned()).collect()
    }

    pub async fn delete(&self, message: &Value) -> Result<Value, CallError> {
        self.call("DeleteMessage", json!({ "ReceiptHandle": message["ReceiptHandle"] })).await
    }

    pub async fn change_visibility(&self, message: &Value, seconds: u64) -> Result<Value, CallError> {
        let request = json!({ "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": seconds });
        self.call("ChangeMessageVisibility", request).await
    }

    /// Visible, in flight and delayed.
    pub async fn depth(&self) -> [u64; 3] {
        let name = self.url.rsplit('/').next().unwrap();
        let depths = self.cloud.queue_depths().await.unwrap();
        let depth = depths.into_iter().find(|depth| depth.queue == name).unwrap();
        [depth.visible, depth.in_flight, depth.delayed]
    }
}

/// Writes an item with this id and number.
pub async fn put(cloud: &LocalCloud, id: &str, number: u32) {
    let item = json!({ "id": { "S": id }, "number": { "N": number.to_string() } });
    let request = json!({ "TableName": "undercroft-local-Things", "Item": item });
    cloud.call("DynamoDB_20120810.PutItem", &request).await.unwrap();
}
