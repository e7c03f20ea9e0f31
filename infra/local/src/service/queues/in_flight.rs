//! Operations on received messages: `DeleteMessage`, `ChangeMessageVisibility` and their batches.

use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use serde_json::{Value, json};

use super::send::{batch_result, check_batch};
use super::{Queues, StoredQueue};
use crate::aws_error::AwsError;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MessageRequest {
    queue_url: String,
    #[serde(flatten)]
    message: MessageHandle,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MessageBatch {
    queue_url: String,
    entries: Vec<MessageEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MessageEntry {
    id: String,
    #[serde(flatten)]
    message: MessageHandle,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MessageHandle {
    receipt_handle: String,
    visibility_timeout: Option<u64>,
}

/// The state of a receipt handle.
enum Receipt {
    /// The latest receipt handle of an existing message.
    Latest { position: i64, is_in_flight: bool },
    /// The message was received again, or no longer exists.
    Outdated,
}

impl Queues {
    pub(super) fn delete(&self, request: &MessageRequest) -> Result<Value, AwsError> {
        self.with_queue(&request.queue_url, |queue, db, now| queue.delete(db, &request.message, now))
    }

    pub(super) fn delete_batch(&self, request: MessageBatch) -> Result<Value, AwsError> {
        self.for_each_entry(&request, StoredQueue::delete)
    }

    pub(super) fn change_visibility(&self, request: &MessageRequest) -> Result<Value, AwsError> {
        self.with_queue(&request.queue_url, |queue, db, now| queue.change_visibility(db, &request.message, now))
    }

    pub(super) fn change_visibility_batch(&self, request: MessageBatch) -> Result<Value, AwsError> {
        self.for_each_entry(&request, StoredQueue::change_visibility)
    }

    fn with_queue<T>(
        &self,
        url: &str,
        work: impl FnOnce(&StoredQueue, &Connection, u64) -> Result<T, AwsError>,
    ) -> Result<T, AwsError> {
        let now = self.clock.now();
        let done = self.database.transact(|db| work(&StoredQueue::open(db, url, now)?, db, now))?;
        // A deleted or returned message may unblock its group.
        self.notify_receivers();
        Ok(done)
    }

    fn for_each_entry(
        &self,
        request: &MessageBatch,
        work: impl Fn(&StoredQueue, &Connection, &MessageHandle, u64) -> Result<Value, AwsError>,
    ) -> Result<Value, AwsError> {
        check_batch(request.entries.iter().map(|entry| entry.id.as_str()))?;
        let (successful, failed) = self.with_queue(&request.queue_url, |queue, db, now| {
            batch_result(request.entries.iter().map(|entry| (entry.id.as_str(), work(queue, db, &entry.message, now))))
        })?;
        Ok(json!({ "Successful": successful, "Failed": failed }))
    }
}

impl StoredQueue {
    fn delete(&self, db: &Connection, message: &MessageHandle, now: u64) -> Result<Value, AwsError> {
        match self.look_up(db, &message.receipt_handle, now)? {
            // In a FIFO queue, DeleteMessage with an expired receipt handle is an error: the message may be in flight again.
            Receipt::Latest { is_in_flight: false, .. } if self.attributes.fifo => Err(expired()),
            Receipt::Latest { position, .. } => {
                db.prepare_cached("DELETE FROM messages WHERE position = ?1")?.execute([position])?;
                Ok(json!({}))
            }
            Receipt::Outdated if self.attributes.fifo && self.message_exists(db, &message.receipt_handle)? => {
                Err(expired())
            }
            Receipt::Outdated => Ok(json!({})),
        }
    }

    fn change_visibility(&self, db: &Connection, message: &MessageHandle, now: u64) -> Result<Value, AwsError> {
        let seconds = message.visibility_timeout.filter(|seconds| *seconds <= 43_200);
        let seconds = seconds.ok_or_else(|| AwsError::invalid("VisibilityTimeout", "must be from 0 to 43200"))?;
        match self.look_up(db, &message.receipt_handle, now)? {
            Receipt::Latest { position, is_in_flight: true } => {
                let sql = "UPDATE messages SET visible = ?2, claimed = 0 WHERE position = ?1";
                db.prepare_cached(sql)?.execute((position, now + seconds * 1000))?;
                Ok(json!({}))
            }
            _ => Err(AwsError::new("MessageNotInflight", "The specified message isn't in flight.")),
        }
    }

    fn look_up(&self, db: &Connection, receipt: &str, now: u64) -> Result<Receipt, AwsError> {
        message_of(receipt)?;
        let found: Option<(i64, u64)> = db
            .prepare_cached("SELECT position, visible FROM messages WHERE queue = ?1 AND receipt = ?2")?
            .query_row((&self.name, receipt), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(found
            .map_or(Receipt::Outdated, |(position, visible)| Receipt::Latest { position, is_in_flight: visible > now }))
    }

    fn message_exists(&self, db: &Connection, receipt: &str) -> Result<bool, AwsError> {
        let sql = "SELECT count(*) FROM messages WHERE queue = ?1 AND id = ?2";
        let count: u64 = db.prepare_cached(sql)?.query_row((&self.name, message_of(receipt)?), |row| row.get(0))?;
        Ok(count > 0)
    }
}

fn message_of(receipt: &str) -> Result<&str, AwsError> {
    let message = receipt.split_once('.').map(|(message, _)| message);
    message.ok_or_else(|| AwsError::new("ReceiptHandleIsInvalid", "The input receipt handle is invalid."))
}

fn expired() -> AwsError {
    AwsError::invalid("ReceiptHandle", "Reason: The receipt handle has expired.")
}
