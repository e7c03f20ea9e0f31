//! From what a client sent to an intent: the collection is there, the caller may as far as can be known, the body is theirs to
//! write and valid. Each way of writing, alone or in a batch, begins here.

use crate::{App, input};
use serde_json::{Map, Value};
use std::sync::Arc;
use undercroft::error::{Error, Result};
use undercroft::expr::{Input, Rule};
use undercroft::http::Preconditions;
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::policy::{Grant, allow};
use undercroft::schema::Collection;
use undercroft::store::write::{Intent, What};

/// How far a client's clock may be ahead of ours, in milliseconds.
const CLOCK_DIFFERENCE: u64 = 60_000;

/// To make a record with an id of the server's.
pub async fn create(app: &App, caller: &Caller, name: &str, body: Map<String, Value>) -> Result<Intent> {
    make(app, caller, name, id::new(&app.clock), body).await
}

/// To make a record with an id of the client's.
pub async fn create_as(
    app: &App,
    caller: &Caller,
    name: &str,
    id: &str,
    mut body: Map<String, Value>,
) -> Result<Intent> {
    match id::millis(id) {
        None => return Err(Error::bad_request("id", "an id is a UUIDv7 in lower case with hyphens (RFC 9562)")),
        Some(made) if made > app.clock.millis() + CLOCK_DIFFERENCE => {
            return Err(Error::bad_request("id", "the time in this id has not come yet: createdAt is taken from it"));
        }
        Some(_) => {}
    }
    if body.get("id").and_then(Value::as_str) == Some(id) {
        body.remove("id");
    }
    make(app, caller, name, id.to_owned(), body).await
}

async fn make(app: &App, caller: &Caller, name: &str, id: String, body: Map<String, Value>) -> Result<Intent> {
    let collection = app.collection(name, caller, Rule::Create).await?;
    let (grant, data) = granted(app, caller, &collection, body)?;
    let targets = input::targets(app, &collection, caller, &data).await?;
    Ok(Intent { grant, id, what: What::Create(data), preconditions: Preconditions::NONE, targets })
}

/// Validates new data and asks for the grant to write it. Who could never create hears nothing of the schema.
fn granted(
    app: &App,
    caller: &Caller,
    collection: &Arc<Collection>,
    mut data: Map<String, Value>,
) -> Result<(Grant, Map<String, Value>)> {
    let now = app.clock.millis();
    let ask = |data: &Map<String, Value>| allow(caller, Rule::Create, collection, now, Input::Whole(data));
    if let Err(error @ (Error::Unauthenticated(_) | Error::NotFound(_))) = ask(&data) {
        return Err(error);
    }
    input::strip(collection, caller, None, &mut data)?;
    collection.apply_defaults(&mut data);
    collection.validate(&mut data).map_err(Error::Invalid)?;
    collection.canonicalise(&mut data);
    Ok((ask(&data)?, data))
}

/// To replace a record. The client must have said which version it means: a replacement that did not look first loses
/// somebody's update.
pub async fn replace(
    app: &App,
    caller: &Caller,
    (name, id): (&str, &str),
    mut body: Map<String, Value>,
    preconditions: Preconditions,
) -> Result<Intent> {
    let collection = app.collection(name, caller, Rule::Update).await?;
    let now = app.clock.millis();
    let ask = |whole: &Map<String, Value>, sent: &Map<String, Value>| {
        allow(caller, Rule::Update, &collection, now, Input::Change { whole, sent })
    };
    // Kept apart from what was sent: what the caller does not see stays as it is stored, and only then comes a default.
    let filled = |body: &Map<String, Value>| {
        let mut filled = body.clone();
        collection.apply_defaults_again(&mut filled);
        filled
    };
    ask(&filled(&body), &body)?;
    let id = input::record_id(id)?;
    input::strip(&collection, caller, Some(id), &mut body)?;
    let whole = filled(&body);
    let targets = input::targets(app, &collection, caller, &whole).await?;
    let grant = ask(&whole, &body)?;
    Ok(Intent { grant, id: id.to_owned(), what: What::Replace(body), preconditions, targets })
}

/// To merge a patch into a record.
pub async fn merge(
    app: &App,
    caller: &Caller,
    (name, id): (&str, &str),
    mut patch: Map<String, Value>,
    preconditions: Preconditions,
) -> Result<Intent> {
    let collection = app.collection(name, caller, Rule::Update).await?;
    let now = app.clock.millis();
    allow(caller, Rule::Update, &collection, now, Input::Patch(&patch))?;
    let id = input::record_id(id)?;
    input::strip(&collection, caller, Some(id), &mut patch)?;
    let targets = input::targets(app, &collection, caller, &patch).await?;
    let blind = targets.is_empty() && collection.looks(&patch).next().is_none();
    if collection.judges_each(&patch) {
        collection.validate_patch(&patch).map_err(Error::Invalid)?;
        collection.canonicalise(&mut patch);
    }
    let grant = allow(caller, Rule::Update, &collection, now, Input::Patch(&patch))?;
    Ok(Intent { grant, id: id.to_owned(), what: What::Merge { patch, blind }, preconditions, targets })
}

/// To delete a record.
pub async fn delete(
    app: &App,
    caller: &Caller,
    (name, id): (&str, &str),
    preconditions: Preconditions,
) -> Result<Intent> {
    let grant = removal(app, caller, name).await?;
    let id = input::record_id(id)?.to_owned();
    Ok(Intent { grant, id, what: What::Delete, preconditions, targets: Vec::new() })
}

/// To bring a deleted record back: for those whom the rule `undelete` lets, and for whoever deleted it, while they still may. What
/// it points at must be there, and theirs to point at.
pub async fn undelete(
    app: &App,
    caller: &Caller,
    (name, id): (&str, &str),
    preconditions: Preconditions,
) -> Result<Intent> {
    let collection = app.collection(name, caller, Rule::Undelete).await?;
    let now = app.clock.millis();
    let ask = |rule| allow(caller, rule, &collection, now, Input::None);
    let grants: Vec<Grant> = [ask(Rule::Undelete), ask(Rule::Delete)].into_iter().flatten().collect();
    if grants.is_empty() {
        return Err(crate::absent(caller, Rule::Undelete));
    }
    not_a_user(name)?;
    let id = input::record_id(id)?.to_owned();
    let (grant, data) = app.records.buried(grants, &id).await?;
    let targets = input::targets(app, grant.collection(), caller, &data).await?;
    Ok(Intent { grant, id, what: What::Undelete, preconditions, targets })
}

async fn removal(app: &App, caller: &Caller, name: &str) -> Result<Grant> {
    let collection = app.collection(name, caller, Rule::Delete).await?;
    let grant = allow(caller, Rule::Delete, &collection, app.clock.millis(), Input::None)?;
    not_a_user(name)?;
    Ok(grant)
}

fn not_a_user(name: &str) -> Result<()> {
    if name == "users" { Err(Error::NotBuilt("erasing a user")) } else { Ok(()) }
}
