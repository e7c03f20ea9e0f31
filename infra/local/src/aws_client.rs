//! A client of the local cloud's own services: endpoint, access key and clock.

use serde_json::Value;

use crate::clock::Clock;
use crate::http_client::{CallError, HttpClient};
use crate::iam::access_key;
use crate::signature::{SecretKeys, Signer};

/// Calls AWS services over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct AwsClient {
    pub(crate) client: HttpClient,
    pub(crate) endpoint: String,
    pub(crate) keys: SecretKeys,
    /// Signs the calls.
    pub(crate) signer: Signer,
    pub(crate) clock: Clock,
}

impl AwsClient {
    /// Calls `action` (`AmazonSQS.ReceiveMessage`).
    pub(crate) async fn call(&self, action: &str, body: &Value) -> Result<Value, CallError> {
        self.client.call(&self.endpoint, &self.signer, action, body).await
    }

    /// The same client with the access key of this function: its calls are checked against the function's role.
    pub(crate) fn as_function(&self, function: &str) -> Self {
        Self { signer: self.keys.signer(&access_key(function)), ..self.clone() }
    }
}
