//! What goes wrong between a function and AWS, made to happen: the n-th call of an operation fails before or after it was
//! done, is throttled, is never answered, or waits until a test lets it go. For tests, which also learn which calls a request made.
//!
//! Only functions' calls are counted and can fail. What a test does itself always works.

use std::sync::{Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::hold::{Gate, Hold, hold};
use super::{MAXIMUM_BODY, as_json};
use crate::permissions::{Caller, Permissions};

/// One thing that goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// The connection is cut before anything is done.
    LostRequest,
    /// It is done, and the connection is cut before the answer is sent.
    LostAnswer,
    /// It is done, and the connection is cut in the middle of the answer.
    TornAnswer,
    /// 500, and nothing is done.
    FailedBefore,
    /// 500, although it is done.
    FailedAfter,
    /// Nothing is done and nobody answers, until the caller gives up.
    SilentBefore,
    /// It is done and nobody answers, until the caller gives up.
    SilentAfter,
    /// Refused because too much is asked at once.
    Throttled,
    /// Refused because a transaction is at work on the same item. For calls that write to a table.
    Conflict,
    /// The same, but of a transaction it is the last item that is concerned.
    LastInConflict,
    /// Refused as if somebody had written in between: the condition does not hold, and nothing is done. For `UpdateItem` and
    /// `PutItem`.
    Overtaken,
    /// Refused because the item would be larger than a table can hold. For `UpdateItem` and `PutItem`.
    TooLarge,
    /// Of a batch, only the first is done, and the others are handed back. For `BatchGetItem`, `BatchWriteItem` and SQS's
    /// batches; a batch of one is done.
    Partial,
}

/// A call a function made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Binary of the function.
    pub function: String,
    /// The operation, such as `UpdateItem`, `SendMessage`, `PutObject`.
    pub operation: String,
    /// What went wrong with it.
    pub mishap: Option<Mishap>,
}

/// What is planned to go wrong, and what was called.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Mutex<Vec<Plan>>,
    recorded: Mutex<Option<Vec<Call>>>,
}

#[derive(Debug)]
struct Plan {
    /// `None` is any.
    operation: Option<String>,
    /// Calls until it happens.
    left: usize,
    befalls: Befalls,
}

/// What is planned for a call.
#[derive(Debug)]
pub(super) enum Befalls {
    /// This goes wrong.
    Mishap(Mishap),
    /// Nothing goes wrong, but it waits here.
    Hold(Gate),
}

/// The connection ends here, without an answer.
#[derive(Debug)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the connection was cut")
    }
}

impl std::error::Error for Cut {}

impl Faults {
    /// Lets `mishap` happen to the `nth` call of this operation from now on, counted from 1. It happens once; for several in
    /// a row, say so several times.
    pub fn on(&self, operation: &str, nth: usize, mishap: Mishap) {
        self.plan(Some(operation.to_owned()), nth, Befalls::Mishap(mishap));
    }

    /// Holds the `nth` call of this operation from now on, counted from 1, before anything is done.
    pub fn hold(&self, operation: &str, nth: usize) -> Hold {
        let (hold, gate) = hold();
        self.plan(Some(operation.to_owned()), nth, Befalls::Hold(gate));
        hold
    }

    /// Lets `mishap` happen to the `nth` call from now on, whatever it is.
    pub fn on_call(&self, nth: usize, mishap: Mishap) {
        self.plan(None, nth, Befalls::Mishap(mishap));
    }

    /// Forgets what has not happened yet. Returns how much that was: a test that planned more than came to pass has not
    /// tested it.
    pub fn clear(&self) -> usize {
        self.planned().drain(..).count()
    }

    /// Records calls from now on, and forgets those recorded so far.
    pub fn record(&self) {
        *self.recorded() = Some(Vec::new());
    }

    /// The calls since [`Faults::record`] or since this was last asked, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.recorded().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What happens to this call: counts it, and records it.
    pub(super) fn befalls(&self, parts: &Parts, permissions: Option<&Permissions>) -> Option<Befalls> {
        let function = permissions?.function(&Caller::of(parts))?;
        let operation = operation(parts);
        let befalls = self.next(&operation);
        let mishap = match befalls {
            Some(Befalls::Mishap(mishap)) => Some(mishap),
            Some(Befalls::Hold(_)) | None => None,
        };
        if let Some(recorded) = self.recorded().as_mut() {
            recorded.push(Call { function: function.to_owned(), operation, mishap });
        }
        befalls
    }

    fn plan(&self, operation: Option<String>, nth: usize, befalls: Befalls) {
        self.planned().push(Plan { operation, left: nth.max(1), befalls });
    }

    fn next(&self, operation: &str) -> Option<Befalls> {
        let mut planned = self.planned();
        let concerned = |plan: &&mut Plan| plan.operation.as_deref().is_none_or(|wanted| wanted == operation);
        planned.iter_mut().filter(concerned).for_each(|plan| plan.left = plan.left.saturating_sub(1));
        let due = planned.iter().position(|plan| plan.left == 0)?;
        Some(planned.remove(due).befalls)
    }

    fn planned(&self) -> std::sync::MutexGuard<'_, Vec<Plan>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recorded(&self) -> std::sync::MutexGuard<'_, Option<Vec<Call>>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mishap {
    /// Lets it happen to a request. `answer` is what would have been done.
    pub async fn strike(
        self,
        request: Request,
        answer: impl AsyncFnOnce(Request) -> Response,
    ) -> Result<Response, Cut> {
        let (parts, body) = request.into_parts();
        // Read whole: a caller must not take a mishap for a body it could not send.
        let body = to_bytes(body, MAXIMUM_BODY).await.map_err(|_| Cut)?;
        let again = |body: &[u8]| Request::from_parts(parts.clone(), Body::from(body.to_vec()));
        match self {
            Self::LostRequest => Err(Cut),
            Self::LostAnswer => {
                answer(again(&body)).await;
                Err(Cut)
            }
            Self::TornAnswer => Ok(torn(answer(again(&body)).await)),
            Self::FailedBefore => Ok(failed(&parts)),
            Self::FailedAfter => {
                answer(again(&body)).await;
                Ok(failed(&parts))
            }
            Self::SilentBefore => std::future::pending().await,
            Self::SilentAfter => {
                answer(again(&body)).await;
                std::future::pending().await
            }
            Self::Throttled => Ok(throttled(&parts)),
            Self::Conflict => Ok(conflict(&parts, &body, |_| 0)),
            Self::LastInConflict => Ok(conflict(&parts, &body, |items| items - 1)),
            Self::Overtaken => Ok(answer(again(&overtaken(&body))).await),
            Self::TooLarge => Ok(too_large(&parts)),
            Self::Partial => Ok(partial(&parts, &body, async |body| answer(again(&body)).await).await),
        }
    }
}

/// The operation a request asks for.
fn operation(parts: &Parts) -> String {
    if let Some(target) = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()) {
        return target.rsplit('.').next().unwrap_or_default().to_owned();
    }
    if parts.method == Method::POST && parts.uri.path() == "/v2/email/outbound-emails" {
        return "SendEmail".into();
    }
    match super::objects::read(parts) {
        Ok((operation, _)) => operation.name().into(),
        Err(_) => String::new(),
    }
}

fn is_for_tables(parts: &Parts) -> bool {
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    target.is_some_and(|target| target.starts_with("DynamoDB"))
}

fn failed(parts: &Parts) -> Response {
    let code = if is_for_tables(parts) { "InternalServerError" } else { "InternalFailure" };
    let fault = Fault { code: code.into(), message: "it was made to fail".into(), by_sender: false };
    fault.into_answer(namespace(parts))
}

fn throttled(parts: &Parts) -> Response {
    let (code, status) = match is_for_tables(parts) {
        true => ("ProvisionedThroughputExceededException", StatusCode::BAD_REQUEST),
        false => ("ThrottlingException", StatusCode::TOO_MANY_REQUESTS),
    };
    (status, Fault::new(code, "Rate exceeded").into_answer(namespace(parts))).into_response()
}

/// A conflict as DynamoDB tells of it: of a single write, or of one of so many items of a transaction.
fn conflict(parts: &Parts, body: &[u8], concerned: impl Fn(usize) -> usize) -> Response {
    let message = "Transaction is ongoing for the item";
    if operation(parts) != "TransactWriteItems" {
        return Fault::new("TransactionConflictException", message).into_answer(namespace(parts));
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let items = body.get("TransactItems").and_then(Value::as_array).map_or(1, Vec::len).max(1);
    let reason = |at: usize| match at == concerned(items) {
        true => json!({ "Code": "TransactionConflict", "Message": message }),
        false => json!({ "Code": "None" }),
    };
    let body = json!({
        "__type": format!("{}#TransactionCanceledException", namespace(parts)),
        "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons [TransactionConflict]",
        "CancellationReasons": (0..items).map(reason).collect::<Vec<_>>(),
    });
    (StatusCode::BAD_REQUEST, as_json(Ok(body), "", "application/x-amz-json-1.0")).into_response()
}

/// The same write under a condition that never holds.
fn overtaken(body: &[u8]) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    let never = "attribute_exists(this_is_on_no_item)";
    let condition = match body.get("ConditionExpression").and_then(Value::as_str) {
        Some(condition) => format!("({condition}) AND {never}"),
        None => never.to_owned(),
    };
    if let Some(fields) = body.as_object_mut() {
        fields.insert("ConditionExpression".into(), condition.into());
    }
    body.to_string().into_bytes()
}

fn too_large(parts: &Parts) -> Response {
    let message = "Item size to update has exceeded the maximum allowed size";
    Fault::new("ValidationException", message).into_answer(namespace(parts))
}

fn namespace(parts: &Parts) -> &'static str {
    if is_for_tables(parts) { "com.amazonaws.dynamodb.v20120810" } else { "com.amazonaws" }
}

/// An answer that says how long it is and then breaks off.
fn torn(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1000000"));
    let first = Ok("{");
    let broken = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    Response::from_parts(parts, Body::from_stream(stream::iter([first, broken])))
}

/// The batch cut to its first, and the others in the answer as not done.
async fn partial(parts: &Parts, body: &[u8], answer: impl AsyncFnOnce(Vec<u8>) -> Response) -> Response {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    let left = match operation(parts).as_str() {
        "BatchGetItem" => Some(("UnprocessedKeys", cut_tables(&mut body, Some("Keys")))),
        "BatchWriteItem" => Some(("UnprocessedItems", cut_tables(&mut body, None))),
        name if name.ends_with("Batch") => Some(("Failed", cut_entries(&mut body))),
        _ => None,
    };
    let response = answer(body.to_string().into_bytes()).await;
    let Some((member, left)) = left.filter(|_| response.status().is_success()) else { return response };
    let (mut parts, said) = response.into_parts();
    let said = to_bytes(said, MAXIMUM_BODY).await.unwrap_or_default();
    let mut said: Value = serde_json::from_slice(&said).unwrap_or_default();
    if let Some(fields) = said.as_object_mut() {
        fields.insert(member.into(), left);
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    // The digest was of other bytes.
    parts.headers.remove("x-amz-crc32");
    Response::from_parts(parts, Body::from(said.to_string()))
}

/// Leaves only the first item of the first table in a DynamoDB batch. Returns the others in the same shape.
fn cut_tables(body: &mut Value, member: Option<&str>) -> Value {
    let mut left = Map::new();
    let mut is_first = true;
    let tables = body.get_mut("RequestItems").and_then(Value::as_object_mut).into_iter().flatten();
    for (table, request) in tables {
        let mut rest = request.clone();
        let items = match member {
            Some(member) => (request.get_mut(member), rest.get_mut(member)),
            None => (Some(request), Some(&mut rest)),
        };
        let (Some(Value::Array(kept)), Some(Value::Array(others))) = items else { continue };
        kept.truncate(usize::from(is_first));
        others.drain(..kept.len());
        is_first = false;
        if !others.is_empty() {
            left.insert(table.clone(), rest);
        }
    }
    if let Some(tables) = body.get_mut("RequestItems").and_then(Value::as_object_mut) {
        tables.retain(|_, request| {
            let items = member.map_or(Some(&*request), |member| request.get(member));
            items.and_then(Value::as_array).is_some_and(|items| !items.is_empty())
        });
    }
    Value::Object(left)
}

/// Leaves only the first entry of an SQS batch. Returns the others as failed.
fn cut_entries(body: &mut Value) -> Value {
    let entries = body.get_mut("Entries").and_then(Value::as_array_mut);
    let others = entries.map(|entries| entries.split_off(entries.len().min(1))).unwrap_or_default();
    let failed = |entry: &Value| json!({ "Id": entry.get("Id"), "Code": "InternalError", "Message": "it was made to fail", "SenderFault": false });
    others.iter().map(failed).collect()
}
