//! `SendMessage` and `SendMessageBatch`. Messages are stored before they are acknowledged.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Queues, StoredQueue, digest};
use crate::aws_error::AwsError;

/// How long a deduplication id is stored, even after its message was deleted.
const DEDUPLICATION_MILLIS: u64 = 5 * 60 * 1000;
/// Maximum size of all messages of a batch in bytes.
const BATCH_BYTES: usize = 1_048_576;
/// The first sequence number: sequence numbers have twenty digits.
const FIRST_SEQUENCE: u64 = 10_000_000_000_000_000_000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Send {
    queue_url: String,
    #[serde(flatten)]
    message: NewMessage,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendBatch {
    queue_url: String,
    entries: Vec<SendEntry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendEntry {
    id: String,
    #[serde(flatten)]
    message: NewMessage,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewMessage {
    message_body: String,
    delay_seconds: Option<u64>,
    #[serde(default)]
    message_attributes: Map<String, Value>,
    #[serde(default)]
    message_system_attributes: Map<String, Value>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

impl Queues {
    pub(super) fn send(&self, request: Send) -> Result<Value, AwsError> {
        let now = self.clock.now();
        let sent = self
            .database
            .transact(|db| StoredQueue::open(db, &request.queue_url, now)?.accept(db, &request.message, now))?;
        self.notify_receivers();
        Ok(sent)
    }

    pub(super) fn send_batch(&self, request: SendBatch) -> Result<Value, AwsError> {
        check_batch(request.entries.iter().map(|entry| entry.id.as_str()))?;
        if request.entries.iter().map(|entry| entry.message.size()).sum::<usize>() > BATCH_BYTES {
            return Err(AwsError::new(
                "BatchRequestTooLong",
                "The length of all the messages put together is more than the limit.",
            ));
        }
        let now = self.clock.now();
        let (sent, failed) = self.database.transact(|db| {
            let queue = StoredQueue::open(db, &request.queue_url, now)?;
            batch_result(request.entries.iter().map(|entry| (entry.id.as_str(), queue.accept(db, &entry.message, now))))
        })?;
        self.notify_receivers();
        Ok(json!({ "Successful": sent, "Failed": failed }))
    }
}

impl StoredQueue {
    /// Stores a message. A message with a known deduplication id is acknowledged and not stored again.
    fn accept(&self, db: &Connection, message: &NewMessage, now: u64) -> Result<Value, AwsError> {
        self.check(message)?;
        let attributes_digest = digest::of_attributes(&message.message_attributes)?;
        let deduplication = self.deduplication_of(message)?;
        let known = deduplication.as_deref().map(|id| self.already_sent(db, message, id, now)).transpose()?.flatten();
        let (id, sequence) = match known {
            Some(known) => known,
            None => self.store(db, message, deduplication.as_deref(), now)?,
        };
        let mut answer = json!({ "MessageId": id, "MD5OfMessageBody": digest::of_body(&message.message_body) });
        if let Some(fields) = answer.as_object_mut() {
            fields.extend(attributes_digest.map(|digest| ("MD5OfMessageAttributes".into(), digest.into())));
            fields.extend(self.attributes.fifo.then(|| ("SequenceNumber".into(), sequence.into())));
        }
        Ok(answer)
    }

    fn check(&self, message: &NewMessage) -> Result<(), AwsError> {
        if message.message_body.is_empty() {
            return Err(AwsError::new("MissingParameter", "The request must contain the parameter MessageBody."));
        }
        if let Some(unknown) = message.message_body.chars().find(|c| !is_allowed(*c)) {
            return Err(AwsError::new(
                "InvalidMessageContents",
                format!("The message contains the character {unknown:?}."),
            ));
        }
        let limit = self.attributes.maximum_size;
        if message.size() > limit {
            return Err(AwsError::invalid("MessageBody", format!("Message must be shorter than {limit} bytes.")));
        }
        match (self.attributes.fifo, &message.message_group_id, message.delay_seconds) {
            (true, None, _) => {
                Err(AwsError::new("MissingParameter", "The request must contain the parameter MessageGroupId."))
            }
            (true, _, Some(1..)) => {
                Err(AwsError::invalid("DelaySeconds", "must not be set for a message of a FIFO queue"))
            }
            (_, _, Some(901..)) => Err(AwsError::invalid("DelaySeconds", "must be at most 900")),
            (false, _, _) if message.message_deduplication_id.is_some() => {
                Err(AwsError::invalid("MessageDeduplicationId", "must not be set for a standard queue"))
            }
            _ => Ok(()),
        }
    }

    fn deduplication_of(&self, message: &NewMessage) -> Result<Option<String>, AwsError> {
        match (self.attributes.fifo, &message.message_deduplication_id) {
            (false, _) => Ok(None),
            (true, Some(id)) => Ok(Some(id.clone())),
            (true, None) if self.attributes.content_based => Ok(Some(digest::for_deduplication(&message.message_body))),
            (true, None) => Err(AwsError::invalid(
                "MessageDeduplicationId",
                "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
            )),
        }
    }

    fn already_sent(
        &self,
        db: &Connection,
        message: &NewMessage,
        id: &str,
        now: u64,
    ) -> Result<Option<(String, String)>, AwsError> {
        db.prepare_cached("DELETE FROM deduplications WHERE until <= ?1")?.execute([now])?;
        let key = self.deduplication_key(message.message_group_id.as_deref(), id);
        let known = db
            .prepare_cached("SELECT message, sequence FROM deduplications WHERE queue = ?1 AND key = ?2")?
            .query_row((&self.name, key), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        Ok(known)
    }

    fn store(
        &self,
        db: &Connection,
        message: &NewMessage,
        deduplication: Option<&str>,
        now: u64,
    ) -> Result<(String, String), AwsError> {
        let id = Uuid::new_v4().to_string();
        let delay = message.delay_seconds.unwrap_or(self.attributes.delay) * 1000;
        let attributes = Value::Object(message.message_attributes.clone()).to_string();
        let trace =
            message.message_system_attributes.get("AWSTraceHeader").and_then(|header| header.get("StringValue"));
        db.prepare_cached(
            "INSERT INTO messages (queue, id, body, attributes, trace, message_group, deduplication, sent, visible)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute((
            &self.name,
            &id,
            &message.message_body,
            attributes,
            trace.and_then(Value::as_str),
            message.message_group_id.as_deref(),
            deduplication,
            now,
            now + delay,
        ))?;
        let sequence = assign_sequence_number(db)?;
        if let Some(deduplication) = deduplication {
            let key = self.deduplication_key(message.message_group_id.as_deref(), deduplication);
            db.prepare_cached(
                "INSERT INTO deduplications (queue, key, message, sequence, until) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute((&self.name, key, &id, &sequence, now + DEDUPLICATION_MILLIS))?;
        }
        Ok((id, sequence))
    }

    fn deduplication_key(&self, group: Option<&str>, id: &str) -> String {
        let group = group.filter(|_| self.attributes.deduplicates_within_group);
        // The length distinguishes ("a", "bc") from ("ab", "c").
        group.map_or_else(|| id.to_owned(), |group| format!("{}:{group}:{id}", group.len()))
    }
}

/// Assigns a sequence number to the message just inserted. The numbers increase across all queues.
pub(super) fn assign_sequence_number(db: &Connection) -> Result<String, AwsError> {
    let position = db.last_insert_rowid();
    let sequence = (FIRST_SEQUENCE + position.unsigned_abs()).to_string();
    db.prepare_cached("UPDATE messages SET sequence = ?2 WHERE position = ?1")?.execute((position, &sequence))?;
    Ok(sequence)
}

/// Checks that a batch is not empty, not too long, and has distinct ids.
pub(super) fn check_batch<'a>(ids: impl Iterator<Item = &'a str>) -> Result<(), AwsError> {
    let ids: Vec<_> = ids.collect();
    if ids.is_empty() {
        return Err(AwsError::new("EmptyBatchRequest", "The batch request doesn't contain any entries."));
    }
    if ids.len() > 10 {
        return Err(AwsError::new("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10."));
    }
    if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        return Err(AwsError::new(
            "BatchEntryIdsNotDistinct",
            "Two or more batch entries in the request have the same Id.",
        ));
    }
    Ok(())
}

/// Splits the results of a batch's entries into successful and failed ones. An error of the service fails the whole batch.
pub(super) fn batch_result<'a>(
    outcomes: impl Iterator<Item = (&'a str, Result<Value, AwsError>)>,
) -> Result<(Vec<Value>, Vec<Value>), AwsError> {
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for (id, outcome) in outcomes {
        match outcome {
            Ok(mut done) => {
                if let Some(fields) = done.as_object_mut() {
                    fields.insert("Id".into(), id.into());
                }
                successful.push(done);
            }
            Err(error) if error.by_sender => {
                failed.push(json!({ "Id": id, "Code": error.code, "Message": error.message, "SenderFault": true }));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((successful, failed))
}

impl NewMessage {
    fn size(&self) -> usize {
        let attributes = self.message_attributes.iter().map(|(name, value)| {
            let parts = ["DataType", "StringValue", "BinaryValue"];
            name.len() + parts.iter().filter_map(|part| value.get(*part)?.as_str()).map(str::len).sum::<usize>()
        });
        self.message_body.len() + attributes.sum::<usize>()
    }
}

/// Whether SQS allows the character: those of XML 1.0.
fn is_allowed(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
