//! Reads a stream through the DynamoDB Streams API: its shards, and their records in the format of a Lambda event.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use crate::aws_client::AwsClient;
use crate::http_client::CallError;
use crate::template::REGION;

/// A shard as `DescribeStream` returns it.
#[derive(Debug, Clone)]
pub struct ShardDescription {
    pub id: String,
    pub parent: Option<String>,
}

/// One change of an item.
#[derive(Debug, Clone)]
pub struct StreamRecord {
    /// Sequence number.
    pub sequence: String,
    /// When the change was written, in milliseconds since the Unix epoch.
    pub created: u64,
    /// Hash of the item's key: equal for all changes of one item.
    pub key: u64,
    /// The record in the format of a Lambda event.
    pub value: Value,
    /// Size of `value` in bytes.
    pub size: usize,
}

/// One result of `GetRecords`.
pub struct RecordPage {
    pub records: Vec<StreamRecord>,
    /// The next shard iterator; `None` at the end of a closed shard.
    pub next: Option<String>,
}

/// All shards of a stream.
pub async fn describe_shards(aws: &AwsClient, stream: &str) -> Result<Vec<ShardDescription>, CallError> {
    let (mut found, mut start) = (Vec::new(), Value::Null);
    loop {
        let mut request = json!({ "StreamArn": stream });
        if let (false, Some(fields)) = (start.is_null(), request.as_object_mut()) {
            fields.insert("ExclusiveStartShardId".into(), start);
        }
        let answer = aws.call("DynamoDBStreams_20120810.DescribeStream", &request).await?;
        let shards = answer.pointer("/StreamDescription/Shards").and_then(Value::as_array);
        found.extend(shards.into_iter().flatten().map(|shard| ShardDescription {
            id: text(shard, "ShardId"),
            parent: shard.get("ParentShardId").and_then(Value::as_str).map(str::to_owned),
        }));
        start = answer.pointer("/StreamDescription/LastEvaluatedShardId").cloned().unwrap_or_default();
        if start.is_null() {
            return Ok(found);
        }
    }
}

/// An iterator that starts after the sequence number `after`, or at the shard's oldest record.
pub async fn shard_iterator(
    aws: &AwsClient,
    stream: &str,
    shard: &str,
    after: Option<&str>,
) -> Result<Option<String>, CallError> {
    let request = match after {
        Some(sequence) => json!({
            "StreamArn": stream, "ShardId": shard,
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": sequence,
        }),
        None => json!({ "StreamArn": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" }),
    };
    let answer = aws.call("DynamoDBStreams_20120810.GetShardIterator", &request).await;
    match answer {
        Ok(answer) => Ok(answer.get("ShardIterator").and_then(Value::as_str).map(str::to_owned)),
        // The record at this position was trimmed: continue with the oldest record that is left.
        Err(error) if error.is("TrimmedDataAccessException") && after.is_some() => {
            Box::pin(shard_iterator(aws, stream, shard, None)).await
        }
        Err(error) => Err(error),
    }
}

/// Up to `limit` records at the iterator.
pub async fn get_records(aws: &AwsClient, stream: &str, iterator: &str, limit: usize) -> Result<RecordPage, CallError> {
    let request = json!({ "ShardIterator": iterator, "Limit": limit.clamp(1, 1000) });
    let answer = aws.call("DynamoDBStreams_20120810.GetRecords", &request).await?;
    let records = answer.get("Records").and_then(Value::as_array).into_iter().flatten();
    Ok(RecordPage {
        records: records.map(|record| StreamRecord::read(record, stream)).collect(),
        next: answer.get("NextShardIterator").and_then(Value::as_str).map(str::to_owned),
    })
}

/// The sequence number of the newest record in a shard.
pub async fn last_sequence(aws: &AwsClient, stream: &str, shard: &str) -> Result<Option<String>, CallError> {
    let mut at = shard_iterator(aws, stream, shard, None).await?;
    let mut last = None;
    while let Some(iterator) = at {
        let page = get_records(aws, stream, &iterator, 1000).await?;
        let Some(record) = page.records.last() else { break };
        last = Some(record.sequence.clone());
        at = page.next;
    }
    Ok(last)
}

impl StreamRecord {
    fn read(record: &Value, stream: &str) -> Self {
        let change = record.get("dynamodb").cloned().unwrap_or_default();
        let keys = change.get("Keys").map(Value::to_string).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        keys.hash(&mut hasher);
        let created = change.get("ApproximateCreationDateTime").and_then(Value::as_f64).unwrap_or_default();
        let value = event_record(record, &change, stream);
        Self {
            sequence: text(&change, "SequenceNumber"),
            created: std::time::Duration::from_secs_f64(created.max(0.0)).as_millis().try_into().unwrap_or(u64::MAX),
            key: hasher.finish(),
            size: value.to_string().len() + 1,
            value,
        }
    }
}

fn event_record(record: &Value, change: &Value, stream: &str) -> Value {
    let mut event = json!({
        "eventID": record.get("eventID"),
        "eventName": record.get("eventName"),
        "eventVersion": record.get("eventVersion"),
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": change,
        "eventSourceARN": stream,
    });
    // Set when DynamoDB's time to live removed the item. Emulators differ in the case of its fields; functions expect one.
    if let (Some(identity), Some(fields)) =
        (record.get("userIdentity").filter(|identity| !identity.is_null()), event.as_object_mut())
    {
        let part = |small: &str, large: &str| identity.get(small).or_else(|| identity.get(large)).cloned();
        let identity = json!({ "type": part("type", "Type"), "principalId": part("principalId", "PrincipalId") });
        fields.insert("userIdentity".into(), identity);
    }
    event
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}
