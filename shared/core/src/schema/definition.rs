//! A collection's definition: what an admin put, checked, with what the server keeps beside it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::FieldError;
use crate::expr::{FieldTypes, Rule};
use crate::jobs::{BUILD_JOB, CHECK_JOB};
use crate::query::{Index, Layout};

use super::field::OnDelete;
use super::transition::{Blocked, Withdrawal};
use super::{field, index, joined, parse, places, rules, validate};

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
    /// The declared indexes, with the slots the server gave them; behind them those that serve until their successors are ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Index>,
    /// Who may do what, in the language of [`expr`](crate::expr). A rule that is absent means admins only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<Rule, String>,
    /// Over how many partitions records are spread: a power of two.
    #[serde(default = "one_shard")]
    pub shards: u8,
    /// Whose fields point at its records; kept by the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<Referrer>,
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
    /// Whether a job has yet to count the records from before; kept by the server.
    #[serde(default, skip_serializing_if = "is_off")]
    pub counting: bool,
    /// Which collection of this name, counted from 1; kept by the server.
    pub generation: u32,
    /// Rises whenever the definition or what it is in force for changes; kept by the server.
    pub version: u64,
    /// Since when how many shards count, earliest first; empty while it was always [`Definition::shards`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shard_history: Vec<ShardsSince>,
    /// What a job has yet to do to the stored records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// The job that last did all its work: how it knows that it did, should it be run again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_by: Option<String>,
    /// What the last change took away, if anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawal: Option<Withdrawal>,
}

/// How many shards count for records made from some time on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardsSince {
    /// Milliseconds since the Unix epoch, as in the id of a record.
    pub from: u64,
    /// How many.
    pub shards: u8,
}

/// What a job has yet to do to the stored records, so that the definition is in force as it was put. Indexes that are to be
/// built say so themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// The job. Any other has been overtaken.
    pub job: String,
    /// When the work came to be, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Unique constraints that not every stored record has claimed its values of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Vec<String>>,
    /// Fields that begin to restrict the deletion of what they point at: not every stored record has its reference.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// A definition, as it was put, that comes into force once every stored record fits its schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Value>,
    /// The rules from before a definition began to wait: until it has come, what they or its own refuse is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules_before: BTreeMap<Rule, String>,
    /// What stored records stand in the way of, once the job has found so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
}

/// A field of some collection that points at records of this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// The collection that has the field.
    pub collection: String,
    /// The field.
    pub field: String,
    /// What happens there when a record here is deleted.
    pub on_delete: OnDelete,
}

fn is_off(flag: &bool) -> bool {
    !flag
}

fn one_shard() -> u8 {
    1
}

impl Work {
    /// The type of the job that does it.
    pub fn kind(&self) -> &'static str {
        if self.next.is_some() || !self.claims.is_empty() { CHECK_JOB } else { BUILD_JOB }
    }
}

impl Definition {
    /// Reads what was put at a collection's path. An index that did not change keeps its slot in `previous`.
    ///
    /// # Errors
    /// Everything that is wrong, each with the JSON pointer of the place in the body.
    pub fn parse(name: &str, body: Value, previous: Option<&Self>) -> Result<Self, Vec<FieldError>> {
        let mut problems = Vec::new();
        let body = parse::read(name, body, &mut problems);
        let fields = field::read(&body.schema, &mut problems);
        places::check(&body.schema, &mut problems);
        joined::check(&body.schema, &mut problems);
        let version = previous.map_or(1, |previous| previous.version + 1);
        index::check(&body.indexes, &fields, &mut problems);
        index::check_unique(&body.unique, &fields, &mut problems);
        let definition = Self {
            name: name.to_owned(),
            indexes: index::with_slots(body.indexes, previous.map(|previous| previous.indexes.as_slice()), version),
            schema: body.schema,
            unique: body.unique,
            rules: body.rules,
            shards: body.shards,
            referrers: previous.map_or_else(Vec::new, |previous| previous.referrers.clone()),
            counted_since: since(body.counts || body.changes, previous.and_then(|old| old.counted_since), version),
            followed_since: since(body.changes, previous.and_then(|old| old.followed_since), version),
            counts: body.counts,
            changes: body.changes,
            counting: false,
            generation: previous.map_or(1, |previous| previous.generation),
            version,
            shard_history: previous.map_or_else(Vec::new, |previous| previous.shard_history.clone()),
            work: None,
            settled_by: previous.and_then(|previous| previous.settled_by.clone()),
            withdrawal: None,
        };
        if problems.is_empty() {
            validate::check_schema(&definition.schema, &fields, &mut problems);
            rules::check(&definition.rules, &definition.layout(&fields).when_built(), &mut problems);
        }
        if problems.is_empty() { Ok(definition) } else { Err(problems) }
    }

    /// The relations that point at other collections whose records are deleted, by collection: what those keep of this one.
    pub fn referrals(&self) -> BTreeMap<String, Vec<Referrer>> {
        let mut referrals: BTreeMap<String, Vec<Referrer>> = BTreeMap::new();
        for (field, its) in field::read(&self.schema, &mut Vec::new()) {
            // Users are not deleted yet.
            let Some(relation) = its.relation.filter(|relation| relation.collection != "users") else { continue };
            let referrer = Referrer { collection: self.name.clone(), field, on_delete: relation.on_delete };
            referrals.entry(relation.collection).or_default().push(referrer);
        }
        referrals
    }

    /// Whether its schema names this field, so that a record may hold it.
    pub fn has_field(&self, name: &str) -> bool {
        self.schema.get("properties").is_some_and(|properties| properties.get(name).is_some())
    }

    /// The definition as it was put, without what the server keeps: put again, it changes nothing.
    pub fn as_put(&self) -> Value {
        let index = |index: &Index| json!({ "name": index.name, "partition": index.partition, "sort": index.sort });
        json!({
            "name": self.name,
            "schema": self.schema,
            "unique": self.unique,
            "indexes": self.indexes.iter().filter(|index| !index.retiring).map(index).collect::<Vec<_>>(),
            "rules": self.rules,
            "shards": self.shards,
            "counts": self.counts,
            "changes": self.changes,
        })
    }

    /// What was put last: the definition itself, or the one that is to come.
    pub fn last_put(&self) -> Value {
        self.next().cloned().unwrap_or_else(|| self.as_put())
    }

    /// The definition that comes into force once every stored record fits it, as it was put.
    pub fn next(&self) -> Option<&Value> {
        self.work.as_ref()?.next.as_ref()
    }

    /// The unique constraints that not every stored record has claimed its values of.
    pub fn claims(&self) -> &[Vec<String>] {
        self.work.as_ref().map_or(&[], |work| &work.claims)
    }

    /// The fields whose references not every stored record has.
    pub fn unreferenced(&self) -> &[String] {
        self.work.as_ref().map_or(&[], |work| &work.references)
    }

    /// The fields by which it restricts deletions, each with the collection it does so in.
    pub(super) fn restricting(&self) -> Vec<(String, String)> {
        let restricts = |referrer: &Referrer| referrer.on_delete == OnDelete::Restrict;
        let each = self.referrals().into_iter().flat_map(|(target, referrers)| {
            referrers.into_iter().filter(restricts).map(move |referrer| (referrer.field, target.clone()))
        });
        each.collect()
    }

    /// What takes something away and is not yet in force everywhere at `now`, in milliseconds since the Unix epoch.
    pub fn withdrawing(&self, now: u64) -> Option<&Withdrawal> {
        self.withdrawal.as_ref().filter(|withdrawal| now < withdrawal.in_force_at)
    }

    /// Whether its rules can be read against its fields, and its list rule served: what holds while another definition waits was
    /// put together from both.
    ///
    /// # Errors
    /// Each rule that cannot be held, and why.
    pub fn check_rules(&self) -> Result<(), Vec<FieldError>> {
        let mut problems = Vec::new();
        let fields = field::read(&self.schema, &mut problems);
        rules::check(&self.rules, &self.layout(&fields).when_built(), &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// What stored records stand in the way of.
    pub fn blocked(&self) -> Option<&Blocked> {
        self.work.as_ref()?.blocked.as_ref()
    }

    /// In one word, what the definition still waits for.
    pub fn status(&self) -> &'static str {
        if self.blocked().is_some() {
            "blocked"
        } else if self.next().is_some() || !self.claims().is_empty() {
            "narrowing"
        } else if self.counting || !self.unreferenced().is_empty() || self.indexes.iter().any(|index| !index.ready) {
            "building"
        } else {
            "ready"
        }
    }

    /// How many shards count for a record made at that time, in milliseconds since the Unix epoch: the time in its id.
    pub fn shards_at(&self, made: u64) -> u8 {
        self.shard_history.iter().rev().find(|since| since.from <= made).map_or(self.shards, |since| since.shards)
    }

    /// In how many shards there may be records. Those of fewer shards are among those of more.
    pub fn shards_ever(&self) -> u8 {
        self.shard_history.iter().map(|since| since.shards).fold(self.shards, u8::max)
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
