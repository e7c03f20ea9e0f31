//! A collection's definition: what an admin put, validated, with the members that the server adds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::FieldError;
use crate::expr::{FieldTypes, Rule};
use crate::jobs::{BUILD_JOB, CHECK_JOB};
use crate::query::{Index, Layout};

use super::field::OnDelete;
use super::formats::Formats;
use super::migration::{self, Step};
use super::transition::{Blocked, Withdrawal};
use super::{contradictions, field, index, joined, keywords, parse, places, renames, rules, validate, well_formed};

/// Errors after which the types of fields are unknown.
const UNREADABLE: [&str; 3] = ["bad_schema", "bad_reference", "remote_reference"];
/// Errors that follow from the types of fields.
const OF_TYPES: [&str; 4] = ["unsatisfiable", "bad_index_field", "bad_unique_field", "relation"];

/// A collection's definition, as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Definition {
    /// The collection's name, as in its path.
    pub name: String,
    /// The JSON Schema (2020-12) of a record's data.
    pub schema: Value,
    /// What is made of formats that are not asserted.
    #[serde(default, skip_serializing_if = "Formats::is_default")]
    pub formats: Formats,
    /// Unique constraints: fields, or groups of fields, whose values are unique among the records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unique: Vec<Vec<String>>,
    /// The declared indexes with their slots, followed by retiring ones: see [`Index::retiring`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Index>,
    /// The rules, in the language of [`expr`](crate::expr). A missing rule means admins only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules: BTreeMap<Rule, String>,
    /// The number of partitions over which records are spread: a power of two.
    #[serde(default = "one_shard")]
    pub shards: u8,
    /// The relations that refer to its records; set by the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub referrers: Vec<Referrer>,
    /// Whether records are counted, so that a list may ask for `count=true`.
    #[serde(default, skip_serializing_if = "is_off")]
    pub counts: bool,
    /// Whether `/v1/changes` offers its changes. A collection with changes is also counted.
    #[serde(default, skip_serializing_if = "is_off")]
    pub changes: bool,
    /// Fields that it no longer has: a job removes them from stored records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// The version of the definition that turned counting on. Counts from different versions are never mixed. Set by the
    /// server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_since: Option<u64>,
    /// The version of the definition that turned change logging on; set by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub followed_since: Option<u64>,
    /// Whether a job still has to count the older records; set by the server.
    #[serde(default, skip_serializing_if = "is_off")]
    pub counting: bool,
    /// The generation among collections with this name, counted from 1; set by the server.
    pub generation: u32,
    /// Increases with every change of the definition or its stage; set by the server.
    pub version: u64,
    /// The number of shards by start time, earliest first. Empty while it was always [`Definition::shards`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shard_history: Vec<ShardsSince>,
    /// The work that a job still has to do on the stored records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// The last job that completed its work, so that a repeated run recognises it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_by: Option<String>,
    /// The last withdrawal, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawal: Option<Withdrawal>,
}

/// The number of shards for records created from a time on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardsSince {
    /// Milliseconds since the Unix epoch, as in the id of a record.
    pub from: u64,
    /// The number of shards.
    pub shards: u8,
}

/// The work that a job still has to do on the stored records before the definition is fully in force. Indexes to be built are
/// marked on the indexes themselves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Work {
    /// The job. Any other job is obsolete.
    pub job: String,
    /// When the work was created, in milliseconds since the Unix epoch.
    pub since: u64,
    /// Whether stored records need nothing: the job only waits until no function acts on the previous definition.
    #[serde(default, skip_serializing_if = "is_off")]
    pub only_waits: bool,
    /// Unique constraints whose values not every stored record has claimed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Vec<String>>,
    /// Fields that begin to restrict deletion: not every stored record has its reference yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Relation fields: whether their stored ids lead to records has not been checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relations: Vec<String>,
    /// Changes of the stored data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// A definition, as it was put, that comes into force once every stored record is valid by its schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Value>,
    /// The rules from before a definition began to wait. While it waits, these rules and its own must both allow a request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rules_before: BTreeMap<Rule, String>,
    /// What stored records block, once the job has found it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<Blocked>,
}

/// A relation field that refers to records of this collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Referrer {
    /// The collection that has the field.
    pub collection: String,
    /// The field.
    pub field: String,
    /// The relation's `onDelete`.
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
        let checks = self.next.is_some() || !self.claims.is_empty() || !self.relations.is_empty();
        if checks { CHECK_JOB } else { BUILD_JOB }
    }
}

impl Definition {
    /// Parses a definition. An unchanged index keeps its slot in `previous`.
    ///
    /// # Errors
    /// Every error, each with its JSON pointer into the body.
    pub fn parse(name: &str, body: Value, previous: Option<&Self>) -> Result<Self, Vec<FieldError>> {
        let mut problems = Vec::new();
        let body = parse::read(name, body, &mut problems);
        let fields = checked_fields(&body, &mut problems);
        let version = previous.map_or(1, |previous| previous.version + 1);
        renames::check(&body.schema, &fields, &mut problems);
        if let Some(previous) = previous {
            let before = (&previous.schema, previous.steps());
            migration::check_copied(before, &body.dropped, &fields, &mut problems);
        }
        let definition = Self {
            name: name.to_owned(),
            indexes: index::with_slots(body.indexes, previous.map(|previous| previous.indexes.as_slice()), version),
            schema: body.schema,
            formats: body.formats,
            unique: body.unique,
            rules: body.rules,
            shards: body.shards,
            referrers: previous.map_or_else(Vec::new, |previous| previous.referrers.clone()),
            counted_since: since(body.counts || body.changes, previous.and_then(|old| old.counted_since), version),
            followed_since: since(body.changes, previous.and_then(|old| old.followed_since), version),
            counts: body.counts,
            changes: body.changes,
            dropped: body.dropped,
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
            // A schema that is not valid cannot validate values.
            if problems.is_empty() {
                contradictions::check_values(&definition.schema, &fields, &mut problems);
            }
            rules::check(&definition.rules, &definition.layout(&fields).when_built(), &mut problems);
        }
        if problems.is_empty() { Ok(definition) } else { Err(problems) }
    }

    /// The error if a record has too many entries in indexes over elements until those that this definition replaces are cleared.
    pub fn overfull(&self) -> Option<FieldError> {
        index::check_transition(&self.indexes, &field::read(&self.schema, &mut Vec::new()))
    }

    /// Its relations to other collections with deletable records, grouped by collection: what those store as referrers.
    pub fn referrals(&self) -> BTreeMap<String, Vec<Referrer>> {
        let mut referrals: BTreeMap<String, Vec<Referrer>> = BTreeMap::new();
        for (field, its) in field::read(&self.schema, &mut Vec::new()) {
            // Users cannot be deleted yet.
            let Some(relation) = its.relation.filter(|relation| relation.collection != "users") else { continue };
            let referrer = Referrer { collection: self.name.clone(), field, on_delete: relation.on_delete };
            referrals.entry(relation.collection).or_default().push(referrer);
        }
        referrals
    }

    /// Its relation fields, each with the collection it refers to.
    pub(super) fn relations(&self) -> Vec<(String, String)> {
        let fields = field::read(&self.schema, &mut Vec::new()).into_iter();
        fields.filter_map(|(field, its)| Some((field, its.relation?.collection))).collect()
    }

    /// Whether its schema names this field, so that a record may contain it.
    pub fn has_field(&self, name: &str) -> bool {
        self.schema.get("properties").is_some_and(|properties| properties.get(name).is_some())
    }

    /// The definition as it was put, without the server's members. Putting it again changes nothing.
    pub fn as_put(&self) -> Value {
        let index = |index: &Index| json!({ "name": index.name, "partition": index.partition, "sort": index.sort });
        let mut put = json!({
            "name": self.name,
            "schema": self.schema,
            "formats": self.formats,
            "unique": self.unique,
            "indexes": self.indexes.iter().filter(|index| !index.retiring).map(index).collect::<Vec<_>>(),
            "rules": self.rules,
            "shards": self.shards,
            "counts": self.counts,
            "changes": self.changes,
        });
        if let Some(members) = put.as_object_mut().filter(|_| !self.dropped.is_empty()) {
            members.insert("dropped".to_owned(), json!(self.dropped));
        }
        put
    }

    /// The last definition that was put: the current or the waiting one.
    pub fn last_put(&self) -> Value {
        self.next().cloned().unwrap_or_else(|| self.as_put())
    }

    /// The waiting definition, as it was put.
    pub fn next(&self) -> Option<&Value> {
        self.work.as_ref()?.next.as_ref()
    }

    /// The unique constraints whose values not every stored record has claimed.
    pub fn claims(&self) -> &[Vec<String>] {
        self.work.as_ref().map_or(&[], |work| &work.claims)
    }

    /// The fields whose references not every stored record has.
    pub fn unreferenced(&self) -> &[String] {
        self.work.as_ref().map_or(&[], |work| &work.references)
    }

    /// The relation fields whose stored ids have not been checked.
    pub fn unchecked(&self) -> &[String] {
        self.work.as_ref().map_or(&[], |work| &work.relations)
    }

    /// The changes of stored data that not every record has gone through.
    pub fn steps(&self) -> &[Step] {
        self.work.as_ref().map_or(&[], |work| &work.steps)
    }

    /// The fields that restrict deletions, each with the collection it refers to.
    pub(super) fn restricting(&self) -> Vec<(String, String)> {
        let restricts = |referrer: &Referrer| referrer.on_delete == OnDelete::Restrict;
        let each = self.referrals().into_iter().flat_map(|(target, referrers)| {
            referrers.into_iter().filter(restricts).map(move |referrer| (referrer.field, target.clone()))
        });
        each.collect()
    }

    /// The withdrawal that is not in force everywhere at `now`, in milliseconds since the Unix epoch.
    pub fn withdrawing(&self, now: u64) -> Option<&Withdrawal> {
        self.withdrawal.as_ref().filter(|withdrawal| now < withdrawal.in_force_at)
    }

    /// Checks that its rules match its fields and that an index serves its list rule. The server combined the rules of a
    /// definition whose successor waits, so nobody checked them before.
    ///
    /// # Errors
    /// The errors of each rule that fails.
    pub fn check_rules(&self) -> Result<(), Vec<FieldError>> {
        let mut problems = Vec::new();
        let fields = field::read(&self.schema, &mut problems);
        rules::check(&self.rules, &self.layout(&fields).when_built(), &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// What stored records block.
    pub fn blocked(&self) -> Option<&Blocked> {
        self.work.as_ref()?.blocked.as_ref()
    }

    /// What the definition still waits for, in one word.
    pub fn status(&self) -> &'static str {
        if self.blocked().is_some() {
            "blocked"
        } else if !self.steps().is_empty() {
            "migrating"
        } else if self.next().is_some() || !self.claims().is_empty() || !self.unchecked().is_empty() {
            "narrowing"
        } else if self.counting || !self.unreferenced().is_empty() || self.is_indexing() {
            "building"
        } else {
            "ready"
        }
    }

    /// Whether a job still fills an index.
    fn is_indexing(&self) -> bool {
        self.indexes.iter().any(|index| !index.ready && !index.is_ending())
    }

    /// The number of shards for a record created at that time, in milliseconds since the Unix epoch: the time in its id.
    pub fn shards_at(&self, made: u64) -> u8 {
        self.shard_history.iter().rev().find(|since| since.from <= made).map_or(self.shards, |since| since.shards)
    }

    /// The number of shards that may contain records. The shards of a smaller number are a subset.
    pub fn shards_ever(&self) -> u8 {
        self.shard_history.iter().map(|since| since.shards).fold(self.shards, u8::max)
    }

    /// The access paths to the collection's records.
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

/// The fields of a definition, checked with everything that builds on them but rules.
fn checked_fields(body: &parse::Body, problems: &mut Vec<FieldError>) -> BTreeMap<String, field::Field> {
    keywords::check(&body.schema, problems);
    well_formed::check(&body.schema, problems);
    places::check(&body.schema, problems);
    body.formats.check(&body.schema, problems);
    // What a field is follows from a valid schema only; otherwise errors would name what is right.
    let is_readable = !problems.iter().any(|problem| UNREADABLE.contains(&problem.code));
    let mut of_fields = Vec::new();
    let fields = field::read(&body.schema, &mut of_fields);
    joined::check(&body.schema, &mut of_fields);
    contradictions::check(&body.schema, &fields, &mut of_fields);
    migration::check_dropped(&body.dropped, &fields, &mut of_fields);
    index::check(&body.indexes, &fields, &mut of_fields);
    index::check_unique(&body.unique, &fields, &mut of_fields);
    let is_known = |pointer: &str| problems.iter().any(|problem| problem.pointer == pointer);
    of_fields.retain(|found| (is_readable || !OF_TYPES.contains(&found.code)) && !is_known(&found.pointer));
    problems.append(&mut of_fields);
    fields
}

/// The version that turned a feature on. A feature that stays on keeps it; one that is turned on again gets a new one.
fn since(on: bool, before: Option<u64>, version: u64) -> Option<u64> {
    on.then(|| before.unwrap_or(version))
}
