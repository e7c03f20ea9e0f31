//! Stored records brought to what their definition says, one by one, by a job and not for a caller: no data is changed here
//! and none is shown, so there is no grant. What is changed is what the store keeps beside the data.
//!
//! Each write is on the condition that the record is of the version seen, so it never undoes what a client wrote meanwhile;
//! and it leaves version and time alone, because the record is the same.

use super::item::{self, Item, number, string, text};
use super::keys::record_partition;
use super::record::{Record, key};
use super::records::{Records, TRIES};
use super::unique::{Marker, markers};
use super::{Expression, Page, TableQuery, TransactionOutcome, WriteOutcome};
use crate::error::{Error, FieldError, Result};
use crate::policy::System;
use crate::schema::{Blocked, Collection, MAX_INDEXES};
use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;
use std::collections::HashMap;

/// What a stored record has against the definition that is to be in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disagreement {
    /// What is wrong, with JSON pointers into the record's data. Empty: nothing.
    pub errors: Vec<FieldError>,
    /// What it keeps from coming into force.
    pub refused: Blocked,
}

/// What stored records have against a definition.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Disagreements {
    /// How many do.
    pub count: u64,
    /// The first of them.
    pub first: Vec<Listed>,
    /// How many items were read.
    pub checked: usize,
    /// Whether those were all.
    pub complete: bool,
}

/// A stored record that disagrees.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// What is wrong.
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

/// What the store keeps beside a record: the attribute, and its value unless it must be absent.
type Kept = Vec<(String, Option<AttributeValue>)>;

impl Records {
    /// Up to `limit` items of one shard in the order of their ids, after the id `after`: living records and tombstones.
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

    /// Holds up to `most` stored records against what is to come, without a write. Of those that disagree it lists the first; no data
    /// of a record is returned.
    ///
    /// # Errors
    /// As every read of the table.
    pub async fn disagreements(&self, collection: &Collection, most: usize, listed: usize) -> Result<Disagreements> {
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
                for record in page.items.iter().filter_map(Record::from_item).filter(|record| !record.deleted) {
                    found.note(&record, disagreement(collection, &record, &mut claimed)?, listed);
                }
                // Tombstones count as read, and may fill a page alone.
                match page.last_key.as_ref().and_then(|key| text(key, "sk")) {
                    Some(last) => after = Some(last.to_owned()),
                    None => break,
                }
            }
        }
        Ok(found)
    }

    /// Brings a stored record to what `collection` says: its places in the indexes, no leftovers of dropped ones, and its
    /// unique values claimed. Says what it has against the schema, the indexes and the constraints that are to come.
    ///
    /// # Errors
    /// `Unavailable` when the record is written faster than it can be read.
    pub async fn settle(&self, collection: &Collection, found: Item) -> Result<Disagreement> {
        let mut found = found;
        for _ in 0..TRIES {
            self.acts_in_time(collection)?;
            let Some(record) = Record::from_item(&found) else { return Ok(Disagreement::default()) };
            let (kept, mut disagreement) = kept(collection, &record)?;
            match self.keep(&found, &kept, record.version).await? {
                // Purged since.
                WriteOutcome::ConditionFailed(None) => return Ok(Disagreement::default()),
                WriteOutcome::ConditionFailed(Some(now)) => found = now,
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

    /// Claims what the constraints that are to come ask of this record. A value another record holds is a disagreement.
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

    /// Claims a value for a record, unless another holds it, which is returned. A record that lets go of the value right now
    /// leaves a marker that its next claimant takes over.
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

/// What a stored record has against what is to come, found without a write. `claimed` holds the unique values met so far, each
/// with the record that holds it.
///
/// # Errors
/// None that a caller could cause.
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
    fn note_holder(&mut self, marker: &Marker, holder: &str) {
        let message = format!("the record {holder} has this {} already", marker.fields().join(" and "));
        let pointer = marker.fields().first().map(|field| format!("/{field}")).unwrap_or_default();
        self.errors.push(FieldError::new(pointer, "not_unique", message));
        self.refused.unique.push(marker.fields().clone());
    }
}

const TOO_FAST: fn() -> Error =
    || Error::Unavailable { retry_after: 1, source: Some("a record is written faster than it can be read".into()) };

/// What is to be kept beside a record, and what the record has against it.
fn kept(collection: &Collection, record: &Record) -> Result<(Kept, Disagreement)> {
    let mut against = Disagreement::default();
    let declared = &collection.definition().indexes;
    if record.deleted {
        let marks = ["cn", "cf"].map(|mark| (mark.to_owned(), None));
        return Ok(((1..=MAX_INDEXES).flat_map(empty_slot).chain(marks).collect(), against));
    }
    against.errors = collection.disagreements(&record.data);
    against.refused.schema = !against.errors.is_empty();
    let mut kept = match record.derived(collection) {
        Ok(kept) => kept,
        Err(Error::Invalid(errors)) => {
            against.errors.extend(errors);
            let too_long = |index: &&crate::query::Index| index.key(collection.layout(), &record.view()).is_err();
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
