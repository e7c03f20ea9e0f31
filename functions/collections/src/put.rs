//! `PUT /v1/collections/{collection}`: defines a collection, or changes its definition.
//!
//! Every change is one write: the definition, and the job that updates stored records. It answers 201 for a new collection, 200
//! for a definition in force, and 202 for one that withdraws something or waits until every stored record fits it. From
//! `inForceAt` on, nothing that it does not allow is accepted.

use crate::read::shown;
use crate::relations::{self, Referrals};
use crate::stalled::is_stalled;
use crate::{App, dry_run};
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use undercroft::clock::sleep_until;
use undercroft::error::{Error, FieldError, Result};
use undercroft::http::{Admin, Conditional, HandlerResult, IdempotencyKey, Json, Path, Query, RequestId, idempotent};
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::preconditions::{Preconditions, etag};
use undercroft::schema::Definition;
use undercroft::store::TransactWriteItem;
use undercroft::store::definitions::{MAX_COLLECTIONS, State as Stage, Stored};
use undercroft::store::idempotency::{ScopedKey, StoredResponse};

/// How often the number of shards of a collection may change.
const MOST_SHARD_CHANGES: usize = 32;
/// How long a put waits for the deletion of the same collection to be in force, in milliseconds: less than a function may run.
const MOST_WAITED: u64 = 20_000;

/// Parameters of a put.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Options {
    #[serde(default)]
    dry_run: bool,
}

/// Defines a collection and returns the stored definition.
#[allow(clippy::too_many_arguments, reason = "each argument is one thing the request says")]
pub async fn put(
    State(app): State<App>,
    admin: Admin,
    Path(name): Path<String>,
    Query(options): Query<Options>,
    Conditional(preconditions): Conditional,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    Json(body): Json<Value>,
) -> HandlerResult {
    let scoped_key = idempotency_key.of(&Caller::User(admin.0))?;
    let work = decided(&app, &name, options, &preconditions, body, &request.0, scoped_key.as_ref());
    Ok(idempotent(scoped_key.as_ref(), &app.definitions.stored_responses(), work).await?)
}

async fn decided(
    app: &App,
    name: &str,
    options: Options,
    preconditions: &Preconditions,
    body: Value,
    request: &str,
    scoped_key: Option<&ScopedKey>,
) -> Result<Response> {
    if name == "users" {
        return Err(Error::NotBuilt("changing the built-in collection users"));
    }
    let stored = match options.dry_run {
        true => app.definitions.get(name).await?,
        false => when_deleted(app, name).await?,
    };
    let alive = stored.as_ref().filter(|stored| stored.stage.is_ready()).map(|stored| &stored.definition);
    preconditions.hold(alive.map(|definition| definition.version))?;
    if alive.is_none() && app.definitions.all().await?.len() >= MAX_COLLECTIONS {
        return Err(Error::conflict(
            "too_many",
            format!("A stack has at most {MAX_COLLECTIONS} collections. Delete one first."),
        ));
    }
    let previous = stored.as_ref().map(|stored| &stored.definition);
    let definition = Definition::parse(name, body, previous).map_err(Error::Invalid)?;
    relations::check(app, &definition).await?;
    match (alive, options.dry_run) {
        (None, true) => Ok(axum::Json(dry_run::of_new()).into_response()),
        (Some(old), true) => Ok(axum::Json(dry_run::of_change(app, old, &definition).await?).into_response()),
        (None, false) => make(app, definition, stored.as_ref(), scoped_key).await,
        (Some(old), false) => replace(app, old, definition, request, scoped_key).await,
    }
}

/// Reads the stored definition. Until a deletion is in force, functions may still write to the collection, so a new one of the
/// same name waits. A record written to an empty collection meanwhile cancels the deletion.
async fn when_deleted(app: &App, name: &str) -> Result<Option<Stored>> {
    loop {
        let stored = app.definitions.get(name).await?;
        let Some(deleted) = stored.as_ref().filter(|stored| !stored.stage.is_ready()) else { return Ok(stored) };
        let now = app.clock.millis();
        if let Some(withdrawal) = deleted.definition.withdrawing(now) {
            let left = withdrawal.in_force_at - now;
            if left > MOST_WAITED {
                let retry_after = u32::try_from(left.div_ceil(1000)).unwrap_or(u32::MAX);
                return Err(Error::Unavailable {
                    retry_after,
                    source: Some("The deletion of a collection with this name is not in force yet.".into()),
                });
            }
            sleep_until(&app.clock, withdrawal.in_force_at).await;
            continue;
        }
        let is_taken_back = deleted.stage == Stage::Closing && !app.records.is_empty(&deleted.definition).await?;
        return Ok(stored.map(|stored| match is_taken_back {
            true => Stored { stage: Stage::Ready, ..stored },
            false => stored,
        }));
    }
}

async fn make(
    app: &App,
    definition: Definition,
    gone: Option<&Stored>,
    scoped_key: Option<&ScopedKey>,
) -> Result<Response> {
    let gone = gone.map(|stored| &stored.definition);
    let mut definition = gone.into_iter().fold(definition, Definition::made_after);
    let referrals = definition.referrals();
    let others = relations::note(app, &mut definition, &Referrals::new(), &referrals).await?;
    store(app, Some(StatusCode::CREATED), &definition, gone.map_or(0, |gone| gone.version), others, scoped_key).await
}

async fn replace(
    app: &App,
    old: &Definition,
    new: Definition,
    request: &str,
    scoped_key: Option<&ScopedKey>,
) -> Result<Response> {
    let stalled = is_stalled(app, old).await?;
    if new.as_put() == old.last_put() && !stalled {
        let answer = answer(app, None, old);
        if let Some(scoped_key) = scoped_key {
            scoped_key.keep_alone(&app.definitions.stored_responses(), &answer).await?;
        }
        return Ok(answer.into_response());
    }
    let (now, job) = (app.clock.millis(), id::new(&app.clock));
    let (before, after) = (old.referrals(), new.referrals());
    let mut definition = old.followed_by(new, app.definitions.lease().put(now, &job));
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
    let mut others = relations::note(app, &mut definition, &before, &after).await?;
    if let Some(work) = definition.work.as_ref().filter(|work| work.job == job) {
        let payload: [(String, Value); 2] = [
            ("collection".into(), definition.name.as_str().into()),
            ("generation".into(), definition.generation.into()),
        ];
        let job = app.job(job, work.kind(), Map::from_iter(payload), request);
        others.push(app.jobs.enqueuing(&job)?);
    }
    store(app, None, &definition, old.version, others, scoped_key).await
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
    app: &App,
    status: Option<StatusCode>,
    definition: &Definition,
    previous: u64,
    mut others: Vec<TransactWriteItem>,
    scoped_key: Option<&ScopedKey>,
) -> Result<Response> {
    let answer = answer(app, status, definition);
    if let Some(scoped_key) = scoped_key {
        others.push(scoped_key.keep(&app.definitions.stored_responses(), &answer)?);
    }
    app.definitions.put_with(definition, Stage::Ready, previous, others).await?;
    Ok(answer.into_response())
}

/// The definition, and whether it is in force.
fn answer(app: &App, status: Option<StatusCode>, definition: &Definition) -> StoredResponse {
    let now = app.clock.millis();
    let is_in_force = definition.next().is_none() && definition.withdrawing(now).is_none();
    let status = status.unwrap_or(if is_in_force { StatusCode::OK } else { StatusCode::ACCEPTED });
    let (etag, body) = (Some(etag(definition.version, true)), Some(shown(definition, now)));
    StoredResponse { status: status.as_u16(), etag, location: None, body }
}
