//! The on-failure destination: a message that says which records of the stream were discarded, without their data.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::batcher::{DiscardReason, DiscardedBatch};
use super::reader::StreamRecord;
use crate::aws_client::AwsClient;
use crate::http_client::CallError;
use crate::template::{ACCOUNT, REGION};

/// A discarded batch, as it is reported.
pub struct FailureReport<'a> {
    /// Binary of the function that failed.
    pub function: &'a str,
    /// ARN of the stream.
    pub stream: &'a str,
    /// Id of the shard.
    pub shard: &'a str,
    /// The time, in milliseconds since the Unix epoch.
    pub now: u64,
    pub discarded: &'a DiscardedBatch,
    /// The records of the batch.
    pub records: &'a [&'a StreamRecord],
}

impl FailureReport<'_> {
    /// Sends the report to `queue` in Lambda's format. Records that the stream itself trimmed are not reported, as in AWS.
    pub async fn send(&self, aws: &AwsClient, queue: &str) -> Result<(), CallError> {
        let Some(body) = self.body() else { return Ok(()) };
        let request = json!({ "QueueUrl": queue, "MessageBody": body.to_string() });
        aws.call("AmazonSQS.SendMessage", &request).await.map(drop)
    }

    fn body(&self) -> Option<Value> {
        let Self { function, stream, shard, now, discarded, records } = self;
        let condition = match discarded.reason {
            DiscardReason::RetriesExhausted => "RetryAttemptsExhausted",
            DiscardReason::RecordTooOld => "RecordAgeExceeded",
            DiscardReason::Trimmed => return None,
        };
        let (first, last) = (records.first()?, records.last()?);
        Some(json!({
            "requestContext": {
                "requestId": Uuid::new_v4().to_string(),
                "functionArn": format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"),
                "condition": condition,
                "approximateInvokeCount": discarded.batch.invocations,
            },
            "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
            "version": "1.0",
            "timestamp": instant(*now),
            "DDBStreamBatchInfo": {
                "shardId": shard,
                "startSequenceNumber": first.sequence,
                "endSequenceNumber": last.sequence,
                "approximateArrivalOfFirstRecord": instant(first.created),
                "approximateArrivalOfLastRecord": instant(last.created),
                "batchSize": records.len(),
                "streamArn": stream,
            },
        }))
    }
}

fn instant(millis: u64) -> Value {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000);
    moment.ok().and_then(|moment| moment.format(&Rfc3339).ok()).into()
}
