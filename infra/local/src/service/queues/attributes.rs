//! Queues themselves: made, found, listed, described and removed.

use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::fault::Fault;
use super::{Queue, Queues, arn};

/// What a queue does with its messages. Times are in seconds, as SQS states them.
#[derive(Debug, Clone)]
pub struct Attributes {
    /// Whether order is kept within a group.
    pub fifo: bool,
    /// Whether a message without a deduplication id is known by its body.
    pub content_based: bool,
    /// Whether deduplication looks only within a group.
    pub deduplicates_within_group: bool,
    /// How long a received message stays out of sight.
    pub visibility: u64,
    /// How long a message is kept.
    pub retention: u64,
    /// How long a new message waits before it can be received.
    pub delay: u64,
    /// How long a receive waits for a message by default.
    pub wait: u64,
    /// Most bytes in a message.
    pub maximum_size: usize,
    /// Name of the dead-letter queue, and after how many receives a message goes there.
    pub redrive: Option<(String, u64)>,
}

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

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Create {
    queue_name: String,
    #[serde(default)]
    attributes: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ByName {
    queue_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ByUrl {
    queue_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct List {
    #[serde(default)]
    queue_name_prefix: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetAttributes {
    queue_url: String,
    #[serde(default)]
    attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SetAttributes {
    queue_url: String,
    attributes: Map<String, Value>,
}

impl Queues {
    pub(super) fn create(&self, request: Create) -> Result<Value, Fault> {
        let attributes = Attributes::parse(&request.attributes)?;
        check_name(&request.queue_name, attributes.fifo)?;
        self.state.transact(|db| {
            if let Some(existing) = stored_attributes(db, &request.queue_name)? {
                let differs = request.attributes.iter().any(|(name, value)| existing.get(name) != Some(value));
                if differs {
                    let why = "A queue already exists with the same name and a different value for an attribute.";
                    return Err(Fault::new("QueueNameExists", why));
                }
                return Ok(());
            }
            let row = (&request.queue_name, Value::Object(request.attributes.clone()).to_string(), self.clock.now());
            db.execute("INSERT INTO queues (name, attributes, created) VALUES (?1, ?2, ?3)", row)?;
            Ok(())
        })?;
        Ok(json!({ "QueueUrl": self.url(&request.queue_name) }))
    }

    pub(super) fn delete_queue(&self, request: &ByUrl) -> Result<Value, Fault> {
        self.state.transact(|db| {
            let queue = Queue::open(db, &request.queue_url, self.clock.now())?;
            for table in ["DELETE FROM messages WHERE queue = ?1", "DELETE FROM deduplications WHERE queue = ?1"] {
                db.execute(table, [&queue.name])?;
            }
            db.execute("DELETE FROM queues WHERE name = ?1", [&queue.name])?;
            Ok(json!({}))
        })
    }

    pub(super) fn url_of(&self, request: &ByName) -> Result<Value, Fault> {
        self.state.transact(|db| {
            let queue = Queue::open(db, &request.queue_name, self.clock.now())?;
            Ok(json!({ "QueueUrl": self.url(&queue.name) }))
        })
    }

    pub(super) fn list(&self, request: &List) -> Result<Value, Fault> {
        self.state.transact(|db| {
            let mut statement = db.prepare("SELECT name FROM queues ORDER BY name")?;
            let names = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            let wanted = names.iter().filter(|name| name.starts_with(&request.queue_name_prefix));
            Ok(json!({ "QueueUrls": wanted.map(|name| self.url(name)).collect::<Vec<_>>() }))
        })
    }

    pub(super) fn get_attributes(&self, request: &GetAttributes) -> Result<Value, Fault> {
        let asked = |name: &str| request.attribute_names.iter().any(|wanted| wanted == name || wanted == "All");
        self.state.transact(|db| {
            let now = self.clock.now();
            let queue = Queue::open(db, &request.queue_url, now)?;
            let mut all = queue.described();
            for (name, count) in depths(db, &queue.name, now)? {
                all.insert(name.into(), count.to_string().into());
            }
            all.retain(|name, _| asked(name));
            Ok(json!({ "Attributes": all }))
        })
    }

    pub(super) fn set_attributes(&self, request: SetAttributes) -> Result<Value, Fault> {
        self.state.transact(|db| {
            let queue = Queue::open(db, &request.queue_url, self.clock.now())?;
            let mut all = stored_attributes(db, &queue.name)?.unwrap_or_default();
            if request.attributes.get("FifoQueue").is_some_and(|flag| Some(flag) != all.get("FifoQueue")) {
                return Err(Fault::new("InvalidAttributeValue", "FifoQueue cannot be changed"));
            }
            all.extend(request.attributes.clone());
            // An empty value takes an attribute away, which is how a redrive policy is removed.
            all.retain(|_, value| value != "");
            Attributes::parse(&all)?;
            db.execute(
                "UPDATE queues SET attributes = ?2 WHERE name = ?1",
                (&queue.name, Value::Object(all).to_string()),
            )?;
            Ok(json!({}))
        })
    }

    pub(super) fn purge(&self, request: &ByUrl) -> Result<Value, Fault> {
        self.state.transact(|db| {
            let queue = Queue::open(db, &request.queue_url, self.clock.now())?;
            db.execute("DELETE FROM messages WHERE queue = ?1", [&queue.name])?;
            Ok(json!({}))
        })
    }
}

impl Queue {
    fn described(&self) -> Map<String, Value> {
        let attributes = &self.attributes;
        let mut all = Map::new();
        let mut put = |name: &str, value: String| all.insert(name.to_owned(), value.into());
        put("QueueArn", arn(&self.name));
        put("VisibilityTimeout", attributes.visibility.to_string());
        put("MessageRetentionPeriod", attributes.retention.to_string());
        put("DelaySeconds", attributes.delay.to_string());
        put("ReceiveMessageWaitTimeSeconds", attributes.wait.to_string());
        put("MaximumMessageSize", attributes.maximum_size.to_string());
        if attributes.fifo {
            put("FifoQueue", "true".into());
            put("ContentBasedDeduplication", attributes.content_based.to_string());
        }
        if let Some((target, count)) = &attributes.redrive {
            put("RedrivePolicy", json!({ "deadLetterTargetArn": arn(target), "maxReceiveCount": count }).to_string());
        }
        all
    }
}

impl Attributes {
    /// Reads a queue's attributes, with SQS's defaults for those not given.
    ///
    /// # Errors
    /// Names the attribute that is unknown or out of range.
    pub fn parse(given: &Map<String, Value>) -> Result<Self, Fault> {
        if let Some(stranger) = given.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(Fault::new("InvalidAttributeName", format!("Unknown Attribute {stranger}.")));
        }
        let is = |name: &str, value: &str| given.get(name).is_some_and(|given| given == value);
        let number = |name: &str, default: u64, allowed: std::ops::RangeInclusive<u64>| {
            let Some(value) = given.get(name) else { return Ok(default) };
            let number = value.as_str().and_then(|text| text.parse().ok()).filter(|number| allowed.contains(number));
            number
                .ok_or_else(|| Fault::new("InvalidAttributeValue", format!("Invalid value for the parameter {name}.")))
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

fn parse_redrive(policy: &Value) -> Result<(String, u64), Fault> {
    let invalid = || {
        Fault::new(
            "InvalidAttributeValue",
            "RedrivePolicy names a deadLetterTargetArn and a maxReceiveCount from 1 to 1000.",
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

fn check_name(name: &str, fifo: bool) -> Result<(), Fault> {
    let stem = name.strip_suffix(".fifo");
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let fits = (1..=80).contains(&name.len()) && stem.is_some() == fifo && is_plain(stem.unwrap_or(name));
    fits.then_some(()).ok_or_else(|| {
        Fault::invalid("QueueName", "letters, digits, - and _, at most 80, ending in .fifo exactly for FIFO")
    })
}

fn stored_attributes(db: &Connection, name: &str) -> Result<Option<Map<String, Value>>, Fault> {
    let stored: Option<String> =
        db.query_row("SELECT attributes FROM queues WHERE name = ?1", [name], |row| row.get(0)).optional()?;
    Ok(stored.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// How many messages can be received, are being worked on, and wait for their delay.
fn depths(db: &Connection, queue: &str, now: u64) -> Result<[(&'static str, u64); 3], Fault> {
    let count = |condition: &str| -> Result<u64, Fault> {
        let sql = format!("SELECT count(*) FROM messages WHERE queue = ?1 AND {condition}");
        Ok(db.query_row(&sql, (queue, now), |row| row.get(0))?)
    };
    Ok([
        ("ApproximateNumberOfMessages", count("visible <= ?2")?),
        ("ApproximateNumberOfMessagesNotVisible", count("visible > ?2 AND receives > 0")?),
        ("ApproximateNumberOfMessagesDelayed", count("visible > ?2 AND receives = 0")?),
    ])
}
