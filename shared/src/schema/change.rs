//! What a definition put over another does to what is stored, and which definition is in force meanwhile. Pure.
//!
//! Rules, wider schemas, shards and dropped indexes are in force at once. A new index and a new unique constraint are kept by
//! every writer at once and served once a job has been through the records. A definition whose schema allows less waits as
//! `next`, whole, until every stored record fits it; what is written until then fits both.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::definition::{Definition, ShardsSince, Work};
use super::widening::allows_as_much;

/// What becomes of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaChange {
    /// It is the same.
    Same,
    /// It allows all it allowed before.
    Wider,
    /// It may allow less: the stored records have to be looked at.
    Narrower,
}

/// What a new definition changes about an old one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The schema.
    pub schema: SchemaChange,
    /// Names of the indexes to be built.
    pub built: Vec<String>,
    /// Names of the indexes that are dropped.
    pub dropped: Vec<String>,
    /// Unique constraints to be claimed for the stored records.
    pub claimed: Vec<Vec<String>>,
    /// Unique constraints that are lifted.
    pub lifted: Vec<Vec<String>>,
    /// From how many shards to how many.
    pub shards: Option<(u8, u8)>,
    /// Whether rules change.
    pub rules: bool,
}

/// When and by which job a definition is put over another. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub struct Put<'a> {
    /// Now.
    pub now: u64,
    /// When every function goes by the new definition.
    pub heard: u64,
    /// The job that would do the work.
    pub job: &'a str,
}

/// What cannot come into force because stored records stand in its way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Refused {
    /// The schema that was to come.
    pub schema: bool,
    /// Names of indexes.
    pub indexes: Vec<String>,
    /// Unique constraints.
    pub unique: Vec<Vec<String>>,
}

impl Change {
    /// What putting `new` over `old` changes.
    pub fn between(old: &Definition, new: &Definition) -> Self {
        let known = |index: &&crate::query::Index| old.indexes.contains(index);
        let schema = match (old.schema == new.schema, allows_as_much(&old.schema, &new.schema)) {
            (true, _) => SchemaChange::Same,
            (false, true) => SchemaChange::Wider,
            (false, false) => SchemaChange::Narrower,
        };
        Self {
            schema,
            built: new.indexes.iter().filter(|index| !known(index)).map(|index| index.name.clone()).collect(),
            dropped: old.indexes.iter().filter(|old| !new.indexes.contains(old)).map(|old| old.name.clone()).collect(),
            claimed: new.unique.iter().filter(|fields| !old.unique.contains(fields)).cloned().collect(),
            lifted: old.unique.iter().filter(|fields| !new.unique.contains(fields)).cloned().collect(),
            shards: (old.shards != new.shards).then_some((old.shards, new.shards)),
            rules: old.rules != new.rules,
        }
    }

    /// Whether stored records have to be looked at or touched.
    pub fn needs_job(&self) -> bool {
        self.schema == SchemaChange::Narrower
            || !(self.built.is_empty() && self.dropped.is_empty() && self.claimed.is_empty())
    }

    /// The change as an admin reads it, one object for each thing that changes.
    pub fn explain(&self) -> Vec<Value> {
        let schema = match self.schema {
            SchemaChange::Same => None,
            SchemaChange::Wider => Some(json!({ "change": "schema", "effect": "widened" })),
            SchemaChange::Narrower => Some(json!({ "change": "schema", "effect": "narrowed" })),
        };
        let index =
            |effect: &'static str| move |name: &String| json!({ "change": "index", "name": name, "effect": effect });
        let unique = |effect: &'static str| move |fields: &Vec<String>| json!({ "change": "unique", "fields": fields, "effect": effect });
        let mut all: Vec<Value> = schema.into_iter().collect();
        all.extend(self.built.iter().map(index("built")));
        all.extend(self.dropped.iter().map(index("dropped")));
        all.extend(self.claimed.iter().map(unique("claimed")));
        all.extend(self.lifted.iter().map(unique("lifted")));
        all.extend(self.shards.map(|(from, to)| json!({ "change": "shards", "from": from, "to": to })));
        all.extend(self.rules.then(|| json!({ "change": "rules", "effect": "replaced" })));
        all
    }
}

impl Definition {
    /// The definition to store when `new`, read with this one as its previous, is put over it.
    pub fn followed_by(&self, new: Self, put: Put) -> Self {
        let change = Change::between(self, &new);
        if change.schema != SchemaChange::Narrower {
            return self.replaced_by(new, &change, put);
        }
        let work =
            Work { job: put.job.to_owned(), since: put.now, claims: self.claims().to_vec(), next: Some(new.as_put()) };
        Self { version: new.version, work: Some(work), ..self.clone() }
    }

    /// The same, once the schema is known to be no obstacle.
    fn replaced_by(&self, mut new: Self, change: &Change, put: Put) -> Self {
        let unclaimed = |fields: &&Vec<String>| self.claims().contains(fields) || !self.unique.contains(fields);
        let claims: Vec<Vec<String>> = new.unique.iter().filter(unclaimed).cloned().collect();
        // What a job is at goes on, unless there is more to do or it was to check what is now withdrawn.
        let starts = change.needs_job() || self.next().is_some();
        new.work = if starts {
            Some(Work { job: put.job.to_owned(), since: put.now, claims, next: None })
        } else {
            self.work.clone().map(|work| Work { claims, ..work })
        };
        if change.shards.is_some() {
            if new.shard_history.is_empty() {
                new.shard_history.push(ShardsSince { from: 0, shards: self.shards });
            }
            new.shard_history.push(ShardsSince { from: put.heard, shards: new.shards });
        }
        new
    }

    /// The definition once its job has been through all the records: without what they refused, everything else in force.
    /// What was to come comes now, and may bring work of its own for the same job.
    pub fn concluded(&self, refused: &Refused, put: Put) -> Self {
        let mut settled =
            Self { version: self.version + 1, work: None, settled_by: Some(put.job.to_owned()), ..self.clone() };
        settled.indexes.retain(|index| !refused.indexes.contains(&index.name));
        settled.indexes.iter_mut().for_each(|index| index.ready = true);
        settled.unique.retain(|fields| !refused.unique.contains(fields));
        let next = self.next().filter(|_| !refused.schema).cloned();
        // What was read when it was put can be read now.
        let next = next.and_then(|next| Self::parse(&self.name, next, Some(&settled)).ok());
        match next {
            None => settled,
            Some(next) => {
                let mut change = Change::between(&settled, &next);
                change.schema = SchemaChange::Wider;
                settled.replaced_by(next, &change, put)
            }
        }
    }

    /// The definition of a collection that is made anew under a name that was used before, over what is left of `gone`.
    pub fn made_after(mut self, gone: &Self) -> Self {
        self.generation = gone.generation + 1;
        self.shard_history.clear();
        self.settled_by = None;
        self.indexes.iter_mut().for_each(|index| index.ready = true);
        self
    }
}
