//! What a service answers when it refuses: AWS's error shape, the same for every service here.

use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An AWS error: its name, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Name of the error as the service's model has it, such as `QueueDoesNotExist`.
    pub code: String,
    /// What went wrong.
    pub message: String,
    /// Whether the caller is to blame (400) or this side (500).
    pub by_sender: bool,
}

impl Fault {
    /// A fault of the caller.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), by_sender: true }
    }

    /// A value the service does not take.
    pub fn invalid(parameter: &str, why: impl std::fmt::Display) -> Self {
        Self::new("InvalidParameterValue", format!("{parameter}: {why}"))
    }

    /// A fault of this side.
    pub fn internal(message: impl Into<String>) -> Self {
        Self { code: "InternalFailure".into(), message: message.into(), by_sender: false }
    }

    /// The answer on the wire for a service whose errors live in `namespace`.
    pub fn into_answer(self, namespace: &str) -> Response {
        let status = if self.by_sender { StatusCode::BAD_REQUEST } else { StatusCode::INTERNAL_SERVER_ERROR };
        let body = json!({ "__type": format!("{namespace}#{}", self.code), "message": self.message });
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        // SDKs that grew up with SQS's older protocol read the error's name from here.
        if let Ok(code) = HeaderValue::from_str(&format!("{};Sender", query_code(&self.code))) {
            headers.insert("x-amzn-query-error", code);
        }
        if let Ok(code) = HeaderValue::from_str(&self.code) {
            headers.insert("x-amzn-errortype", code);
        }
        response
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Fault {}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::new("SerializationException", error.to_string())
    }
}

fn query_code(code: &str) -> String {
    match code {
        "QueueDoesNotExist" => "AWS.SimpleQueueService.NonExistentQueue".into(),
        "QueueNameExists" => "QueueAlreadyExists".into(),
        "MessageNotInflight"
        | "EmptyBatchRequest"
        | "TooManyEntriesInBatchRequest"
        | "BatchEntryIdsNotDistinct"
        | "BatchRequestTooLong"
        | "InvalidBatchEntryId"
        | "UnsupportedOperation" => format!("AWS.SimpleQueueService.{code}"),
        other => other.to_owned(),
    }
}
