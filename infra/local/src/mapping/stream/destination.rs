//! The last word on a batch that was given up: a message to the on-failure queue that says where it stood, and no data.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::lane::{GivenUp, Reason};
use super::reader::Record;
use super::{StreamMapping, Turn};
use crate::client::CallError;
use crate::template::{ACCOUNT, REGION};

/// Tells `queue` of a batch given up, in Lambda's own words. What the stream itself has let go is not told.
pub async fn tell(
    turn: &Turn<'_>,
    queue: &str,
    mapping: &StreamMapping,
    given_up: &GivenUp,
    records: &[&Record],
) -> Result<(), CallError> {
    let condition = match given_up.reason {
        Reason::RetriesExhausted => "RetryAttemptsExhausted",
        Reason::TooOld => "RecordAgeExceeded",
        Reason::Trimmed => return Ok(()),
    };
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return Ok(()) };
    let body = json!({
        "requestContext": {
            "requestId": Uuid::new_v4().to_string(),
            "functionArn": format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", mapping.function),
            "condition": condition,
            "approximateInvokeCount": given_up.part.invocations,
        },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "version": "1.0",
        "timestamp": instant(turn.now),
        "DDBStreamBatchInfo": {
            "shardId": turn.shard,
            "startSequenceNumber": first.sequence,
            "endSequenceNumber": last.sequence,
            "approximateArrivalOfFirstRecord": instant(first.created),
            "approximateArrivalOfLastRecord": instant(last.created),
            "batchSize": records.len(),
            "streamArn": mapping.event.stream,
        },
    });
    let request = json!({ "QueueUrl": queue, "MessageBody": body.to_string() });
    turn.reach.call("AmazonSQS.SendMessage", &request).await.map(drop)
}

fn instant(millis: u64) -> Value {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000);
    moment.ok().and_then(|moment| moment.format(&Rfc3339).ok()).into()
}
