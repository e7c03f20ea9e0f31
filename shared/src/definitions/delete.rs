//! Deleting a collection. One that holds records goes only together with them, and what is written to it before `inForceAt` goes with it; a job clears what is left. What is written to
//! an empty collection before then takes the deletion back.

use super::operations::Operations;
use super::read::DELETING;
use super::referrers;
use super::relations::{self, Referrals};
use crate::clock::rfc3339;
use crate::error::{Error, Result};
use crate::id;
use crate::identity::Caller;
use crate::jobs::PURGE_JOB;
use crate::preconditions::Preconditions;
use crate::schema::{Definition, Withdrawal};
use crate::store::definitions::State as Stage;
use crate::store::idempotency::{ScopedKey, StoredResponse};
use crate::store::purge::Deleted;
use serde_json::{Map, json};

impl Operations {
    /// Deletes a collection, with its records or only if it holds none, and returns the response: stored for a key, if there is one.
    ///
    /// # Errors
    /// `Unauthenticated`, `Forbidden` to all but admins; `NotFound`, `PreconditionFailed`, `Conflict`.
    pub async fn delete(
        &self,
        caller: &Caller,
        (name, with_records): (&str, bool),
        preconditions: &Preconditions,
        request: &str,
        scoped_key: Option<&ScopedKey>,
    ) -> Result<StoredResponse> {
        caller.require_admin()?;
        delete(self, (name, with_records), preconditions, request, scoped_key).await
    }
}

async fn delete(
    operations: &Operations,
    (name, with_records): (&str, bool),
    preconditions: &Preconditions,
    request: &str,
    scoped_key: Option<&ScopedKey>,
) -> Result<StoredResponse> {
    if name == "users" {
        return Err(Error::Forbidden("The collection users is built in and cannot be deleted.".into()));
    }
    let stored = operations.definitions.get(name).await?.filter(|stored| stored.stage.is_ready());
    let definition = stored.ok_or(Error::NotFound("collection"))?.definition;
    preconditions.hold(Some(definition.version))?;
    if let Some(referrer) = referrers::referring(operations, &definition).await?.first() {
        let detail = format!(
            "The collection `{}` points at this one through its field `{}`. Remove that relation first.",
            referrer.collection, referrer.field
        );
        return Err(Error::conflict("referenced", detail));
    }
    if !with_records && !operations.records.is_empty(&definition).await? {
        let detail = "The collection holds records. Delete them first, or delete them for good with ?records=delete.";
        return Err(Error::conflict("not_empty", detail));
    }
    let now = operations.clock.millis();
    let in_force_at = now + operations.definitions.lease().settled_millis();
    let deleted = json!(Deleted::new(&definition, now));
    let job = operations.job(
        id::new(&operations.clock),
        PURGE_JOB,
        deleted.as_object().cloned().unwrap_or_default(),
        request,
    );
    let withdrawal = Some(Withdrawal { in_force_at, previous: Map::new() });
    let mut gone = Definition { version: definition.version + 1, withdrawal, ..definition.clone() };
    let (stage, mut others) = match with_records {
        // The deletion may be cancelled, so relations and pending work are kept.
        false => (Stage::Closing, Vec::new()),
        true => {
            let others = relations::note(operations, &mut gone, &definition.referrals(), &Referrals::new()).await?;
            gone.referrers.clear();
            gone.work = None;
            (Stage::Gone, others)
        }
    };
    others.push(operations.jobs.enqueuing(&job)?);
    let body = json!({ "name": name, "status": DELETING, "inForceAt": rfc3339(in_force_at), "job": job.id });
    let answer = StoredResponse { status: 202, body: Some(body), ..StoredResponse::default() };
    if let Some(scoped_key) = scoped_key {
        others.push(scoped_key.keep(&operations.definitions.stored_responses(), &answer)?);
    }
    operations.definitions.put_with(&gone, stage, definition.version, others).await?;
    Ok(answer)
}
