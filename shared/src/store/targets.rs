//! Collects the records that a write points at. The write itself checks that they exist and that the caller may refer to
//! them.

use super::definitions::Definitions;
use super::intent::{Intent, Target};
use super::record::Record;
use crate::error::{Error, Result};
use crate::id;
use crate::identity::Caller;
use crate::policy::{Grant, System, allow_to_refer};
use crate::schema::{Collection, related_ids};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
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
    let is_named = |field: &str| members.get(field).into_iter().flat_map(related_ids).any(|(_, id)| id::is_valid(id));
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
        let mut known = BTreeSet::new();
        for (at, id) in members.get(field).into_iter().flat_map(related_ids).filter(|(_, id)| known.insert(*id)) {
            if relation.collection == "users" && referring.is_account(id) {
                continue;
            }
            if !id::is_valid(id) {
                return Err(nowhere(field, at));
            }
            let other = definitions.collection(&relation.collection).await?.ok_or_else(|| nowhere(field, at))?;
            let (field, on_delete, grants) = (field.to_owned(), relation.on_delete, referring.grants(&other, now));
            targets.push(Target { field, at, on_delete, collection: other, grants, id: id.to_owned() });
        }
    }
    Ok(targets)
}

/// The error of an id that leads to no record that the caller may refer to.
pub(super) fn nowhere(field: &str, at: Option<usize>) -> Error {
    let place = at.map_or_else(|| format!("/{field}"), |at| format!("/{field}/{at}"));
    let message = "This record does not exist, or you may not refer to it. Send the id of a record you may read.";
    Error::field(place, "relation", message)
}

/// Whether this data points at a record through a field.
pub(super) fn points_at(data: &Map<String, Value>, field: &str, id: &str) -> bool {
    data.get(field).into_iter().flat_map(related_ids).any(|(_, its)| its == id)
}

/// The targets that a stored record points at already, through the same fields: keeping a target needs no new right. A
/// tombstone points at nothing, except through fields that the caller who undeletes it may not see: they did not choose those
/// targets.
pub(super) fn unmoved(intent: &Intent, stored: &Record) -> Vec<(String, String)> {
    let is_same = |target: &&Target| points_at(&stored.data, &target.field, &target.id);
    // For a hidden field, this would reveal where it points to a caller who guesses.
    let grant = &intent.grant;
    let is_read = !stored.deleted && grant.allows_reading(&stored.view());
    let is_seen = |target: &&Target| grant.is_admin() || (is_read && !grant.collection().is_hidden(&target.field));
    let is_kept =
        |target: &&Target| if stored.deleted { !is_shown(intent, stored, &target.field) } else { is_seen(target) };
    let targets = intent.targets.iter().filter(is_kept);
    targets.filter(is_same).map(|target| (target.field.clone(), target.id.clone())).collect()
}

/// Whether the caller sees this field of this record, which may be a tombstone.
pub(super) fn is_shown(intent: &Intent, record: &Record, field: &str) -> bool {
    let grant = &intent.grant;
    grant.is_admin() || (grant.allows_reading(&record.view()) && !grant.collection().is_hidden(field))
}
