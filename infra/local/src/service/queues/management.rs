//! Operations on queues: create, find, list, describe, change, purge and delete.

use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::attributes::Attributes;
use super::{Queues, StoredQueue, arn};
use crate::aws_error::AwsError;

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
    pub(super) fn create(&self, request: Create) -> Result<Value, AwsError> {
        let attributes = Attributes::parse(&request.attributes)?;
        check_name(&request.queue_name, attributes.fifo)?;
        self.database.transact(|db| {
            if let Some(existing) = stored_attributes(db, &request.queue_name)? {
                let differs = request.attributes.iter().any(|(name, value)| existing.get(name) != Some(value));
                if differs {
                    let why = "A queue already exists with the same name and a different value for an attribute.";
                    return Err(AwsError::new("QueueNameExists", why));
                }
                return Ok(());
            }
            let row = (&request.queue_name, Value::Object(request.attributes.clone()).to_string(), self.clock.now());
            db.execute("INSERT INTO queues (name, attributes, created) VALUES (?1, ?2, ?3)", row)?;
            Ok(())
        })?;
        Ok(json!({ "QueueUrl": self.url(&request.queue_name) }))
    }

    pub(super) fn delete_queue(&self, request: &ByUrl) -> Result<Value, AwsError> {
        self.database.transact(|db| {
            let queue = StoredQueue::open(db, &request.queue_url, self.clock.now())?;
            for table in ["DELETE FROM messages WHERE queue = ?1", "DELETE FROM deduplications WHERE queue = ?1"] {
                db.execute(table, [&queue.name])?;
            }
            db.execute("DELETE FROM queues WHERE name = ?1", [&queue.name])?;
            Ok(json!({}))
        })
    }

    pub(super) fn url_of(&self, request: &ByName) -> Result<Value, AwsError> {
        self.database.transact(|db| {
            let queue = StoredQueue::open(db, &request.queue_name, self.clock.now())?;
            Ok(json!({ "QueueUrl": self.url(&queue.name) }))
        })
    }

    pub(super) fn list(&self, request: &List) -> Result<Value, AwsError> {
        self.database.transact(|db| {
            let mut statement = db.prepare("SELECT name FROM queues ORDER BY name")?;
            let names = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            let wanted = names.iter().filter(|name| name.starts_with(&request.queue_name_prefix));
            Ok(json!({ "QueueUrls": wanted.map(|name| self.url(name)).collect::<Vec<_>>() }))
        })
    }

    pub(super) fn get_attributes(&self, request: &GetAttributes) -> Result<Value, AwsError> {
        let asked = |name: &str| request.attribute_names.iter().any(|wanted| wanted == name || wanted == "All");
        self.database.transact(|db| {
            let now = self.clock.now();
            let queue = StoredQueue::open(db, &request.queue_url, now)?;
            let mut all = queue.described();
            for (name, count) in message_counts(db, &queue.name, now)? {
                all.insert(name.into(), count.to_string().into());
            }
            all.retain(|name, _| asked(name));
            Ok(json!({ "Attributes": all }))
        })
    }

    pub(super) fn set_attributes(&self, request: SetAttributes) -> Result<Value, AwsError> {
        self.database.transact(|db| {
            let queue = StoredQueue::open(db, &request.queue_url, self.clock.now())?;
            let mut all = stored_attributes(db, &queue.name)?.unwrap_or_default();
            if request.attributes.get("FifoQueue").is_some_and(|flag| Some(flag) != all.get("FifoQueue")) {
                return Err(AwsError::new("InvalidAttributeValue", "FifoQueue cannot be changed"));
            }
            all.extend(request.attributes.clone());
            // An empty value removes an attribute, such as a redrive policy.
            all.retain(|_, value| value != "");
            Attributes::parse(&all)?;
            db.execute(
                "UPDATE queues SET attributes = ?2 WHERE name = ?1",
                (&queue.name, Value::Object(all).to_string()),
            )?;
            Ok(json!({}))
        })
    }

    pub(super) fn purge(&self, request: &ByUrl) -> Result<Value, AwsError> {
        self.database.transact(|db| {
            let queue = StoredQueue::open(db, &request.queue_url, self.clock.now())?;
            db.execute("DELETE FROM messages WHERE queue = ?1", [&queue.name])?;
            Ok(json!({}))
        })
    }
}

impl StoredQueue {
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

fn check_name(name: &str, fifo: bool) -> Result<(), AwsError> {
    let stem = name.strip_suffix(".fifo");
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let fits = (1..=80).contains(&name.len()) && stem.is_some() == fifo && is_plain(stem.unwrap_or(name));
    fits.then_some(()).ok_or_else(|| {
        AwsError::invalid(
            "QueueName",
            "must have 1 to 80 letters, digits, hyphens and underscores, and end with .fifo only if the queue is FIFO",
        )
    })
}

fn stored_attributes(db: &Connection, name: &str) -> Result<Option<Map<String, Value>>, AwsError> {
    let stored: Option<String> =
        db.query_row("SELECT attributes FROM queues WHERE name = ?1", [name], |row| row.get(0)).optional()?;
    Ok(stored.map(|text| serde_json::from_str(&text)).transpose()?)
}

/// The number of messages that are visible, in flight, and delayed.
fn message_counts(db: &Connection, queue: &str, now: u64) -> Result<[(&'static str, u64); 3], AwsError> {
    let count = |condition: &str| -> Result<u64, AwsError> {
        let sql = format!("SELECT count(*) FROM messages WHERE queue = ?1 AND {condition}");
        Ok(db.query_row(&sql, (queue, now), |row| row.get(0))?)
    };
    Ok([
        ("ApproximateNumberOfMessages", count("visible <= ?2")?),
        ("ApproximateNumberOfMessagesNotVisible", count("visible > ?2 AND receives > 0")?),
        ("ApproximateNumberOfMessagesDelayed", count("visible > ?2 AND receives = 0")?),
    ])
}
