//! Where a collection's records can be found: by id, and through its declared indexes.

use serde::{Deserialize, Serialize};

use crate::expr::{FieldTypes, RecordRef};

use super::keys::{self, MAX_PARTITION_BYTES, MAX_SORT_BYTES};
use super::ordering::SortField;

/// A declared index and the place it has in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Its name in the definition.
    pub name: String,
    /// The fields a query must equal. Records that lack one of them, or hold `null`, are not in the index.
    pub partition: Vec<String>,
    /// The fields it is ordered by; the id comes last by itself.
    pub sort: Vec<SortField>,
    /// Which of the store's generic indexes holds it, from 1.
    pub slot: u8,
    /// The version of the definition it came with, so that a slot's earlier entries are never taken for its own.
    pub generation: u64,
    /// Whether it holds every record. Until it does it is kept by every write and serves no list.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub ready: bool,
    /// Whether it only serves until another of its name is ready.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retiring: bool,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it a reference")]
fn is_yes(ready: &bool) -> bool {
    *ready
}

/// What the planner knows of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The collection's name.
    pub collection: String,
    /// Which collection of that name, counted from 1.
    pub generation: u32,
    /// Its indexes.
    pub indexes: Vec<Index>,
    /// Its fields.
    pub fields: FieldTypes,
}

impl Layout {
    /// The same, as it is once every index holds every record.
    pub fn when_built(&self) -> Self {
        let mut built = self.clone();
        built.indexes.iter_mut().for_each(|index| index.ready = true);
        built
    }
}

/// A record's place in one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexKey {
    /// The partition key.
    pub partition: String,
    /// The sort key.
    pub sort: Vec<u8>,
}

impl Index {
    /// Whether both are one index in the store, whatever else is said of them.
    pub fn is(&self, other: &Self) -> bool {
        (self.slot, self.generation) == (other.slot, other.generation)
    }

    /// The partition key for these parts, one for each partition field.
    pub fn partition_key(&self, layout: &Layout, parts: &[String]) -> String {
        let mut key = format!("{}#{}.{}", layout.collection, layout.generation, self.generation);
        for part in parts {
            key.push('#');
            key.push_str(part);
        }
        key
    }

    /// Where the record stands in this index; `Ok(None)` if it is not in it.
    ///
    /// # Errors
    /// [`KeyTooLong`] if the store could not hold the key.
    pub fn key(&self, layout: &Layout, record: &RecordRef) -> Result<Option<IndexKey>, KeyTooLong> {
        let part = |field: &String| record.field(field).as_ref().and_then(keys::partition_part);
        let parts: Vec<Option<String>> = self.partition.iter().map(part).collect();
        let encode = |by: &SortField| keys::encode(record.field(&by.field).as_ref(), by.descending);
        let encoded: Vec<Vec<u8>> = self.sort.iter().map(encode).collect();
        let of_partition = share(MAX_PARTITION_BYTES, self.partition_key(layout, &[]).len(), parts.len());
        let of_sort = share(MAX_SORT_BYTES, record.id.len(), encoded.len());
        // The `#` before each part counts as well. A value is too long whether or not the record is in the index.
        let is_too_long = parts.iter().flatten().any(|part| part.len() + 1 > of_partition)
            || encoded.iter().any(|part| part.len() > of_sort);
        if is_too_long {
            return Err(KeyTooLong { index: self.name.clone(), of_partition: of_partition.saturating_sub(1), of_sort });
        }
        let Some(parts) = parts.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
        let partition = self.partition_key(layout, &parts);
        let sort: Vec<u8> = encoded.into_iter().flatten().chain(record.id.bytes()).collect();
        Ok(Some(IndexKey { partition, sort }))
    }
}

/// How long each of so many fields may be in a key of `most` bytes, beside what is in it anyhow. Each has its own share, so that
/// whether one is too long tells nothing of the others: a caller may change one of them and not read the other.
fn share(most: usize, beside: usize, fields: usize) -> usize {
    most.saturating_sub(beside) / fields.max(1)
}

/// A value of an indexed record is longer than its share of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTooLong {
    /// The index whose key it would be.
    pub index: String,
    /// The most bytes of each partition field.
    pub of_partition: usize,
    /// The most bytes of each sort field, as encoded.
    pub of_sort: usize,
}
