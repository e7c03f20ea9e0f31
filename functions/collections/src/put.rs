//! `PUT /v1/collections/{collection}`: defines a collection, or changes its definition.
//!
//! One write, whatever changes: the definition, and with it the job that does to the stored records what has to be done. 201
//! for a new collection, 200 for a definition in force, 202 for one that comes into force once every stored record fits it.

use crate::read::shown;
use crate::{App, dry_run};
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value};
use undercroft::error::{Error, FieldError, Result};
use undercroft::http::{Admin, IfMatch, IfNoneMatch, Json, Path, Query, RequestId, etag};
use undercroft::id;
use undercroft::schema::{Collection, Definition, Put};
use undercroft::store::definitions::{MAX_COLLECTIONS, SHARDS_SECONDS, State as Stage, Stored};

/// How often the number of shards of a collection may change.
const MOST_SHARD_CHANGES: usize = 32;

/// Parameters of a put.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Options {
    #[serde(default)]
    dry_run: bool,
}

/// Defines a collection, and answers the definition as it then is.
#[allow(clippy::too_many_arguments, reason = "each argument is one thing the request says")]
pub async fn put(
    State(app): State<App>,
    _: Admin,
    Path(name): Path<String>,
    Query(options): Query<Options>,
    if_match: IfMatch,
    if_none_match: IfNoneMatch,
    Extension(request): Extension<RequestId>,
    Json(body): Json<Value>,
) -> Result<Response> {
    if name == "users" {
        return Err(Error::NotBuilt("changing the built-in collection users"));
    }
    let stored = app.definitions.get(&name).await?;
    let alive = stored.as_ref().filter(|stored| stored.stage != Stage::Gone).map(|stored| &stored.definition);
    if alive.is_some() && if_none_match == IfNoneMatch::Any {
        return Err(Error::PreconditionFailed("a collection of this name exists"));
    }
    if alive.is_none() && app.definitions.all().await?.len() >= MAX_COLLECTIONS {
        return Err(Error::conflict("too_many", format!("a stack has at most {MAX_COLLECTIONS} collections")));
    }
    if if_match.is_sent() && !alive.is_some_and(|definition| if_match.allows(definition.version)) {
        return Err(Error::PreconditionFailed("the definition is not of the version in If-Match: read it again"));
    }
    let previous = stored.as_ref().map(|stored| &stored.definition);
    let definition = Definition::parse(&name, body, previous).map_err(Error::Invalid)?;
    refuse_unbuilt_relations(&definition)?;
    match (alive, options.dry_run) {
        (None, true) => Ok(axum::Json(dry_run::of_new()).into_response()),
        (Some(old), true) => Ok(axum::Json(dry_run::of_change(&app, old, &definition).await?).into_response()),
        (None, false) => make(&app, definition, stored.as_ref()).await,
        (Some(old), false) => replace(&app, old, definition, &request.0).await,
    }
}

async fn make(app: &App, definition: Definition, gone: Option<&Stored>) -> Result<Response> {
    let gone = gone.map(|stored| &stored.definition);
    let definition = gone.into_iter().fold(definition, Definition::made_after);
    app.definitions.put(&definition, Stage::Ready, gone.map_or(0, |gone| gone.version)).await?;
    Ok(answer(StatusCode::CREATED, &definition))
}

async fn replace(app: &App, old: &Definition, new: Definition, request: &str) -> Result<Response> {
    if new.as_put() == old.last_put() {
        return Ok(answer(StatusCode::OK, old));
    }
    let (now, job) = (app.clock.millis(), id::new(&app.clock));
    let definition = old.followed_by(new, Put { now, heard: now + SHARDS_SECONDS * 1000, job: &job });
    if definition.shard_history.len() > MOST_SHARD_CHANGES {
        return Err(Error::field("/shards", "too_many", "the shards of this collection have changed too often"));
    }
    match definition.work.as_ref().filter(|work| work.job == job) {
        None => app.definitions.put(&definition, Stage::Ready, old.version).await?,
        Some(work) => {
            let payload: [(String, Value); 2] = [
                ("collection".into(), definition.name.as_str().into()),
                ("generation".into(), definition.generation.into()),
            ];
            let job = app.job(job, work.kind(), Map::from_iter(payload), request);
            let job = app.jobs.enqueuing(&job)?;
            app.definitions.put_with(&definition, Stage::Ready, old.version, vec![job]).await?;
        }
    }
    let waits = definition.next().is_some();
    Ok(answer(if waits { StatusCode::ACCEPTED } else { StatusCode::OK }, &definition))
}

fn answer(status: StatusCode, definition: &Definition) -> Response {
    (status, [(ETAG, etag(definition.version, true))], axum::Json(shown(definition))).into_response()
}

/// Deleting a record that others point at has to look after them, and only `users` never lose one yet.
fn refuse_unbuilt_relations(definition: &Definition) -> Result<()> {
    let collection = Collection::compile(definition.clone()).map_err(Error::Invalid)?;
    let elsewhere = collection.relations().filter(|(_, relation)| relation.collection != "users");
    let errors: Vec<FieldError> = elsewhere
        .map(|(field, _)| {
            let pointer = format!("/schema/properties/{field}/relation/collection");
            FieldError::new(pointer, "not_built", "relations to other collections than users are not built yet")
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Error::Invalid(errors)) }
}
