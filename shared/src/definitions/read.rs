//! Reading definitions: as they were put, with their version and what they wait for.

use super::operations::Operations;
use crate::clock::rfc3339;
use crate::error::{Error, Result};
use crate::identity::Caller;
use crate::preconditions::{Preconditions, etag, etag_of};
use crate::schema::Definition;
use crate::store::definitions::{State as Stage, Stored};
use serde_json::{Value, json};

/// A definition that was read.
#[derive(Debug)]
pub struct Found {
    /// Its entity tag.
    pub etag: String,
    /// The definition; `None` where the caller has it already (`If-None-Match`).
    pub shown: Option<Value>,
}

impl Operations {
    /// All definitions, by name. The built-in `users` is among them.
    ///
    /// # Errors
    /// `Unauthenticated`, `Forbidden` to all but admins.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Value>> {
        caller.require_admin()?;
        let now = self.clock.millis();
        let mut items: Vec<Value> =
            self.definitions.all().await?.iter().map(|stored| shown(&stored.definition, now)).collect();
        items.push(shown(&Definition::users(), now));
        items.sort_by_key(|item| item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned());
        Ok(items)
    }

    /// One definition.
    ///
    /// # Errors
    /// `Unauthenticated`, `Forbidden` to all but admins; `NotFound`, `PreconditionFailed`.
    pub async fn read(&self, caller: &Caller, name: &str, preconditions: &Preconditions) -> Result<Found> {
        caller.require_admin()?;
        let now = self.clock.millis();
        let stored = match name {
            "users" => Some(Stored { definition: Definition::users(), stage: Stage::Ready }),
            name => self.definitions.get(name).await?,
        };
        let is_there = |stored: &Stored| stored.stage != Stage::Gone || stored.definition.withdrawing(now).is_some();
        let Stored { definition, stage } = stored.filter(is_there).ok_or(Error::NotFound("collection"))?;
        let mut body = shown(&definition, now);
        if let (false, Some(members)) = (stage.is_ready(), body.as_object_mut()) {
            members.insert("status".into(), DELETING.into());
        }
        // A withdrawal is shown only until it is in force, so the answer is not cached.
        let etag = match definition.withdrawing(now) {
            Some(_) => etag_of(definition.version, true, body.to_string().as_bytes()),
            None => etag(definition.version, true),
        };
        let is_known = preconditions.hold_read(definition.version, &etag)?;
        Ok(Found { etag, shown: (!is_known).then_some(body) })
    }
}

/// The status of a collection whose deletion is not in force yet.
pub const DELETING: &str = "deleting";

/// A definition as the API shows it: the put definition, its version and the ready indexes; during a job the job, the waiting
/// definition and the parts that records do not fit; during a withdrawal `inForceAt` and the previous values.
pub fn shown(definition: &Definition, now: u64) -> Value {
    let mut shown = definition.as_put();
    let indexes = shown.get_mut("indexes").and_then(Value::as_array_mut).into_iter().flatten();
    for (index, known) in indexes.zip(&definition.indexes) {
        index.as_object_mut().map(|members| members.insert("ready".into(), known.ready.into()));
    }
    if let Some(members) = shown.as_object_mut() {
        members.insert("version".into(), definition.version.into());
        members.insert("status".into(), definition.status().into());
        if let Some(work) = &definition.work {
            members.insert("job".into(), work.job.as_str().into());
            members.extend(work.next.clone().map(|next| ("next".to_owned(), next)));
            members.extend(work.blocked.as_ref().map(|blocked| ("blocked".to_owned(), json!(blocked))));
        }
        if let Some(withdrawal) = definition.withdrawing(now) {
            members.insert("inForceAt".into(), rfc3339(withdrawal.in_force_at).into());
            if !withdrawal.previous.is_empty() {
                members.insert("previous".into(), Value::Object(withdrawal.previous.clone()));
            }
        }
    }
    shown
}
