//! Indexes and unique constraints: which fields they may contain, and each index's slot in the store.

use std::collections::BTreeMap;

use crate::error::FieldError;
use crate::expr::Kind;
use crate::query::{Index, MAX_ELEMENTS, MAX_INDEX_FIELDS, MAX_INDEXES, SortField, element_of};

use super::field::{Field, OnDelete};
use super::limits::{MAX_ENTRY_ITEMS, MAX_UNIQUE, is_collection_name};
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
    if problems.is_empty() {
        check_entries(indexes, fields, problems);
    }
}

/// Checks that a record never has more entries than fit into one transaction with it.
fn check_entries(indexes: &[IndexBody], fields: &BTreeMap<String, Field>, problems: &mut Vec<FieldError>) {
    let entries: u64 = indexes.iter().filter_map(|index| items(&index.partition, &index.sort, fields)).sum();
    let related: u64 = fields.values().map(related_items).sum();
    let items = entries + related;
    if items > MAX_ENTRY_ITEMS {
        let what = match (entries, related) {
            (_, 0) => "in these indexes over elements",
            (0, _) => "for the ids of its arrays with a relation",
            _ => "in these indexes over elements and for the ids of its arrays with a relation",
        };
        let message = format!(
            "A write of a record may write {items} items {what}, and at most {MAX_ENTRY_ITEMS} fit into its transaction. Lower \
             `maxItems`, remove an index, or sort by nothing that changes."
        );
        let pointer = if entries == 0 { "/schema/properties" } else { "/indexes" };
        problems.push(FieldError::new(pointer, "too_many", message));
    }
}

/// How many items the transaction of a write has for a full array of ids with a relation: a check of each record, and a
/// reference to each if it restricts its deletion.
fn related_items(field: &Field) -> u64 {
    let Some(relation) = field.relation.as_ref().filter(|_| field.is_many()) else { return 0 };
    let references = relation.on_delete == OnDelete::Restrict && relation.collection != "users";
    field.max_items.unwrap_or(MAX_ELEMENTS).min(MAX_ELEMENTS) * if references { 2 } else { 1 }
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
        let reason = match element_of(name).filter(|_| !in_sort) {
            Some(array) => unfit_array(array, fields.get(array)),
            None => unfit(fields.get(name.as_str())),
        };
        if let (false, Some(reason)) = (timestamp, reason) {
            problems.push(FieldError::new(place, "bad_index_field", format!("`{name}` {reason}")));
        }
    }
    if index.partition.iter().filter(|field| element_of(field).is_some()).count() > 1 {
        let message = "An index lists the elements of one array only. Remove the others.";
        problems.push(FieldError::new(format!("{pointer}/partition"), "bad_index_field", message));
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

/// The error if records have more entries than fit into one transaction with them until the indexes that this definition replaces
/// or drops are cleared: every write still maintains those.
pub(super) fn check_transition(indexes: &[Index], fields: &BTreeMap<String, Field>) -> Option<FieldError> {
    let items: u64 = indexes.iter().filter_map(|index| items(&index.partition, &index.sort, fields)).sum();
    let retiring: Vec<String> =
        indexes.iter().filter(|index| index.retiring).map(|index| format!("`{}`", index.name)).collect();
    (items > MAX_ENTRY_ITEMS).then(|| {
        let message = format!(
            "Until the entries of {} are removed, a write of a record may write {items} items in indexes over elements, and at most \
             {MAX_ENTRY_ITEMS} fit into its transaction. First put a definition that drops the old index and changes nothing else, and \
             wait for its job.",
            retiring.join(", ")
        );
        FieldError::new("/indexes", "too_many", message)
    })
}

/// How many items a write of a record with a full array may write in this index: each of its entries, and each twice if a
/// change of another field moves them. `None` if it is not over elements.
fn items(partition: &[String], sort: &[SortField], fields: &BTreeMap<String, Field>) -> Option<u64> {
    let array = partition.iter().find_map(|field| element_of(field))?;
    let stated = fields.get(array).and_then(|field| field.max_items);
    let entries = stated.map_or(MAX_ELEMENTS, |most| most.min(MAX_ELEMENTS));
    let is_fixed = |name: &str| {
        name == "createdAt" || element_of(name).is_some() || fields.get(name).is_some_and(|field| field.write_once)
    };
    let moves = !partition.iter().chain(sort.iter().map(|by| &by.field)).all(|name| is_fixed(name));
    Some(if moves { 2 * entries } else { entries })
}

/// Why the elements of an array cannot be part of an index.
fn unfit_array(array: &str, field: Option<&Field>) -> Option<String> {
    let Some(field) = field else { return Some("is not a field of the schema.".to_owned()) };
    let is_fit = matches!(&field.value.kind, Kind::List(element) if element.is_scalar());
    if field.value.hidden {
        return Some("is hidden and cannot be in an index.".to_owned());
    }
    if !is_fit {
        let types = field.types.description();
        return Some(format!(
            "stands for the elements of an array of texts, numbers or booleans, and `{array}` is {types} by its schema."
        ));
    }
    let is_bounded = field.max_items.is_some_and(|most| most <= MAX_ELEMENTS);
    (!is_bounded).then(|| {
        format!(
            "is an array of which a record may hold too many elements: each is an item written with the record. Set `maxItems` \
             of at most {MAX_ELEMENTS} on `{array}`."
        )
    })
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
    // The entries of an index that ends may be removed already.
    let kept = |index: &IndexBody| before.iter().find(|old| same(old, index) && !old.is_ending()).cloned();
    let mut taken: Vec<u8> = indexes.iter().filter_map(|index| kept(index).map(|old| old.slot)).collect();
    let mut placed = Vec::new();
    for index in indexes {
        placed.push(kept(&index).map(|old| Index { retiring: false, ..old }).unwrap_or_else(|| {
            let (name, partition, sort, ready) = (index.name, index.partition, index.sort, previous.is_none());
            let new =
                Index { name, partition, sort, slot: 0, generation: version, ready, retiring: false, clearing: false };
            let of_elements = new.is_of_elements();
            let slot = if of_elements { free_element_slot(&taken, before) } else { free_slot(&taken, before) };
            taken.push(slot);
            Index { slot, clearing: of_elements && previous.is_some(), ..new }
        }));
    }
    // An index over elements that nobody reads ends at once. An ordinary one that was never read is just removed.
    for old in before.iter().filter(|old| !taken.contains(&old.slot)) {
        match (old.ready, old.is_of_elements()) {
            (true, _) => placed.push(Index { retiring: true, ..old.clone() }),
            (false, true) => placed.push(Index { retiring: true, clearing: true, ..old.clone() }),
            (false, false) => {}
        }
    }
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

/// A slot above those of the store's generic indexes.
fn free_element_slot(taken: &[u8], before: &[Index]) -> u8 {
    let first = u8::try_from(MAX_INDEXES + 1).unwrap_or(u8::MAX);
    let is_free = |slot: &u8| !taken.contains(slot) && before.iter().all(|old| old.slot != *slot);
    (first..=u8::MAX).find(is_free).unwrap_or(u8::MAX)
}
