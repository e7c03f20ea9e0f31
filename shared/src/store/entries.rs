//! Entries of records in indexes over elements (`members[]`): an index of DynamoDB has one entry an item, so these entries are
//! items of their own, one for each element. The transaction that writes a record writes the entries that change with it.
//!
//! An entry holds its key alone, which ends in the record's id. A list reads the entries of a partition and then their records,
//! and passes over an entry that its record no longer has.

use super::Table;
use super::item::{self, Item, text};
use super::keys::{element_partition, element_sort, element_sort_bytes};
use super::record::{Record, key};
use crate::cost;
use crate::error::{Error, Result};
use crate::query::IndexKey;
use crate::schema::Collection;
use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Length of an id, which ends every sort key.
const ID_BYTES: usize = 36;

/// The entries that change with a write of a record.
#[derive(Debug, Default)]
pub(super) struct EntryChanges {
    pub removed: Vec<IndexKey>,
    pub added: Vec<IndexKey>,
    /// Entries to count beside these for a caller who may not read the stored record, as if it had as many as it may have, so
    /// that the number of items reveals nothing about it.
    pub withheld: usize,
}

impl EntryChanges {
    /// Whether no entry changes.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }

    /// The items of the transaction.
    pub fn items(&self, table: &str) -> Result<Vec<TransactWriteItem>> {
        let removed = self.removed.iter().map(|key| removing(table, key));
        removed.chain(self.added.iter().map(|key| adding(table, key))).collect()
    }
}

/// Makes an entry.
pub(super) fn adding(table: &str, key: &IndexKey) -> Result<TransactWriteItem> {
    let put = Put::builder().table_name(table).set_item(Some(entry(key))).build().map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// Removes an entry, if it exists.
pub(super) fn removing(table: &str, key: &IndexKey) -> Result<TransactWriteItem> {
    let delete = Delete::builder().table_name(table).set_key(Some(entry(key))).build().map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}

/// An entry: its key is all of it.
pub(super) fn entry(key: &IndexKey) -> Item {
    item::key(&element_partition(&key.partition), &element_sort(&key.sort))
}

/// Reads the records of entries of one index.
#[derive(Debug, Clone)]
pub(super) struct Behind {
    collection: Arc<Collection>,
    slot: u8,
}

impl Behind {
    /// The records behind entries of the index in this slot.
    pub fn new(collection: Arc<Collection>, slot: u8) -> Self {
        Self { collection, slot }
    }

    /// The item of each entry's record. `None` for an entry that its record no longer has: the record was written between the
    /// two reads.
    pub async fn records(&self, table: &Table, entries: &[Item]) -> Result<Vec<Option<Item>>> {
        let keys: Vec<Option<Item>> = entries.iter().map(|entry| self.record_key(entry)).collect();
        // The query may have met a record at its former place and at the one it moved to meanwhile.
        let mut met = HashSet::new();
        let wanted = keys.iter().flatten().filter(|key| met.insert(text(key, "sk")));
        let wanted: Vec<Item> = wanted.cloned().collect();
        let found = if wanted.is_empty() { Vec::new() } else { table.batch_get(wanted).await? };
        let mut found: HashMap<String, Item> =
            found.into_iter().filter_map(|found| Some((text(&found, "sk")?.to_owned(), found))).collect();
        let records = entries.iter().zip(keys).map(|(entry, key)| {
            let key = key?;
            let id = text(&key, "sk")?;
            if self.has(found.get(id)?, entry) { found.remove(id) } else { None }
        });
        let records: Vec<Option<Item>> = records.collect();
        if records.iter().any(Option::is_none) {
            cost::withhold();
        }
        Ok(records)
    }

    fn record_key(&self, entry: &Item) -> Option<Item> {
        let sort = element_sort_bytes(text(entry, "sk")?)?;
        let id = sort.get(sort.len().checked_sub(ID_BYTES)?..)?;
        Some(key(&self.collection, std::str::from_utf8(id).ok()?))
    }

    /// Whether this record, as it is now, has this entry.
    fn has(&self, found: &Item, stated: &Item) -> bool {
        let Some(record) = Record::from_item(found).filter(|record| !record.deleted) else { return false };
        let keys = self.collection.held_entry_keys(&record.view(), |index| index.slot == self.slot);
        keys.iter().any(|key| entry(key) == *stated)
    }
}
