//! This stack's keys, in SSM Parameter Store as SecureStrings. The first function that needs a key creates it, so an idle
//! stack costs nothing and no key is created by hand (design section 8).

use crate::aws::{Aws, Service, StoredResponse};
use crate::error::{Error, Result};
use serde_json::json;

/// The parameters under `/undercroft/<stack>` that this function's role may read.
#[derive(Debug, Clone)]
pub struct Parameters {
    aws: Aws,
    path: String,
}

impl Parameters {
    /// Parameters below `path`, which starts with a slash and does not end in one.
    pub fn new(aws: Aws, path: String) -> Self {
        Self { aws, path }
    }

    /// The value of a parameter, or the value of `make` if the parameter does not exist yet. Concurrent callers get the same
    /// value.
    ///
    /// # Errors
    /// `Unavailable` when SSM does not respond or refuses.
    pub async fn get_or_create(&self, name: &str, make: impl FnOnce() -> String) -> Result<String> {
        if let Some(value) = self.get(name).await? {
            return Ok(value);
        }
        let made = make();
        let body = json!({
            "Name": self.full_name(name), "Value": made, "Type": "SecureString", "Overwrite": false,
            "Description": "Created by Undercroft on first use. Deleting it signs out every user.",
        });
        let answer = self.call("AmazonSSM.PutParameter", &body).await?;
        match answer.status {
            200 => Ok(made),
            _ if answer.error_type() == "ParameterAlreadyExists" => {
                self.get(name).await?.ok_or_else(|| refused(&answer))
            }
            _ => Err(refused(&answer)),
        }
    }

    /// The value of a parameter, if it exists.
    ///
    /// # Errors
    /// `Unavailable` when SSM does not respond or refuses.
    pub async fn get(&self, name: &str) -> Result<Option<String>> {
        let body = json!({ "Name": self.full_name(name), "WithDecryption": true });
        let answer = self.call("AmazonSSM.GetParameter", &body).await?;
        if answer.error_type() == "ParameterNotFound" {
            return Ok(None);
        }
        let value = answer.body.pointer("/Parameter/Value").and_then(|value| value.as_str());
        value.map(|value| Some(value.to_owned())).ok_or_else(|| refused(&answer))
    }

    async fn call(&self, target: &str, body: &serde_json::Value) -> Result<StoredResponse> {
        self.aws
            .post(Service::Ssm, "/", Some(target), body)
            .await
            .map_err(|source| Error::Unavailable { retry_after: 1, source: Some(source) })
    }

    fn full_name(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

fn refused(answer: &StoredResponse) -> Error {
    let source = format!("parameter store answered {} {}", answer.status, answer.error_type());
    Error::Unavailable { retry_after: 1, source: Some(source.into()) }
}
