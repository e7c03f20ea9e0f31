//! The attributes of a queue.

use serde_json::{Map, Value};

use crate::aws_error::AwsError;

/// The attributes of a queue. Times are in seconds, as in SQS.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// `FifoQueue`
    pub fifo: bool,
    /// `ContentBasedDeduplication`
    pub content_based: bool,
    /// Whether `DeduplicationScope` is `messageGroup`.
    pub deduplicates_within_group: bool,
    /// `VisibilityTimeout`
    pub visibility: u64,
    /// `MessageRetentionPeriod`
    pub retention: u64,
    /// `DelaySeconds`
    pub delay: u64,
    /// `ReceiveMessageWaitTimeSeconds`
    pub wait: u64,
    /// `MaximumMessageSize` in bytes.
    pub maximum_size: usize,
    /// `RedrivePolicy`: name of the dead-letter queue, and `maxReceiveCount`.
    pub redrive: Option<(String, u64)>,
}

/// Names of all supported attributes.
const KNOWN: &[&str] = &[
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

impl Attributes {
    /// Reads a queue's attributes, with SQS's defaults for those not given.
    ///
    /// # Errors
    /// An attribute is unknown or its value is invalid.
    pub fn parse(given: &Map<String, Value>) -> Result<Self, AwsError> {
        if let Some(unknown) = given.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(AwsError::new("InvalidAttributeName", format!("Unknown Attribute {unknown}.")));
        }
        let is = |name: &str, value: &str| given.get(name).is_some_and(|given| given == value);
        let number = |name: &str, default: u64, allowed: std::ops::RangeInclusive<u64>| {
            let Some(value) = given.get(name) else { return Ok(default) };
            let number = value.as_str().and_then(|text| text.parse().ok()).filter(|number| allowed.contains(number));
            number.ok_or_else(|| {
                AwsError::new("InvalidAttributeValue", format!("Invalid value for the parameter {name}."))
            })
        };
        Ok(Self {
            fifo: is("FifoQueue", "true"),
            content_based: is("ContentBasedDeduplication", "true"),
            deduplicates_within_group: is("DeduplicationScope", "messageGroup"),
            visibility: number("VisibilityTimeout", 30, 0..=43_200)?,
            retention: number("MessageRetentionPeriod", 345_600, 60..=1_209_600)?,
            delay: number("DelaySeconds", 0, 0..=900)?,
            wait: number("ReceiveMessageWaitTimeSeconds", 0, 0..=20)?,
            maximum_size: usize::try_from(number("MaximumMessageSize", 1_048_576, 1_024..=1_048_576)?)
                .unwrap_or(usize::MAX),
            redrive: given.get("RedrivePolicy").map(parse_redrive).transpose()?,
        })
    }
}

fn parse_redrive(policy: &Value) -> Result<(String, u64), AwsError> {
    let invalid = || {
        AwsError::new(
            "InvalidAttributeValue",
            "RedrivePolicy must have a deadLetterTargetArn and a maxReceiveCount from 1 to 1000.",
        )
    };
    let policy: Value = serde_json::from_str(policy.as_str().unwrap_or_default()).map_err(|_| invalid())?;
    let target = policy.get("deadLetterTargetArn").and_then(Value::as_str).and_then(|arn| arn.rsplit(':').next());
    let count = policy.get("maxReceiveCount");
    let count = count.and_then(|count| count.as_u64().or_else(|| count.as_str()?.parse().ok()));
    match (target, count) {
        (Some(target), Some(count @ 1..=1000)) => Ok((target.to_owned(), count)),
        _ => Err(invalid()),
    }
}
