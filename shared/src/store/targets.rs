//! Collects the records that a write points at. The write itself checks that they exist and that the caller may refer to
//! them.

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
    /// A caller. They may refer to records they may read or that the rule `refer` allows. Their own account needs no check:
    /// the token proves it.
    Caller(&'a Caller),
    /// A job. It may refer to every record.
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

/// The collections that these members refer to.
pub fn related<'a>(collection: &'a Collection, members: &Map<String, Value>) -> impl Iterator<Item = &'a str> {
    let is_named = |field: &str| members.get(field).and_then(Value::as_str).is_some_and(id::is_valid);
    collection.relations().filter(move |(field, _)| is_named(field)).map(|(_, relation)| relation.collection.as_str())
}

/// The records that these members refer to.
///
/// # Errors
/// `Invalid` for a value that is not an id, and for a collection that does not exist.
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
        let nowhere = || {
            Error::field(
                format!("/{field}"),
                "relation",
                "This record does not exist, or you may not refer to it. Send the id of a record you may read.",
            )
        };
        if !id::is_valid(id) {
            return Err(nowhere());
        }
        let other = definitions.collection(&relation.collection).await?.ok_or_else(nowhere)?;
        let (field, on_delete, grants) = (field.to_owned(), relation.on_delete, referring.grants(&other, now));
        targets.push(Target { field, on_delete, collection: other, grants, id: id.to_owned() });
    }
    Ok(targets)
}

/// The fields through which a stored record already points at the same targets: keeping a target needs no new right. A
/// tombstone points at nothing, except through fields that the caller who undeletes it may not see: they did not choose those
/// targets.
pub(super) fn unmoved(intent: &Intent, stored: &Record) -> Vec<String> {
    let is_same = |target: &&Target| stored.data.get(&target.field).and_then(Value::as_str) == Some(target.id.as_str());
    // For a hidden field, this would reveal where it points to a caller who guesses.
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
