//! SQS: durable queues that keep its promises about visibility, order, deduplication and dead letters.
//!
//! An `AmazonSQS.*` call -> [`Queues::answer`] -> one of: attributes (queues themselves), send, receive, settle.

mod attributes;
mod digest;
mod receive;
mod send;
mod settle;

use std::sync::Arc;

use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

pub use attributes::Attributes;

use super::fault::Fault;
use super::state::State;
use crate::clock::Clock;
use crate::template::{ACCOUNT, REGION};

/// Tables of this service. `visible` is when a message may next be received; `claimed` says that it waits because
/// someone received it, and not because someone put it off.
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
    state: Arc<State>,
    clock: Clock,
    endpoint: String,
    /// Moves whenever a message may have become visible.
    arrivals: watch::Sender<u64>,
}

/// A queue that exists.
#[derive(Debug, Clone)]
struct Queue {
    name: String,
    attributes: Attributes,
}

impl Queues {
    /// The service over `state`; queue addresses start with `endpoint`.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn new(state: Arc<State>, clock: Clock, endpoint: String) -> Result<Self, Fault> {
        let queues = Self { state, clock, endpoint, arrivals: watch::Sender::new(0) };
        // Nobody who received a message before this start is still at work on it.
        queues.state.transact(|db| -> Result<_, Fault> {
            Ok(db.execute(
                "UPDATE messages SET visible = ?1, claimed = 0 WHERE claimed = 1 AND visible > ?1",
                [queues.clock.now()],
            )?)
        })?;
        Ok(queues)
    }

    /// Answers one call of the service's JSON protocol.
    ///
    /// # Errors
    /// What SQS would refuse.
    pub async fn answer(&self, action: &str, body: &[u8]) -> Result<Value, Fault> {
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
            other => Err(Fault::new("UnsupportedOperation", format!("the local cloud does not do {other}"))),
        }
    }

    /// Tells everyone waiting for messages to look again.
    pub fn announce(&self) {
        self.arrivals.send_modify(|count| *count += 1);
    }

    /// The messages of a queue as they stand, oldest first, without receiving them: for the desk.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn peek(&self, name: &str, limit: usize) -> Result<Vec<Value>, Fault> {
        let now = self.clock.now();
        self.state.transact(|db| {
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

impl Queue {
    /// The queue at `url`, expired messages and deduplications already gone.
    fn open(db: &Connection, url: &str, now: u64) -> Result<Self, Fault> {
        let name = url.rsplit('/').next().unwrap_or_default();
        let stored =
            db.query_row("SELECT attributes FROM queues WHERE name = ?1", [name], |row| row.get::<_, String>(0));
        let stored = stored.map_err(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => {
                Fault::new("QueueDoesNotExist", "The specified queue does not exist.")
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

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    Ok(serde_json::from_slice(body)?)
}
