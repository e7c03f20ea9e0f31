//! The access paths to a collection's records: by id, and through its declared indexes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::expr::{FieldTypes, RecordRef};

use super::element::{MAX_ELEMENTS, element_of, stored_field};
use super::keys::{self, MAX_ELEMENT_PREFIX_BYTES, MAX_ELEMENT_SORT_BYTES, MAX_PARTITION_BYTES, MAX_SORT_BYTES};
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
    /// The fields that a query must equal. Records without one of them, or with `null`, are not in the index. `members[]`
    /// stands for each element of the array `members`: the record has an entry of its own for each of them.
    pub partition: Vec<String>,
    /// The sort fields. The id is always the last.
    pub sort: Vec<SortField>,
    /// Which of the store's generic indexes holds it, from 1. The slots above them number the indexes over elements, whose
    /// entries are items of their own.
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
    /// Of an index over elements: whether writes remove its entries and make none. So it begins, until every function knows
    /// it, and so it ends, until a job has removed its entries. With [`Index::retiring`] it ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clearing: bool,
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
    let is_awaited = |other: &Index| other.name == index.name && !other.ready && !other.retiring;
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

    /// Whether it lists the elements of an array: its entries are items of their own.
    pub fn is_of_elements(&self) -> bool {
        self.partition.iter().any(|field| element_of(field).is_some())
    }

    /// Whether writes make entries in it.
    pub fn is_kept(&self) -> bool {
        !self.clearing
    }

    /// Whether it begins, so that writes only remove entries until every function knows it.
    pub fn is_beginning(&self) -> bool {
        self.clearing && !self.retiring
    }

    /// Whether it ends, so that writes only remove entries until a job has removed the others.
    pub fn is_ending(&self) -> bool {
        self.clearing && self.retiring
    }

    /// The stored fields that it is made of.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.partition.iter().map(|field| stored_field(field)).chain(self.sort.iter().map(|by| by.field.as_str()))
    }

    /// Maximum length of its sort keys, in bytes. An entry keeps it as text, in which a byte may take two.
    pub fn max_sort_bytes(&self) -> usize {
        if self.is_of_elements() { MAX_ELEMENT_SORT_BYTES } else { MAX_SORT_BYTES }
    }

    /// Maximum length of its partition keys, in bytes.
    pub fn max_partition_bytes(&self) -> usize {
        MAX_PARTITION_BYTES - if self.is_of_elements() { MAX_ELEMENT_PREFIX_BYTES } else { 0 }
    }

    /// The partition key for these values, one per partition field.
    pub fn partition_key(&self, layout: &Layout, parts: &[String]) -> String {
        let mut key = format!("{}#{}.{}", layout.collection, layout.generation, self.generation);
        if self.is_of_elements() {
            // Entries of all these indexes are in one table, and two indexes may begin with the same definition.
            key.push_str(&format!(".{}", self.slot));
        }
        for part in parts {
            key.push('#');
            key.push_str(part);
        }
        key
    }

    /// The record's keys in this index: none if it is not in it, and one for each distinct element of the array in the
    /// partition, if there is one.
    ///
    /// # Errors
    /// [`KeyTooLong`] if DynamoDB could not store a key.
    pub fn keys(&self, layout: &Layout, record: &RecordRef) -> Result<Vec<IndexKey>, KeyTooLong> {
        let parts: Vec<Vec<String>> = self.partition.iter().map(|field| parts_of(field, record)).collect();
        let encode = |by: &SortField| keys::encode(record.field(&by.field).as_ref(), by.descending);
        let encoded: Vec<Vec<u8>> = self.sort.iter().map(encode).collect();
        let of_partition = share(self.max_partition_bytes(), self.partition_key(layout, &[]).len(), parts.len());
        let of_sort = share(self.max_sort_bytes(), record.id.len(), encoded.len());
        // The `#` before each part counts too. The length limit applies whether or not the record is in the index.
        let is_too_long = parts.iter().flatten().any(|part| part.len() + 1 > of_partition)
            || encoded.iter().any(|part| part.len() > of_sort);
        if is_too_long {
            return Err(KeyTooLong { index: self.name.clone(), of_partition: of_partition.saturating_sub(1), of_sort });
        }
        let sort: Vec<u8> = encoded.into_iter().flatten().chain(record.id.bytes()).collect();
        let key = |parts: Vec<String>| IndexKey { partition: self.partition_key(layout, &parts), sort: sort.clone() };
        Ok(combined(&parts).into_iter().map(key).collect())
    }
}

/// The values of a partition field in a record: none if it has none, several if the field stands for the elements of an array.
fn parts_of(field: &str, record: &RecordRef) -> Vec<String> {
    let Some(array) = element_of(field) else {
        return record.field(field).as_ref().and_then(keys::partition_part).into_iter().collect();
    };
    let elements = record.data.get(array).and_then(Value::as_array).into_iter().flatten();
    let distinct: BTreeSet<String> = elements.filter_map(|element| keys::partition_part(&element.into())).collect();
    // Only a record that is written after the index was dropped may have more.
    if distinct.len() as u64 > MAX_ELEMENTS { Vec::new() } else { distinct.into_iter().collect() }
}

/// Every way to take one value of each field.
fn combined(parts: &[Vec<String>]) -> Vec<Vec<String>> {
    parts.iter().fold(vec![Vec::new()], |so_far, of_field| {
        let with = |part: &String| {
            so_far.iter().map(|taken| [taken.as_slice(), std::slice::from_ref(part)].concat()).collect()
        };
        of_field.iter().flat_map::<Vec<Vec<String>>, _>(with).collect()
    })
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
