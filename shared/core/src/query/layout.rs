//! The access paths to a collection's records: by id, and through its declared indexes.

use serde::{Deserialize, Serialize};

use crate::expr::{FieldTypes, RecordRef};

use super::keys::{self, MAX_PARTITION_BYTES, MAX_SORT_BYTES};
use super::ordering::SortField;

/// Maximum number of indexes of a collection, which is the number of generic indexes in the store.
pub const MAX_INDEXES: usize = 5;
/// Maximum number of fields in an index, partition and sort together.
pub const MAX_INDEX_FIELDS: usize = 8;

/// A declared index and its slot in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Its name in the definition.
    pub name: String,
    /// The fields that a query must equal. Records without one of them, or with `null`, are not in the index.
    pub partition: Vec<String>,
    /// The sort fields. The id is always the last.
    pub sort: Vec<SortField>,
    /// Which of the store's generic indexes holds it, from 1.
    pub slot: u8,
    /// The version of the definition that added it, so that old entries of the same slot are never read.
    pub generation: u64,
    /// Whether it contains every record. Until then every write maintains it and no list uses it.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub ready: bool,
    /// Whether it is not declared any more. It serves until its successor of the same name is ready, and every write maintains
    /// it until no function acts on a definition that declares it.
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

/// What the planner knows about a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The collection's name.
    pub collection: String,
    /// The collection's generation, counted from 1.
    pub generation: u32,
    /// Its indexes.
    pub indexes: Vec<Index>,
    /// Its fields.
    pub fields: FieldTypes,
}

impl Layout {
    /// The same after every declared index is built.
    pub fn when_built(&self) -> Self {
        let mut built = self.clone();
        built.indexes.retain(|index| !index.retiring);
        built.indexes.iter_mut().for_each(|index| index.ready = true);
        built
    }

    /// The indexes that may serve a list.
    pub fn serving(&self) -> impl Iterator<Item = &Index> {
        self.indexes.iter().filter(|index| serves(&self.indexes, index))
    }
}

/// Whether an index among these may serve a list: a retiring one does so only until its successor is ready.
pub fn serves(indexes: &[Index], index: &Index) -> bool {
    let is_awaited = |other: &Index| other.name == index.name && !other.ready;
    index.ready && (!index.retiring || indexes.iter().any(is_awaited))
}

/// A record's keys in one index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexKey {
    /// The partition key.
    pub partition: String,
    /// The sort key.
    pub sort: Vec<u8>,
}

impl Index {
    /// Whether both are the same index in the store.
    pub fn is(&self, other: &Self) -> bool {
        (self.slot, self.generation) == (other.slot, other.generation)
    }

    /// The partition key for these values, one per partition field.
    pub fn partition_key(&self, layout: &Layout, parts: &[String]) -> String {
        let mut key = format!("{}#{}.{}", layout.collection, layout.generation, self.generation);
        for part in parts {
            key.push('#');
            key.push_str(part);
        }
        key
    }

    /// The record's keys in this index. `Ok(None)` if the record is not in it.
    ///
    /// # Errors
    /// [`KeyTooLong`] if DynamoDB could not store the key.
    pub fn key(&self, layout: &Layout, record: &RecordRef) -> Result<Option<IndexKey>, KeyTooLong> {
        let part = |field: &String| record.field(field).as_ref().and_then(keys::partition_part);
        let parts: Vec<Option<String>> = self.partition.iter().map(part).collect();
        let encode = |by: &SortField| keys::encode(record.field(&by.field).as_ref(), by.descending);
        let encoded: Vec<Vec<u8>> = self.sort.iter().map(encode).collect();
        let of_partition = share(MAX_PARTITION_BYTES, self.partition_key(layout, &[]).len(), parts.len());
        let of_sort = share(MAX_SORT_BYTES, record.id.len(), encoded.len());
        // The `#` before each part counts too. The length limit applies whether or not the record is in the index.
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

/// The maximum length of each field in a key of `most` bytes, minus its fixed parts. Each field has its own share, so that
/// exceeding it reveals nothing about the other fields: a caller may change one and not be allowed to read another.
fn share(most: usize, beside: usize, fields: usize) -> usize {
    most.saturating_sub(beside) / fields.max(1)
}

/// A value of an indexed field exceeds its share of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyTooLong {
    /// The index.
    pub index: String,
    /// Maximum bytes of each partition field.
    pub of_partition: usize,
    /// Maximum bytes of each sort field, as encoded.
    pub of_sort: usize,
}
