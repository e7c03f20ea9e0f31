//! `GET /v1/collections` and `GET /v1/collections/{collection}`: definitions as put, with their version and status.

use crate::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::IntoResponse;
use serde_json::{Value, json};
use undercroft::clock::rfc3339;
use undercroft::error::Error;
use undercroft::http::{Admin, Conditional, HandlerResult, Path};
use undercroft::preconditions::{etag, etag_of};
use undercroft::schema::Definition;
use undercroft::store::definitions::{State as Stage, Stored};

/// Lists all definitions by name, including the built-in `users`.
pub async fn list(State(app): State<App>, _: Admin) -> HandlerResult<axum::Json<Value>> {
    let now = app.clock.millis();
    let mut items: Vec<Value> =
        app.definitions.all().await?.iter().map(|stored| shown(&stored.definition, now)).collect();
    items.push(shown(&Definition::users(), now));
    items.sort_by_key(|item| item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned());
    Ok(axum::Json(json!({ "items": items })))
}

/// One definition.
pub async fn one(
    State(app): State<App>,
    _: Admin,
    Path(name): Path<String>,
    Conditional(preconditions): Conditional,
) -> HandlerResult {
    let now = app.clock.millis();
    let stored = match name.as_str() {
        "users" => Some(Stored { definition: Definition::users(), stage: Stage::Ready }),
        name => app.definitions.get(name).await?,
    };
    let is_there = |stored: &Stored| stored.stage != Stage::Gone || stored.definition.withdrawing(now).is_some();
    let Stored { definition, stage } = stored.filter(is_there).ok_or(Error::NotFound("collection"))?;
    let mut body = shown(&definition, now);
    if let (false, Some(members)) = (stage.is_ready(), body.as_object_mut()) {
        members.insert("status".into(), DELETING.into());
    }
    // A withdrawal is shown only until it is in force, so the answer is not cached.
    let tag = match definition.withdrawing(now) {
        Some(_) => etag_of(definition.version, true, body.to_string().as_bytes()),
        None => etag(definition.version, true),
    };
    if preconditions.hold_read(definition.version, &tag)? {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag)], axum::Json(body)).into_response())
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
