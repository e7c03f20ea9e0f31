//! Indexes and unique constraints: which fields they may contain, and each index's slot in the store.

use std::collections::BTreeMap;

use crate::error::FieldError;
use crate::query::{Index, MAX_INDEX_FIELDS, MAX_INDEXES, SortField};

use super::field::Field;
use super::limits::{MAX_UNIQUE, is_collection_name};
use super::parse::IndexBody;

/// Checks the declared indexes against the fields.
pub(super) fn check(indexes: &[IndexBody], fields: &BTreeMap<String, Field>, problems: &mut Vec<FieldError>) {
    if indexes.len() > MAX_INDEXES {
        problems.push(FieldError::new(
            "/indexes",
            "too_many",
            format!("A collection has at most {MAX_INDEXES} indexes. Remove some."),
        ));
    }
    for (position, index) in indexes.iter().enumerate() {
        let pointer = format!("/indexes/{position}");
        if !is_collection_name(&index.name) {
            let message = "An index's name is 1 to 63 of a-z, 0-9 and _, beginning with a letter.";
            problems.push(FieldError::new(format!("{pointer}/name"), "bad_name", message));
        }
        if indexes.iter().take(position).any(|earlier| earlier.name == index.name) {
            problems.push(FieldError::new(
                format!("{pointer}/name"),
                "duplicate",
                "Another index has this name. Rename one of them.",
            ));
        }
        if index.partition.is_empty() && index.sort.is_empty() {
            problems.push(FieldError::new(&pointer, "empty", "An index needs a partition or a sort field. Add one."));
        }
        check_fields(index, fields, &pointer, problems);
    }
}

fn check_fields(index: &IndexBody, fields: &BTreeMap<String, Field>, pointer: &str, problems: &mut Vec<FieldError>) {
    let partition =
        index.partition.iter().enumerate().map(|(at, name)| (format!("{pointer}/partition/{at}"), name, false));
    let sort = index.sort.iter().enumerate().map(|(at, by)| (format!("{pointer}/sort/{at}"), &by.field, true));
    let mut seen: Vec<&str> = Vec::new();
    for (place, name, in_sort) in partition.chain(sort) {
        if seen.contains(&name.as_str()) {
            problems.push(FieldError::new(
                &place,
                "duplicate",
                format!("`{name}` occurs twice in this index. Remove one."),
            ));
        }
        seen.push(name);
        let timestamp = in_sort && matches!(name.as_str(), "createdAt" | "updatedAt");
        if let (false, Some(reason)) = (timestamp, unfit(fields.get(name.as_str()))) {
            problems.push(FieldError::new(place, "bad_index_field", format!("`{name}` {reason}")));
        }
    }
    if seen.len() > MAX_INDEX_FIELDS {
        problems.push(FieldError::new(
            pointer,
            "too_many",
            format!("An index has at most {MAX_INDEX_FIELDS} fields. Remove some."),
        ));
    }
}

/// Why a field cannot be part of an index.
fn unfit(field: Option<&Field>) -> Option<String> {
    match field {
        None => Some("is not a field of the schema.".to_owned()),
        // An index on it would let callers find its values by sorting.
        Some(field) if field.value.hidden => Some("is hidden and cannot be in an index.".to_owned()),
        Some(field) if !field.value.kind.is_scalar() => Some(not_plain(field, "in an index")),
        Some(_) => None,
    }
}

/// Why a field without order cannot be used.
fn not_plain(field: &Field, place: &str) -> String {
    let types = field.types.description();
    format!(
        "is {types} by its schema and cannot be {place}, which takes one of text, a number, true or false, a time; each also with null."
    )
}

/// Checks the unique constraints against the fields.
pub(super) fn check_unique(unique: &[Vec<String>], fields: &BTreeMap<String, Field>, problems: &mut Vec<FieldError>) {
    if unique.len() > MAX_UNIQUE {
        problems.push(FieldError::new(
            "/unique",
            "too_many",
            format!("A collection has at most {MAX_UNIQUE} unique constraints. Remove some."),
        ));
    }
    for (position, names) in unique.iter().enumerate() {
        let pointer = format!("/unique/{position}");
        if names.is_empty() || names.len() > MAX_UNIQUE {
            problems.push(FieldError::new(
                &pointer,
                "unique",
                format!("A unique constraint names 1 to {MAX_UNIQUE} fields."),
            ));
        }
        if unique.iter().take(position).any(|earlier| earlier == names) {
            problems.push(FieldError::new(&pointer, "duplicate", "This unique constraint occurs twice. Remove one."));
        }
        for (at, name) in names.iter().enumerate() {
            let twice = names.iter().take(at).any(|earlier| earlier == name);
            let unfit = unfit_for_unique(fields.get(name));
            if let Some(reason) = unfit.or(twice.then(|| "is named twice. Remove one.".to_owned())) {
                let message = format!("`{name}` {reason}");
                problems.push(FieldError::new(format!("{pointer}/{at}"), "bad_unique_field", message));
            }
        }
    }
}

/// Why a field cannot be part of a unique constraint.
fn unfit_for_unique(field: Option<&Field>) -> Option<String> {
    match field {
        None => Some("is not a field of the schema.".to_owned()),
        // A caller who may create records could guess its values: a `not_unique` error confirms a guess.
        Some(field) if field.value.hidden => Some(
            "is hidden, and a not_unique error would reveal its value. Show the field, or leave it out of `unique`."
                .to_owned(),
        ),
        Some(field) if !field.value.kind.is_scalar() => Some(not_plain(field, "unique")),
        Some(_) => None,
    }
}

/// Assigns a slot to every index. An unchanged index keeps its slot. A new one gets an empty slot if possible, so that it
/// need not wait until another's entries are cleared, and is ready at once only in a new collection. Indexes that are replaced
/// or dropped stay behind the declared ones if no other needs their slot, because functions that act on the previous definition
/// still read them: every write maintains them until then.
pub(super) fn with_slots(indexes: Vec<IndexBody>, previous: Option<&[Index]>, version: u64) -> Vec<Index> {
    let before = previous.unwrap_or_default();
    let kept = |index: &IndexBody| before.iter().find(|old| same(old, index)).cloned();
    let mut taken: Vec<u8> = indexes.iter().filter_map(|index| kept(index).map(|old| old.slot)).collect();
    let mut placed = Vec::new();
    for index in indexes {
        placed.push(kept(&index).map(|old| Index { retiring: false, ..old }).unwrap_or_else(|| {
            let slot = free_slot(&taken, before);
            taken.push(slot);
            let (name, partition, sort) = (index.name, index.partition, index.sort);
            Index { name, partition, sort, slot, generation: version, ready: previous.is_none(), retiring: false }
        }));
    }
    let retires = |old: &&Index| old.ready && !taken.contains(&old.slot);
    let retiring: Vec<Index> = before.iter().filter(retires).cloned().collect();
    placed.extend(retiring.into_iter().map(|old| Index { retiring: true, ..old }));
    placed
}

fn same(old: &Index, new: &IndexBody) -> bool {
    let sort: &Vec<SortField> = &new.sort;
    old.name == new.name && old.partition == new.partition && old.sort == *sort
}

fn free_slot(taken: &[u8], before: &[Index]) -> u8 {
    let free = |slot: &u8| !taken.contains(slot);
    let slots = || 1..=u8::try_from(MAX_INDEXES).unwrap_or(u8::MAX);
    let unused = slots().filter(free).find(|slot| before.iter().all(|old| old.slot != *slot));
    unused.or_else(|| slots().find(free)).unwrap_or(1)
}
