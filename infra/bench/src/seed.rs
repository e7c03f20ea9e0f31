//! Fills `notes` by the hundred thousand: copies of one note that a function has written, each with its own id, times and
//! place in the index, put straight into the emulator's database. No function ever sees them come.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dynoxide::{Database, ImportOptions, Item};
use serde_json::{Map, Value, json};
use undercroft::clock::{Clock, rfc3339};
use undercroft::error::Source;
use undercroft::expr::RecordRef;
use undercroft::id;
use undercroft::query::IndexKey;
use undercroft::schema::Collection;
use undercroft::store::keys::{element_partition, element_sort};

use crate::stack::Stack;

/// How many are written in one transaction.
const AT_ONCE: usize = 20_000;

/// Puts `count` copies of the item `pattern` beside it, a millisecond apart, the first at `from` (milliseconds since the
/// epoch). `folder` is where the cloud keeps its data.
///
/// # Errors
/// When the database refuses.
pub fn copies(stack: &Stack, folder: &Path, pattern: &Value, count: usize, from: u64) -> Result<(), Source> {
    let (collection, table) = (stack.notes()?, stack.records_table()?);
    let database = Database::new(&folder.join("tables.db").to_string_lossy()).map_err(|error| error.to_string())?;
    let clock = Clock::standing_at(from);
    let mut left = count;
    while left > 0 {
        let now = left.min(AT_ONCE);
        let copied = (0..now).map(|_| copy(pattern, &collection, &clock)).collect::<Result<Vec<_>, Source>>()?;
        let items: Vec<Item> = copied.into_iter().flatten().collect();
        let options = ImportOptions::default();
        database.import_items(&table, items, options).map_err(|error| error.to_string())?;
        left -= now;
    }
    Ok(())
}

/// A copy, with its entries in indexes over elements.
fn copy(pattern: &Value, collection: &Collection, clock: &Clock) -> Result<Vec<Item>, Source> {
    clock.advance(Duration::from_millis(1));
    let (id, at) = (id::new(clock), rfc3339(clock.millis()));
    let mut item = pattern.as_object().cloned().ok_or("the pattern is no item")?;
    item.extend([
        ("sk".to_owned(), json!({ "S": id })),
        ("ca".to_owned(), json!({ "S": at })),
        ("ua".to_owned(), json!({ "S": at })),
    ]);
    let data = data(pattern);
    let view = RecordRef { id: &id, created_at: &at, updated_at: &at, version: 1, data: &data };
    let places = collection.index_keys(&view).map_err(|problems| format!("{problems:?}"))?;
    for (slot, place) in places.into_iter().filter_map(|(slot, place)| Some((slot, place?))) {
        item.insert(format!("ix{slot}p"), json!({ "S": place.partition }));
        item.insert(format!("ix{slot}s"), json!({ "B": STANDARD.encode(place.sort) }));
    }
    let entries = collection.entry_keys(&view).map_err(|problems| format!("{problems:?}"))?;
    let entry = |key: &IndexKey| {
        let (pk, sk) = (element_partition(&key.partition), element_sort(&key.sort));
        json!({ "pk": { "S": pk }, "sk": { "S": sk } })
    };
    let all = entries.iter().map(entry).chain([Value::Object(item)]);
    Ok(all.map(serde_json::from_value).collect::<Result<Vec<Item>, _>>()?)
}

/// The texts and lists of texts among a note's data: what its indexes are made of.
fn data(item: &Value) -> Map<String, Value> {
    let members = item.pointer("/d/M").and_then(Value::as_object);
    members.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), texts(value)?))).collect()
}

fn texts(value: &Value) -> Option<Value> {
    match value.get("L").and_then(Value::as_array) {
        Some(elements) => elements.iter().map(texts).collect::<Option<Vec<Value>>>().map(Value::Array),
        None => value.get("S").cloned(),
    }
}
