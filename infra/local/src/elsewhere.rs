//! Another AWS-compatible endpoint, such as moto_server or DynamoDB Local: asked what it serves, and used for that.

use std::collections::BTreeMap;

use serde_json::json;

use crate::client::{CallError, Client};
use crate::error::StartError;
use crate::service::Service;
use crate::signature::Signer;

/// Finds out which services answer at `endpoint`. Mail is never sent elsewhere: it stays where it can be read.
///
/// # Errors
/// None of them does.
pub(crate) async fn probe(
    client: &Client,
    signer: &Signer,
    endpoint: &str,
) -> Result<BTreeMap<Service, String>, StartError> {
    let endpoint = endpoint.trim_end_matches('/');
    let questions = [
        (Service::Tables, "DynamoDB_20120810.ListTables", json!({})),
        (Service::Queues, "AmazonSQS.ListQueues", json!({})),
        (Service::Parameters, "AmazonSSM.GetParameter", json!({ "Name": "/undercroft/probe" })),
    ];
    let mut found = BTreeMap::new();
    let mut silence = None;
    for (service, action, body) in questions {
        match client.call(endpoint, signer, action, &body).await {
            // No such parameter is a parameter store's answer; an unknown operation is nobody's.
            Ok(_) => drop(found.insert(service, endpoint.to_owned())),
            Err(error) if error.is("ParameterNotFound") => drop(found.insert(service, endpoint.to_owned())),
            Err(CallError::Refused { .. }) => {}
            Err(CallError::Unreachable(why)) => silence = Some(why),
        }
    }
    match silence {
        Some(why) if found.is_empty() => {
            Err(StartError::Endpoint(format!("nothing to use answers at {endpoint}: {why}")))
        }
        None if found.is_empty() => {
            Err(StartError::Endpoint(format!("{endpoint} serves neither DynamoDB, SQS nor SSM Parameter Store")))
        }
        _ => Ok(found),
    }
}
