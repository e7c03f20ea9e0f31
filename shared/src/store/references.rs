//! References: what `onDelete: restrict` rests on. Who points at a record is kept beside it in the base table, where it can be
//! read consistently, and written in the transaction that makes it point there.
//!
//! Deleting a restricted record takes three steps. It is locked, so that nobody can begin to point at it; those who are said
//! to point at it are looked at; then it is buried, if the lock is still ours, or unlocked. A lock that nobody comes back
//! for ends by itself. Nobody removes a reference when its record is deleted or points elsewhere: whoever meets it under
//! a lock does.

use super::item::{self, Item, number, string, text};
use super::keys::reference_partition;
use super::record::{Record, key};
use super::records::{Records, alive};
use super::write::{Failed, Target, What, Write};
use super::{Expression, Query, Written};
use crate::error::{Error, Result};
use crate::schema::OnDelete;
use aws_sdk_dynamodb::types::{ConditionCheck, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use futures_util::future::try_join_all;

/// How long a lock holds, in seconds: longer than any write of whoever holds it.
const LOCK_SECONDS: u64 = 60;
/// Most references looked at for one deletion; the rest is left to the next try.
const MOST_LOOKED_AT: usize = 1_000;

impl Write<'_> {
    /// Whether it deletes a record that others may restrict from being deleted.
    pub fn is_restricted(&self) -> bool {
        matches!(self.intent.what, What::Delete) && self.intent.is_restricted()
    }
}

impl Records {
    /// Locks what is about to be deleted and restricted, and makes sure nobody points at it. The writes then depend on the
    /// locks. `false`: a record is not as it was read.
    ///
    /// # Errors
    /// `Conflict` for every write whose record is still pointed at; nothing stays locked then.
    pub(super) async fn lock_restricted(&self, writes: &mut [Write<'_>], request: &str) -> Result<bool, Failed> {
        let restricted: Vec<usize> = writes
            .iter()
            .enumerate()
            .filter(|(_, write)| write.is_restricted())
            .map(|(position, _)| position)
            .collect();
        let mut errors = Vec::new();
        for position in restricted {
            let Some(write) = writes.get(position) else { continue };
            if !self.lock(write, request).await? {
                return Ok(false);
            }
            if self.is_pointed_at(write, writes).await? {
                self.unlock(write, request).await?;
                errors.push((position, REFERENCED()));
            } else if let Some(write) = writes.get_mut(position) {
                let ours = Expression::new("lr = :lr").value(":lr", string(request));
                write.condition = std::mem::take(&mut write.condition).and(ours);
            }
        }
        if errors.is_empty() { Ok(true) } else { Err(Failed::Each(errors)) }
    }

    async fn lock(&self, write: &Write<'_>, request: &str) -> Result<bool> {
        let change = Expression::new("SET lk = :until, lr = :lr")
            .value(":until", number(self.seconds() + LOCK_SECONDS))
            .value(":lr", string(request));
        let unlocked =
            Expression::new("attribute_not_exists(lk) OR lk < :now OR lr = :lr").value(":now", number(self.seconds()));
        let condition = write.condition.clone().and(unlocked);
        Ok(matches!(self.table().update(write.key(), change, condition).await?, Written::Done(_)))
    }

    async fn unlock(&self, write: &Write<'_>, request: &str) -> Result<()> {
        let ours = alive().and(Expression::new("lr = :lr").value(":lr", string(request)));
        self.table().update(write.key(), Expression::new("REMOVE lk, lr"), ours).await.map(|_| ())
    }

    /// Whether any record that is said to point at this one does, and is not about to stop.
    async fn is_pointed_at(&self, write: &Write<'_>, writes: &[Write<'_>]) -> Result<bool> {
        let definition = write.intent.grant.collection().definition();
        let partition = reference_partition(&definition.name, definition.generation, &write.intent.id);
        let key = Expression::new("pk = :pk").value(":pk", string(partition));
        let mut query = Query { key, forward: true, limit: 100, consistent: true, ..Query::default() };
        let mut looked_at = 0;
        loop {
            let page = self.table().query(&query).await?;
            let held = try_join_all(page.items.iter().map(|reference| self.holds(reference, &write.intent.id, writes)));
            if held.await?.contains(&true) {
                return Ok(true);
            }
            try_join_all(page.items.iter().map(|reference| self.forget(reference))).await?;
            looked_at += page.items.len();
            query.after = page.last_key;
            match query.after {
                None => return Ok(false),
                Some(_) if looked_at >= MOST_LOOKED_AT => {
                    return Err(Error::Unavailable { retry_after: 1, source: Some("many stale references".into()) });
                }
                Some(_) => {}
            }
        }
    }

    /// Whether a reference is true: its record is alive, points at `id`, and will when these writes are done.
    async fn holds(&self, reference: &Item, id: &str, writes: &[Write<'_>]) -> Result<bool> {
        let [Some(pk), Some(sk), Some(field)] = ["rpk", "rsk", "f"].map(|name| text(reference, name)) else {
            return Ok(false);
        };
        let points =
            |record: &Record| !record.deleted && record.data.get(field).and_then(|value| value.as_str()) == Some(id);
        let its_key = item::key(pk, sk);
        if let Some(write) = writes.iter().find(|write| write.key() == its_key) {
            return Ok(points(&write.record));
        }
        let found = self.table().get_by(its_key, true).await?;
        Ok(found.as_ref().and_then(Record::from_item).is_some_and(|record| points(&record)))
    }

    /// Removes a reference that is no longer true. Nobody can make it true again while the record it names is locked.
    async fn forget(&self, reference: &Item) -> Result<()> {
        let [Some(pk), Some(sk)] = ["pk", "sk"].map(|name| text(reference, name)) else { return Ok(()) };
        self.table().delete(item::key(pk, sk), Expression::default()).await.map(|_| ())
    }
}

/// The answer when a record is still pointed at. It does not say by what: that may not be the caller's to see.
const REFERENCED: fn() -> Error =
    || Error::conflict("referenced", "other records point at this one: delete them, or point them elsewhere, first");

impl Target {
    /// That it is there, and nobody is about to delete it.
    pub(super) fn is_there(&self, table: &str, now: u64) -> Result<TransactWriteItem> {
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(key(&self.collection, &self.id)))
            .condition_expression(
                "attribute_exists(pk) AND attribute_not_exists(del) AND (attribute_not_exists(lk) OR lk < :now)",
            )
            .expression_attribute_values(":now", number(now))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    /// Why a check of it failed: it is not there, or somebody is deleting it and may yet be refused.
    pub(super) fn refusal(&self, old: Option<&Item>) -> Error {
        match old {
            Some(old) if !old.contains_key("del") => Error::Unavailable { retry_after: 1, source: None },
            _ => self.nowhere(),
        }
    }

    /// The reference from a record to this target, where it restricts.
    pub(super) fn reference(&self, table: &str, write: &Write<'_>) -> Result<Option<TransactWriteItem>> {
        if self.on_delete != OnDelete::Restrict || self.collection.name() == "users" {
            return Ok(None);
        }
        let (here, there) = (write.intent.grant.collection().definition(), self.collection.definition());
        let partition = reference_partition(&there.name, there.generation, &self.id);
        let sort = format!("{}#{}#{}#{}", here.name, here.generation, self.field, write.intent.id);
        let record = write.key();
        let mut written = item::key(&partition, &sort);
        written.extend([
            ("rpk".to_owned(), string(text(&record, "pk").unwrap_or_default())),
            ("rsk".to_owned(), string(&write.intent.id)),
            ("f".to_owned(), string(&self.field)),
        ]);
        let put = Put::builder().table_name(table).set_item(Some(written)).build().map_err(Error::internal)?;
        Ok(Some(TransactWriteItem::builder().put(put).build()))
    }
}
