//! `ReceiveMessage`: visible messages, in order within a group, and none of a group with messages in flight.

use std::time::Duration;

use rusqlite::{Connection, Row};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Queues, StoredQueue, arn, digest, send};
use crate::aws_error::AwsError;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Receive {
    queue_url: String,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
    max_number_of_messages: Option<usize>,
    visibility_timeout: Option<u64>,
    wait_time_seconds: Option<u64>,
}

struct StoredMessage {
    position: i64,
    id: String,
    body: String,
    attributes: String,
    trace: Option<String>,
    group: Option<String>,
    deduplication: Option<String>,
    sequence: Option<String>,
    sent: u64,
    receives: u64,
    first_received: Option<u64>,
    dead_from: Option<String>,
}

impl Queues {
    pub(super) async fn receive(&self, request: Receive) -> Result<Value, AwsError> {
        let limit = request.max_number_of_messages.unwrap_or(1);
        if !(1..=10).contains(&limit) {
            return Err(AwsError::invalid("MaxNumberOfMessages", "must be from 1 to 10"));
        }
        let mut changes = self.changes.subscribe();
        let mut deadline = None;
        loop {
            let (messages, wait, next_visible) = self.receive_now(&request, limit)?;
            let deadline = *deadline.get_or_insert_with(|| tokio::time::Instant::now() + Duration::from_secs(wait));
            if !messages.is_empty() {
                return Ok(json!({ "Messages": messages }));
            }
            // A closed channel means that the cloud is stopped.
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return Ok(json!({})),
                changed = changes.changed() => if changed.is_err() { return Ok(json!({})) },
                () = tokio::time::sleep(next_visible) => {}
            }
        }
    }

    /// The messages that can be received now, how long the caller waits, and when the next message becomes visible.
    fn receive_now(&self, request: &Receive, limit: usize) -> Result<(Vec<Value>, u64, Duration), AwsError> {
        let now = self.clock.now();
        self.database.transact(|db| {
            let queue = StoredQueue::open(db, &request.queue_url, now)?;
            let visibility = request.visibility_timeout.unwrap_or(queue.attributes.visibility);
            let wait = request.wait_time_seconds.unwrap_or(queue.attributes.wait);
            if visibility > 43_200 || wait > 20 {
                return Err(AwsError::invalid(
                    "WaitTimeSeconds",
                    "must be at most 20, and VisibilityTimeout at most 43200",
                ));
            }
            queue.move_to_dead_letter_queue(db, now)?;
            let ready = queue.ready(db, limit, now)?;
            let messages: Result<Vec<_>, _> = ready
                .into_iter()
                .map(|message| message.mark_received(db, request, &queue, now, now + visibility * 1000))
                .collect();
            Ok((messages?, wait, queue.next_visible(db, now)?))
        })
    }
}

impl StoredQueue {
    /// Messages that may be received now, oldest first.
    fn ready(&self, db: &Connection, limit: usize, now: u64) -> Result<Vec<StoredMessage>, AwsError> {
        // A FIFO group is blocked while one of its messages is in flight.
        let unblocked = match self.attributes.fifo {
            true => {
                "AND message_group NOT IN
                (SELECT message_group FROM messages WHERE queue = ?1 AND visible > ?2 AND receives > 0)"
            }
            false => "",
        };
        let sql =
            format!("SELECT * FROM messages WHERE queue = ?1 AND visible <= ?2 {unblocked} ORDER BY position LIMIT ?3");
        let mut statement = db.prepare_cached(&sql)?;
        let rows = statement.query_map((&self.name, now, limit), StoredMessage::read)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Moves messages that were received too often to the dead-letter queue.
    fn move_to_dead_letter_queue(&self, db: &Connection, now: u64) -> Result<(), AwsError> {
        let Some((target, most)) = &self.attributes.redrive else { return Ok(()) };
        let sql = "SELECT * FROM messages WHERE queue = ?1 AND visible <= ?2 AND receives >= ?3 ORDER BY position";
        let mut statement = db.prepare_cached(sql)?;
        let dead = statement.query_map((&self.name, now, most), StoredMessage::read)?.collect::<Result<Vec<_>, _>>()?;
        for message in dead {
            message.move_to(db, self, target, now)?;
        }
        Ok(())
    }

    /// How long it takes until the next message becomes visible.
    fn next_visible(&self, db: &Connection, now: u64) -> Result<Duration, AwsError> {
        let sql = "SELECT min(visible) FROM messages WHERE queue = ?1 AND visible > ?2";
        let next: Option<u64> = db.prepare_cached(sql)?.query_row((&self.name, now), |row| row.get(0))?;
        Ok(next.map_or(Duration::from_secs(20), |at| Duration::from_millis(at.saturating_sub(now).max(1))))
    }
}

impl StoredMessage {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            position: row.get("position")?,
            id: row.get("id")?,
            body: row.get("body")?,
            attributes: row.get("attributes")?,
            trace: row.get("trace")?,
            group: row.get("message_group")?,
            deduplication: row.get("deduplication")?,
            sequence: row.get("sequence")?,
            sent: row.get("sent")?,
            receives: row.get("receives")?,
            first_received: row.get("first_received")?,
            dead_from: row.get("dead_from")?,
        })
    }

    /// Marks the message as in flight until `visible`, and returns it in SQS's format.
    fn mark_received(
        mut self,
        db: &Connection,
        request: &Receive,
        queue: &StoredQueue,
        now: u64,
        visible: u64,
    ) -> Result<Value, AwsError> {
        self.receives += 1;
        let first_received = *self.first_received.get_or_insert(now);
        let receipt = format!("{}.{}", self.id, Uuid::new_v4());
        let sql = "UPDATE messages SET visible = ?2, receives = ?3, first_received = ?4, receipt = ?5, claimed = 1 WHERE position = ?1";
        db.prepare_cached(sql)?.execute((self.position, visible, self.receives, first_received, &receipt))?;

        let all: Map<String, Value> = serde_json::from_str(&self.attributes)?;
        let attributes: Map<_, _> = all.into_iter().filter(|(name, _)| request.wants_attribute(name)).collect();
        let mut answer = json!({
            "MessageId": self.id,
            "ReceiptHandle": receipt,
            "Body": self.body,
            "MD5OfBody": digest::of_body(&self.body),
        });
        let system = self.system_attributes(queue, first_received);
        let system: Map<_, _> = system.into_iter().filter(|(name, _)| request.wants_system_attribute(name)).collect();
        if let Some(fields) = answer.as_object_mut() {
            fields.extend((!system.is_empty()).then(|| ("Attributes".into(), Value::Object(system))));
            fields.extend(digest::of_attributes(&attributes)?.map(|md5| ("MD5OfMessageAttributes".into(), md5.into())));
            fields.extend((!attributes.is_empty()).then(|| ("MessageAttributes".into(), Value::Object(attributes))));
        }
        Ok(answer)
    }

    fn system_attributes(self, queue: &StoredQueue, first_received: u64) -> Map<String, Value> {
        let fifo = queue.attributes.fifo;
        let all = [
            ("SenderId", Some("AIDALOCALLOCALLOCAL00".to_owned())),
            ("SentTimestamp", Some(self.sent.to_string())),
            ("ApproximateReceiveCount", Some(self.receives.to_string())),
            ("ApproximateFirstReceiveTimestamp", Some(first_received.to_string())),
            ("AWSTraceHeader", self.trace),
            ("MessageGroupId", self.group),
            ("MessageDeduplicationId", self.deduplication),
            ("SequenceNumber", self.sequence.filter(|_| fifo)),
            ("DeadLetterQueueSourceArn", self.dead_from.as_deref().map(arn)),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
    }

    /// Moves the message to the dead-letter queue `target`. A message of a standard queue keeps the time it was sent; a message of
    /// a FIFO queue gets a new one, and its id as its deduplication id.
    fn move_to(&self, db: &Connection, from: &StoredQueue, target: &str, now: u64) -> Result<(), AwsError> {
        let fifo = from.attributes.fifo;
        db.prepare_cached(
            "INSERT INTO messages (queue, id, body, attributes, trace, message_group, deduplication, sent, visible, receives, dead_from)
             SELECT ?2, id, body, attributes, trace, message_group, ?3, ?4, ?5, receives, queue FROM messages WHERE position = ?1",
        )?
        .execute((self.position, target, fifo.then_some(&self.id), if fifo { now } else { self.sent }, now))?;
        send::assign_sequence_number(db)?;
        db.prepare_cached("DELETE FROM messages WHERE position = ?1")?.execute([self.position])?;
        Ok(())
    }
}

impl Receive {
    fn wants_attribute(&self, name: &str) -> bool {
        self.message_attribute_names.iter().any(|wanted| match wanted.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => wanted == name || wanted == "All",
        })
    }

    fn wants_system_attribute(&self, name: &str) -> bool {
        let mut wanted = self.attribute_names.iter().chain(&self.message_system_attribute_names);
        wanted.any(|wanted| wanted == name || wanted == "All")
    }
}
