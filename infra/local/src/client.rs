//! A small client for AWS's JSON protocols over plain HTTP: enough to create what the template describes and to poll.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::signature::Signer;

/// Headers that belong to one connection and are not passed on.
const PER_CONNECTION: [HeaderName; 5] =
    [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TE];

/// A shared HTTP client. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
}

/// Why a call did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The service refused: the error's name without its namespace, and its message.
    Refused {
        /// Name of the error, such as `ResourceInUseException`.
        code: String,
        /// What the service said.
        message: String,
    },
    /// Nobody answered, or not in AWS's way.
    Unreachable(String),
}

impl CallError {
    /// Whether the service refused with this error.
    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { code, message } => write!(out, "{code}: {message}"),
            Self::Unreachable(why) => out.write_str(why),
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        Self { http: Http::builder(TokioExecutor::new()).build(connector) }
    }
}

impl Client {
    /// Calls `action` (`AmazonSQS.ReceiveMessage`) at `endpoint`, signed.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, endpoint: &str, signer: &Signer, action: &str, body: &Value) -> Result<Value, CallError> {
        let request = Request::post(endpoint)
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.0")
            .header("x-amz-target", action)
            .body(Bytes::from(body.to_string()))
            .map_err(unreachable)?;
        let request = signer.sign(service_of(action), request).map(Full::new);
        let (status, answer) = self.exchange(request).await?;
        let json = serde_json::from_slice::<Value>(&answer);
        match json {
            Ok(value) if status.is_success() => Ok(value),
            Ok(error) => Err(refused(&error)),
            Err(_) => Err(CallError::Unreachable(format!("{endpoint} answered {status}, but not as AWS does"))),
        }
    }

    /// Sends one plain request and reads the whole answer.
    ///
    /// # Errors
    /// Nobody answers at that address.
    pub async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), CallError> {
        let response = self.http.request(request).await.map_err(unreachable)?;
        let status = response.status();
        Ok((status, whole(response).await?.1))
    }

    /// Passes an SDK's request on to `endpoint`, as it is but for what belongs to the connection.
    ///
    /// # Errors
    /// Nobody answers at that address.
    pub async fn pass_on(
        &self,
        endpoint: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<(StatusCode, HeaderMap, Bytes), CallError> {
        let mut request = Request::post(endpoint).body(Full::new(body)).map_err(unreachable)?;
        *request.headers_mut() = headers.clone();
        PER_CONNECTION.iter().for_each(|name| drop(request.headers_mut().remove(name)));
        let response = self.http.request(request).await.map_err(unreachable)?;
        let status = response.status();
        let (mut headers, body) = whole(response).await?;
        PER_CONNECTION.iter().for_each(|name| drop(headers.remove(name)));
        Ok((status, headers, body))
    }
}

async fn whole(response: Response<Incoming>) -> Result<(HeaderMap, Bytes), CallError> {
    let (parts, body) = response.into_parts();
    Ok((parts.headers, body.collect().await.map_err(unreachable)?.to_bytes()))
}

/// The service's name in a signature.
fn service_of(action: &str) -> &'static str {
    match action.split(['.', '_']).next() {
        Some("AmazonSQS") => "sqs",
        Some("AmazonSSM") => "ssm",
        _ => "dynamodb",
    }
}

fn refused(error: &Value) -> CallError {
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let code = text("__type").rsplit(['#', '.']).next().unwrap_or_default().to_owned();
    let message = [text("message"), text("Message")].concat();
    CallError::Refused { code, message }
}

fn unreachable(error: impl std::error::Error) -> CallError {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    CallError::Unreachable(text)
}
