//! References: the basis of `onDelete: restrict`. A reference to a record is an item beside it in the base table, where a
//! consistent read sees it. The transaction that makes another record point at it writes the reference.
//!
//! Deleting a restricted record takes three steps: lock it, so that no record can begin to point at it; read the records that
//! the references name; then delete it if the lock still holds, or unlock it. An abandoned lock expires. References are not
//! removed when their record is deleted or points elsewhere; the next check under a lock removes them.

use super::conditions::alive;
use super::definitions::Definitions;
use super::intent::{Failed, Target, What, Write};
use super::item::{self, Item, number, string, text};
use super::keys::reference_partition;
use super::record::{Record, key};
use super::records::Records;
use super::targets::points_at;
use super::{Expression, TableQuery, WriteOutcome};
use crate::cost;
use crate::error::{Error, Result};
use crate::id;
use crate::schema::{Collection, OnDelete, related_ids};
use aws_sdk_dynamodb::types::{ConditionCheck, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use futures_util::future::{join_all, try_join_all};
use std::collections::HashMap;

/// How long a lock holds, in seconds: longer than any write that depends on it.
const LOCK_SECONDS: u64 = 60;
/// Maximum number of references checked for one deletion; the next attempt checks the rest.
const MOST_LOOKED_AT: usize = 1_000;

impl Write<'_> {
    /// Whether it deletes a record whose deletion other records may restrict.
    pub fn is_restricted(&self) -> bool {
        matches!(self.intent.what, What::Delete) && self.intent.is_restricted()
    }
}

/// The locks that one request holds, to be released if nothing is written.
#[derive(Debug)]
pub(super) struct Locks<'a> {
    request: &'a str,
    keys: Vec<Item>,
}

impl<'a> Locks<'a> {
    /// No locks.
    pub fn of(request: &'a str) -> Self {
        Self { request, keys: Vec::new() }
    }
}

impl Records {
    /// Locks the records to be deleted and checks that no record points at them. The writes then depend on the locks.
    /// `false`: a record has changed since it was read, or another request has locked it.
    ///
    /// # Errors
    /// `Conflict` for every write whose record another record still points at.
    pub(super) async fn lock_restricted(
        &self,
        writes: &mut [Write<'_>],
        locks: &mut Locks<'_>,
    ) -> Result<bool, Failed> {
        let began = self.seconds();
        if writes.iter().any(Write::is_restricted) {
            // The caller may not know which records point or pointed here, so the cost is withheld either way.
            cost::withhold();
        }
        for write in writes.iter().filter(|write| write.is_restricted()) {
            if !self.lock(write, locks).await? {
                return Ok(false);
            }
        }
        let mut errors = Vec::new();
        for (position, write) in writes.iter().enumerate().filter(|(_, write)| write.is_restricted()) {
            if self.is_pointed_at(write, writes).await? {
                errors.push((position, REFERENCED()));
            }
        }
        // The remaining lock time must exceed the duration of the writes that depend on the lock.
        if self.seconds() > began + LOCK_SECONDS / 2 {
            return Err(Failed::Whole(TOO_MANY()));
        }
        for write in writes.iter_mut().filter(|write| write.is_restricted()) {
            let ours = Expression::new("lr = :lr").value(":lr", string(locks.request));
            write.condition = std::mem::take(&mut write.condition).and(ours);
        }
        if errors.is_empty() { Ok(true) } else { Err(Failed::Each(errors)) }
    }

    async fn lock(&self, write: &Write<'_>, locks: &mut Locks<'_>) -> Result<bool> {
        let change = Expression::new("SET lk = :until, lr = :lr")
            .value(":until", number(self.seconds() + LOCK_SECONDS))
            .value(":lr", string(locks.request));
        let unlocked =
            Expression::new("attribute_not_exists(lk) OR lk < :now OR lr = :lr").value(":now", number(self.seconds()));
        let condition = write.condition.clone().and(unlocked);
        let key = write.key();
        // Recorded before the lock call: if its response is lost, the lock may be held.
        if !locks.keys.contains(&key) {
            locks.keys.push(key.clone());
        }
        Ok(matches!(self.table().update(key, change, condition).await?, WriteOutcome::Done(_)))
    }

    /// Releases locks after nothing was written. A lock whose release fails expires.
    pub(super) async fn unlock(&self, locks: Locks<'_>) {
        let ours = alive().and(Expression::new("lr = :lr").value(":lr", string(locks.request)));
        let unlock = |key| self.table().update(key, Expression::new("REMOVE lk, lr"), ours.clone());
        for outcome in join_all(locks.keys.into_iter().map(unlock)).await {
            if let Err(error) = outcome {
                tracing::warn!(requestId = locks.request, cause = %error, "could not unlock a record; its lock will expire");
            }
        }
    }

    /// Whether any record named by a reference points at this one and still will after these writes. Removes stale
    /// references.
    async fn is_pointed_at(&self, write: &Write<'_>, writes: &[Write<'_>]) -> Result<bool> {
        let definition = write.intent.grant.collection().definition();
        let partition = reference_partition(&definition.name, definition.generation, &write.intent.id);
        let key = Expression::new("pk = :pk").value(":pk", string(partition));
        let mut query = TableQuery { key, forward: true, limit: 100, consistent: true, ..TableQuery::default() };
        let mut looked_at = 0;
        loop {
            let page = self.table().query(&query).await?;
            let references: Vec<Reference> = page.items.iter().filter_map(Reference::read).collect();
            if self.hold(&references, &write.intent.id, writes).await? {
                return Ok(true);
            }
            looked_at += page.items.len();
            query.after = page.last_key;
            match query.after {
                None => return Ok(false),
                Some(_) if looked_at >= MOST_LOOKED_AT => return Err(TOO_MANY()),
                Some(_) => {}
            }
        }
    }

    /// Whether one of these references to `id` is true and stays true. If none is, removes the stale ones. References that
    /// these writes end remain true until then.
    async fn hold(&self, references: &[Reference], id: &str, writes: &[Write<'_>]) -> Result<bool> {
        let (mut here, mut elsewhere) = (Vec::new(), Vec::new());
        for reference in references {
            match writes.iter().find(|write| write.key() == reference.record) {
                Some(write) => here.push((reference, &write.record)),
                None => elsewhere.push(reference),
            }
        }
        if here.iter().any(|(reference, record)| reference.is_of(record, id)) {
            return Ok(true);
        }
        let records = self.latest(elsewhere.iter().map(|reference| &reference.record)).await?;
        let record = |reference: &Reference| records.get(&place(&reference.record));
        if elsewhere.iter().any(|reference| record(reference).is_some_and(|record| reference.is_of(record, id))) {
            return Ok(true);
        }
        try_join_all(elsewhere.into_iter().map(|reference| self.forget(reference))).await.map(|_| false)
    }

    /// The records with these keys, by key, from a consistent read.
    pub(super) async fn latest(&self, keys: impl Iterator<Item = &Item>) -> Result<HashMap<ItemKey, Record>> {
        let distinct: HashMap<ItemKey, &Item> = keys.map(|key| (place(key), key)).collect();
        let found = self.table().batch_get_latest(distinct.into_values().cloned().collect()).await?;
        Ok(found.iter().filter_map(|found| Some((place(found), Record::from_item(found)?))).collect())
    }

    /// The record with each of these distinct keys, from a consistent read: one round trip for all, none without keys.
    pub(super) async fn each(&self, keys: &[Option<Item>]) -> Result<Vec<Option<Record>>> {
        if let [Some(key)] = keys {
            let found = self.table().get_by(key.clone(), true).await?;
            return Ok(vec![found.as_ref().and_then(Record::from_item)]);
        }
        let mut found = self.latest(keys.iter().flatten()).await?;
        Ok(keys.iter().map(|key| found.remove(&place(key.as_ref()?))).collect())
    }

    /// Writes the references of a stored record for the fields that begin to restrict, for the job that visits all records. A
    /// concurrent write of the record writes its own references.
    ///
    /// # Errors
    /// `Unavailable` when the table does not respond.
    pub async fn refer(&self, definitions: &Definitions, collection: &Collection, found: &Item) -> Result<()> {
        let fields = collection.definition().unreferenced();
        let Some(record) = Record::from_item(found).filter(|record| !record.deleted && !fields.is_empty()) else {
            return Ok(());
        };
        for (field, relation) in collection.relations().filter(|(field, _)| fields.iter().any(|known| known == field)) {
            // A value that is not an id points at nothing.
            let ids = record.data.get(field).into_iter().flat_map(related_ids).map(|(_, id)| id);
            let ids: Vec<&str> = ids.filter(|id| id::is_valid(id)).collect();
            let Some(there) = definitions.collection(&relation.collection).await? else { continue };
            for id in ids {
                let older =
                    Expression::new("attribute_not_exists(pk) OR rv < :rv").value(":rv", number(record.version));
                self.table().put(reference(collection, &record, field, &there, id), older).await?;
            }
        }
        Ok(())
    }

    /// Removes a stale reference, unless it was written again since.
    async fn forget(&self, reference: &Reference) -> Result<()> {
        let as_seen = Expression::new("rv = :seen").value(":seen", number(reference.version));
        self.table().delete(reference.key.clone(), as_seen).await.map(|_| ())
    }
}

/// The reference of a record that points through `field` at the record `id` of the collection `there`.
fn reference(here: &Collection, record: &Record, field: &str, there: &Collection, id: &str) -> Item {
    let (at, here, there) = (key(here, &record.id), here.definition(), there.definition());
    let partition = reference_partition(&there.name, there.generation, id);
    let mut written = item::key(&partition, &format!("{}#{}#{field}#{}", here.name, here.generation, record.id));
    written.extend([
        ("rpk".to_owned(), string(text(&at, "pk").unwrap_or_default())),
        ("rsk".to_owned(), string(&record.id)),
        ("f".to_owned(), string(field)),
        ("rv".to_owned(), number(record.version)),
    ]);
    written
}

/// Partition and sort key.
pub(super) type ItemKey = [Option<String>; 2];

pub(super) fn place(found: &Item) -> ItemKey {
    ["pk", "sk"].map(|name| text(found, name).map(str::to_owned))
}

/// A stored reference.
#[derive(Debug)]
struct Reference {
    key: Item,
    /// The record that points.
    record: Item,
    /// The field that points.
    field: String,
    /// The version of the record that wrote the reference.
    version: u64,
}

impl Reference {
    fn read(found: &Item) -> Option<Self> {
        let key = item::key(text(found, "pk")?, text(found, "sk")?);
        let record = item::key(text(found, "rpk")?, text(found, "rsk")?);
        Some(Self { key, record, field: text(found, "f")?.to_owned(), version: item::integer(found, "rv")? })
    }

    /// Whether this record points at `id` through the reference's field.
    fn is_of(&self, record: &Record, id: &str) -> bool {
        !record.deleted && points_at(&record.data, &self.field, id)
    }
}

const TOO_MANY: fn() -> Error =
    || Error::Unavailable { retry_after: 1, source: Some("too many stale references for one attempt".into()) };

/// The error when another record still points at this one. It does not name that record because the caller may not be allowed
/// to see it.
const REFERENCED: fn() -> Error = || {
    Error::conflict("referenced", "Other records refer to this record. Delete them or change their relations first.")
};

impl Target {
    /// The key of its record.
    pub(super) fn key(&self) -> Item {
        key(&self.collection, &self.id)
    }

    /// Requires that the record exists and is not locked for deletion, plus the given condition.
    pub(super) fn is_there(&self, table: &str, now: u64, more: Expression) -> Result<TransactWriteItem> {
        let free = Expression::new("attribute_not_exists(lk) OR lk < :now").value(":now", number(now));
        let condition = alive().and(free).and(more);
        let check = ConditionCheck::builder()
            .table_name(table)
            .set_key(Some(self.key()))
            .condition_expression(&condition.text)
            .set_expression_attribute_names(condition.names())
            .set_expression_attribute_values(condition.values())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    /// The reference from a record to this target, if the relation restricts.
    pub(super) fn reference(&self, table: &str, write: &Write<'_>) -> Result<Option<TransactWriteItem>> {
        if self.on_delete != OnDelete::Restrict || self.collection.name() == "users" {
            return Ok(None);
        }
        let written =
            reference(write.intent.grant.collection(), &write.record, &self.field, &self.collection, &self.id);
        let put = Put::builder().table_name(table).set_item(Some(written)).build().map_err(Error::internal)?;
        Ok(Some(TransactWriteItem::builder().put(put).build()))
    }
}
