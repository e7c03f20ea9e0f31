//! What a new definition changes about an old one, and how a change of storage is made safe.

use crate::App;
use serde_json::{Map, Value};
use std::time::Duration;
use undercroft::error::{Error, Result};
use undercroft::schema::Definition;
use undercroft::store::definitions::{SETTLED_SECONDS, State as Stage, Stored};
use undercroft::store::item::string;
use undercroft::store::keys::record_partition;
use undercroft::store::{Expression, Query};

/// What putting a definition over another does.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it says the same.
    None,
    /// Every stored record stays valid and where it is.
    Rules,
    /// Records would have to be checked or moved.
    Storage,
}

/// What putting `new` over `old` does.
pub fn effect(old: &Definition, new: &Definition) -> Effect {
    if old.as_put() == new.as_put() {
        return Effect::None;
    }
    let same_places = old.indexes.len() == new.indexes.len()
        && old.unique == new.unique
        && old.shards == new.shards
        && !begins(old.counted_since, new.counted_since)
        && !begins(old.followed_since, new.followed_since)
        && old.indexes.iter().all(|index| new.indexes.contains(index));
    if same_places && allows_as_much(&old.schema, &new.schema) { Effect::Rules } else { Effect::Storage }
}

/// Whether records would have to be told to the ledger that it does not know yet.
fn begins(old: Option<u64>, new: Option<u64>) -> bool {
    new.is_some() && new != old
}

/// Whether `new` is `old`, or `old` with more optional properties.
fn allows_as_much(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return false };
    let rest = |schema: &Map<String, Value>| {
        let mut rest = schema.clone();
        rest.remove("properties");
        rest
    };
    let empty = Map::new();
    let properties = |schema: &'_ Map<String, Value>| {
        schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_else(|| empty.clone())
    };
    let (before, after) = (properties(old), properties(new));
    rest(old) == rest(new) && before.iter().all(|(name, property)| after.get(name) == Some(property))
}

/// Announces that how records of a collection are stored is about to change, waits until every function has heard of it, and
/// makes sure there are none. Returns the version of the announcement, for the change to build on.
///
/// # Errors
/// `NotBuilt` when the collection holds records; it is as before then.
pub async fn announce(app: &App, stored: &Stored) -> Result<u64> {
    let old = &stored.definition;
    if let Err(error) = refuse_if_filled(app, old).await {
        // Somebody before us announced a change and never came to make it: let the collection be written again.
        if stored.stage == Stage::Changing {
            let restored = Definition { version: old.version + 1, ..old.clone() };
            app.definitions.put(&restored, Stage::Ready, old.version).await?;
        }
        return Err(error);
    }
    let announced = Definition { version: old.version + 1, ..old.clone() };
    app.definitions.put(&announced, Stage::Changing, old.version).await?;
    tokio::time::sleep(Duration::from_secs(SETTLED_SECONDS)).await;
    if let Err(error) = refuse_if_filled(app, old).await {
        let restored = Definition { version: announced.version + 1, ..old.clone() };
        app.definitions.put(&restored, Stage::Ready, announced.version).await?;
        return Err(error);
    }
    Ok(announced.version)
}

async fn refuse_if_filled(app: &App, definition: &Definition) -> Result<()> {
    for shard in 0..u16::from(definition.shards) {
        let partition = record_partition(&definition.name, definition.generation, shard);
        if holds_records(app, partition).await? {
            return Err(Error::NotBuilt(
                "changing how records are stored (schema, indexes, unique, shards), or deleting a collection, while it holds records",
            ));
        }
    }
    Ok(())
}

/// Whether a partition holds a record that is not deleted.
async fn holds_records(app: &App, partition: String) -> Result<bool> {
    let key = Expression::new("pk = :pk").value(":pk", string(partition));
    let alive = Expression::new("attribute_not_exists(del)");
    let mut query = Query { key, filter: Some(alive), forward: true, limit: 1_000, ..Query::default() };
    loop {
        let page = app.records.query(&query).await?;
        match (page.items.is_empty(), page.last_key) {
            (false, _) => return Ok(true),
            (true, None) => return Ok(false),
            (true, last) => query.after = last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(body: Value, previous: Option<&Definition>) -> Definition {
        Definition::parse("tasks", body, previous).expect("a valid definition")
    }

    fn body() -> Value {
        json!({ "name": "tasks", "schema": { "type": "object", "required": ["title"], "additionalProperties": false,
                "properties": { "title": { "type": "string" } } }, "rules": { "list": "auth.id != ''" } })
    }

    #[test]
    fn rules_and_optional_fields_leave_records_where_they_are() {
        let old = definition(body(), None);
        assert_eq!(effect(&old, &definition(body(), Some(&old))), Effect::None);
        let mut rules = body();
        rules["rules"] = json!({});
        assert_eq!(effect(&old, &definition(rules, Some(&old))), Effect::Rules);
        let mut wider = body();
        wider["schema"]["properties"]["note"] = json!({ "type": "string" });
        assert_eq!(effect(&old, &definition(wider, Some(&old))), Effect::Rules);
    }

    #[test]
    fn the_ledger_ends_at_once_and_begins_only_where_it_can_know_all_records() {
        let with = |counts: bool, changes: bool, old: Option<&Definition>| {
            let mut new = body();
            (new["counts"], new["changes"]) = (json!(counts), json!(changes));
            definition(new, old)
        };
        let off = with(false, false, None);
        let counted = with(true, false, Some(&off));
        assert_eq!(effect(&off, &counted), Effect::Storage);
        assert_eq!(effect(&counted, &with(true, true, Some(&counted))), Effect::Storage);
        let stopped = with(false, false, Some(&counted));
        assert_eq!(effect(&counted, &stopped), Effect::Rules);
        let again = with(true, false, Some(&stopped));
        assert_eq!(effect(&stopped, &again), Effect::Storage);
        assert_ne!(again.counted_since, counted.counted_since, "what was counted before is not counted on");
        // What is followed is counted already.
        let followed = with(false, true, None);
        assert_eq!(effect(&followed, &with(true, true, Some(&followed))), Effect::Rules);
    }

    #[test]
    fn whatever_could_make_a_stored_record_wrong_is_a_change_of_storage() {
        let old = definition(body(), None);
        let changed = |change: fn(&mut Value)| {
            let mut new = body();
            change(&mut new);
            effect(&old, &definition(new, Some(&old)))
        };
        assert_eq!(
            changed(|new| new["schema"]["properties"]["title"] = json!({ "type": "string", "maxLength": 3 })),
            Effect::Storage
        );
        assert_eq!(changed(|new| new["schema"]["required"] = json!([])), Effect::Storage);
        assert_eq!(changed(|new| new["unique"] = json!([["title"]])), Effect::Storage);
        assert_eq!(changed(|new| new["shards"] = json!(2)), Effect::Storage);
        assert_eq!(
            changed(|new| new["indexes"] = json!([{ "name": "t", "partition": ["title"], "sort": [] }])),
            Effect::Storage
        );
    }
}
