//! An HTTP client for AWS's JSON protocols.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::signature::Signer;

/// Headers of one connection, which are not forwarded.
const PER_CONNECTION: [HeaderName; 5] =
    [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TE];

/// An HTTP client. Clones share its connections.
#[derive(Debug, Clone)]
pub struct HttpClient {
    http: HyperClient<HttpConnector, Full<Bytes>>,
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// The service returned an error.
    Refused {
        /// Name of the error without its namespace, such as `ResourceInUseException`.
        code: String,
        /// The service's message.
        message: String,
    },
    /// There was no response, or not one of AWS's protocol.
    Unreachable(String),
}

impl CallError {
    /// Whether the service returned this error.
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

impl Default for HttpClient {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(5)));
        Self { http: HyperClient::builder(TokioExecutor::new()).build(connector) }
    }
}

impl HttpClient {
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
            Ok(error) => Err(service_error(&error)),
            Err(_) => {
                Err(CallError::Unreachable(format!("{endpoint} returned status {status} with a body that is not JSON")))
            }
        }
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// There was no response.
    pub async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), CallError> {
        let response = self.http.request(request).await.map_err(unreachable)?;
        let status = response.status();
        Ok((status, read_whole(response).await?.1))
    }

    /// Forwards a request to `endpoint`, without the headers of the connection.
    ///
    /// # Errors
    /// There was no response.
    pub async fn forward(
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
        let (mut headers, body) = read_whole(response).await?;
        PER_CONNECTION.iter().for_each(|name| drop(headers.remove(name)));
        Ok((status, headers, body))
    }
}

async fn read_whole(response: Response<Incoming>) -> Result<(HeaderMap, Bytes), CallError> {
    let (parts, body) = response.into_parts();
    Ok((parts.headers, body.collect().await.map_err(unreachable)?.to_bytes()))
}

/// The service's name in the signature.
fn service_of(action: &str) -> &'static str {
    match action.split(['.', '_']).next() {
        Some("AmazonSQS") => "sqs",
        Some("AmazonSSM") => "ssm",
        _ => "dynamodb",
    }
}

fn service_error(error: &Value) -> CallError {
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
