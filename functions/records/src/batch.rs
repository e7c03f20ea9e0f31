//! `POST /v1/batch`: up to 100 writes in any collections, all or nothing -> an answer for each, or what is wrong with each.

use crate::{App, answer, intent, replace};
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use undercroft::cost;
use undercroft::error::{Error, FieldError, Result};
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

/// Every operation's intent, or what is wrong with every one that has none.
async fn intents(app: &App, caller: &Caller, batch: Batch) -> Result<Vec<Intent>> {
    let operations = batch.operations.into_iter().map(|operation| intended(app, caller, operation));
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

/// What is wrong with each. Where one of them is not the caller's to see, neither is what it cost to find that out.
fn refused(errors: Vec<(usize, Error)>) -> Error {
    if errors.iter().any(|(_, error)| matches!(error, Error::NotFound(_) | Error::Forbidden(_))) {
        cost::withhold();
    }
    Error::Batch(errors)
}

fn writes_the_same(one: &Intent, other: &Intent) -> bool {
    one.id == other.id && one.grant.collection().name() == other.grant.collection().name()
}

async fn intended(app: &App, caller: &Caller, operation: Operation) -> Result<Intent> {
    let Operation { method, path, body, if_match, if_none_match } = operation;
    let preconditions = Preconditions::parse(if_match.as_deref(), if_none_match.as_deref())?;
    let steps: Vec<&str> = path.strip_prefix("/v1/collections/").unwrap_or_default().split('/').collect();
    let no_body = |body: Option<Map<String, Value>>| match body {
        None => Ok(()),
        Some(_) => Err(Error::field("/body", "unexpected", "this operation has no body")),
    };
    let a_body = |body: Option<Map<String, Value>>| {
        body.ok_or_else(|| Error::field("/body", "required", "this operation needs a body: a JSON object"))
    };
    match (method.as_str(), steps.as_slice()) {
        ("POST", [name, "records"]) => intent::create(app, caller, name, a_body(body)?).await,
        ("PUT", [name, "records", id]) => {
            replace::intended(app, caller, (name, id), a_body(body)?, preconditions).await
        }
        ("PATCH", [name, "records", id]) => intent::merge(app, caller, (name, id), a_body(body)?, preconditions).await,
        ("DELETE", [name, "records", id]) => {
            no_body(body)?;
            intent::delete(app, caller, (name, id), preconditions).await
        }
        ("POST", [name, "records", id, "undelete"]) => {
            no_body(body)?;
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
