//! `POST /v1/batch`: up to 100 writes in any collections, all or nothing -> an answer for each, or what is wrong with each.

use crate::{App, answer, intent, replace};
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use undercroft::cost;
use undercroft::error::{Error, FieldError, Result};
use undercroft::expr::Rule;
use undercroft::futures::future::join_all;
use undercroft::http::{Json, Keyed, Preconditions, RequestId, answered_once};
use undercroft::identity::Caller;
use undercroft::store::commit::Promise;
use undercroft::store::once::Answer;
use undercroft::store::record::Record;
use undercroft::store::write::{Failed, Intent};

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
    caller: Caller,
    keyed: Keyed,
    Extension(request): Extension<RequestId>,
    Json(batch): Json<Batch>,
) -> Result<Response> {
    if batch.operations.is_empty() || batch.operations.len() > MAX_OPERATIONS {
        return Err(Error::field("/operations", "count", "a batch has from 1 to 100 operations"));
    }
    let once = keyed.of(&caller)?;
    let work = async {
        let intents = intents(&app, &caller, batch).await?;
        let all = |records: &[&Record]| answered(&intents, records);
        let promise = once.as_ref().map(|once| Promise { once, answer: &all });
        let written = app.records.write(&intents, &request.0, promise.as_ref()).await.map_err(failed)?;
        Ok(all(&written.iter().collect::<Vec<_>>()).into_response())
    };
    answered_once(once.as_ref(), app.records.table(), &app.clock, work).await
}

/// Every operation's intent, or what is wrong with every one that has none. All their collections are looked up together.
async fn intents(app: &App, caller: &Caller, batch: Batch) -> Result<Vec<Intent>> {
    let named = batch.operations.iter().filter_map(|operation| steps(&operation.path).next()).collect();
    let absent = app.definitions.prefetch(named).await?;
    let operations = batch.operations.into_iter().map(|operation| intended(app, caller, operation, &absent));
    let (mut intents, mut errors) = (Vec::<Intent>::new(), Vec::new());
    for (position, intent) in join_all(operations).await.into_iter().enumerate() {
        match intent {
            Ok(intent) if intents.iter().any(|other| writes_the_same(other, &intent)) => {
                errors.push((position, Error::field("/path", "twice", "an earlier operation writes this record")));
            }
            Ok(intent) => intents.push(intent),
            Err(error @ (Error::Internal(_) | Error::Unavailable { .. })) => return Err(error),
            Err(error) => errors.push((position, error)),
        }
    }
    if errors.is_empty() { Ok(intents) } else { Err(refused(errors)) }
}

/// What is wrong with which. An operation on what may not be seen keeps its price to itself, as it would alone.
fn refused(errors: Vec<(usize, Error)>) -> Error {
    let is_unseen =
        |error: &Error| matches!(error, Error::Unauthenticated(_) | Error::Forbidden(_) | Error::NotFound(_));
    if errors.iter().any(|(_, error)| is_unseen(error)) {
        cost::withhold();
    }
    Error::Batch(errors)
}

fn writes_the_same(one: &Intent, other: &Intent) -> bool {
    one.id == other.id && one.grant.collection().name() == other.grant.collection().name()
}

/// The steps of an operation's path behind the collections: the collection first.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix("/v1/collections/").unwrap_or_default().split('/')
}

async fn intended(app: &App, caller: &Caller, operation: Operation, absent: &HashSet<String>) -> Result<Intent> {
    let Operation { method, path, body, if_match, if_none_match } = operation;
    let preconditions = Preconditions::parse(if_match.as_deref(), if_none_match.as_deref())?;
    let steps: Vec<&str> = steps(&path).collect();
    let is_there = |name: &str, action: Rule| match absent.contains(name) {
        true => Err(crate::absent(caller, action)),
        false => Ok(()),
    };
    let no_body = |body: Option<Map<String, Value>>| match body {
        None => Ok(()),
        Some(_) => Err(Error::field("/body", "unexpected", "this operation has no body")),
    };
    let a_body = |body: Option<Map<String, Value>>| {
        body.ok_or_else(|| Error::field("/body", "required", "this operation needs a body: a JSON object"))
    };
    match (method.as_str(), steps.as_slice()) {
        ("POST", [name, "records"]) => {
            unconditional(&preconditions)?;
            let body = a_body(body)?;
            is_there(name, Rule::Create)?;
            intent::create(app, caller, name, body).await
        }
        ("PUT", [name, "records", id]) => {
            let body = a_body(body)?;
            is_there(name, Rule::Update)?;
            replace::intended(app, caller, (name, id), body, preconditions).await
        }
        ("PATCH", [name, "records", id]) => {
            let body = a_body(body)?;
            is_there(name, Rule::Update)?;
            intent::merge(app, caller, (name, id), body, preconditions).await
        }
        ("DELETE", [name, "records", id]) => {
            no_body(body)?;
            is_there(name, Rule::Delete)?;
            intent::delete(app, caller, (name, id), preconditions).await
        }
        ("POST", [name, "records", id, "undelete"]) => {
            no_body(body)?;
            is_there(name, Rule::Undelete)?;
            intent::undelete(app, caller, (name, id), preconditions).await
        }
        _ => Err(Error::Invalid(vec![FieldError::new(
            "/path",
            "operation",
            "an operation is POST /v1/collections/{collection}/records, PUT, PATCH or DELETE .../records/{id}, or \
             POST .../records/{id}/undelete",
        )])),
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

fn answered(intents: &[Intent], records: &[&Record]) -> Answer {
    let results: Vec<Answer> = intents.iter().zip(records).map(|(intent, record)| answer::to(intent, record)).collect();
    Answer { status: 200, etag: None, location: None, body: Some(json!({ "results": results })) }
}

fn failed(failed: Failed) -> Error {
    match failed {
        Failed::Whole(error) => error,
        Failed::Each(errors) => refused(errors),
    }
}
