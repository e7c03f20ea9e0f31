//! What a receiver does with a message it got: delete it, or change how long it stays out of sight.

use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::fault::Fault;
use super::send::{check_batch, sort_out};
use super::{Queue, Queues};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Single {
    queue_url: String,
    #[serde(flatten)]
    message: Received,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Batch {
    queue_url: String,
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    id: String,
    #[serde(flatten)]
    message: Received,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Received {
    receipt_handle: String,
    visibility_timeout: Option<u64>,
}

/// What a receipt handle stands for by now.
enum Receipt {
    /// The latest receipt of a message that is still there.
    Latest { position: i64, is_in_flight: bool },
    /// The message was received again since, or is gone.
    Outdated,
}

impl Queues {
    pub(super) fn delete(&self, request: &Single) -> Result<Value, Fault> {
        self.settle(&request.queue_url, |queue, db, now| queue.delete(db, &request.message, now))
    }

    pub(super) fn delete_batch(&self, request: Batch) -> Result<Value, Fault> {
        self.settle_batch(&request, Queue::delete)
    }

    pub(super) fn change_visibility(&self, request: &Single) -> Result<Value, Fault> {
        self.settle(&request.queue_url, |queue, db, now| queue.change_visibility(db, &request.message, now))
    }

    pub(super) fn change_visibility_batch(&self, request: Batch) -> Result<Value, Fault> {
        self.settle_batch(&request, Queue::change_visibility)
    }

    fn settle<T>(
        &self,
        url: &str,
        work: impl FnOnce(&Queue, &Connection, u64) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let now = self.clock.now();
        let done = self.state.transact(|db| work(&Queue::open(db, url, now)?, db, now))?;
        // A deleted or returned message may open its group to the next receiver.
        self.announce();
        Ok(done)
    }

    fn settle_batch(
        &self,
        request: &Batch,
        work: impl Fn(&Queue, &Connection, &Received, u64) -> Result<Value, Fault>,
    ) -> Result<Value, Fault> {
        check_batch(request.entries.iter().map(|entry| entry.id.as_str()))?;
        let (successful, failed) = self.settle(&request.queue_url, |queue, db, now| {
            sort_out(request.entries.iter().map(|entry| (entry.id.as_str(), work(queue, db, &entry.message, now))))
        })?;
        Ok(json!({ "Successful": successful, "Failed": failed }))
    }
}

impl Queue {
    fn delete(&self, db: &Connection, message: &Received, now: u64) -> Result<Value, Fault> {
        match self.look_up(db, &message.receipt_handle, now)? {
            // In a FIFO queue an expired receipt deletes nothing and says so; the message may be someone else's by now.
            Receipt::Latest { is_in_flight: false, .. } if self.attributes.fifo => Err(expired()),
            Receipt::Latest { position, .. } => {
                db.prepare_cached("DELETE FROM messages WHERE position = ?1")?.execute([position])?;
                Ok(json!({}))
            }
            Receipt::Outdated if self.attributes.fifo && self.still_holds(db, &message.receipt_handle)? => {
                Err(expired())
            }
            Receipt::Outdated => Ok(json!({})),
        }
    }

    fn change_visibility(&self, db: &Connection, message: &Received, now: u64) -> Result<Value, Fault> {
        let seconds = message.visibility_timeout.filter(|seconds| *seconds <= 43_200);
        let seconds = seconds.ok_or_else(|| Fault::invalid("VisibilityTimeout", "from 0 to 43200"))?;
        match self.look_up(db, &message.receipt_handle, now)? {
            Receipt::Latest { position, is_in_flight: true } => {
                let sql = "UPDATE messages SET visible = ?2, claimed = 0 WHERE position = ?1";
                db.prepare_cached(sql)?.execute((position, now + seconds * 1000))?;
                Ok(json!({}))
            }
            _ => Err(Fault::new("MessageNotInflight", "The specified message isn't in flight.")),
        }
    }

    fn look_up(&self, db: &Connection, receipt: &str, now: u64) -> Result<Receipt, Fault> {
        message_of(receipt)?;
        let found: Option<(i64, u64)> = db
            .prepare_cached("SELECT position, visible FROM messages WHERE queue = ?1 AND receipt = ?2")?
            .query_row((&self.name, receipt), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(found
            .map_or(Receipt::Outdated, |(position, visible)| Receipt::Latest { position, is_in_flight: visible > now }))
    }

    fn still_holds(&self, db: &Connection, receipt: &str) -> Result<bool, Fault> {
        let sql = "SELECT count(*) FROM messages WHERE queue = ?1 AND id = ?2";
        let count: u64 = db.prepare_cached(sql)?.query_row((&self.name, message_of(receipt)?), |row| row.get(0))?;
        Ok(count > 0)
    }
}

fn message_of(receipt: &str) -> Result<&str, Fault> {
    let message = receipt.split_once('.').map(|(message, _)| message);
    message.ok_or_else(|| Fault::new("ReceiptHandleIsInvalid", "The input receipt handle is invalid."))
}

fn expired() -> Fault {
    Fault::invalid("ReceiptHandle", "Reason: The receipt handle has expired.")
}
