//! The records that a write makes its own point at, found in what is to be written. Whether they are there, and whether the
//! caller may point at them, the write itself has to see.

use super::definitions::Definitions;
use super::intent::{Intent, Target};
use super::record::Record;
use crate::error::{Error, Result};
use crate::id;
use crate::identity::Caller;
use crate::policy::{Grant, System, allow_to_refer};
use crate::schema::Collection;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Who makes a record point at others.
#[derive(Debug, Clone, Copy)]
pub enum Referring<'a> {
    /// A caller, who may point at what they may read or what its rule `refer` lets them. Their own account a token has proven.
    Caller(&'a Caller),
    /// A job, which may point at everything.
    System(&'a System),
}

impl Referring<'_> {
    fn is_account(self, id: &str) -> bool {
        matches!(self, Self::Caller(Caller::User(user)) if user.id == id)
    }

    fn grants(self, collection: &Arc<Collection>, now: u64) -> Vec<Grant> {
        match self {
            Self::Caller(caller) => allow_to_refer(caller, collection, now),
            Self::System(system) => vec![system.grant(collection, now)],
        }
    }
}

/// The collections that these members of a record point into.
pub fn related<'a>(collection: &'a Collection, members: &Map<String, Value>) -> impl Iterator<Item = &'a str> {
    let is_named = |field: &str| members.get(field).and_then(Value::as_str).is_some_and(id::is_valid);
    collection.relations().filter(move |(field, _)| is_named(field)).map(|(_, relation)| relation.collection.as_str())
}

/// What these members of a record point at.
///
/// # Errors
/// `Invalid` for what is no id, and for a collection that is not there.
pub async fn targets(
    definitions: &Definitions,
    collection: &Collection,
    referring: Referring<'_>,
    members: &Map<String, Value>,
    now: u64,
) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for (field, relation) in collection.relations() {
        let Some(id) = members.get(field).and_then(Value::as_str) else { continue };
        if relation.collection == "users" && referring.is_account(id) {
            continue;
        }
        let nowhere = || Error::field(format!("/{field}"), "relation", "there is no such record to point at");
        if !id::is_valid(id) {
            return Err(nowhere());
        }
        let other = definitions.collection(&relation.collection).await?.ok_or_else(nowhere)?;
        let (field, on_delete, grants) = (field.to_owned(), relation.on_delete, referring.grants(&other, now));
        targets.push(Target { field, on_delete, collection: other, grants, id: id.to_owned() });
    }
    Ok(targets)
}

/// The fields by which a stored record points at the targets of its change already: who keeps it so needs no right anew. A
/// tombstone points nowhere, but where whoever brings it back does not see the field: they have not chosen the target.
pub(super) fn unmoved(intent: &Intent, stored: &Record) -> Vec<String> {
    let is_same = |target: &&Target| stored.data.get(&target.field).and_then(Value::as_str) == Some(target.id.as_str());
    // Of a field that they do not see, this would tell whoever guesses where it points.
    let grant = &intent.grant;
    let is_read = !stored.deleted && grant.allows_reading(&stored.view());
    let is_seen = |target: &&Target| grant.is_admin() || (is_read && !grant.collection().is_hidden(&target.field));
    let is_kept =
        |target: &&Target| if stored.deleted { !is_shown(intent, stored, &target.field) } else { is_seen(target) };
    let targets = intent.targets.iter().filter(is_kept);
    targets.filter(is_same).map(|target| target.field.clone()).collect()
}

/// Whether the caller sees this field of this record, which may be a tombstone.
pub(super) fn is_shown(intent: &Intent, record: &Record, field: &str) -> bool {
    let grant = &intent.grant;
    grant.is_admin() || (grant.allows_reading(&record.view()) && !grant.collection().is_hidden(field))
}
