//! The number of messages in each queue, for the dashboard and for tests.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::aws_client::AwsClient;
use crate::deploy::DeployedQueue;
use crate::http_client::CallError;

/// The number of messages in a queue.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueDepth {
    /// Physical name.
    pub queue: String,
    /// Messages that can be received.
    pub visible: u64,
    /// Messages that were received, are not deleted and not visible again.
    pub in_flight: u64,
    /// New messages whose delay has not passed.
    pub delayed: u64,
    /// Messages in this queue's dead-letter queue.
    pub dead: u64,
    /// Whether this is another queue's dead-letter queue.
    pub is_dead_letter_queue: bool,
}

/// Counts the messages of each queue.
pub(crate) async fn count_messages(aws: &AwsClient, queues: &[DeployedQueue]) -> Result<Vec<QueueDepth>, CallError> {
    let mut counts = BTreeMap::new();
    for queue in queues {
        counts.insert(queue.arn.as_str(), count(aws, &queue.url).await?);
    }
    let count_of = |arn: &str| counts.get(arn).copied().unwrap_or_default();
    let targets: Vec<_> = queues.iter().filter_map(|queue| queue.dead_letters.as_deref()).collect();
    let depths = queues.iter().map(|queue| {
        let [visible, in_flight, delayed] = count_of(&queue.arn);
        QueueDepth {
            queue: queue.name.clone(),
            visible,
            in_flight,
            delayed,
            dead: queue.dead_letters.as_deref().map_or(0, |arn| count_of(arn).iter().sum()),
            is_dead_letter_queue: targets.contains(&queue.arn.as_str()),
        }
    });
    Ok(depths.collect())
}

async fn count(aws: &AwsClient, url: &str) -> Result<[u64; 3], CallError> {
    let request = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
    let answer = aws.call("AmazonSQS.GetQueueAttributes", &request).await?;
    let messages = |suffix: &str| {
        let pointer = format!("/Attributes/ApproximateNumberOfMessages{suffix}");
        answer.pointer(&pointer).and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    Ok([messages(""), messages("NotVisible"), messages("Delayed")])
}
