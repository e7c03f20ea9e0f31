//! Functions called over HTTP, as cargo-lambda offers it, and each called once so that the user's first request is quick.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::failure::Failure;
use crate::client::Client;
use crate::cloud::LocalCloud;
use crate::mapping::{FunctionError, Invoke};
use crate::template::Function;

/// Starting a function takes cargo a look at every source file, one function after the other.
const FIRST_ANSWER: Duration = Duration::from_secs(120);
/// For the tool itself to notice that a function took too long.
const GRACE: Duration = Duration::from_secs(5);

/// Calls functions through cargo-lambda.
pub struct OverHttp {
    client: Client,
    address: String,
    timeouts: BTreeMap<String, Duration>,
}

impl OverHttp {
    /// Functions behind `address`, each with its own timeout.
    pub fn new(address: String, functions: &[Function]) -> Self {
        let timeouts = functions.iter().map(|function| (function.binary.clone(), function.timeout));
        Self { client: Client::default(), address, timeouts: timeouts.collect() }
    }

    async fn call(&self, function: &str, event: &Value) -> Result<String, String> {
        let url = format!("{}/2015-03-31/functions/{function}/invocations", self.address);
        let request = Request::post(url).header("content-type", "application/json").body(Full::from(event.to_string()));
        let request = request.map_err(|error| error.to_string())?;
        let (status, body) = self.client.exchange(request).await.map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() { Ok(text) } else { Err(text) }
    }
}

impl Invoke for OverHttp {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        let limit = self.timeouts.get(function).copied().unwrap_or(FIRST_ANSWER) + GRACE;
        let answer = tokio::time::timeout(limit, self.call(function, &event)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())));
        answer.map_err(|why| {
            eprintln!("undercroft: {function} failed; what it was given will come again: {why}");
            FunctionError(why)
        })
    }
}

/// Calls every function once: by a harmless GET on its first route, or with an event that holds no records.
pub async fn warm(invoker: &OverHttp, cloud: &LocalCloud) -> Result<(), Failure> {
    eprintln!("undercroft: starting the functions");
    // One after the other: cargo lets only one look at the sources at a time, and says so of every other that waits.
    for function in cloud.functions() {
        warm_one(invoker, function).await?;
    }
    Ok(())
}

async fn warm_one(invoker: &OverHttp, function: &Function) -> Result<(), Failure> {
    let answered = async {
        match function.routes().next() {
            Some(route) => {
                let request =
                    Request::get(format!("{}{}", invoker.address, harmless(&route.path))).body(Full::default());
                match invoker.client.exchange(request.ok()?).await {
                    // Any answer of the function will do; these are the tool's, for a function that is not there.
                    Ok((StatusCode::REQUEST_TIMEOUT | StatusCode::BAD_GATEWAY, _)) | Err(_) => None,
                    Ok(_) => Some(()),
                }
            }
            None => invoker.call(&function.binary, &json!({ "Records": [] })).await.ok().map(drop),
        }
    };
    match tokio::time::timeout(FIRST_ANSWER, answered).await {
        Ok(Some(())) => Ok(()),
        _ => Err(Failure::Function(function.binary.clone())),
    }
}

/// A path on this route that means nothing.
fn harmless(path: &str) -> String {
    let parts = path.split('/').map(|part| if part.starts_with('{') { "nothing-here" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_tried_where_nothing_is() {
        assert_eq!(harmless("/v1/auth/{proxy+}"), "/v1/auth/nothing-here");
        assert_eq!(harmless("/v1/collections/{collection}/{proxy+}"), "/v1/collections/nothing-here/nothing-here");
        assert_eq!(harmless("/v1/jobs"), "/v1/jobs");
    }
}
