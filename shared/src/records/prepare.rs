//! Turns what a client sent into an intent: the collection exists, the definitions permit the caller, and the body is valid
//! and writable. Every write begins here, alone or in a batch.
//!
//! There are two steps. A write is *prepared* from definitions alone, so a caller without permission is refused before any
//! record is read. It is then *completed* with its tombstone and the records it points at; those of a batch are read
//! together.

use super::input;
use super::operations::Operations;
use super::operations::absent;
use crate::error::{Error, Result};
use crate::expr::{Input, Rule};
use crate::id;
use crate::identity::Caller;
use crate::operators::Operators;
use crate::policy::{Grant, allow};
use crate::preconditions::Preconditions;
use crate::schema::Collection;
use crate::store::intent::{Intent, What};
use crate::store::targets::related;
use futures_util::future::join_all;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// A prepared write. No record has been read for it.
#[derive(Debug)]
pub struct Prepared {
    /// The intent, without its targets.
    intent: Intent,
    /// The right that permits the undelete if the intent's own grant does not.
    or_by: Option<Grant>,
}

impl Prepared {
    pub(super) fn new(grant: Grant, id: String, what: What, preconditions: Preconditions) -> Self {
        Self { intent: Intent { grant, id, what, preconditions, targets: Vec::new(), cause: None }, or_by: None }
    }

    /// What it writes: a collection's name, and an id or the value of a unique constraint.
    pub fn writes(&self) -> (String, String) {
        let what = match &self.intent.what {
            What::Upsert(upsert) => upsert.by.name(),
            _ => &self.intent.id,
        };
        (self.intent.grant.collection().name().to_owned(), what.to_owned())
    }

    /// The tombstone that it undeletes, if it does.
    fn wants(&self) -> Option<(Vec<Grant>, &str)> {
        let Intent { grant, id, what: What::Undelete, .. } = &self.intent else { return None };
        Some((std::iter::once(grant).chain(&self.or_by).cloned().collect(), id))
    }
}

/// Completes writes: reads their tombstones together, and looks up the collections that they refer to.
///
/// # Errors
/// For each write: its tombstone does not exist, or it may not refer to a target. For all: the table does not respond.
pub(super) async fn complete(
    operations: &Operations,
    caller: &Caller,
    prepared: Vec<Prepared>,
) -> Result<Vec<Result<Intent>>> {
    let mut deleted =
        operations.records.tombstones(prepared.iter().filter_map(Prepared::wants).collect()).await?.into_iter();
    let known = prepared.into_iter().map(|Prepared { intent, .. }| match &intent.what {
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
    operations.definitions.prefetch(named.collect(), false).await?;
    drop(pointing);
    let each = known.into_iter().map(async |known| {
        let (mut intent, data) = known?;
        let look = async |intent: &Intent| {
            input::targets(operations, intent.grant.collection(), caller, &members(intent, &data)).await
        };
        match &mut intent.what {
            What::Upsert(upsert) => {
                for either in upsert.create.as_mut().ok().into_iter().chain(&mut upsert.change) {
                    either.targets = look(either).await?;
                }
            }
            _ => intent.targets = look(&intent).await?,
        }
        Ok(intent)
    });
    Ok(join_all(each).await)
}

/// The members that an intent writes, which may be those of its tombstone.
fn members<'a>(intent: &'a Intent, deleted: &'a Map<String, Value>) -> Cow<'a, Map<String, Value>> {
    match &intent.what {
        What::Create(data) | What::Migrate(data) => Cow::Borrowed(data),
        What::Merge(patch) => Cow::Borrowed(patch),
        What::Operate(operators) => Cow::Owned(operators.appended()),
        What::Replace(body) => Cow::Owned(filled(intent.grant.collection(), body)),
        What::Delete | What::Undelete => Cow::Borrowed(deleted),
        What::Upsert(upsert) => match (&upsert.create, &upsert.change) {
            (Ok(either), _) | (_, Some(either)) => members(either, deleted),
            (Err(_), None) => Cow::Borrowed(deleted),
        },
    }
}

/// A replacement's defaults. They are kept apart from the sent members: a field that the caller may not see keeps its stored
/// value and gets the default only if it has none.
pub(super) fn filled(collection: &Collection, body: &Map<String, Value>) -> Map<String, Value> {
    let mut filled = body.clone();
    collection.apply_defaults_again(&mut filled);
    collection.canonicalise(&mut filled);
    filled
}

/// Prepares creating a record with a server-generated id.
pub(super) async fn create(
    operations: &Operations,
    caller: &Caller,
    name: &str,
    body: Map<String, Value>,
) -> Result<Prepared> {
    let now = operations.clock.millis();
    make(operations, caller, (name, id::of_time(now)), now, body).await
}

/// Prepares creating a record with a client-generated id.
pub(super) async fn create_with_id(
    operations: &Operations,
    caller: &Caller,
    (name, id): (&str, &str),
    mut body: Map<String, Value>,
) -> Result<Prepared> {
    if body.get("id").and_then(Value::as_str) == Some(id) {
        body.remove("id");
    }
    make(operations, caller, (name, id.to_owned()), operations.clock.millis(), body).await
}

/// A create has one time: the `request.time` of its rule, its `updatedAt`, and the time in an id that the server generates.
async fn make(
    operations: &Operations,
    caller: &Caller,
    (name, id): (&str, String),
    now: u64,
    body: Map<String, Value>,
) -> Result<Prepared> {
    let collection = operations.collection(name, caller, Rule::Create).await?;
    let (grant, data) = granted(caller, &collection, now, body)?;
    Ok(Prepared::new(grant, id, What::Create(data), Preconditions::NONE))
}

/// Validates new data and gets the grant to write it. A caller who could never create records gets no schema errors.
pub(super) fn granted(
    caller: &Caller,
    collection: &Arc<Collection>,
    now: u64,
    mut data: Map<String, Value>,
) -> Result<(Grant, Map<String, Value>)> {
    let ask = |data: &Map<String, Value>| allow(caller, Rule::Create, collection, now, Input::Whole(data));
    collection.canonicalise(&mut data);
    if let Err(error @ (Error::Unauthenticated(_) | Error::NotFound(_))) = ask(&data) {
        return Err(error);
    }
    input::strip(collection, caller, None, &mut data)?;
    input::validate_new(collection, &mut data)?;
    Ok((ask(&data)?, data))
}

/// Prepares replacing a record. The client must state the version it replaces, so that it cannot overwrite a concurrent
/// update.
pub(super) async fn replace(
    operations: &Operations,
    caller: &Caller,
    (name, id): (&str, &str),
    mut body: Map<String, Value>,
    preconditions: Preconditions,
) -> Result<Prepared> {
    let collection = operations.collection(name, caller, Rule::Update).await?;
    let now = operations.clock.millis();
    collection.canonicalise(&mut body);
    let ask = |whole: &Map<String, Value>, sent: &Map<String, Value>| {
        allow(caller, Rule::Update, &collection, now, Input::Change { whole, sent })
    };
    ask(&filled(&collection, &body), &collection.named_by_replacement(&body))?;
    let id = input::record_id(id)?;
    input::strip(&collection, caller, Some(id), &mut body)?;
    let grant = ask(&filled(&collection, &body), &collection.named_by_replacement(&body))?;
    Ok(Prepared::new(grant, id.to_owned(), What::Replace(body), preconditions))
}

/// Prepares merging a patch into a record.
pub(super) async fn merge(
    operations: &Operations,
    caller: &Caller,
    (name, id): (&str, &str),
    mut patch: Map<String, Value>,
    preconditions: Preconditions,
) -> Result<Prepared> {
    let collection = operations.collection(name, caller, Rule::Update).await?;
    let now = operations.clock.millis();
    collection.canonicalise(&mut patch);
    allow(caller, Rule::Update, &collection, now, Input::Patch(&patch))?;
    let id = input::record_id(id)?;
    input::strip(&collection, caller, Some(id), &mut patch)?;
    if collection.judges_each(&patch) {
        collection.validate_patch(&mut patch).map_err(Error::Invalid)?;
    }
    let grant = allow(caller, Rule::Update, &collection, now, Input::Patch(&patch))?;
    Ok(Prepared::new(grant, id.to_owned(), What::Merge(patch), preconditions))
}

/// Prepares applying operators to a record.
pub(super) async fn operate(
    operations: &Operations,
    caller: &Caller,
    (name, id): (&str, &str),
    operators: Operators,
    preconditions: Preconditions,
) -> Result<Prepared> {
    let collection = operations.collection(name, caller, Rule::Update).await?;
    let now = operations.clock.millis();
    let grant = allow(caller, Rule::Update, &collection, now, Input::Operators(operators.names()))?;
    let id = input::record_id(id)?;
    input::check_operators(&collection, caller, &operators)?;
    Ok(Prepared::new(grant, id.to_owned(), What::Operate(operators), preconditions))
}

/// Prepares deleting a record.
pub(super) async fn delete(
    operations: &Operations,
    caller: &Caller,
    (name, id): (&str, &str),
    preconditions: Preconditions,
) -> Result<Prepared> {
    let grant = removal(operations, caller, name).await?;
    let id = input::record_id(id)?.to_owned();
    Ok(Prepared::new(grant, id, What::Delete, preconditions))
}

/// Prepares undeleting a record: for callers that the rule `undelete` permits, and for the caller who deleted it while they
/// may still delete it. Its targets must exist, and the caller must be allowed to refer to them.
pub(super) async fn undelete(
    operations: &Operations,
    caller: &Caller,
    (name, id): (&str, &str),
    preconditions: Preconditions,
) -> Result<Prepared> {
    let collection = operations.collection(name, caller, Rule::Undelete).await?;
    let now = operations.clock.millis();
    let ask = |rule| allow(caller, rule, &collection, now, Input::None).ok();
    let mut grants = [ask(Rule::Undelete), ask(Rule::Delete)].into_iter().flatten();
    let grant = grants.next().ok_or_else(|| absent(caller, Rule::Undelete))?;
    not_a_user(name)?;
    let id = input::record_id(id)?.to_owned();
    Ok(Prepared { or_by: grants.next(), ..Prepared::new(grant, id, What::Undelete, preconditions) })
}

async fn removal(operations: &Operations, caller: &Caller, name: &str) -> Result<Grant> {
    let collection = operations.collection(name, caller, Rule::Delete).await?;
    let grant = allow(caller, Rule::Delete, &collection, operations.clock.millis(), Input::None)?;
    not_a_user(name)?;
    Ok(grant)
}

fn not_a_user(name: &str) -> Result<()> {
    if name == "users" { Err(Error::NotBuilt("erasing a user")) } else { Ok(()) }
}
