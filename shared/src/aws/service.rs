//! Calls to SSM and SES, of which only one or two operations are needed. They use AWS's own signer and HTTP client; the
//! generated SDK crates would more than double the compile time of a fresh clone.

use super::Aws;
use crate::error::Source;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_types::body::SdkBody;
use http_body_util::BodyExt;
use std::time::{Duration, SystemTime};

/// Timeout of a call.
const PATIENCE: Duration = Duration::from_secs(5);

/// An AWS service called without its generated SDK.
#[derive(Debug, Clone, Copy)]
pub enum Service {
    /// Systems Manager Parameter Store (AWS JSON 1.1).
    Ssm,
    /// Simple Email Service v2 (REST).
    Ses,
}

impl Service {
    /// Suffix of the endpoint variable, host label, name in the signature.
    fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Ssm => ("SSM", "ssm", "ssm"),
            Self::Ses => ("SESV2", "email", "ses"),
        }
    }
}

/// A service's response, with any status.
#[derive(Debug)]
pub struct StoredResponse {
    /// HTTP status.
    pub status: u16,
    /// The error's name, if a header contains it.
    named: Option<String>,
    /// The JSON body, `null` if there is none.
    pub body: serde_json::Value,
}

impl StoredResponse {
    /// The error type without its namespace, as in `ParameterNotFound`.
    pub fn error_type(&self) -> &str {
        let in_body = self.body.get("__type").and_then(serde_json::Value::as_str);
        let name = in_body.or(self.named.as_deref()).unwrap_or_default();
        // The name may have a namespace in front or an address behind.
        let name = name.rsplit('#').next().unwrap_or(name);
        name.split(':').next().unwrap_or(name)
    }

    /// The service's error message.
    pub fn error_message(&self) -> &str {
        ["message", "Message"]
            .iter()
            .find_map(|name| self.body.get(name).and_then(serde_json::Value::as_str))
            .unwrap_or("no message")
    }
}

impl Aws {
    /// POSTs a JSON body to a service and returns its response.
    ///
    /// # Errors
    /// When no response arrives. An error response is not an error here.
    pub async fn post(
        &self,
        service: Service,
        path: &str,
        target: Option<&str>,
        body: &serde_json::Value,
    ) -> Result<StoredResponse, Source> {
        let (variable, host, signing_name) = service.names();
        let base = self.endpoint(variable).unwrap_or_else(|| format!("https://{host}.{}.amazonaws.com", self.region));
        let uri = format!("{}{path}", base.trim_end_matches('/'));
        let body = serde_json::to_vec(body)?;
        let content_type = if target.is_some() { "application/x-amz-json-1.1" } else { "application/json" };
        let mut request = http::Request::post(&uri).header("content-type", content_type);
        if let Some(target) = target {
            request = request.header("x-amz-target", target);
        }
        let request = self.signed(request.body(body)?, signing_name)?;
        crate::cost::trip();
        let answered = async {
            let response = self.connector.call(request.map(SdkBody::from).try_into()?).await?;
            let status = response.status().as_u16();
            let named = response.headers().get("x-amzn-errortype").map(str::to_owned);
            let bytes = response.into_body().collect().await?.to_bytes();
            Ok(StoredResponse { status, named, body: serde_json::from_slice(&bytes).unwrap_or_default() })
        };
        tokio::time::timeout(PATIENCE, answered).await.map_err(|_| "the service did not answer in time")?
    }

    fn signed(&self, mut request: http::Request<Vec<u8>>, name: &str) -> Result<http::Request<Vec<u8>>, Source> {
        let identity = self.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(name)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let uri = request.uri().to_string();
        let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let signable = SignableRequest::new("POST", &uri, headers, SignableBody::Bytes(request.body()))?;
        let (instructions, _signature) = sign(signable, &params)?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}
