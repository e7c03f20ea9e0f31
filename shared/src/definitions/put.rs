//! Defining a collection, or changing its definition.
//!
//! One write, whatever changes: the definition, and with it the job that does to the stored records what has to be done. 201
//! for a new collection, 200 for a definition in force, 202 for one that takes something away or waits for a job: `inForceAt`
//! says from when nothing is accepted any more that it does not allow, `job` names the job.

use super::dry_run;
use super::operations::Operations;
use super::read::shown;
use super::relations::{self, Referrals};
use super::stalled::is_stalled;
use crate::clock::sleep_until;
use crate::error::{Error, FieldError, Result};
use crate::id;
use crate::identity::Caller;
use crate::preconditions::{Preconditions, etag};
use crate::schema::Definition;
use crate::store::TransactWriteItem;
use crate::store::definitions::{MAX_COLLECTIONS, State as Stage, Stored};
use crate::store::idempotency::{ScopedKey, StoredResponse};
use serde_json::{Map, Value};

/// The status codes of a put (RFC 9110): made, in force, and in force later.
const CREATED: u16 = 201;
const OK: u16 = 200;
const ACCEPTED: u16 = 202;
/// How often the number of shards of a collection may change.
const MOST_SHARD_CHANGES: usize = 32;
/// How long a put waits for the deletion of the same collection to be in force, in milliseconds: less than a function may run.
const MOST_WAITED: u64 = 20_000;

impl Operations {
    /// Defines a collection, and returns the response with the definition as it then is: stored for a key, if there is one.
    ///
    /// # Errors
    /// `Unauthenticated`, `Forbidden` to all but admins; `Invalid`, naming each member; `PreconditionFailed`, `Conflict`,
    /// `Unavailable`.
    pub async fn put(
        &self,
        caller: &Caller,
        (name, body): (&str, Value),
        preconditions: &Preconditions,
        request: &str,
        scoped_key: Option<&ScopedKey>,
    ) -> Result<StoredResponse> {
        caller.require_admin()?;
        let stored = not_built_in(name, when_deleted(self, name)).await?;
        let (definition, alive) = self.checked((name, body), stored.as_ref(), preconditions).await?;
        match alive {
            None => make(self, definition, stored.as_ref(), scoped_key).await,
            Some(old) => replace(self, old, definition, request, scoped_key).await,
        }
    }

    /// What a put would do, without doing it.
    ///
    /// # Errors
    /// As [`Operations::put`].
    pub async fn dry_run(
        &self,
        caller: &Caller,
        (name, body): (&str, Value),
        preconditions: &Preconditions,
    ) -> Result<Value> {
        caller.require_admin()?;
        let stored = not_built_in(name, self.definitions.get(name)).await?;
        let (definition, alive) = self.checked((name, body), stored.as_ref(), preconditions).await?;
        match alive {
            None => Ok(dry_run::of_new()),
            Some(old) => dry_run::of_change(self, old, &definition).await,
        }
    }

    /// The definition in a body, checked, and the one in force, if there is one.
    async fn checked<'a>(
        &self,
        (name, body): (&str, Value),
        stored: Option<&'a Stored>,
        preconditions: &Preconditions,
    ) -> Result<(Definition, Option<&'a Definition>)> {
        let alive = stored.filter(|stored| stored.stage.is_ready()).map(|stored| &stored.definition);
        preconditions.hold(alive.map(|definition| definition.version))?;
        if alive.is_none() && self.definitions.all().await?.len() >= MAX_COLLECTIONS {
            return Err(Error::conflict(
                "too_many",
                format!("A stack has at most {MAX_COLLECTIONS} collections. Delete one first."),
            ));
        }
        let previous = stored.map(|stored| &stored.definition);
        let definition = Definition::parse(name, body, previous).map_err(Error::Invalid)?;
        if let Some(problem) = alive.and_then(|_| definition.overfull()) {
            return Err(Error::Invalid(vec![problem]));
        }
        relations::check(self, &definition).await?;
        Ok((definition, alive))
    }
}

/// The stored definition, unless the collection is built in.
async fn not_built_in(name: &str, stored: impl Future<Output = Result<Option<Stored>>>) -> Result<Option<Stored>> {
    if name == "users" {
        return Err(Error::NotBuilt("changing the built-in collection users"));
    }
    stored.await
}

/// Reads the stored definition. Until a deletion is in force, functions may still write to the collection, so a new one of the
/// same name waits. A record written to an empty collection meanwhile cancels the deletion.
async fn when_deleted(operations: &Operations, name: &str) -> Result<Option<Stored>> {
    loop {
        let stored = operations.definitions.get(name).await?;
        let Some(deleted) = stored.as_ref().filter(|stored| !stored.stage.is_ready()) else { return Ok(stored) };
        let now = operations.clock.millis();
        if let Some(withdrawal) = deleted.definition.withdrawing(now) {
            let left = withdrawal.in_force_at - now;
            if left > MOST_WAITED {
                let retry_after = u32::try_from(left.div_ceil(1000)).unwrap_or(u32::MAX);
                return Err(Error::Unavailable {
                    retry_after,
                    source: Some("The deletion of a collection with this name is not in force yet.".into()),
                });
            }
            sleep_until(&operations.clock, withdrawal.in_force_at).await;
            continue;
        }
        let is_taken_back =
            deleted.stage == Stage::Closing && !operations.records.is_empty(&deleted.definition).await?;
        return Ok(stored.map(|stored| match is_taken_back {
            true => Stored { stage: Stage::Ready, ..stored },
            false => stored,
        }));
    }
}

async fn make(
    operations: &Operations,
    definition: Definition,
    gone: Option<&Stored>,
    scoped_key: Option<&ScopedKey>,
) -> Result<StoredResponse> {
    let gone = gone.map(|stored| &stored.definition);
    let mut definition = gone.into_iter().fold(definition, Definition::made_after);
    let referrals = definition.referrals();
    let others = relations::note(operations, &mut definition, &Referrals::new(), &referrals).await?;
    store(operations, Some(CREATED), &definition, gone.map_or(0, |gone| gone.version), others, scoped_key).await
}

async fn replace(
    operations: &Operations,
    old: &Definition,
    new: Definition,
    request: &str,
    scoped_key: Option<&ScopedKey>,
) -> Result<StoredResponse> {
    let stalled = is_stalled(operations, old).await?;
    if new.as_put() == old.last_put() && !stalled {
        let answer = answer(operations, None, old);
        if let Some(scoped_key) = scoped_key {
            scoped_key.keep_alone(&operations.definitions.stored_responses(), &answer).await?;
        }
        return Ok(answer);
    }
    let (now, job) = (operations.clock.millis(), id::new(&operations.clock));
    let (before, after) = (old.referrals(), new.referrals());
    let mut definition = old.followed_by(new, operations.definitions.lease().put(now, &job));
    if definition.next().is_some() {
        definition.check_rules().map_err(unheld)?;
    }
    if let Some(work) = definition.work.as_mut().filter(|_| stalled) {
        (work.job, work.since) = (job.clone(), now);
    }
    if definition.shard_history.len() > MOST_SHARD_CHANGES {
        return Err(Error::field(
            "/shards",
            "too_many",
            "The number of shards of this collection has changed too often and cannot change again.",
        ));
    }
    // Until the job is done, records may use either number of shards.
    let waits = definition.next().is_some() || !definition.unreferenced().is_empty();
    let after = if waits { relations::either(&before, &after) } else { after };
    let mut others = relations::note(operations, &mut definition, &before, &after).await?;
    if let Some(work) = definition.work.as_ref().filter(|work| work.job == job) {
        let payload: [(String, Value); 2] = [
            ("collection".into(), definition.name.as_str().into()),
            ("generation".into(), definition.generation.into()),
        ];
        let job = operations.job(job, work.kind(), Map::from_iter(payload), request);
        others.push(operations.jobs.enqueuing(&job)?);
    }
    store(operations, None, &definition, old.version, others, scoped_key).await
}

/// The error for rules that are invalid together with those in force, while the definition waits.
fn unheld(problems: Vec<FieldError>) -> Error {
    let explained = |problem: FieldError| {
        let message = format!(
            "The old rules and these rules must both hold until every stored record fits the narrower schema, but they \
             cannot: {}. Put the rules separately, before or after the schema.",
            problem.message.trim_end_matches('.')
        );
        FieldError { message, ..problem }
    };
    Error::Invalid(problems.into_iter().map(explained).collect())
}

/// Stores a definition with the other items that change, and the answer for an Idempotency-Key.
async fn store(
    operations: &Operations,
    status: Option<u16>,
    definition: &Definition,
    previous: u64,
    mut others: Vec<TransactWriteItem>,
    scoped_key: Option<&ScopedKey>,
) -> Result<StoredResponse> {
    let answer = answer(operations, status, definition);
    if let Some(scoped_key) = scoped_key {
        others.push(scoped_key.keep(&operations.definitions.stored_responses(), &answer)?);
    }
    operations.definitions.put_with(definition, Stage::Ready, previous, others).await?;
    Ok(answer)
}

/// The definition, and whether it is in force.
fn answer(operations: &Operations, status: Option<u16>, definition: &Definition) -> StoredResponse {
    let now = operations.clock.millis();
    let is_in_force = definition.status() == "ready" && definition.withdrawing(now).is_none();
    let status = status.unwrap_or(if is_in_force { OK } else { ACCEPTED });
    let (etag, body) = (Some(etag(definition.version, true)), Some(shown(definition, now)));
    StoredResponse { status, etag, location: None, body }
}
