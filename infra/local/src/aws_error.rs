//! AWS errors, in the format that all JSON protocols share.

use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An AWS error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    /// Name of the error in the service's model, such as `QueueDoesNotExist`.
    pub code: String,
    /// A description of the error.
    pub message: String,
    /// Whether the caller caused the error (400) or the service (500).
    pub by_sender: bool,
}

impl AwsError {
    /// An error that the caller caused.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), by_sender: true }
    }

    /// An invalid parameter value.
    pub fn invalid(parameter: &str, why: impl std::fmt::Display) -> Self {
        Self::new("InvalidParameterValue", format!("{parameter}: {why}"))
    }

    /// `AccessDenied`.
    pub fn access_denied(message: &str) -> Self {
        Self::new("AccessDenied", message)
    }

    /// An error of the service.
    pub fn internal(message: impl Into<String>) -> Self {
        Self { code: "InternalFailure".into(), message: message.into(), by_sender: false }
    }

    /// The HTTP response, for a service whose error names are in `namespace`.
    pub fn into_response(self, namespace: &str) -> Response {
        let status = if self.by_sender { StatusCode::BAD_REQUEST } else { StatusCode::INTERNAL_SERVER_ERROR };
        let body = json!({ "__type": format!("{namespace}#{}", self.code), "message": self.message });
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
        // SDKs that migrated from SQS's query protocol read the error's name from this header.
        if let Ok(code) = HeaderValue::from_str(&format!("{};Sender", query_code(&self.code))) {
            headers.insert("x-amzn-query-error", code);
        }
        if let Ok(code) = HeaderValue::from_str(&self.code) {
            headers.insert("x-amzn-errortype", code);
        }
        response
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for AwsError {}

impl From<rusqlite::Error> for AwsError {
    fn from(error: rusqlite::Error) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<serde_json::Error> for AwsError {
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
