//! `POST /v1/batch`: up to 100 writes in any collections, all or nothing -> a response or the errors for each.

use crate::{App, response, upsert};
use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use undercroft::cost;
use undercroft::error::{Error, FieldError, Result};
use undercroft::http::{Bearer, HandlerResult, IdempotencyKey, Json, RequestId, idempotent};
use undercroft::operators::{self, Operators};
use undercroft::preconditions::Preconditions;
use undercroft::records::batch::all_or_errors;
use undercroft::records::{Operation, OperationKind};
use undercroft::store::idempotency::StoredResponse;
use undercroft::store::intent::{Failed, Intent, PendingResponse};
use undercroft::store::record::Record;

/// Maximum number of operations: DynamoDB's maximum for one transaction.
const MAX_OPERATIONS: usize = 100;

/// A batch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    operations: Vec<Request>,
}

/// One operation, like the single request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Request {
    method: String,
    path: String,
    content_type: Option<String>,
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
        return Err(Error::field("/operations", "count", "A batch must have between 1 and 100 operations.").into());
    }
    let scoped_key = idempotency_key.of(&caller)?;
    let now = app.operations.clock.millis();
    // A malformed request is refused before any read, so its cost does not depend on the collections it names.
    let operations = all_or_errors(batch.operations.into_iter().map(|request| operation(request, now)).collect())?;
    let records = &app.operations.records;
    let work = async {
        let intents = app.operations.intents(&caller, operations).await?;
        let pending = scoped_key.as_ref().map(|scoped_key| PendingResponse { scoped_key, answer: &responses });
        let written = records.write(&intents, &request.0, pending.as_ref()).await.map_err(failed)?;
        let written: Vec<(&Intent, &Record)> = written.iter().map(|one| (&*one.intent, &one.record)).collect();
        Ok(responses(&written).into_response())
    };
    let response = idempotent(scoped_key.as_ref(), &records.stored_responses(), work).await;
    // The cost of a refused batch would reveal which collections exist and what they hold.
    Ok(response.inspect_err(|_| cost::withhold())?)
}

/// Parses an operation of the batch.
fn operation(request: Request, now: u64) -> Result<Operation> {
    let Request { method, path, content_type, body, if_match, if_none_match } = request;
    let preconditions =
        Preconditions::parse(("ifMatch", if_match.as_deref()), ("ifNoneMatch", if_none_match.as_deref()))?;
    let has_operators = has_operators(content_type.as_deref(), &method)?;
    let (path, query) = path.split_once('?').map_or((path.as_str(), None), |(path, query)| (path, Some(query)));
    let steps: Vec<&str> = path.strip_prefix("/v1/collections/").unwrap_or_default().split('/').collect();
    let (name, kind) = match (method.as_str(), steps.as_slice()) {
        ("PUT", [name, "records"]) => (name, OperationKind::Upsert(upsert::fields(query)?, a_body(body)?)),
        _ if query.is_some() => return Err(no_operation()),
        ("POST", [name, "records"]) => {
            unconditional(&preconditions)?;
            (name, OperationKind::Create(a_body(body)?))
        }
        ("PUT", [name, "records", id]) => (name, OperationKind::Put((*id).to_owned(), a_body(body)?)),
        ("PATCH", [name, "records", id]) if has_operators => {
            let operators = Operators::parse(a_body(body)?.into()).map_err(in_body)?;
            (name, OperationKind::Operate((*id).to_owned(), operators))
        }
        ("PATCH", [name, "records", id]) => (name, OperationKind::Patch((*id).to_owned(), a_body(body)?)),
        ("DELETE", [name, "records", id]) => {
            no_body(body.as_ref())?;
            (name, OperationKind::Delete((*id).to_owned()))
        }
        ("POST", [name, "records", id, "undelete"]) => {
            no_body(body.as_ref())?;
            (name, OperationKind::Undelete((*id).to_owned()))
        }
        _ => return Err(no_operation()),
    };
    let operation = Operation { collection: (*name).to_owned(), kind, preconditions };
    operation.check(now)?;
    Ok(operation)
}

/// Whether the body of an operation has operators. Every other operation reads JSON and needs no media type.
fn has_operators(content_type: Option<&str>, method: &str) -> Result<bool> {
    match (content_type, method) {
        (None, _) => Ok(false),
        (Some(operators::MEDIA_TYPE), "PATCH") => Ok(true),
        (Some("application/merge-patch+json"), "PATCH") | (Some("application/json"), _) => Ok(false),
        (Some(_), _) => Err(Error::field(
            "/contentType",
            "media_type",
            "This operation does not read this media type. Leave it out; for operators send PATCH with \
             application/vnd.undercroft.operators+json.",
        )),
    }
}

/// The same errors, with pointers into the operation.
fn in_body(error: Error) -> Error {
    let Error::Invalid(errors) = error else { return error };
    let moved = |error: FieldError| FieldError { pointer: format!("/body{}", error.pointer), ..error };
    Error::Invalid(errors.into_iter().map(moved).collect())
}

fn a_body(body: Option<Map<String, Value>>) -> Result<Map<String, Value>> {
    body.ok_or_else(|| Error::field("/body", "required", "This operation requires a body: a JSON object."))
}

fn no_body(body: Option<&Map<String, Value>>) -> Result<()> {
    match body {
        None => Ok(()),
        Some(_) => Err(Error::field("/body", "unexpected", "This operation takes no body. Leave it out.")),
    }
}

fn no_operation() -> Error {
    Error::field(
        "/path",
        "operation",
        "An operation must be POST /v1/collections/{collection}/records, PUT .../records?unique={field}, PUT, PATCH or DELETE \
         .../records/{id}, or POST .../records/{id}/undelete.",
    )
}

/// Refuses preconditions on a POST, which creates a record under a new id.
fn unconditional(preconditions: &Preconditions) -> Result<()> {
    if *preconditions == Preconditions::NONE {
        return Ok(());
    }
    let pointer = if preconditions.if_match.is_sent() { "/ifMatch" } else { "/ifNoneMatch" };
    let message = "A POST creates a record under a new id, so a condition has no effect. Leave it out, or PUT the record \
                   under an id of your own with ifNoneMatch *.";
    Err(Error::field(pointer, "condition_not_offered", message))
}

fn responses(written: &[(&Intent, &Record)]) -> StoredResponse {
    let results: Vec<StoredResponse> =
        written.iter().map(|(intent, record)| response::of_write(intent, record)).collect();
    StoredResponse { status: 200, etag: None, location: None, body: Some(json!({ "results": results })) }
}

fn failed(failed: Failed) -> Error {
    match failed {
        Failed::Whole(error) => error,
        Failed::Each(errors) => Error::Batch(errors),
    }
}
