//! What a definition put over another does to what is stored, and which definition is in force meanwhile. Pure.
//!
//! Rules, wider schemas, shards and dropped indexes are in force at once; what they take away is over when every function has
//! heard of it. A new index and a new unique constraint are kept by every writer at once and served once a job has been through
//! the records. A definition whose schema allows less waits as `next` until every stored record fits it; what is written until
//! then fits both, and is allowed by the rules of both.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::expr::Rule;
use crate::query::Index;

use super::compatibility::allows_as_much;
use super::definition::{Definition, ShardsSince, Work};
use super::transition::{Blocked, Withdrawal};
use super::withdrawal::{is_wider, takes_away, with_marks_of};

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
    /// Fields that begin to restrict the deletion of what stored records point at.
    pub restricting: Vec<String>,
    /// From how many shards to how many.
    pub shards: Option<(u8, u8)>,
    /// Whether records come to be counted or followed, or cease to be: each carries a mark of it.
    pub counted: bool,
    /// Whether rules change.
    pub rules: bool,
    /// Whether callers may do less afterwards: see [`Withdrawal`].
    pub withdraws: bool,
}

/// When and by which job a definition is put over another. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub struct Put<'a> {
    /// Now.
    pub now: u64,
    /// When no function acts on the definition before any more.
    pub in_force_at: u64,
    /// When every id that carries a later time is made by a function that acts on the new definition.
    pub heard: u64,
    /// The job that would do the work.
    pub job: &'a str,
}

impl Work {
    /// Work for the job of this put, with nothing to do yet.
    fn of(put: Put) -> Self {
        let (job, since) = (put.job.to_owned(), put.now);
        let (claims, references, rules_before) = (Vec::new(), Vec::new(), BTreeMap::new());
        Self { job, since, claims, references, next: None, rules_before, blocked: None }
    }
}

impl Change {
    /// What putting `new` over `old` changes.
    pub fn between(old: &Definition, new: &Definition) -> Self {
        let is_among = |index: &Index, indexes: &[Index]| indexes.iter().any(|other| index.is(other));
        let schema = match (old.schema == new.schema, allows_as_much(&old.schema, &new.schema)) {
            (true, _) => SchemaChange::Same,
            (false, true) => SchemaChange::Wider,
            (false, false) => SchemaChange::Narrower,
        };
        let change = Self {
            schema,
            built: new
                .indexes
                .iter()
                .filter(|index| !is_among(index, &old.indexes))
                .map(|index| index.name.clone())
                .collect(),
            dropped: old
                .indexes
                .iter()
                .filter(|old| !is_among(old, &new.indexes))
                .map(|old| old.name.clone())
                .collect(),
            claimed: new.unique.iter().filter(|fields| !old.unique.contains(fields)).cloned().collect(),
            lifted: old.unique.iter().filter(|fields| !new.unique.contains(fields)).cloned().collect(),
            restricting: restricting_anew(old, new),
            shards: (old.shards != new.shards).then_some((old.shards, new.shards)),
            counted: (old.counted_since, old.followed_since) != (new.counted_since, new.followed_since),
            rules: old.rules != new.rules,
            withdraws: takes_away(old, new) || (old.counts && !new.counts) || (old.changes && !new.changes),
        };
        let narrows = change.schema == SchemaChange::Narrower || !change.claimed.is_empty();
        let lists = [&change.dropped, &change.restricting].into_iter().any(|names| !names.is_empty());
        Self { withdraws: change.withdraws || narrows || lists || !change.lifted.is_empty(), ..change }
    }

    /// Whether stored records have to be looked at or touched.
    pub fn needs_job(&self) -> bool {
        self.counted
            || self.schema == SchemaChange::Narrower
            || !(self.built.is_empty() && self.dropped.is_empty())
            || !(self.claimed.is_empty() && self.restricting.is_empty())
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
        let restricting = |field: &String| json!({ "change": "relation", "field": field, "effect": "restricts" });
        all.extend(self.restricting.iter().map(restricting));
        all.extend(self.shards.map(|(from, to)| json!({ "change": "shards", "from": from, "to": to })));
        all.extend(self.counted.then(|| json!({ "change": "counts", "effect": "marked" })));
        all.extend(self.rules.then(|| json!({ "change": "rules", "effect": "replaced" })));
        all
    }
}

/// The fields by which `new` begins to restrict: whom a record points at by them was not written down. No record holds a field
/// that its collection did not have.
fn restricting_anew(old: &Definition, new: &Definition) -> Vec<String> {
    let before = old.restricting();
    let anew = |known: &(String, String)| old.has_field(&known.0) && !before.contains(known);
    new.restricting().into_iter().filter(anew).map(|(field, _)| field).collect()
}

/// The rules that hold while a definition waits: what either refuses is refused. A rule that only comes with the definition that
/// waits allows nothing yet, and neither does one that goes with the definition in force.
fn rules_of_both(old: &BTreeMap<Rule, String>, new: &BTreeMap<Rule, String>) -> BTreeMap<Rule, String> {
    let both = |rule: Rule| {
        let (before, now) = (old.get(&rule)?, new.get(&rule)?);
        let held = match is_wider(before, now) {
            true => before.clone(),
            false if is_wider(now, before) => now.clone(),
            false => format!("({before}) && ({now})"),
        };
        Some((rule, held))
    };
    Rule::ALL.into_iter().filter_map(both).collect()
}

impl Definition {
    /// The definition to store when `new`, read with this one as its previous, is put over it.
    pub fn followed_by(&self, new: Self, put: Put) -> Self {
        let change = Change::between(self, &new);
        if change.schema != SchemaChange::Narrower {
            return self.replaced_by(new, &change, put);
        }
        let work = Work {
            claims: self.claims().to_vec(),
            references: self.unreferenced().to_vec(),
            next: Some(new.as_put()),
            rules_before: self
                .work
                .iter()
                .find(|work| work.next.is_some())
                .map_or(&self.rules, |work| &work.rules_before)
                .clone(),
            ..Work::of(put)
        };
        let rules = rules_of_both(&work.rules_before, &new.rules);
        let schema = with_marks_of(&self.schema, &new.schema);
        let waiting = Self { version: new.version, work: Some(work), rules, schema, ..self.clone() };
        Self { withdrawal: Some(Withdrawal::between(self, &waiting, put.in_force_at)), ..waiting }
    }

    /// The same, once the schema is known to be no obstacle.
    fn replaced_by(&self, mut new: Self, change: &Change, put: Put) -> Self {
        let unclaimed = |fields: &&Vec<String>| self.claims().contains(fields) || !self.unique.contains(fields);
        let claims: Vec<Vec<String>> = new.unique.iter().filter(unclaimed).cloned().collect();
        let unreferenced = |field: &String| change.restricting.contains(field) || self.unreferenced().contains(field);
        let references = new.restricting().into_iter().map(|(field, _)| field).filter(unreferenced).collect();
        // What a job is at goes on, unless there is more to do or it was to check what is now withdrawn.
        let starts = change.needs_job() || self.next().is_some();
        new.work = if starts {
            Some(Work { claims, references, ..Work::of(put) })
        } else {
            self.work.clone().map(|work| Work { claims, references, blocked: None, ..work })
        };
        new.counting = new.counted_since.is_some() && (self.counting || self.counted_since != new.counted_since);
        if change.shards.is_some() {
            if new.shard_history.is_empty() {
                new.shard_history.push(ShardsSince { from: 0, shards: self.shards });
            }
            new.shard_history.push(ShardsSince { from: put.heard, shards: new.shards });
        }
        new.withdrawal = match change.withdraws {
            true => Some(Withdrawal::between(self, &new, put.in_force_at)),
            false => self.withdrawal.clone().filter(|known| put.now < known.in_force_at),
        };
        new
    }

    /// The definition once its job has been through all the records. What nothing stands in the way of is in force, and what was
    /// to come comes now, perhaps with work of its own for the same job. What records refuse waits on, and says so.
    pub fn concluded(&self, refused: &Blocked, put: Put) -> Self {
        let mut settled = Self {
            version: self.version + 1,
            work: None,
            settled_by: Some(put.job.to_owned()),
            counting: false,
            withdrawal: None,
            ..self.clone()
        };
        let is_refused = |index: &Index| refused.indexes.contains(&index.name);
        let retires = |index: &Index| index.retiring && !is_refused(index);
        // What retires leaves entries behind, and they are cleared as those of any dropped index.
        if settled.indexes.iter().any(retires) {
            settled.work = Some(Work::of(put));
        }
        settled.indexes.retain(|index| !retires(index));
        for index in settled.indexes.iter_mut().filter(|index| !is_refused(index)) {
            (index.ready, index.retiring) = (true, false);
        }
        if refused.is_any() {
            let since = self.work.as_ref().map_or(put.now, |work| work.since);
            let next = self.next().filter(|_| refused.schema).cloned();
            let rules_before = self.work.as_ref().map(|work| work.rules_before.clone()).unwrap_or_default();
            let work = Work { since, claims: refused.unique.clone(), next, rules_before, ..Work::of(put) };
            settled.work = Some(Work { blocked: Some(refused.clone()), ..work });
            settled.settled_by = None;
        }
        // What was read when it was put can be read now.
        let next = self.next().filter(|_| !refused.is_any()).cloned();
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
        self.withdrawal = None;
        self.counting = false;
        self.indexes.retain(|index| !index.retiring);
        self.indexes.iter_mut().for_each(|index| index.ready = true);
        self
    }
}
