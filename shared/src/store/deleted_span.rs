//! What was deleted in a span of time: which tombstones those are, and why one of them cannot come back, without writing anything.

use super::intent::Intent;
use super::item::{Item, text};
use super::record::{Record, key};
use super::records::Records;
use super::references::{ItemKey, place};
use super::undelete::brought_back;
use super::unique::{Marker, markers};
use crate::error::{Error, Result};
use crate::policy::System;
use crate::schema::Collection;
use std::collections::{BTreeMap, HashMap};

/// A span of time in the form that records store, both ends included.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its begin.
    pub since: String,
    /// Its end.
    pub until: String,
}

impl Records {
    /// Whether a record was deleted in this span and can still come back.
    pub fn was_deleted_in(&self, record: &Record, span: &Span) -> bool {
        // The last change of a tombstone is its deletion.
        record.deleted && self.is_there(record) && (&span.since..=&span.until).contains(&&record.updated_at)
    }

    /// For each of these tombstones of a collection, the error if another record keeps a unique value that it had: one that is
    /// not deleted, or one that had the value later and was deleted in the same span. So of several records that had a value one
    /// after another the last one comes back, in whatever order they are visited.
    ///
    /// # Errors
    /// `Unavailable` when the table does not respond.
    pub async fn taken_values(
        &self,
        _: &System,
        collection: &Collection,
        tombstones: &[Record],
        span: &Span,
    ) -> Result<Vec<Option<Error>>> {
        self.acts_in_time(collection)?;
        let wanted: Vec<Vec<Marker>> = tombstones.iter().map(|record| markers(collection, &record.data)).collect();
        let keys = wanted.iter().flatten().map(|marker| (marker.value(), marker.key()));
        let keys: BTreeMap<&str, Item> = keys.collect();
        if keys.is_empty() {
            return Ok(tombstones.iter().map(|_| None).collect());
        }
        let found = self.table().batch_get_latest(keys.into_values().collect()).await?;
        let named = |found: &Item| Some((text(found, "pk")?.to_owned(), Marker::holder(found)?.to_owned()));
        let holders: HashMap<String, String> = found.iter().filter_map(named).collect();
        let keys: Vec<Item> = holders.values().map(|id| key(collection, id)).collect();
        let records = self.latest(keys.iter()).await?;
        let keeps = |marker: &Marker, record: &Record| {
            let Some(holder) = holders.get(marker.value()).filter(|holder| **holder != record.id) else { return false };
            let Some(holder) = records.get(&place(&key(collection, holder))) else { return false };
            let has = markers(collection, &holder.data).iter().any(|its| its.is(marker));
            has && (!holder.deleted || self.was_deleted_in(holder, span))
        };
        let taken = |(record, wanted): (&Record, &Vec<Marker>)| {
            wanted.iter().find(|marker| keeps(marker, record)).map(Marker::taken)
        };
        Ok(tombstones.iter().zip(&wanted).map(taken).collect())
    }

    /// For each of these undeletes and its tombstone, the error if the definition does not allow the record any more, or a record
    /// that it points at is gone. One of the same collection that was deleted in the same span counts as there.
    ///
    /// # Errors
    /// `Unavailable` when the table does not respond.
    pub async fn refused_undeletes(&self, undeletes: &[(Intent, &Record)], span: &Span) -> Result<Vec<Option<Error>>> {
        self.in_time(undeletes.iter().map(|(intent, _)| intent))?;
        let keys: Vec<Item> =
            undeletes.iter().flat_map(|(intent, _)| &intent.targets).map(|target| target.key()).collect();
        let targets: HashMap<ItemKey, Record> = self.latest(keys.iter()).await?;
        let refused = |(intent, stored): &(Intent, &Record)| {
            if let Err(error) = brought_back(intent, stored) {
                return Some(error);
            }
            let here = intent.grant.collection().name();
            let is_there = |target: &&super::intent::Target| {
                let found = targets.get(&place(&target.key()));
                let comes_back = |record| target.collection.name() == here && self.was_deleted_in(record, span);
                found.is_some_and(|record| !record.deleted || comes_back(record))
            };
            intent.targets.iter().find(|target| !is_there(target)).map(|target| target.nowhere())
        };
        Ok(undeletes.iter().map(refused).collect())
    }
}
