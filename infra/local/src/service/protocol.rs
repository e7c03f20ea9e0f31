//! AWS's JSON protocols: which operation a request names, and how a result becomes a response.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use serde_json::Value;

use crate::aws_error::AwsError;

/// Maximum size of a request body: DynamoDB's limit, the largest of these services.
pub const MAXIMUM_BODY: usize = 16 * 1024 * 1024;

/// An AWS service that an external endpoint can serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// DynamoDB and DynamoDB Streams.
    Tables,
    /// SQS.
    Queues,
    /// SSM Parameter Store.
    Parameters,
}

/// Whether the request is SES's `SendEmail`.
pub fn is_send_email(parts: &Parts) -> bool {
    parts.method == Method::POST && parts.uri.path() == "/v2/email/outbound-emails"
}

/// The header `X-Amz-Target`, which names the operation.
pub fn target(parts: &Parts) -> &str {
    parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default()
}

/// The service and the operation that a request names; `None` when the service is unknown.
pub fn operation(parts: &Parts) -> Option<(Service, &str)> {
    let (prefix, operation) = target(parts).split_once('.')?;
    let service = match prefix {
        "DynamoDB_20120810" | "DynamoDBStreams_20120810" => Service::Tables,
        "AmazonSQS" => Service::Queues,
        "AmazonSSM" => Service::Parameters,
        _ => return None,
    };
    Some((service, operation))
}

/// The response for a result, for a service whose error names are in `namespace`.
pub fn json_response(result: Result<Value, AwsError>, namespace: &str, content_type: &'static str) -> Response {
    match result {
        Ok(value) => {
            let mut response = Response::new(Body::from(value.to_string()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            response
        }
        Err(error) => error.into_response(namespace),
    }
}

/// The response to a request body that exceeds [`MAXIMUM_BODY`].
pub fn too_large() -> Response {
    let why = format!("the request body is larger than {MAXIMUM_BODY} bytes");
    AwsError::new("RequestTooLarge", why).into_response("com.amazonaws")
}
