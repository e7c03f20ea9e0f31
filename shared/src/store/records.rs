//! Records, opened for a `Grant` and for nothing else.
//!
//! A write is one conditional write where one suffices; the rule on the stored record is part of its condition, so deciding
//! and writing are one step (R72). A unique value or a relation to check makes it one transaction.

use super::definitions::WRITE_SECONDS;
use super::item::{self, Item, number, string};
use super::record::{Record, key};
use super::{Expression, Table, Written};
use crate::clock::{Clock, rfc3339};
use crate::error::{Error, Result};
use crate::expr::{Expr, Input};
use crate::http::IfMatch;
use crate::id;
use crate::policy::Grant;
use crate::query::condition;
use crate::schema::Collection;
use serde_json::{Map, Value};
use std::sync::Arc;

/// How long a deleted record's tombstone stays, in seconds.
pub const TOMBSTONE_SECONDS: u64 = 30 * 86_400;
/// How often a write without `If-Match` that met another write is tried again.
pub(super) const TRIES: usize = 8;

/// A record that another one points at, to be seen alive by the write that makes it point there.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where in the body it is named.
    pub pointer: String,
    /// Its collection.
    pub collection: Arc<Collection>,
    /// Its id.
    pub id: String,
}

/// What is to become of a stored record's data.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// These members, and only these.
    Replace(&'a Map<String, Value>),
    /// A JSON Merge Patch (RFC 7396).
    Merge(&'a Map<String, Value>),
}

/// The `Records` table.
#[derive(Debug, Clone)]
pub struct Records {
    table: Table,
    clock: Clock,
}

impl Records {
    /// Records in `table`, at the time of `clock`.
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock }
    }

    /// Seconds since the Unix epoch.
    pub(super) fn seconds(&self) -> u64 {
        self.clock.seconds()
    }

    /// The table, for paging through it.
    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    /// A record, if it is there and the grant's rule allows it.
    pub async fn get(&self, grant: &Grant, id: &str, consistent: bool) -> Result<Option<Record>> {
        let found = self.stored(grant.collection(), id, consistent).await?;
        Ok(found.filter(|record| !record.deleted && grant.allows(&record.view(), Input::None)))
    }

    pub(super) async fn stored(&self, collection: &Collection, id: &str, consistent: bool) -> Result<Option<Record>> {
        let found = self.table.get_by(key(collection, id), consistent).await?;
        Ok(found.as_ref().and_then(Record::from_item))
    }

    /// Writes a new record. `data` has been validated.
    ///
    /// # Errors
    /// `PreconditionFailed` when the id is taken, `Conflict` when a unique value is, `Invalid` when a relation points
    /// nowhere.
    pub async fn create(
        &self,
        grant: &Grant,
        id: String,
        data: Map<String, Value>,
        targets: &[Target],
        request: &str,
    ) -> Result<Record> {
        // A record is as old as its id says: lists by time read the ids.
        let created_at = rfc3339(id::millis(&id).ok_or(Error::NotFound("record"))?);
        let updated_at = rfc3339(self.clock.millis()).max(created_at.clone());
        let record =
            Record { id, created_at, updated_at, version: 1, data, deleted: false, request_id: request.to_owned() };
        let condition = Expression::new("attribute_not_exists(pk)");
        match self.commit(grant, &record, condition, targets).await? {
            Written::Done(()) => Ok(record),
            // Our own retry after a lost answer: the first try had arrived.
            Written::Refused(Some(old)) if written_by(&old, request) => Ok(record),
            Written::Refused(_) => Err(Error::PreconditionFailed("a record with this id exists, or has existed")),
        }
    }

    /// Changes a record without reading it, where schema and rule allow: one round trip, one write. `None` where they do
    /// not. The patch has been validated, member by member.
    pub async fn patch_blind(
        &self,
        grant: &Grant,
        id: &str,
        patch: &Map<String, Value>,
        if_match: &IfMatch,
        request: &str,
    ) -> Result<Option<Record>> {
        let Some(rule) = rule_condition(grant) else { return Ok(None) };
        let mut sets = vec!["v = v + :one".to_owned(), "ua = :ua".into(), "#by = :by".into(), "rid = :rid".into()];
        let mut removes = Vec::new();
        let mut change = Expression::default()
            .name("#by", "by")
            .value(":one", number(1))
            .value(":ua", string(rfc3339(self.clock.millis())))
            .value(":by", string(grant.caller()))
            .value(":rid", string(request));
        for (position, (name, value)) in patch.iter().enumerate() {
            let placeholder = format!("#p{position}");
            change = change.name(&placeholder, name);
            if value.is_null() {
                removes.push(format!("d.{placeholder}"));
            } else {
                sets.push(format!("d.{placeholder} = :p{position}"));
                change = change.value(&format!(":p{position}"), item::from_json(value));
            }
        }
        change.text = format!("SET {}", sets.join(", "));
        if !removes.is_empty() {
            change.text.push_str(&format!(" REMOVE {}", removes.join(", ")));
        }
        let condition = alive().and(version_condition(if_match)).and(rule);
        match self.table.update(key(grant.collection(), id), change, condition).await? {
            Written::Done(changed) => Ok(Record::from_item(&changed)),
            Written::Refused(Some(old)) if written_by(&old, request) => Ok(Record::from_item(&old)),
            Written::Refused(old) => Err(refusal(grant, old.as_ref(), if_match, Input::Patch(patch))),
        }
    }

    /// Reads a record, changes it by `change`, validates all of it and writes it on the condition that nobody else has
    /// written meanwhile. Without `If-Match` it tries again on what the other has left.
    pub async fn change(
        &self,
        grant: &Grant,
        id: &str,
        change: Change<'_>,
        if_match: &IfMatch,
        targets: &[Target],
        request: &str,
    ) -> Result<Record> {
        let began = self.clock.seconds();
        for _ in 0..TRIES {
            if self.clock.seconds() > began + WRITE_SECONDS {
                break;
            }
            let stored = self.stored(grant.collection(), id, true).await?.filter(|record| !record.deleted);
            let stored = stored.ok_or(Error::NotFound("record"))?;
            if stored.request_id == request {
                return Ok(stored);
            }
            // What is wrong with a change is told to those who may make one.
            let may = grant.allows(&stored.view(), Input::Whole(&stored.data));
            let data =
                changed(grant, &stored, change).map_err(|error| if may { error } else { Error::NotFound("record") })?;
            if !grant.allows(&stored.view(), Input::Whole(&data)) {
                return Err(Error::NotFound("record"));
            }
            if !if_match.allows(stored.version) {
                return Err(OTHER_VERSION);
            }
            let record = Record {
                updated_at: rfc3339(self.clock.millis()),
                version: stored.version + 1,
                request_id: request.to_owned(),
                data,
                ..stored.clone()
            };
            let condition = alive().and(Expression::new("v = :v").value(":v", number(stored.version)));
            match self.commit(grant, &record, condition, targets).await? {
                Written::Done(()) => return Ok(record),
                Written::Refused(Some(old)) if written_by(&old, request) => return Ok(record),
                Written::Refused(_) if if_match.is_sent() => return Err(OTHER_VERSION),
                Written::Refused(_) => {}
            }
        }
        Err(Error::Unavailable {
            retry_after: 1,
            source: Some("a record is written faster than it can be read".into()),
        })
    }

    /// Deletes a record: it becomes a tombstone, absent for everybody at once and gone after [`TOMBSTONE_SECONDS`].
    pub async fn delete(&self, grant: &Grant, id: &str, if_match: &IfMatch, request: &str) -> Result<()> {
        let Some(rule) = rule_condition(grant) else { return self.read_and_delete(grant, id, if_match, request).await };
        let condition = alive().and(version_condition(if_match)).and(rule);
        match self.bury(grant, id, condition, request).await? {
            Written::Done(_) => Ok(()),
            Written::Refused(Some(old)) if written_by(&old, request) => Ok(()),
            Written::Refused(old) => Err(refusal(grant, old.as_ref(), if_match, Input::None)),
        }
    }

    /// The way for a rule that DynamoDB cannot be asked: decide here, write on the condition of the version decided upon.
    async fn read_and_delete(&self, grant: &Grant, id: &str, if_match: &IfMatch, request: &str) -> Result<()> {
        for _ in 0..TRIES {
            let stored = self.stored(grant.collection(), id, true).await?;
            let stored = stored.filter(|record| !record.deleted && grant.allows(&record.view(), Input::None));
            let stored = stored.ok_or(Error::NotFound("record"))?;
            if !if_match.allows(stored.version) {
                return Err(OTHER_VERSION);
            }
            let condition = alive().and(Expression::new("v = :v").value(":v", number(stored.version)));
            match self.bury(grant, id, condition, request).await? {
                Written::Done(_) => return Ok(()),
                Written::Refused(Some(old)) if written_by(&old, request) => return Ok(()),
                Written::Refused(_) => {}
            }
        }
        Err(Error::Unavailable { retry_after: 1, source: None })
    }

    async fn bury(&self, grant: &Grant, id: &str, condition: Expression, request: &str) -> Result<Written<Item>> {
        let slots = grant.collection().definition().indexes.iter().map(|index| format!(", ix{0}p, ix{0}s", index.slot));
        let remove: String = slots.collect();
        let remove = remove.trim_start_matches(", ");
        let remove = if remove.is_empty() { String::new() } else { format!(" REMOVE {remove}") };
        let now = rfc3339(self.clock.millis());
        let change = Expression::new(format!(
            "SET v = v + :one, ua = :now, del = :now, #ttl = :ttl, #by = :by, rid = :rid{remove}"
        ))
        .name("#ttl", "ttl")
        .name("#by", "by")
        .value(":one", number(1))
        .value(":now", string(now))
        .value(":ttl", number(self.clock.seconds() + TOMBSTONE_SECONDS))
        .value(":by", string(grant.caller()))
        .value(":rid", string(request));
        self.table.update(key(grant.collection(), id), change, condition).await
    }
}

const OTHER_VERSION: Error = Error::PreconditionFailed("the record is not of the version in If-Match: read it again");

fn alive() -> Expression {
    Expression::new("attribute_exists(pk) AND attribute_not_exists(del)")
}

fn version_condition(if_match: &IfMatch) -> Expression {
    let IfMatch::Versions(versions) = if_match else { return Expression::default() };
    let placeholders: Vec<String> = (0..versions.len().max(1)).map(|at| format!(":v{at}")).collect();
    // No version at all can match: a version that no record has says so.
    let versions = if versions.is_empty() { &[0][..] } else { versions };
    let start = Expression::new(format!("v IN ({})", placeholders.join(", ")));
    placeholders.iter().zip(versions).fold(start, |all, (name, version)| all.value(name, number(*version)))
}

/// What is left of the rule as a condition on the write. `None` where DynamoDB cannot be asked.
fn rule_condition(grant: &Grant) -> Option<Expression> {
    if *grant.left() == Expr::True {
        return Some(Expression::default());
    }
    let asked = condition(grant.left(), "d")?;
    let mut all = Expression::new(asked.expression);
    all.names.extend(asked.names);
    all.values.extend(asked.values.iter().map(|(name, value)| (name.clone(), item::from_json(value))));
    Some(all)
}

fn written_by(old: &Item, request: &str) -> bool {
    item::text(old, "rid") == Some(request)
}

/// Why a write was refused, told from what stood there: what the caller may not see does not exist (R64), then the version.
fn refusal(grant: &Grant, old: Option<&Item>, if_match: &IfMatch, input: Input) -> Error {
    let visible =
        old.and_then(Record::from_item).filter(|record| !record.deleted && grant.allows(&record.view(), input));
    match visible {
        None => Error::NotFound("record"),
        Some(record) if !if_match.allows(record.version) => OTHER_VERSION,
        Some(_) => Error::Unavailable { retry_after: 1, source: Some("a condition failed that holds".into()) },
    }
}

/// The data after a change: merged or replaced, in one form, valid, and with nothing changed that must not be.
fn changed(grant: &Grant, stored: &Record, change: Change<'_>) -> Result<Map<String, Value>> {
    let collection = grant.collection();
    let mut data = match change {
        Change::Replace(data) => data.clone(),
        Change::Merge(patch) => {
            let mut data = stored.data.clone();
            merge(&mut data, patch);
            data
        }
    };
    if !grant.sees_all() && matches!(change, Change::Replace(_)) {
        keep_unseen(collection, stored, &mut data);
    }
    collection.validate(&data).map_err(Error::Invalid)?;
    collection.canonicalise(&mut data);
    let fixed = |name: &&String| collection.write_once(name) || (collection.read_only(name) && !grant.sees_all());
    let names = data.keys().chain(stored.data.keys());
    match names.filter(fixed).find(|name| data.get(*name) != stored.data.get(*name)) {
        Some(name) => Err(Error::field(format!("/{name}"), "fixed", "this field cannot be changed")),
        None => Ok(data),
    }
}

/// A replacement by somebody who does not see or write a field leaves it as it is.
fn keep_unseen(collection: &Collection, stored: &Record, data: &mut Map<String, Value>) {
    for (name, value) in &stored.data {
        let unseen = collection.field(name).is_some_and(|field| field.value.hidden) || collection.read_only(name);
        if unseen && !data.contains_key(name) {
            data.insert(name.clone(), value.clone());
        }
    }
}

/// RFC 7396 on an object.
fn merge(data: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match (value, data.get_mut(name)) {
            (Value::Null, _) => {
                data.remove(name);
            }
            (Value::Object(patch), Some(Value::Object(stored))) => merge(stored, patch),
            (Value::Object(patch), _) => {
                let mut fresh = Map::new();
                merge(&mut fresh, patch);
                data.insert(name.clone(), Value::Object(fresh));
            }
            (value, _) => {
                data.insert(name.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_rfc_7396_come_out_as_printed_there() {
        for (stored, patch, result) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"c"}), json!({"a":["b"]}), json!({"a":["b"]})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ] {
            let mut data = stored.as_object().cloned().unwrap();
            merge(&mut data, patch.as_object().unwrap());
            assert_eq!(Value::Object(data), result, "{stored} patched with {patch}");
        }
    }
}
