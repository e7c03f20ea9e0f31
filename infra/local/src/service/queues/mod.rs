//! SQS: durable queues with visibility timeouts, FIFO order, deduplication and dead-letter queues.
//!
//! An `AmazonSQS.*` call -> [`Queues::call`] -> `management` (queues), `send`, `receive` or `in_flight` (delete and visibility).

mod attributes;
mod digest;
mod in_flight;
mod management;
mod receive;
mod send;

use std::sync::Arc;

use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::aws_error::AwsError;
use crate::clock::Clock;
use crate::database::Database;
use crate::template::{ACCOUNT, REGION};
use attributes::Attributes;

/// Tables of this service. `visible` is when a message becomes visible; `claimed` is set while it is in flight and its
/// visibility timeout was not changed by `ChangeMessageVisibility`.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS queues (name TEXT PRIMARY KEY, attributes TEXT NOT NULL, created INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS messages (
        position INTEGER PRIMARY KEY AUTOINCREMENT,
        queue TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL, attributes TEXT NOT NULL, trace TEXT,
        message_group TEXT, deduplication TEXT, sequence TEXT,
        sent INTEGER NOT NULL, visible INTEGER NOT NULL, receives INTEGER NOT NULL DEFAULT 0,
        first_received INTEGER, receipt TEXT, claimed INTEGER NOT NULL DEFAULT 0, dead_from TEXT);
    CREATE INDEX IF NOT EXISTS messages_in_order ON messages (queue, position);
    CREATE INDEX IF NOT EXISTS messages_by_age ON messages (queue, sent);
    CREATE INDEX IF NOT EXISTS messages_by_visibility ON messages (queue, visible);
    CREATE INDEX IF NOT EXISTS messages_by_receipt ON messages (receipt) WHERE receipt IS NOT NULL;
    CREATE INDEX IF NOT EXISTS messages_by_id ON messages (id);
    CREATE TABLE IF NOT EXISTS deduplications (
        queue TEXT NOT NULL, key TEXT NOT NULL, message TEXT NOT NULL, sequence TEXT NOT NULL, until INTEGER NOT NULL,
        PRIMARY KEY (queue, key));
";

/// The service.
#[derive(Debug)]
pub struct Queues {
    database: Arc<Database>,
    clock: Clock,
    endpoint: String,
    /// Changes whenever a message may have become visible.
    changes: watch::Sender<u64>,
}

/// A queue in the database.
#[derive(Debug, Clone)]
struct StoredQueue {
    name: String,
    attributes: Attributes,
}

impl Queues {
    /// The service over `database`; queue URLs start with `endpoint`.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn new(database: Arc<Database>, clock: Clock, endpoint: String) -> Result<Self, AwsError> {
        let queues = Self { database, clock, endpoint, changes: watch::Sender::new(0) };
        // Consumers that received messages before this start no longer run: their messages become visible.
        queues.database.transact(|db| -> Result<_, AwsError> {
            Ok(db.execute(
                "UPDATE messages SET visible = ?1, claimed = 0 WHERE claimed = 1 AND visible > ?1",
                [queues.clock.now()],
            )?)
        })?;
        Ok(queues)
    }

    /// Performs one call of the service's JSON protocol.
    ///
    /// # Errors
    /// SQS's errors.
    pub async fn call(&self, action: &str, body: &[u8]) -> Result<Value, AwsError> {
        match action {
            "CreateQueue" => self.create(read(body)?),
            "DeleteQueue" => self.delete_queue(&read(body)?),
            "GetQueueUrl" => self.url_of(&read(body)?),
            "ListQueues" => self.list(&read(body)?),
            "GetQueueAttributes" => self.get_attributes(&read(body)?),
            "SetQueueAttributes" => self.set_attributes(read(body)?),
            "PurgeQueue" => self.purge(&read(body)?),
            "SendMessage" => self.send(read(body)?),
            "SendMessageBatch" => self.send_batch(read(body)?),
            "ReceiveMessage" => self.receive(read(body)?).await,
            "DeleteMessage" => self.delete(&read(body)?),
            "DeleteMessageBatch" => self.delete_batch(read(body)?),
            "ChangeMessageVisibility" => self.change_visibility(&read(body)?),
            "ChangeMessageVisibilityBatch" => self.change_visibility_batch(read(body)?),
            other => Err(AwsError::new("UnsupportedOperation", format!("the local SQS does not support {other}"))),
        }
    }

    /// Wakes all `ReceiveMessage` calls that wait for messages.
    pub fn notify_receivers(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Up to `limit` messages of a queue, oldest first, without receiving them, for the dashboard.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn peek(&self, name: &str, limit: usize) -> Result<Vec<Value>, AwsError> {
        let now = self.clock.now();
        self.database.transact(|db| {
            let mut statement = db.prepare(
                "SELECT id, body, message_group, sent, visible, receives FROM messages WHERE queue = ?1 ORDER BY position LIMIT ?2",
            )?;
            let rows = statement.query_map((name, limit), |row| {
                let visible: u64 = row.get("visible")?;
                Ok(json!({
                    "messageId": row.get::<_, String>("id")?,
                    "body": row.get::<_, String>("body")?,
                    "group": row.get::<_, Option<String>>("message_group")?,
                    "sentAt": row.get::<_, u64>("sent")?,
                    "visibleInSeconds": visible.saturating_sub(now).div_ceil(1000),
                    "receives": row.get::<_, u64>("receives")?,
                }))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.endpoint)
    }
}

impl StoredQueue {
    /// The queue with this URL, after its expired messages were deleted.
    fn open(db: &Connection, url: &str, now: u64) -> Result<Self, AwsError> {
        let name = url.rsplit('/').next().unwrap_or_default();
        let stored =
            db.query_row("SELECT attributes FROM queues WHERE name = ?1", [name], |row| row.get::<_, String>(0));
        let stored = stored.map_err(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => {
                AwsError::new("QueueDoesNotExist", "The specified queue does not exist.")
            }
            other => other.into(),
        })?;
        let queue = Self { name: name.to_owned(), attributes: Attributes::parse(&serde_json::from_str(&stored)?)? };
        let oldest = now.saturating_sub(queue.attributes.retention * 1000);
        db.prepare_cached("DELETE FROM messages WHERE queue = ?1 AND sent < ?2")?.execute((&queue.name, oldest))?;
        Ok(queue)
    }
}

/// The ARN of the queue with this name.
pub fn arn(name: &str) -> String {
    format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}")
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, AwsError> {
    Ok(serde_json::from_slice(body)?)
}
