//! A collection's definition: what an admin put, checked, with what the server keeps beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::FieldError;
use crate::expr::{FieldTypes, Rule};
use crate::query::{Index, Layout};

use super::{body, field, index, rules, validate};

/// The largest definition, in bytes of JSON.
pub const MAX_DEFINITION_BYTES: usize = 64 * 1024;
/// The most fields of a collection.
pub const MAX_PROPERTIES: usize = 100;
/// The most indexes of a collection, which is how many generic indexes the store has.
pub const MAX_INDEXES: usize = 5;
/// The most `unique` constraints of a collection, and the most fields of one.
pub const MAX_UNIQUE: usize = 5;
/// The most shards of a collection; each takes about 1,000 writes a second.
pub const MAX_SHARDS: u8 = 64;

/// A collection's definition, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// The collection's name, as in its path.
    pub name: String,
    /// The JSON Schema (2020-12) of a record's data.
    pub schema: Value,
    /// Fields, or groups of fields, of which no two records may hold the same values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique: Vec<Vec<String>>,
    /// The declared indexes, with the slots the server gave them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Index>,
    /// Who may do what, in the language of [`expr`](crate::expr). A rule that is absent means admins only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<Rule, String>,
    /// Over how many partitions records are spread: a power of two.
    #[serde(default = "one_shard")]
    pub shards: u8,
    /// Whether records are counted, so that a list may ask for `count=true`.
    #[serde(default, skip_serializing_if = "is_off")]
    pub counts: bool,
    /// Whether changes can be followed at `/v1/changes`. What is followed is counted too.
    #[serde(default, skip_serializing_if = "is_off")]
    pub changes: bool,
    /// The version of the definition with which counting began: counts of another time are not mixed with these. Kept by
    /// the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_since: Option<u64>,
    /// The version of the definition with which following began; kept by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed_since: Option<u64>,
    /// Which collection of this name, counted from 1; kept by the server.
    pub generation: u32,
    /// How often the definition was put; kept by the server.
    pub version: u64,
}

fn is_off(flag: &bool) -> bool {
    !flag
}

fn one_shard() -> u8 {
    1
}

impl Definition {
    /// Reads what was put at a collection's path. An index that did not change keeps its slot in `previous`.
    ///
    /// # Errors
    /// Everything that is wrong, each with the JSON pointer of the place in the body.
    pub fn parse(name: &str, body: Value, previous: Option<&Self>) -> Result<Self, Vec<FieldError>> {
        let mut problems = Vec::new();
        let body = body::read(name, body, &mut problems);
        let fields = field::read(&body.schema, &mut problems);
        let version = previous.map_or(1, |previous| previous.version + 1);
        index::check(&body.indexes, &fields, &mut problems);
        index::check_unique(&body.unique, &fields, &mut problems);
        let definition = Self {
            name: name.to_owned(),
            indexes: index::with_slots(body.indexes, previous, version),
            schema: body.schema,
            unique: body.unique,
            rules: body.rules,
            shards: body.shards,
            counted_since: since(body.counts || body.changes, previous.and_then(|old| old.counted_since), version),
            followed_since: since(body.changes, previous.and_then(|old| old.followed_since), version),
            counts: body.counts,
            changes: body.changes,
            generation: previous.map_or(1, |previous| previous.generation),
            version,
        };
        if problems.is_empty() {
            validate::check_schema(&definition.schema, &fields, &mut problems);
            rules::check(&definition.rules, &definition.layout(&fields), &mut problems);
        }
        if problems.is_empty() { Ok(definition) } else { Err(problems) }
    }

    /// The definition as it was put, without what the server keeps: put again, it changes nothing.
    pub fn as_put(&self) -> Value {
        let index = |index: &Index| json!({ "name": index.name, "partition": index.partition, "sort": index.sort });
        json!({
            "name": self.name,
            "schema": self.schema,
            "unique": self.unique,
            "indexes": self.indexes.iter().map(index).collect::<Vec<_>>(),
            "rules": self.rules,
            "shards": self.shards,
            "counts": self.counts,
            "changes": self.changes,
        })
    }

    /// Where the collection's records can be found.
    pub(super) fn layout(&self, fields: &BTreeMap<String, field::Field>) -> Layout {
        let types = fields.iter().map(|(name, field)| (name.clone(), field.value.clone()));
        Layout {
            collection: self.name.clone(),
            generation: self.generation,
            indexes: self.indexes.clone(),
            fields: FieldTypes::new(types),
        }
    }
}

/// The version with which something began that is on or off: what goes on keeps it, what begins anew does not get it back.
fn since(on: bool, before: Option<u64>, version: u64) -> Option<u64> {
    on.then(|| before.unwrap_or(version))
}

/// Whether it can name a collection or an index: `^[a-z][a-z0-9_]{0,62}$`.
pub fn is_collection_name(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|char: char| char.is_ascii_lowercase())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}
