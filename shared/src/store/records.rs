//! Records, opened for a `Grant` and for nothing else.
//!
//! Reading, and writing without reading first: the rule on the stored record is part of the write's condition, so deciding and
//! writing are one step (R72). What cannot be written unread is decided in `write` and made in `commit`.

use super::item::{self, Item, number, string};
use super::record::{Record, key};
use super::write::{Intent, What};
use super::{Expression, Table, WriteOutcome};
use crate::clock::{Clock, rfc3339};
use crate::cost;
use crate::error::{Error, FieldError, Result};
use crate::expr::{Expr, Input};
use crate::policy::Grant;
use crate::preconditions::{IfMatch, IfNoneMatch, Preconditions};
use crate::query::condition;
use crate::schema::{Collection, ReadReason};
use serde_json::{Map, Value};

/// How long a deleted record's tombstone stays, in seconds.
pub const TOMBSTONE_SECONDS: u64 = 30 * 86_400;
/// How often a write without `If-Match` that met another write is tried again.
pub(super) const TRIES: usize = 8;

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

    /// The clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Seconds since the Unix epoch.
    pub(super) fn seconds(&self) -> u64 {
        self.clock.seconds()
    }

    /// The table, for paging through it and for what is kept beside records.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// A record, if it is there and the grant's rule allows it.
    pub async fn get(&self, grant: &Grant, id: &str, consistent: bool) -> Result<Option<Record>> {
        let found = self.stored(grant.collection(), id, consistent).await?;
        Ok(found.filter(|record| !record.deleted && grant.allows(&record.view(), Input::None)))
    }

    /// Whether what a definition decides may still begin. Later, another may be in force: see `lease`.
    ///
    /// # Errors
    /// `Unavailable` when it may not: the request has taken too long, and is right to start anew.
    pub fn acts_in_time(&self, collection: &Collection) -> Result<()> {
        if self.clock.millis() <= collection.acted_on_until() {
            return Ok(());
        }
        Err(Error::Unavailable { retry_after: 1, source: Some("a definition was remembered for too long".into()) })
    }

    pub(super) async fn stored(&self, collection: &Collection, id: &str, consistent: bool) -> Result<Option<Record>> {
        self.acts_in_time(collection)?;
        let found = self.table.get_by(key(collection, id), consistent).await?;
        Ok(found.as_ref().and_then(Record::from_item))
    }

    /// Does what an intent says without reading the record, where that can be: one round trip, one write. `None` where it cannot.
    pub(super) async fn unread(&self, intent: &Intent, request: &str) -> Result<Option<Record>> {
        self.in_time([intent])?;
        match &intent.what {
            What::Merge { patch, blind: true } => self.patch_unread(intent, patch, request).await,
            What::Delete if !intent.is_restricted() => self.delete_unread(intent, request).await,
            _ => Ok(None),
        }
    }

    /// Why what an intent says needs the stored record first; nothing where it is written unread.
    pub(super) fn read_reasons(&self, intent: &Intent) -> Vec<ReadReason> {
        let What::Merge { patch, .. } = &intent.what else { return Vec::new() };
        let related = intent.targets.iter().map(|target| ReadReason::Related(target.field.clone()));
        let by_rule = rule_condition(&intent.grant).is_none().then_some(ReadReason::Rule);
        intent.grant.collection().read_reasons(patch).chain(related).chain(by_rule).collect()
    }

    /// Changes a record. The patch has been validated, member by member.
    async fn patch_unread(&self, intent: &Intent, patch: &Map<String, Value>, request: &str) -> Result<Option<Record>> {
        let Intent { grant, id, preconditions, .. } = intent;
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
        // The SDK's own retry after a lost answer must not count as another write.
        let first = Expression::new("attribute_not_exists(rid) OR rid <> :rid");
        let condition = alive().and(first).and(version_condition(preconditions)).and(rule);
        match self.table.update(key(grant.collection(), id), change, condition).await? {
            WriteOutcome::Done(changed) => Ok(written(intent, &changed)),
            WriteOutcome::ConditionFailed(Some(old)) if written_by(&old, request) => Ok(written(intent, &old)),
            WriteOutcome::ConditionFailed(old) => Err(refusal(intent, old.as_ref(), Input::Patch(patch))),
        }
    }

    /// Deletes a record: it becomes a tombstone, absent for everybody at once and gone after [`TOMBSTONE_SECONDS`].
    async fn delete_unread(&self, intent: &Intent, request: &str) -> Result<Option<Record>> {
        let Some(rule) = rule_condition(&intent.grant) else { return Ok(None) };
        let condition = alive().and(version_condition(&intent.preconditions)).and(rule);
        let soft_delete = self.soft_delete(&intent.grant, request);
        match self.table.update(key(intent.grant.collection(), &intent.id), soft_delete, condition).await? {
            WriteOutcome::Done(deleted) => Ok(written(intent, &deleted)),
            WriteOutcome::ConditionFailed(Some(old)) if written_by(&old, request) => Ok(written(intent, &old)),
            WriteOutcome::ConditionFailed(old) => Err(refusal(intent, old.as_ref(), Input::None)),
        }
    }
}

pub(super) const OTHER_VERSION: Error =
    Error::PreconditionFailed("the record is not of the version the conditions of the request name: read it again");

pub(super) fn alive() -> Expression {
    Expression::new("attribute_exists(pk) AND attribute_not_exists(del)")
}

/// The conditions of the request on the version that is stored.
fn version_condition(preconditions: &Preconditions) -> Expression {
    let wanted = match &preconditions.if_match {
        IfMatch::Versions(versions) => is_one_of("v", versions),
        IfMatch::Absent | IfMatch::Any => Expression::default(),
    };
    let unwanted = match preconditions.if_none_match {
        IfNoneMatch::Absent => return wanted,
        // Whatever is there is not wanted, and to what is not there nothing is done.
        IfNoneMatch::Any => is_one_of("n", &[]),
        IfNoneMatch::Tags(_) => {
            let versions = is_one_of("n", &preconditions.unwanted_versions());
            Expression { text: format!("NOT {}", versions.text), ..versions }
        }
    };
    wanted.and(unwanted)
}

fn is_one_of(prefix: &str, versions: &[u64]) -> Expression {
    // No version at all can match: a version that no record has says so.
    let versions = if versions.is_empty() { &[0][..] } else { versions };
    let placeholders: Vec<String> = (0..versions.len()).map(|at| format!(":{prefix}{at}")).collect();
    let start = Expression::new(format!("v IN ({})", placeholders.join(", ")));
    placeholders.iter().zip(versions).fold(start, |all, (name, version)| all.value(name, number(*version)))
}

/// What is left of the rule as a condition on the write. `None` where DynamoDB cannot be asked.
pub(super) fn rule_condition(grant: &Grant) -> Option<Expression> {
    if *grant.residual() == Expr::True {
        return Some(Expression::default());
    }
    let asked = condition(grant.residual(), "d")?;
    let mut all = Expression::new(asked.expression);
    all.names.extend(asked.names);
    all.values.extend(asked.values.iter().map(|(name, value)| (name.clone(), item::from_json(value))));
    Some(all)
}

fn written_by(old: &Item, request: &str) -> bool {
    item::text(old, "rid") == Some(request)
}

/// Why a write was refused, told from what stood there: what the caller may not see does not exist (R64), then the version.
fn refusal(intent: &Intent, old: Option<&Item>, input: Input) -> Error {
    let visible =
        old.and_then(Record::from_item).filter(|record| !record.deleted && intent.grant.allows(&record.view(), input));
    match visible {
        None => Error::NotFound("record"),
        Some(record) if !intent.preconditions.allow(record.version) => {
            withhold_price(intent, &record);
            OTHER_VERSION
        }
        Some(_) => Error::Unavailable { retry_after: 1, source: Some("a condition failed that holds".into()) },
    }
}

/// What was written unread.
fn written(intent: &Intent, item: &Item) -> Option<Record> {
    Record::from_item(item).inspect(|record| withhold_price(intent, record))
}

/// What a record costs to write would tell whoever may not read it how large it is.
pub(super) fn withhold_price(intent: &Intent, record: &Record) {
    if !intent.grant.allows_reading(&record.view()) {
        cost::withhold_units();
    }
}

/// The data after a change: merged or replaced, in one form, valid, and with nothing changed that must not be.
pub(super) fn changed(grant: &Grant, stored: &Record, change: &What) -> Result<Map<String, Value>> {
    let collection = grant.collection();
    let unread = !grant.allows_reading(&stored.view());
    if unread && let Some(problem) = depends_on_unread(collection, change) {
        return Err(Error::Invalid(vec![problem]));
    }
    let mut data = match change {
        What::Create(data) | What::Replace(data) => data.clone(),
        What::Delete | What::Undelete => stored.data.clone(),
        What::Merge { patch, .. } => {
            let mut data = stored.data.clone();
            // Into what they do not see nobody merges: whether the outcome is valid would tell what is there.
            data.retain(|name, _| grant.is_admin() || !collection.is_hidden(name) || !patch.contains_key(name));
            merge(&mut data, patch);
            data
        }
    };
    if matches!(change, What::Replace(_)) {
        if !grant.is_admin() {
            keep_unseen(collection, stored, unread, &mut data);
        }
        collection.apply_defaults_again(&mut data);
    }
    collection.validate(&mut data).map_err(Error::Invalid)?;
    collection.canonicalise(&mut data);
    let fixed = |name: &&String| {
        (collection.write_once(name) && !grant.is_system()) || (collection.read_only(name) && !grant.is_admin())
    };
    let mut names = data.keys().chain(stored.data.keys()).filter(fixed);
    let changed = |name: &&String| data.get(*name) != stored.data.get(*name);
    // A guess is refused before anything else: which field is named first must not say whether it was right.
    match guessed(grant, change, unread).or_else(|| names.find(changed)) {
        Some(name) => Err(Error::field(format!("/{name}"), "fixed", "this field cannot be changed")),
        None => Ok(data),
    }
}

/// Why what becomes of a record depends on stored fields that its writer may not read: whether such a change is valid, or unique,
/// would tell what is there.
fn depends_on_unread(collection: &Collection, change: &What) -> Option<FieldError> {
    let stays: Box<dyn Fn(&str) -> bool> = match change {
        What::Merge { patch, .. } => {
            if let Some((name, _)) = patch.iter().find(|(_, value)| value.is_object()) {
                let message =
                    "an object is merged into what is stored, which you may not read: replace the record with PUT";
                return Some(FieldError::new(format!("/{name}"), "unreadable", message));
            }
            Box::new(|name| !patch.contains_key(name))
        }
        What::Replace(body) => Box::new(|name| is_kept(collection, name, true) && !body.contains_key(name)),
        What::Create(_) | What::Delete | What::Undelete => return None,
    };
    if !collection.is_memberwise() && collection.field_names().any(|name| !collection.is_hidden(name) && stays(name)) {
        let message = "the schema holds several fields against each other, and you may not read the stored ones: send every \
                       field, with PUT, or ask for the right to read the record";
        return Some(FieldError::new("", "unreadable", message));
    }
    let is_split = |fields: &&Vec<String>| {
        let kept = fields.iter().filter(|field| stays(field)).count();
        kept > 0 && kept < fields.len()
    };
    let split = collection.definition().unique.iter().find(is_split)?;
    let message =
        format!("{} are unique together, and you may not read the stored ones: send all of them", split.join(" and "));
    Some(FieldError::new("", "unreadable", message))
}

/// A field of a change that cannot be changed, and is hidden from whoever makes it or is of a record that they may not read
/// (`unread`). Were it taken where it says what is stored already, that would tell what is stored.
fn guessed<'a>(grant: &Grant, change: &'a What, unread: bool) -> Option<&'a String> {
    let collection = grant.collection();
    let is_fixed = |name: &&String| collection.write_once(name) && (unread || collection.is_hidden(name));
    change.sent().filter(|_| !grant.is_admin())?.keys().find(is_fixed)
}

/// A replacement by somebody who does not see or write a field leaves it as it is.
fn keep_unseen(collection: &Collection, stored: &Record, unread: bool, data: &mut Map<String, Value>) {
    for (name, value) in &stored.data {
        if is_kept(collection, name, unread) && !data.contains_key(name) {
            data.insert(name.clone(), value.clone());
        }
    }
}

/// Whether a replacement that leaves the field out keeps it. Of a record that its writer may not read (`unread`) they see none.
fn is_kept(collection: &Collection, name: &str, unread: bool) -> bool {
    collection.is_hidden(name) || collection.read_only(name) || (unread && collection.write_once(name))
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
