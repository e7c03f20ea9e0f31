//! `DELETE /v1/collections/{collection}` -> 204. A collection that holds records goes only with `?records=delete`. It is gone at
//! once; a job clears what is left of it.
//!
//! What a function that has not yet heard writes to an empty collection in these seconds goes with it.

use crate::App;
use crate::relations::{self, Referrals};
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, Keyed, Path, Preconditions, Query, RequestId, answered_once, no_content};
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::schema::{Definition, PURGE_JOB};
use undercroft::store::definitions::State as Stage;
use undercroft::store::once::{Answer, Once};
use undercroft::store::purge::Deleted;

/// Parameters of a delete.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    records: Option<Fate>,
}

/// What becomes of the records.
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
    preconditions: Preconditions,
    keyed: Keyed,
    Extension(request): Extension<RequestId>,
) -> Result<Response> {
    let once = keyed.of(&Caller::User(admin.0))?;
    let work = decided(&app, &name, options, &preconditions, &request.0, once.as_ref());
    answered_once(once.as_ref(), app.definitions.table(), &app.clock, work).await
}

async fn decided(
    app: &App,
    name: &str,
    options: Options,
    preconditions: &Preconditions,
    request: &str,
    once: Option<&Once>,
) -> Result<Response> {
    if name == "users" {
        return Err(Error::Forbidden("the collection users is part of the house"));
    }
    let stored = app.definitions.get(name).await?.filter(|stored| stored.stage != Stage::Gone);
    let definition = stored.ok_or(Error::NotFound("collection"))?.definition;
    preconditions.hold(Some(definition.version))?;
    if let Some(referrer) = relations::pointing(app, &definition).await? {
        let detail = format!(
            "`{}` points at it through `{}`: take that relation out first",
            referrer.collection, referrer.field
        );
        return Err(Error::conflict("referenced", detail));
    }
    if options.records.is_none() && !app.records.is_empty(&definition).await? {
        let detail = "the collection holds records: delete them first, or all at once with ?records=delete, for ever";
        return Err(Error::conflict("not_empty", detail));
    }
    let deleted = json!(Deleted::new(&definition, app.clock.millis()));
    let job = app.job(id::new(&app.clock), PURGE_JOB, deleted.as_object().cloned().unwrap_or_default(), request);
    let mut gone = Definition { version: definition.version + 1, work: None, ..definition.clone() };
    let mut others = relations::note(app, &mut gone, &definition.referrals(), &Referrals::new()).await?;
    gone.referrers.clear();
    others.push(app.jobs.enqueuing(&job)?);
    if let Some(once) = once {
        let answer = Answer { status: 204, ..Answer::default() };
        others.push(once.keep(app.definitions.table(), &answer, &app.clock)?);
    }
    app.definitions.put_with(&gone, Stage::Gone, definition.version, others).await?;
    Ok(no_content())
}
