//! The stored entries of indexes over elements, and those that the stored records should have.

use crate::world::World;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use undercroft::expr::RecordRef;
use undercroft::query::Index;
use undercroft::schema::{Collection, Definition};
use undercroft::store::keys::{element_partition, element_sort};

/// Partition and sort key.
type Key = (String, String);

fn text<'a>(item: &'a Value, name: &str) -> &'a str {
    item[name]["S"].as_str().unwrap_or_default()
}

/// Every stored entry.
pub async fn all(world: &World) -> BTreeSet<Key> {
    let items = world.dump("RecordsTable").await;
    let entries = items.as_array().unwrap().iter().filter(|item| text(item, "pk").starts_with("e#"));
    entries.map(|item| (text(item, "pk").to_owned(), text(item, "sk").to_owned())).collect()
}

/// A collection as it is defined among these items.
pub fn collection(items: &Value, name: &str) -> Collection {
    let is_it = |item: &&Value| text(item, "pk") == "d" && text(item, "sk") == name;
    let definition = items.as_array().unwrap().iter().find(is_it).unwrap();
    let definition: Definition = serde_json::from_str(text(definition, "definition")).unwrap();
    Collection::compile(definition).unwrap()
}

/// Checks that the stored entries are those that the stored records should have, and no others. Returns how many there are.
pub async fn hold(world: &World, name: &str) -> usize {
    let items = world.dump("RecordsTable").await;
    let collection = collection(&items, name);
    let prefix = format!("c#{name}#{}#", collection.definition().generation);
    let is_living = |item: &&Value| text(item, "pk").starts_with(&prefix) && item.get("del").is_none();
    let living = items.as_array().unwrap().iter().filter(is_living);
    let expected: BTreeSet<Key> = living.flat_map(|item| of_item(&collection, item)).collect();
    let stored = all(world).await;
    let missing: Vec<_> = expected.difference(&stored).collect();
    let left: Vec<_> = stored.difference(&expected).collect();
    assert!(missing.is_empty() && left.is_empty(), "missing: {missing:#?}, left behind: {left:#?}");
    stored.len()
}

fn of_item(collection: &Collection, item: &Value) -> Vec<Key> {
    let members = item["d"]["M"].as_object().unwrap();
    let data: Map<String, Value> = members.iter().map(|(name, value)| (name.clone(), json(value))).collect();
    let version = item["v"]["N"].as_str().unwrap().parse().unwrap();
    let (id, created_at, updated_at) = (text(item, "sk"), text(item, "ca"), text(item, "ua"));
    of(collection, &RecordRef { id, created_at, updated_at, version, data: &data })
}

/// The entries that a record should have.
pub fn of(collection: &Collection, record: &RecordRef) -> Vec<Key> {
    let keys = collection.held_entry_keys(record, Index::is_kept);
    keys.into_iter().map(|key| (element_partition(&key.partition), element_sort(&key.sort))).collect()
}

/// An attribute as JSON.
fn json(value: &Value) -> Value {
    let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
    match kind.as_str() {
        "N" => serde_json::from_str(value.as_str().unwrap()).unwrap(),
        "L" => value.as_array().unwrap().iter().map(json).collect(),
        "NULL" => Value::Null,
        _ => value.clone(),
    }
}
