//! Fault injection for tests: the n-th call of an operation fails before or after it was performed, is throttled, gets no
//! response, or pauses until the test continues it. The calls of a request can be recorded as well.
//!
//! Only calls of functions are counted and can fail. Calls of the test itself always work.

use std::sync::{Mutex, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Map, Value, json};

use super::connections::ConnectionClosed;
use super::objects;
use super::pause::{PauseGate, PausedCall, pause};
use super::protocol::{MAXIMUM_BODY, is_send_email, json_response, target};
use crate::aws_error::AwsError;
use crate::iam::{Caller, Permissions};

/// A fault of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed before the call is performed.
    LostRequest,
    /// The call is performed, and the connection is closed before the response is sent.
    LostAnswer,
    /// The call is performed, and the connection is closed in the middle of the response.
    TornAnswer,
    /// Status 500; the call is not performed.
    FailedBefore,
    /// Status 500; the call is performed.
    FailedAfter,
    /// No response; the call is not performed.
    SilentBefore,
    /// No response; the call is performed.
    SilentAfter,
    /// A throttling error; the call is not performed.
    Throttled,
    /// A conflict with a transaction on the same item, or on the first item of a transaction. For calls that write to a table.
    Conflict,
    /// Like `Conflict`, but on the last item of a transaction.
    LastInConflict,
    /// The condition fails, as if another caller had written the item before. For `UpdateItem` and `PutItem`.
    Overtaken,
    /// The item would exceed DynamoDB's maximum item size. For `UpdateItem` and `PutItem`.
    TooLarge,
    /// Only the first entry of a batch is processed; the others are returned as unprocessed or failed. For `BatchGetItem`,
    /// `BatchWriteItem` and SQS's batches.
    Partial,
}

/// A call that a function made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Binary of the function.
    pub function: String,
    /// The operation, such as `UpdateItem`, `SendMessage`, `PutObject`.
    pub operation: String,
    /// The fault that was injected into it.
    pub fault: Option<Fault>,
}

/// Planned faults and recorded calls.
#[derive(Debug, Default)]
pub struct FaultInjector {
    planned: Mutex<Vec<PlannedInjection>>,
    recorded: Mutex<Option<Vec<Call>>>,
}

#[derive(Debug)]
struct PlannedInjection {
    /// The operation; `None` for any operation.
    operation: Option<String>,
    /// Number of calls until it is injected.
    left: usize,
    injection: Injection,
}

/// What is injected into a call.
#[derive(Debug)]
pub(super) enum Injection {
    /// This fault.
    Fault(Fault),
    /// A pause before the call is performed.
    Pause(PauseGate),
}

impl FaultInjector {
    /// Injects a fault into the `nth` call of this operation from now on, counted from 1. Each call of this method injects one
    /// fault.
    pub fn on(&self, operation: &str, nth: usize, fault: Fault) {
        self.plan(Some(operation.to_owned()), nth, Injection::Fault(fault));
    }

    /// Pauses the `nth` call of this operation from now on, counted from 1, before it is performed.
    pub fn pause(&self, operation: &str, nth: usize) -> PausedCall {
        let (paused, gate) = pause();
        self.plan(Some(operation.to_owned()), nth, Injection::Pause(gate));
        paused
    }

    /// Injects a fault into the `nth` call from now on, of any operation.
    pub fn on_call(&self, nth: usize, fault: Fault) {
        self.plan(None, nth, Injection::Fault(fault));
    }

    /// Removes all planned faults. Returns their number, so that a test can check that all its faults were injected.
    pub fn clear(&self) -> usize {
        self.planned().drain(..).count()
    }

    /// Starts to record calls, and removes those recorded so far.
    pub fn record(&self) {
        *self.recorded() = Some(Vec::new());
    }

    /// The calls since [`FaultInjector::record`] or the last call of this method, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.recorded().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Counts and records a call, and returns what to inject into it.
    pub(super) fn next_injection(&self, parts: &Parts, permissions: Option<&Permissions>) -> Option<Injection> {
        let function = permissions?.function(&Caller::of(parts))?;
        let operation = operation(parts);
        let injection = self.take_due(&operation);
        let fault = match injection {
            Some(Injection::Fault(fault)) => Some(fault),
            Some(Injection::Pause(_)) | None => None,
        };
        if let Some(recorded) = self.recorded().as_mut() {
            recorded.push(Call { function: function.to_owned(), operation, fault });
        }
        injection
    }

    fn plan(&self, operation: Option<String>, nth: usize, injection: Injection) {
        self.planned().push(PlannedInjection { operation, left: nth.max(1), injection });
    }

    /// Counts a call of this operation, and removes the planned injection that is due.
    fn take_due(&self, operation: &str) -> Option<Injection> {
        let mut planned = self.planned();
        let applies = |plan: &&mut PlannedInjection| plan.operation.as_deref().is_none_or(|wanted| wanted == operation);
        planned.iter_mut().filter(applies).for_each(|plan| plan.left = plan.left.saturating_sub(1));
        let due = planned.iter().position(|plan| plan.left == 0)?;
        Some(planned.remove(due).injection)
    }

    fn planned(&self) -> std::sync::MutexGuard<'_, Vec<PlannedInjection>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn recorded(&self) -> std::sync::MutexGuard<'_, Option<Vec<Call>>> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fault {
    /// Injects the fault into a request. `perform` performs the call.
    pub async fn inject(
        self,
        request: Request,
        perform: impl AsyncFnOnce(Request) -> Response,
    ) -> Result<Response, ConnectionClosed> {
        let (parts, body) = request.into_parts();
        // The body is read first, so that the caller does not see an error while sending it.
        let body = to_bytes(body, MAXIMUM_BODY).await.map_err(|_| ConnectionClosed)?;
        let request = |body: &[u8]| Request::from_parts(parts.clone(), Body::from(body.to_vec()));
        match self {
            Self::LostRequest => Err(ConnectionClosed),
            Self::LostAnswer => {
                perform(request(&body)).await;
                Err(ConnectionClosed)
            }
            Self::TornAnswer => Ok(truncated(perform(request(&body)).await)),
            Self::FailedBefore => Ok(failed(&parts)),
            Self::FailedAfter => {
                perform(request(&body)).await;
                Ok(failed(&parts))
            }
            Self::SilentBefore => std::future::pending().await,
            Self::SilentAfter => {
                perform(request(&body)).await;
                std::future::pending().await
            }
            Self::Throttled => Ok(throttled(&parts)),
            Self::Conflict => Ok(conflict(&parts, &body, |_| 0)),
            Self::LastInConflict => Ok(conflict(&parts, &body, |items| items - 1)),
            Self::Overtaken => Ok(perform(request(&with_failing_condition(&body))).await),
            Self::TooLarge => Ok(too_large(&parts)),
            Self::Partial => Ok(partial(&parts, &body, async |body| perform(request(&body)).await).await),
        }
    }
}

/// The operation of a request.
fn operation(parts: &Parts) -> String {
    if parts.headers.contains_key("x-amz-target") {
        return target(parts).rsplit('.').next().unwrap_or_default().to_owned();
    }
    if is_send_email(parts) {
        return "SendEmail".into();
    }
    match objects::read(parts) {
        Ok((operation, _)) => operation.name().into(),
        Err(_) => String::new(),
    }
}

fn is_dynamodb(parts: &Parts) -> bool {
    target(parts).starts_with("DynamoDB")
}

fn failed(parts: &Parts) -> Response {
    let code = if is_dynamodb(parts) { "InternalServerError" } else { "InternalFailure" };
    let error = AwsError { code: code.into(), message: "injected fault".into(), by_sender: false };
    error.into_response(namespace(parts))
}

fn throttled(parts: &Parts) -> Response {
    let (code, status) = match is_dynamodb(parts) {
        true => ("ProvisionedThroughputExceededException", StatusCode::BAD_REQUEST),
        false => ("ThrottlingException", StatusCode::TOO_MANY_REQUESTS),
    };
    (status, AwsError::new(code, "Rate exceeded").into_response(namespace(parts))).into_response()
}

/// A conflict of a single write, or of one item of a transaction.
fn conflict(parts: &Parts, body: &[u8], conflicting: impl Fn(usize) -> usize) -> Response {
    let message = "Transaction is ongoing for the item";
    if operation(parts) != "TransactWriteItems" {
        return AwsError::new("TransactionConflictException", message).into_response(namespace(parts));
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let items = body.get("TransactItems").and_then(Value::as_array).map_or(1, Vec::len).max(1);
    let reason = |at: usize| match at == conflicting(items) {
        true => json!({ "Code": "TransactionConflict", "Message": message }),
        false => json!({ "Code": "None" }),
    };
    let body = json!({
        "__type": format!("{}#TransactionCanceledException", namespace(parts)),
        "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons [TransactionConflict]",
        "CancellationReasons": (0..items).map(reason).collect::<Vec<_>>(),
    });
    (StatusCode::BAD_REQUEST, json_response(Ok(body), "", "application/x-amz-json-1.0")).into_response()
}

/// The same write with a condition that always fails.
fn with_failing_condition(body: &[u8]) -> Vec<u8> {
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
    AwsError::new("ValidationException", message).into_response(namespace(parts))
}

fn namespace(parts: &Parts) -> &'static str {
    if is_dynamodb(parts) { "com.amazonaws.dynamodb.v20120810" } else { "com.amazonaws" }
}

/// A response that ends before its Content-Length.
fn truncated(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1000000"));
    let first = Ok("{");
    let broken = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    Response::from_parts(parts, Body::from_stream(stream::iter([first, broken])))
}

/// Performs the first entry of a batch, and returns the others as unprocessed or failed.
async fn partial(parts: &Parts, body: &[u8], perform: impl AsyncFnOnce(Vec<u8>) -> Response) -> Response {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    let left = match operation(parts).as_str() {
        "BatchGetItem" => Some(("UnprocessedKeys", take_other_items(&mut body, Some("Keys")))),
        "BatchWriteItem" => Some(("UnprocessedItems", take_other_items(&mut body, None))),
        name if name.ends_with("Batch") => Some(("Failed", take_other_entries(&mut body))),
        _ => None,
    };
    let response = perform(body.to_string().into_bytes()).await;
    let Some((member, left)) = left.filter(|_| response.status().is_success()) else { return response };
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, MAXIMUM_BODY).await.unwrap_or_default();
    let mut body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if let Some(fields) = body.as_object_mut() {
        fields.insert(member.into(), left);
    }
    parts.headers.remove(header::CONTENT_LENGTH);
    // The checksum no longer matches the body.
    parts.headers.remove("x-amz-crc32");
    Response::from_parts(parts, Body::from(body.to_string()))
}

/// Keeps only the first item of the first table in a DynamoDB batch. Returns the others in the same format.
fn take_other_items(body: &mut Value, member: Option<&str>) -> Value {
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

/// Keeps only the first entry of an SQS batch. Returns the others as failed.
fn take_other_entries(body: &mut Value) -> Value {
    let entries = body.get_mut("Entries").and_then(Value::as_array_mut);
    let others = entries.map(|entries| entries.split_off(entries.len().min(1))).unwrap_or_default();
    let failed = |entry: &Value| json!({ "Id": entry.get("Id"), "Code": "InternalError", "Message": "injected fault", "SenderFault": false });
    others.iter().map(failed).collect()
}
