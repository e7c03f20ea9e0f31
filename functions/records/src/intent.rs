//! From what a client sent to an intent: the collection is there, the caller may as far as can be known, the body is theirs to
//! write and valid. Each way of writing, alone or in a batch, begins here.
//!
//! It takes two steps. What is begun was decided by definitions alone: whoever may not hears so before any record is read. What is
//! ended knows its tombstone and what it points at; those of a batch are read together.

use crate::{App, input};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;
use undercroft::error::{Error, Result};
use undercroft::expr::{Input, Rule};
use undercroft::futures::future::join_all;
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::policy::{Grant, allow};
use undercroft::preconditions::Preconditions;
use undercroft::schema::Collection;
use undercroft::store::intent::{Intent, What};
use undercroft::store::targets::related;

/// How far a client's clock may be ahead of ours, in milliseconds.
const CLOCK_DIFFERENCE: u64 = 60_000;

/// An intent of which no record has been read.
#[derive(Debug)]
pub struct Begun {
    /// What is known of it: not what it points at.
    intent: Intent,
    /// The right by which a record may be brought back if not by the intent's own.
    or_by: Option<Grant>,
}

impl Begun {
    fn new(grant: Grant, id: String, what: What, preconditions: Preconditions) -> Self {
        Self { intent: Intent { grant, id, what, preconditions, targets: Vec::new() }, or_by: None }
    }

    /// What it writes: a collection's name, and an id.
    pub fn writes(&self) -> (String, String) {
        (self.intent.grant.collection().name().to_owned(), self.intent.id.clone())
    }

    /// The tombstone that it wants back, if it does.
    fn wants(&self) -> Option<(Vec<Grant>, &str)> {
        let Intent { grant, id, what: What::Undelete, .. } = &self.intent else { return None };
        Some((std::iter::once(grant).chain(&self.or_by).cloned().collect(), id))
    }
}

/// What was begun, ended.
///
/// # Errors
/// As for a tombstone that is not there, and for what cannot be pointed at.
pub async fn ended(app: &App, caller: &Caller, begun: Begun) -> Result<Intent> {
    let ended = all_ended(app, caller, vec![begun]).await?;
    ended.into_iter().next().ok_or_else(|| Error::internal("an intent that did not end"))?
}

/// Of several at once: their tombstones are read together, and so are the collections that they point into.
///
/// # Errors
/// Of each, as [`ended`]; of the whole when the table does not answer.
pub async fn all_ended(app: &App, caller: &Caller, begun: Vec<Begun>) -> Result<Vec<Result<Intent>>> {
    let mut deleted = app.records.tombstones(begun.iter().filter_map(Begun::wants).collect()).await?.into_iter();
    let known = begun.into_iter().map(|Begun { intent, .. }| match &intent.what {
        What::Undelete => {
            let found = deleted.next().unwrap_or(Err(Error::NotFound("record")));
            found.map(|(grant, data)| (Intent { grant, ..intent }, data))
        }
        _ => Ok((intent, Map::new())),
    });
    let known: Vec<Result<(Intent, Map<String, Value>)>> = known.collect();
    let pointing = known.iter().flatten().map(|(intent, data)| (intent.grant.collection(), members(intent, data)));
    let pointing = pointing.collect::<Vec<_>>();
    let named = pointing.iter().flat_map(|(collection, members)| related(collection, members));
    app.definitions.prefetch(named.collect(), false).await?;
    drop(pointing);
    let each = known.into_iter().map(async |known| {
        let (mut intent, data) = known?;
        let targets = input::targets(app, intent.grant.collection(), caller, &members(&intent, &data)).await?;
        if let What::Merge { blind, .. } = &mut intent.what {
            *blind &= targets.is_empty();
        }
        Ok(Intent { targets, ..intent })
    });
    Ok(join_all(each).await)
}

/// The members that an intent gives its record, which may be those of its tombstone.
fn members<'a>(intent: &'a Intent, deleted: &'a Map<String, Value>) -> Cow<'a, Map<String, Value>> {
    match &intent.what {
        What::Create(data) => Cow::Borrowed(data),
        What::Merge { patch, .. } => Cow::Borrowed(patch),
        What::Replace(body) => Cow::Owned(filled(intent.grant.collection(), body)),
        What::Delete | What::Undelete => Cow::Borrowed(deleted),
    }
}

/// A replacement with its defaults. Kept apart from what was sent: what the caller does not see stays as it is stored, and only
/// then comes a default.
fn filled(collection: &Collection, body: &Map<String, Value>) -> Map<String, Value> {
    let mut filled = body.clone();
    collection.apply_defaults_again(&mut filled);
    filled
}

/// To make a record with an id of the server's.
pub async fn create(app: &App, caller: &Caller, name: &str, body: Map<String, Value>) -> Result<Begun> {
    make(app, caller, name, id::new(&app.clock), body).await
}

/// To make a record with an id of the client's.
pub async fn create_as(
    app: &App,
    caller: &Caller,
    name: &str,
    id: &str,
    mut body: Map<String, Value>,
) -> Result<Begun> {
    if body.get("id").and_then(Value::as_str) == Some(id) {
        body.remove("id");
    }
    make(app, caller, name, id.to_owned(), body).await
}

/// Whether a record may be made under this id.
///
/// # Errors
/// Why not.
pub fn check_new_id(app: &App, id: &str) -> Result<()> {
    match id::millis(id) {
        None => Err(Error::bad_request("id", "an id is a UUIDv7 in lower case with hyphens (RFC 9562)")),
        Some(made) if made > app.clock.millis() + CLOCK_DIFFERENCE => {
            Err(Error::bad_request("id", "the time in this id has not come yet: createdAt is taken from it"))
        }
        Some(_) => Ok(()),
    }
}

async fn make(app: &App, caller: &Caller, name: &str, id: String, body: Map<String, Value>) -> Result<Begun> {
    let collection = app.collection(name, caller, Rule::Create).await?;
    let (grant, data) = granted(app, caller, &collection, body)?;
    Ok(Begun::new(grant, id, What::Create(data), Preconditions::NONE))
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
) -> Result<Begun> {
    let collection = app.collection(name, caller, Rule::Update).await?;
    let now = app.clock.millis();
    let ask = |whole: &Map<String, Value>, sent: &Map<String, Value>| {
        allow(caller, Rule::Update, &collection, now, Input::Change { whole, sent })
    };
    ask(&filled(&collection, &body), &collection.named_by_replacement(&body))?;
    let id = input::record_id(id)?;
    input::strip(&collection, caller, Some(id), &mut body)?;
    let grant = ask(&filled(&collection, &body), &collection.named_by_replacement(&body))?;
    Ok(Begun::new(grant, id.to_owned(), What::Replace(body), preconditions))
}

/// To merge a patch into a record.
pub async fn merge(
    app: &App,
    caller: &Caller,
    (name, id): (&str, &str),
    mut patch: Map<String, Value>,
    preconditions: Preconditions,
) -> Result<Begun> {
    let collection = app.collection(name, caller, Rule::Update).await?;
    let now = app.clock.millis();
    allow(caller, Rule::Update, &collection, now, Input::Patch(&patch))?;
    let id = input::record_id(id)?;
    input::strip(&collection, caller, Some(id), &mut patch)?;
    let blind = collection.read_reasons(&patch).next().is_none();
    if collection.judges_each(&patch) {
        collection.validate_patch(&patch).map_err(Error::Invalid)?;
        collection.canonicalise(&mut patch);
    }
    let grant = allow(caller, Rule::Update, &collection, now, Input::Patch(&patch))?;
    Ok(Begun::new(grant, id.to_owned(), What::Merge { patch, blind }, preconditions))
}

/// To delete a record.
pub async fn delete(
    app: &App,
    caller: &Caller,
    (name, id): (&str, &str),
    preconditions: Preconditions,
) -> Result<Begun> {
    let grant = removal(app, caller, name).await?;
    let id = input::record_id(id)?.to_owned();
    Ok(Begun::new(grant, id, What::Delete, preconditions))
}

/// To bring a deleted record back: for those whom the rule `undelete` lets, and for whoever deleted it, while they still may. What
/// it points at must be there, and theirs to point at.
pub async fn undelete(
    app: &App,
    caller: &Caller,
    (name, id): (&str, &str),
    preconditions: Preconditions,
) -> Result<Begun> {
    let collection = app.collection(name, caller, Rule::Undelete).await?;
    let now = app.clock.millis();
    let ask = |rule| allow(caller, rule, &collection, now, Input::None).ok();
    let mut grants = [ask(Rule::Undelete), ask(Rule::Delete)].into_iter().flatten();
    let grant = grants.next().ok_or_else(|| crate::absent(caller, Rule::Undelete))?;
    not_a_user(name)?;
    let id = input::record_id(id)?.to_owned();
    Ok(Begun { or_by: grants.next(), ..Begun::new(grant, id, What::Undelete, preconditions) })
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
