//! Backfill: brings stored records in line with their collection's definition, one at a time. It runs in a job and not for a
//! caller, so it needs no grant. It changes only the attributes the store keeps beside the data, never the data, and returns
//! no data.
//!
//! Each write is conditional on the version that was read, so it never overwrites a client's write. It leaves version and
//! time unchanged because the record itself does not change.

use super::definitions::Definitions;
use super::item::{self, Item, number, string, text};
use super::keys::record_partition;
use super::record::{Record, key};
use super::records::{Records, TRIES};
use super::unique::{Marker, markers};
use super::{Expression, Page, TableQuery, TransactionOutcome, WriteOutcome};
use crate::error::{Error, FieldError, Result};
use crate::policy::System;
use crate::query::MAX_INDEXES;
use crate::schema::{Blocked, Collection};
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use std::collections::HashMap;

/// How a stored record disagrees with the pending definition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disagreement {
    /// JSON pointers into the record's data, each with a message. Empty if the record conforms.
    pub errors: Vec<FieldError>,
    /// What this disagreement keeps from coming into force.
    pub refused: Blocked,
}

/// How stored records disagree with a definition.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Disagreements {
    /// The number of records that disagree.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Listed>,
    /// The number of items read.
    pub checked: usize,
    /// Whether every record was read.
    pub complete: bool,
    /// The number of records whose data the job would change.
    #[serde(skip)]
    pub changed: u64,
}

/// A stored record that disagrees with the definition.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    /// The record's id.
    pub id: String,
    /// The errors found in it.
    pub errors: Vec<FieldError>,
}

impl Disagreements {
    fn note(&mut self, record: &Record, against: Disagreement, listed: usize) {
        self.count += u64::from(!against.errors.is_empty());
        if !against.errors.is_empty() && self.first.len() < listed {
            self.first.push(Listed { id: record.id.clone(), errors: against.errors });
        }
    }
}

/// An attribute the store keeps beside a record's data. `None`: the attribute must be absent.
type Kept = Vec<(String, Option<AttributeValue>)>;

impl Records {
    /// Up to `limit` items of one shard, ordered by id, after the id `after`. Includes tombstones.
    pub async fn in_shard(
        &self,
        _: &System,
        collection: &Collection,
        shard: u16,
        after: Option<&str>,
        limit: i32,
    ) -> Result<Page> {
        self.shard_page(collection, shard, after, limit).await
    }

    async fn shard_page(&self, collection: &Collection, shard: u16, after: Option<&str>, limit: i32) -> Result<Page> {
        let definition = collection.definition();
        let partition = record_partition(&definition.name, definition.generation, shard);
        let after = after.map(|id| item::key(&partition, id));
        let key = Expression::new("pk = :pk").value(":pk", string(partition));
        self.table()
            .query(&TableQuery { key, forward: true, limit, after, consistent: true, ..TableQuery::default() })
            .await
    }

    /// Checks up to `most` stored records against the pending definition without writing. Returns the first disagreements,
    /// but no data.
    ///
    /// # Errors
    /// As for every read of the table.
    pub async fn disagreements(
        &self,
        definitions: &Definitions,
        collection: &Collection,
        most: usize,
        listed: usize,
    ) -> Result<Disagreements> {
        let mut found = Disagreements { complete: true, ..Disagreements::default() };
        let mut claimed = HashMap::new();
        for shard in 0..u16::from(collection.definition().shards_ever()) {
            let mut after: Option<String> = None;
            loop {
                let room = i32::try_from(most - found.checked).unwrap_or(0);
                if room == 0 {
                    found.complete = false;
                    break;
                }
                let page = self.shard_page(collection, shard, after.as_deref(), room).await?;
                found.checked += page.items.len();
                let records = page.items.iter().filter_map(Record::from_item).filter(|record| !record.deleted);
                let mut records: Vec<Record> = records.collect();
                for record in &mut records {
                    if let Some(data) = collection.migrated(&record.data) {
                        record.data = data;
                        found.changed += 1;
                    }
                }
                let dangling = self.dangling(definitions, collection, &records).await?;
                for (record, dangling) in records.iter().zip(dangling) {
                    let mut against = disagreement(collection, record, &mut claimed)?;
                    against.note_dangling(dangling);
                    found.note(record, against, listed);
                }
                // Tombstones count as read. A page may consist of tombstones only.
                match page.last_key.as_ref().and_then(|key| text(key, "sk")) {
                    Some(last) => after = Some(last.to_owned()),
                    None => break,
                }
            }
        }
        Ok(found)
    }

    /// Brings one stored record in line with `collection`: writes its index keys, removes keys of dropped indexes and claims
    /// its unique values. Returns how it disagrees with the pending schema, indexes and constraints.
    ///
    /// # Errors
    /// `Unavailable` when the record keeps changing between read and write.
    pub async fn settle(&self, collection: &Collection, found: Item) -> Result<Disagreement> {
        let mut found = found;
        for _ in 0..TRIES {
            self.acts_in_time(collection)?;
            let Some(record) = Record::from_item(&found) else { return Ok(Disagreement::default()) };
            let (kept, mut disagreement) = kept(collection, &record)?;
            match self.keep(&found, &kept, record.version).await? {
                // The record was purged in the meantime.
                WriteOutcome::ConditionFailed(None) => return Ok(Disagreement::default()),
                WriteOutcome::ConditionFailed(Some(now)) => found = now,
                WriteOutcome::Done(()) if !self.settle_entries(collection, &record).await? => {
                    let now = self.table().get_by(key(collection, &record.id), true).await?;
                    let Some(now) = now else { return Ok(Disagreement::default()) };
                    found = now;
                }
                WriteOutcome::Done(()) => {
                    self.claim_all(collection, &record, &mut disagreement).await?;
                    return Ok(disagreement);
                }
            }
        }
        Err(TOO_FAST())
    }

    async fn keep(&self, found: &Item, kept: &Kept, version: u64) -> Result<WriteOutcome> {
        let differs = |(name, value): &&(String, Option<AttributeValue>)| found.get(name) != value.as_ref();
        let (mut sets, mut removes, mut change) = (Vec::new(), Vec::new(), Expression::default());
        for (name, value) in kept.iter().filter(differs) {
            match value {
                None => removes.push(name.as_str()),
                Some(value) => {
                    sets.push(format!("{name} = :{name}"));
                    change = change.value(&format!(":{name}"), value.clone());
                }
            }
        }
        let part = |verb: &str, of: String| if of.is_empty() { of } else { format!("{verb} {of} ") };
        change.text = part("SET", sets.join(", ")) + &part("REMOVE", removes.join(", "));
        if change.text.is_empty() {
            return Ok(WriteOutcome::Done(()));
        }
        let at = item::key(text(found, "pk").unwrap_or_default(), text(found, "sk").unwrap_or_default());
        let condition = Expression::new("v = :seen").value(":seen", number(version));
        Ok(match self.table().update(at, change, condition).await? {
            WriteOutcome::Done(_) => WriteOutcome::Done(()),
            WriteOutcome::ConditionFailed(old) => WriteOutcome::ConditionFailed(old),
        })
    }

    /// Claims the record's values for the pending constraints. A value that another record holds is a disagreement.
    async fn claim_all(&self, collection: &Collection, record: &Record, against: &mut Disagreement) -> Result<()> {
        let claims = collection.definition().claims();
        if record.deleted || claims.is_empty() {
            return Ok(());
        }
        for marker in markers(collection, &record.data).into_iter().filter(|marker| claims.contains(marker.fields())) {
            if let Some(holder) = self.claim(collection, record, &marker).await? {
                against.note_holder(&marker, &holder);
            }
        }
        Ok(())
    }

    /// Claims a value for a record. If another record holds the value, returns that record. A record that is releasing the
    /// value at this moment leaves a marker, and the next claimant takes it over.
    async fn claim(&self, collection: &Collection, record: &Record, marker: &Marker) -> Result<Option<String>> {
        let table = self.table().name();
        let mut found = match self.table().put(marker.named(&record.id), marker.free_for(&record.id)).await? {
            WriteOutcome::Done(()) => return Ok(None),
            WriteOutcome::ConditionFailed(found) => found,
        };
        for _ in 0..TRIES {
            let holder = found.as_ref().and_then(Marker::holder).unwrap_or_default().to_owned();
            let other = self.stored(collection, &holder, true).await?;
            if other.as_ref().is_some_and(|other| marker.is_held_by(collection, other)) {
                return Ok(Some(holder));
            }
            let unheld = Marker::still_unheld(table, key(collection, &holder), other.map(|other| other.version))?;
            match self.table().transact(vec![marker.reserve(table, &record.id, Some(&holder))?, unheld]).await? {
                TransactionOutcome::Done => return Ok(None),
                TransactionOutcome::Conflicted(_) => return Err(TransactionOutcome::CONFLICT),
                TransactionOutcome::Cancelled(reasons) => {
                    found = reasons.into_iter().next().flatten().flatten().or(found)
                }
            }
        }
        Err(TOO_FAST())
    }
}

/// Checks a stored record against the pending definition without writing. `claimed` maps the unique values seen so far to the
/// records that hold them.
///
/// # Errors
/// None that a caller can cause.
fn disagreement(
    collection: &Collection,
    record: &Record,
    claimed: &mut HashMap<String, String>,
) -> Result<Disagreement> {
    let (_, mut against) = kept(collection, record)?;
    let claims = collection.definition().claims();
    for marker in markers(collection, &record.data).into_iter().filter(|marker| claims.contains(marker.fields())) {
        match claimed.get(marker.value()) {
            Some(holder) => against.note_holder(&marker, holder),
            None => _ = claimed.insert(marker.value().to_owned(), record.id.clone()),
        }
    }
    Ok(against)
}

impl Disagreement {
    /// Adds the errors of relations that lead nowhere.
    pub fn note_dangling(&mut self, errors: Vec<FieldError>) {
        let field = |error: &FieldError| error.pointer.split('/').nth(1).unwrap_or_default().to_owned();
        self.refused.relations.extend(errors.iter().map(field));
        self.errors.extend(errors);
    }

    /// Adds why the record's data could not be changed, which its other errors follow from.
    pub fn note_unchanged(&mut self, errors: Vec<FieldError>) {
        self.refused.schema |= !errors.is_empty();
        if !errors.is_empty() {
            self.errors = errors;
        }
    }

    fn note_holder(&mut self, marker: &Marker, holder: &str) {
        let message = format!("The record {holder} already has this {}.", marker.fields().join(" and "));
        let pointer = marker.fields().first().map(|field| format!("/{field}")).unwrap_or_default();
        self.errors.push(FieldError::new(pointer, "not_unique", message));
        self.refused.unique.push(marker.fields().clone());
    }
}

const TOO_FAST: fn() -> Error =
    || Error::Unavailable { retry_after: 1, source: Some("the record kept changing between read and write".into()) };

/// The attributes to keep beside a record, and how the record disagrees with the definition.
fn kept(collection: &Collection, record: &Record) -> Result<(Kept, Disagreement)> {
    let mut against = Disagreement::default();
    let declared = &collection.definition().indexes;
    if record.deleted {
        let marks = ["cn", "cf", "ei"].map(|mark| (mark.to_owned(), None));
        return Ok(((1..=MAX_INDEXES).flat_map(empty_slot).chain(marks).collect(), against));
    }
    against.errors = collection.disagreements(&record.data);
    against.refused.schema = !against.errors.is_empty();
    let mut kept = match record.derived(collection) {
        Ok(kept) => kept,
        Err(Error::Invalid(errors)) => {
            against.errors.extend(errors);
            let too_long = |index: &&crate::query::Index| index.keys(collection.layout(), &record.view()).is_err();
            let too_long: Vec<&crate::query::Index> = declared.iter().filter(too_long).collect();
            against.refused.indexes = too_long.iter().map(|index| index.name.clone()).collect();
            let slots: Vec<u8> = too_long.iter().map(|index| index.slot).collect();
            record.derived(&collection.without_indexes(&slots).map_err(Error::Invalid)?)?
        }
        Err(error) => return Err(error),
    };
    let named = |name: &String, kept: &Kept| kept.iter().any(|(other, _)| other == name);
    let empty: Kept = (1..=MAX_INDEXES).flat_map(empty_slot).filter(|(name, _)| !named(name, &kept)).collect();
    kept.extend(empty);
    Ok((kept, against))
}

fn empty_slot(slot: usize) -> [(String, Option<AttributeValue>); 2] {
    [(format!("ix{slot}p"), None), (format!("ix{slot}s"), None)]
}
