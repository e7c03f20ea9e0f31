//! Reading a stream over its API: which shards there are, and their records in the shape a function sees them.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value, json};

use super::super::Reach;
use crate::client::CallError;
use crate::template::REGION;

/// A shard as the stream describes it.
#[derive(Debug, Clone)]
pub struct Found {
    pub id: String,
    pub parent: Option<String>,
}

/// One change, ready for a function.
#[derive(Debug, Clone)]
pub struct Record {
    pub sequence: String,
    /// When it was written, in milliseconds since the epoch.
    pub created: u64,
    /// Same for all changes of one item.
    pub key: u64,
    pub value: Value,
    pub size: usize,
}

/// Some records, and where to read on; `None` at the end of a closed shard.
pub struct Page {
    pub records: Vec<Record>,
    pub next: Option<String>,
}

/// All shards of a stream.
pub async fn describe(reach: &Reach, stream: &str) -> Result<Vec<Found>, CallError> {
    let (mut found, mut start) = (Vec::new(), Value::Null);
    loop {
        let mut request = json!({ "StreamArn": stream });
        if let (false, Some(fields)) = (start.is_null(), request.as_object_mut()) {
            fields.insert("ExclusiveStartShardId".into(), start);
        }
        let answer = reach.call("DynamoDBStreams_20120810.DescribeStream", &request).await?;
        let shards = answer.pointer("/StreamDescription/Shards").and_then(Value::as_array);
        found.extend(shards.into_iter().flatten().map(|shard| Found {
            id: text(shard, "ShardId"),
            parent: shard.get("ParentShardId").and_then(Value::as_str).map(str::to_owned),
        }));
        start = answer.pointer("/StreamDescription/LastEvaluatedShardId").cloned().unwrap_or_default();
        if start.is_null() {
            return Ok(found);
        }
    }
}

/// A place to read a shard from: after `sequence`, or its oldest record.
pub async fn iterator(
    reach: &Reach,
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
    let answer = reach.call("DynamoDBStreams_20120810.GetShardIterator", &request).await;
    match answer {
        Ok(answer) => Ok(answer.get("ShardIterator").and_then(Value::as_str).map(str::to_owned)),
        // What stood there has been trimmed; the oldest record left is the next one.
        Err(error) if error.is("TrimmedDataAccessException") && after.is_some() => {
            Box::pin(iterator(reach, stream, shard, None)).await
        }
        Err(error) => Err(error),
    }
}

/// The records at `iterator`, at most `limit`.
pub async fn page(reach: &Reach, stream: &str, iterator: &str, limit: usize) -> Result<Page, CallError> {
    let request = json!({ "ShardIterator": iterator, "Limit": limit.clamp(1, 1000) });
    let answer = reach.call("DynamoDBStreams_20120810.GetRecords", &request).await?;
    let records = answer.get("Records").and_then(Value::as_array).into_iter().flatten();
    Ok(Page {
        records: records.map(|record| Record::read(record, stream)).collect(),
        next: answer.get("NextShardIterator").and_then(Value::as_str).map(str::to_owned),
    })
}

/// The sequence number of the newest record a shard has now.
pub async fn last_sequence(reach: &Reach, stream: &str, shard: &str) -> Result<Option<String>, CallError> {
    let mut at = iterator(reach, stream, shard, None).await?;
    let mut last = None;
    while let Some(iterator) = at {
        let page = page(reach, stream, &iterator, 1000).await?;
        let Some(record) = page.records.last() else { break };
        last = Some(record.sequence.clone());
        at = page.next;
    }
    Ok(last)
}

impl Record {
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
    // Present where DynamoDB itself removed the item. Emulators disagree on how its fields are spelt; functions do not.
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
