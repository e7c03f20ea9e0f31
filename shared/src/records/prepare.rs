//! From what a client sent to an intent: the collection exists, the caller may as far as definitions say, and the body is valid and
//! theirs to write. Every write begins here, alone or in a batch.
//!
//! It takes two steps. A write is *prepared* from definitions alone: whoever may not is refused before any record is read. Then it is
//! *completed* with its tombstone and with the records it points at; those of a batch are read together.

use super::input;
use super::operations::Operations;
use super::operations::absent;
use crate::error::{Error, Result};
use crate::expr::{Input, Rule};
use crate::id;
use crate::identity::Caller;
use crate::policy::{Grant, allow};
use crate::preconditions::Preconditions;
use crate::schema::Collection;
use crate::store::intent::{Intent, What};
use crate::store::targets::related;
use futures_util::future::join_all;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// A write that is prepared: no record has been read for it.
#[derive(Debug)]
pub struct Prepared {
    /// What is known of it: not what it points at.
    intent: Intent,
    /// The right by which a record may be brought back if not by the intent's own.
    or_by: Option<Grant>,
}

impl Prepared {
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

/// Completes writes: their tombstones are read together, and so are the collections that they point into.
///
/// # Errors
/// For each, when its tombstone is not there or when it cannot point where it does; for all when the table does not answer.
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
        let (intent, data) = known?;
        let targets = input::targets(operations, intent.grant.collection(), caller, &members(&intent, &data)).await?;
        Ok(Intent { targets, ..intent })
    });
    Ok(join_all(each).await)
}

/// The members that an intent gives its record, which may be those of its tombstone.
fn members<'a>(intent: &'a Intent, deleted: &'a Map<String, Value>) -> Cow<'a, Map<String, Value>> {
    match &intent.what {
        What::Create(data) => Cow::Borrowed(data),
        What::Merge(patch) => Cow::Borrowed(patch),
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
pub(super) async fn create(
    operations: &Operations,
    caller: &Caller,
    name: &str,
    body: Map<String, Value>,
) -> Result<Prepared> {
    make(operations, caller, name, id::new(&operations.clock), body).await
}

/// To make a record with an id of the client's.
pub(super) async fn create_with_id(
    operations: &Operations,
    caller: &Caller,
    (name, id): (&str, &str),
    mut body: Map<String, Value>,
) -> Result<Prepared> {
    if body.get("id").and_then(Value::as_str) == Some(id) {
        body.remove("id");
    }
    make(operations, caller, name, id.to_owned(), body).await
}

async fn make(
    operations: &Operations,
    caller: &Caller,
    name: &str,
    id: String,
    body: Map<String, Value>,
) -> Result<Prepared> {
    let collection = operations.collection(name, caller, Rule::Create).await?;
    let (grant, data) = granted(operations, caller, &collection, body)?;
    Ok(Prepared::new(grant, id, What::Create(data), Preconditions::NONE))
}

/// Validates new data and asks for the grant to write it. Who could never create hears nothing of the schema.
fn granted(
    operations: &Operations,
    caller: &Caller,
    collection: &Arc<Collection>,
    mut data: Map<String, Value>,
) -> Result<(Grant, Map<String, Value>)> {
    let now = operations.clock.millis();
    let ask = |data: &Map<String, Value>| allow(caller, Rule::Create, collection, now, Input::Whole(data));
    if let Err(error @ (Error::Unauthenticated(_) | Error::NotFound(_))) = ask(&data) {
        return Err(error);
    }
    input::strip(collection, caller, None, &mut data)?;
    input::complete_new(collection, &mut data)?;
    Ok((ask(&data)?, data))
}

/// To replace a record. The client must have said which version it means: a replacement that did not look first loses
/// somebody's update.
pub(super) async fn replace(
    operations: &Operations,
    caller: &Caller,
    (name, id): (&str, &str),
    mut body: Map<String, Value>,
    preconditions: Preconditions,
) -> Result<Prepared> {
    let collection = operations.collection(name, caller, Rule::Update).await?;
    let now = operations.clock.millis();
    let ask = |whole: &Map<String, Value>, sent: &Map<String, Value>| {
        allow(caller, Rule::Update, &collection, now, Input::Change { whole, sent })
    };
    ask(&filled(&collection, &body), &collection.named_by_replacement(&body))?;
    let id = input::record_id(id)?;
    input::strip(&collection, caller, Some(id), &mut body)?;
    let grant = ask(&filled(&collection, &body), &collection.named_by_replacement(&body))?;
    Ok(Prepared::new(grant, id.to_owned(), What::Replace(body), preconditions))
}

/// To merge a patch into a record.
pub(super) async fn merge(
    operations: &Operations,
    caller: &Caller,
    (name, id): (&str, &str),
    mut patch: Map<String, Value>,
    preconditions: Preconditions,
) -> Result<Prepared> {
    let collection = operations.collection(name, caller, Rule::Update).await?;
    let now = operations.clock.millis();
    allow(caller, Rule::Update, &collection, now, Input::Patch(&patch))?;
    let id = input::record_id(id)?;
    input::strip(&collection, caller, Some(id), &mut patch)?;
    if collection.judges_each(&patch) {
        collection.validate_patch(&patch).map_err(Error::Invalid)?;
        collection.canonicalise(&mut patch);
    }
    let grant = allow(caller, Rule::Update, &collection, now, Input::Patch(&patch))?;
    Ok(Prepared::new(grant, id.to_owned(), What::Merge(patch), preconditions))
}

/// To delete a record.
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

/// To bring a deleted record back: for those whom the rule `undelete` lets, and for whoever deleted it, while they still may. What
/// it points at must be there, and theirs to point at.
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
