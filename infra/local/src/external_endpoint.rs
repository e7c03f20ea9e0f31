//! An external AWS-compatible endpoint, such as moto_server or DynamoDB Local, which replaces the local services that it serves.

use std::collections::BTreeMap;

use serde_json::json;

use crate::http_client::{CallError, HttpClient};
use crate::service::Service;
use crate::signature::Signer;
use crate::start_error::StartError;

/// Finds out which services the endpoint serves. Mail always stays local, so that it can be read.
///
/// # Errors
/// It serves none of them.
pub(crate) async fn probe(
    client: &HttpClient,
    signer: &Signer,
    endpoint: &str,
) -> Result<BTreeMap<Service, String>, StartError> {
    let endpoint = endpoint.trim_end_matches('/');
    let probes = [
        (Service::Tables, "DynamoDB_20120810.ListTables", json!({})),
        (Service::Queues, "AmazonSQS.ListQueues", json!({})),
        (Service::Parameters, "AmazonSSM.GetParameter", json!({ "Name": "/undercroft/probe" })),
    ];
    let mut found = BTreeMap::new();
    let mut unreachable = None;
    for (service, action, body) in probes {
        match client.call(endpoint, signer, action, &body).await {
            // `ParameterNotFound` shows that SSM is served; an unknown operation shows that it is not.
            Ok(_) => drop(found.insert(service, endpoint.to_owned())),
            Err(error) if error.is("ParameterNotFound") => drop(found.insert(service, endpoint.to_owned())),
            Err(CallError::Refused { .. }) => {}
            Err(CallError::Unreachable(why)) => unreachable = Some(why),
        }
    }
    match unreachable {
        Some(why) if found.is_empty() => {
            Err(StartError::Endpoint(format!("the endpoint {endpoint} cannot be reached: {why}")))
        }
        None if found.is_empty() => Err(StartError::Endpoint(format!(
            "the endpoint {endpoint} serves neither DynamoDB nor SQS nor SSM Parameter Store"
        ))),
        _ => Ok(found),
    }
}
