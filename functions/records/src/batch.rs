//! `POST /v1/batch`: up to 100 writes in any collections, all or nothing -> an answer for each, or what is wrong with each.

use crate::intent::Begun;
use crate::{App, intent, replace, response};
use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use undercroft::cost;
use undercroft::error::{Error, Result};
use undercroft::expr::Rule;
use undercroft::futures::future::join_all;
use undercroft::http::{Bearer, HandlerResult, IdempotencyKey, Json, RequestId, idempotent};
use undercroft::identity::Caller;
use undercroft::preconditions::Preconditions;
use undercroft::store::idempotency::StoredResponse;
use undercroft::store::intent::PendingResponse;
use undercroft::store::intent::{Failed, Intent};
use undercroft::store::record::Record;

/// Most operations of a batch: as many as DynamoDB writes in one transaction.
const MAX_OPERATIONS: usize = 100;

/// A batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    operations: Vec<Operation>,
}

/// One write of it: the request it would be by itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Operation {
    method: String,
    path: String,
    body: Option<Map<String, Value>>,
    if_match: Option<String>,
    if_none_match: Option<String>,
}

/// Writes a batch.
pub async fn batch(
    State(app): State<App>,
    Bearer(caller): Bearer,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    Json(batch): Json<Batch>,
) -> HandlerResult {
    if batch.operations.is_empty() || batch.operations.len() > MAX_OPERATIONS {
        return Err(Error::field("/operations", "count", "a batch has from 1 to 100 operations").into());
    }
    let scoped_key = idempotency_key.of(&caller)?;
    let asked = all(batch.operations.into_iter().map(|operation| shaped(&app, operation)).collect())?;
    let work = async {
        let intents = intents(&app, &caller, asked).await?;
        let told = |records: &[&Record]| answered(&intents, records);
        let pending = scoped_key.as_ref().map(|scoped_key| PendingResponse { scoped_key, answer: &told });
        let written = app.records.write(&intents, &request.0, pending.as_ref()).await.map_err(failed)?;
        Ok(told(&written.iter().collect::<Vec<_>>()).into_response())
    };
    let answer = idempotent(scoped_key.as_ref(), app.records.table(), &app.clock, work).await;
    // What was read before it was refused would tell which collections there are, and what is in them.
    Ok(answer.inspect_err(|_| cost::withhold())?)
}

/// An operation that could be done if the definitions allow it.
struct Asked {
    name: String,
    what: What,
    preconditions: Preconditions,
}

/// What it would do, to which record.
enum What {
    Create(Map<String, Value>),
    Put(String, Map<String, Value>),
    Merge(String, Map<String, Value>),
    Delete(String),
    Undelete(String),
}

/// What an operation asks for. Whatever is malformed is refused before anything is read: it costs the same whatever it names.
fn shaped(app: &App, operation: Operation) -> Result<Asked> {
    let Operation { method, path, body, if_match, if_none_match } = operation;
    let preconditions =
        Preconditions::parse(("ifMatch", if_match.as_deref()), ("ifNoneMatch", if_none_match.as_deref()))?;
    let steps: Vec<&str> = path.strip_prefix("/v1/collections/").unwrap_or_default().split('/').collect();
    let (name, what) = match (method.as_str(), steps.as_slice()) {
        ("POST", [name, "records"]) => {
            unconditional(&preconditions)?;
            (name, What::Create(a_body(body)?))
        }
        ("PUT", [name, "records", id]) => {
            let body = a_body(body)?;
            replace::check(app, id, &preconditions)?;
            (name, What::Put((*id).to_owned(), body))
        }
        ("PATCH", [name, "records", id]) => (name, What::Merge((*id).to_owned(), a_body(body)?)),
        ("DELETE", [name, "records", id]) => {
            no_body(body.as_ref())?;
            (name, What::Delete((*id).to_owned()))
        }
        ("POST", [name, "records", id, "undelete"]) => {
            no_body(body.as_ref())?;
            (name, What::Undelete((*id).to_owned()))
        }
        _ => return Err(no_operation()),
    };
    Ok(Asked { name: (*name).to_owned(), what, preconditions })
}

fn a_body(body: Option<Map<String, Value>>) -> Result<Map<String, Value>> {
    body.ok_or_else(|| Error::field("/body", "required", "this operation needs a body: a JSON object"))
}

fn no_body(body: Option<&Map<String, Value>>) -> Result<()> {
    match body {
        None => Ok(()),
        Some(_) => Err(Error::field("/body", "unexpected", "this operation has no body")),
    }
}

fn no_operation() -> Error {
    Error::field(
        "/path",
        "operation",
        "an operation is POST /v1/collections/{collection}/records, PUT, PATCH or DELETE .../records/{id}, or \
         POST .../records/{id}/undelete",
    )
}

/// Every operation's intent, or what is wrong with every one that has none. All their collections are looked up together; no
/// record is read while the definitions refuse one of them.
async fn intents(app: &App, caller: &Caller, asked: Vec<Asked>) -> Result<Vec<Intent>> {
    let named = asked.iter().map(|asked| asked.name.as_str()).collect();
    let absent = app.definitions.prefetch(named, matches!(caller, Caller::Anonymous)).await?;
    let begun = join_all(asked.into_iter().map(|asked| begun(app, caller, asked, &absent))).await;
    let mut written = HashSet::new();
    let distinct = begun.into_iter().map(|begun| match begun {
        Ok(begun) if !written.insert(begun.writes()) => {
            Err(Error::field("/path", "twice", "an earlier operation writes this record"))
        }
        begun => begun,
    });
    let begun = all(distinct.collect())?;
    all(intent::all_ended(app, caller, begun).await?)
}

/// All of them, or what is wrong with which. What is nobody's fault is told of the whole.
fn all<T>(outcomes: Vec<Result<T>>) -> Result<Vec<T>> {
    let (mut done, mut errors) = (Vec::new(), Vec::new());
    for (position, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(one) => done.push(one),
            Err(error @ (Error::Internal(_) | Error::Unavailable { .. })) => return Err(error),
            Err(error) => errors.push((position, error)),
        }
    }
    if errors.is_empty() { Ok(done) } else { Err(Error::Batch(errors)) }
}

async fn begun(app: &App, caller: &Caller, asked: Asked, absent: &HashSet<String>) -> Result<Begun> {
    let Asked { name, what, preconditions } = asked;
    if absent.contains(&name) {
        return Err(crate::absent(caller, what.rule()));
    }
    match what {
        What::Create(body) => intent::create(app, caller, &name, body).await,
        What::Put(id, body) => replace::begun(app, caller, (&name, &id), body, preconditions).await,
        What::Merge(id, body) => intent::merge(app, caller, (&name, &id), body, preconditions).await,
        What::Delete(id) => intent::delete(app, caller, (&name, &id), preconditions).await,
        What::Undelete(id) => intent::undelete(app, caller, (&name, &id), preconditions).await,
    }
}

impl What {
    /// The rule that it is refused by where there is no collection.
    fn rule(&self) -> Rule {
        match self {
            Self::Create(_) => Rule::Create,
            Self::Put(..) | Self::Merge(..) => Rule::Update,
            Self::Delete(_) => Rule::Delete,
            Self::Undelete(_) => Rule::Undelete,
        }
    }
}

/// A POST makes a record under a new id: nothing is there to hold a condition against.
fn unconditional(preconditions: &Preconditions) -> Result<()> {
    if *preconditions == Preconditions::NONE {
        return Ok(());
    }
    let pointer = if preconditions.if_match.is_sent() { "/ifMatch" } else { "/ifNoneMatch" };
    let message = "a POST makes a record under a new id, so there is nothing to hold this against: leave it out, or PUT the \
                   record under an id of your own with ifNoneMatch *";
    Err(Error::field(pointer, "condition_not_offered", message))
}

fn answered(intents: &[Intent], records: &[&Record]) -> StoredResponse {
    let results: Vec<StoredResponse> =
        intents.iter().zip(records).map(|(intent, record)| response::to(intent, record)).collect();
    StoredResponse { status: 200, etag: None, location: None, body: Some(json!({ "results": results })) }
}

fn failed(failed: Failed) -> Error {
    match failed {
        Failed::Whole(error) => error,
        Failed::Each(errors) => Error::Batch(errors),
    }
}
