//! `DELETE /v1/collections/{collection}` -> 202 `{name, status, inForceAt}`. A collection with records is deleted only with
//! `?records=delete`, together with records written before `inForceAt`; a job removes its items. A record written to an empty
//! collection before `inForceAt` cancels the deletion.

use crate::App;
use crate::read::DELETING;
use crate::relations::{self, Referrals};
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, json};
use undercroft::clock::rfc3339;
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, Conditional, HandlerResult, IdempotencyKey, Path, Query, RequestId, idempotent};
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::jobs::PURGE_JOB;
use undercroft::preconditions::Preconditions;
use undercroft::schema::{Definition, Withdrawal};
use undercroft::store::definitions::State as Stage;
use undercroft::store::idempotency::{ScopedKey, StoredResponse};
use undercroft::store::purge::Deleted;

/// Parameters of a delete.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    records: Option<Fate>,
}

/// What to do with the records.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Fate {
    Delete,
}

/// Deletes a collection.
pub async fn delete(
    State(app): State<App>,
    admin: Admin,
    Path(name): Path<String>,
    Query(options): Query<Options>,
    Conditional(preconditions): Conditional,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
) -> HandlerResult {
    let scoped_key = idempotency_key.of(&Caller::User(admin.0))?;
    let work = decided(&app, &name, options, &preconditions, &request.0, scoped_key.as_ref());
    Ok(idempotent(scoped_key.as_ref(), &app.definitions.stored_responses(), work).await?)
}

async fn decided(
    app: &App,
    name: &str,
    options: Options,
    preconditions: &Preconditions,
    request: &str,
    scoped_key: Option<&ScopedKey>,
) -> Result<Response> {
    if name == "users" {
        return Err(Error::Forbidden("The collection users is built in and cannot be deleted."));
    }
    let stored = app.definitions.get(name).await?.filter(|stored| stored.stage.is_ready());
    let definition = stored.ok_or(Error::NotFound("collection"))?.definition;
    preconditions.hold(Some(definition.version))?;
    if let Some(referrer) = relations::pointing(app, &definition).await? {
        let detail = format!(
            "The collection `{}` points at this one through its field `{}`. Remove that relation first.",
            referrer.collection, referrer.field
        );
        return Err(Error::conflict("referenced", detail));
    }
    if options.records.is_none() && !app.records.is_empty(&definition).await? {
        let detail = "The collection holds records. Delete them first, or delete them for good with ?records=delete.";
        return Err(Error::conflict("not_empty", detail));
    }
    let now = app.clock.millis();
    let in_force_at = now + app.definitions.lease().settled_millis();
    let deleted = json!(Deleted::new(&definition, now));
    let job = app.job(id::new(&app.clock), PURGE_JOB, deleted.as_object().cloned().unwrap_or_default(), request);
    let withdrawal = Some(Withdrawal { in_force_at, previous: Map::new() });
    let mut gone = Definition { version: definition.version + 1, withdrawal, ..definition.clone() };
    let (stage, mut others) = match options.records {
        // The deletion may be cancelled, so relations and pending work are kept.
        None => (Stage::Closing, Vec::new()),
        Some(Fate::Delete) => {
            let others = relations::note(app, &mut gone, &definition.referrals(), &Referrals::new()).await?;
            gone.referrers.clear();
            gone.work = None;
            (Stage::Gone, others)
        }
    };
    others.push(app.jobs.enqueuing(&job)?);
    let body = json!({ "name": name, "status": DELETING, "inForceAt": rfc3339(in_force_at), "job": job.id });
    let answer = StoredResponse { status: 202, body: Some(body), ..StoredResponse::default() };
    if let Some(scoped_key) = scoped_key {
        others.push(scoped_key.keep(&app.definitions.stored_responses(), &answer)?);
    }
    app.definitions.put_with(&gone, stage, definition.version, others).await?;
    Ok(answer.into_response())
}
