//! The actions and resources that a call requires permission for.

use std::collections::BTreeMap;

use serde_json::Value;

use super::required_action::{RequiredAction, unknown_operation};
use super::table_actions;
use super::table_keys::TableKeys;
use crate::aws_error::AwsError;
use crate::template::{ACCOUNT, REGION, plain_text};

/// The deployed resources by name. An external endpoint may use another account or region in its ARNs.
#[derive(Debug, Clone, Default)]
pub struct DeployedResources {
    /// The tables.
    pub tables: BTreeMap<String, TableKeys>,
    /// ARNs of the queues, by the last part of their URLs.
    pub queues: BTreeMap<String, String>,
}

/// The actions that a call of one of AWS's JSON protocols requires.
///
/// # Errors
/// The operation is unknown or the request is malformed.
pub fn required_by_call(
    target: &str,
    body: &Value,
    resources: &DeployedResources,
) -> Result<Vec<RequiredAction>, AwsError> {
    let (service, operation) = target.split_once('.').unwrap_or_default();
    match service {
        "DynamoDB_20120810" => table_actions::required_actions(operation, body, &resources.tables),
        "DynamoDBStreams_20120810" => Ok(table_actions::required_stream_actions(operation, body, &resources.tables)),
        "AmazonSQS" => Ok(vec![required_by_queue_call(operation, body, resources)]),
        "AmazonSSM" => Ok(required_by_parameter_call(operation, body)),
        _ => Err(unknown_operation(target)),
    }
}

/// The action that sending a mail requires, on the sender's identity.
pub fn required_by_mail(body: &Value) -> Vec<RequiredAction> {
    let from = body.get("FromEmailAddress").map(plain_text).unwrap_or_default();
    // The identity of `Name <address>` is the address.
    let address = from.rsplit_once('<').map_or(from.as_str(), |(_, address)| address.trim_end_matches('>'));
    let identity = format!("arn:aws:ses:{REGION}:{ACCOUNT}:identity/{address}");
    vec![RequiredAction::new("ses:SendEmail", identity).with("ses:FromAddress", vec![address.to_owned()])]
}

fn required_by_queue_call(operation: &str, body: &Value, resources: &DeployedResources) -> RequiredAction {
    // A batch requires the action of its single form.
    let action = format!("sqs:{}", operation.trim_end_matches("Batch"));
    let url = body.get("QueueUrl").or_else(|| body.get("QueueName")).map(plain_text).unwrap_or_default();
    let name = last_part(&url);
    let default = || format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}");
    RequiredAction::new(&action, resources.queues.get(name).cloned().unwrap_or_else(default))
}

/// The part of a URL after the last slash.
pub fn last_part(address: &str) -> &str {
    address.rsplit('/').next().unwrap_or(address)
}

fn required_by_parameter_call(operation: &str, body: &Value) -> Vec<RequiredAction> {
    let one = body.get("Name").into_iter();
    let many = body.get("Names").and_then(Value::as_array).into_iter().flatten();
    let arn = |name: &Value| {
        let name = plain_text(name);
        format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{}", name.trim_start_matches('/'))
    };
    one.chain(many).map(|name| RequiredAction::new(&format!("ssm:{operation}"), arn(name))).collect()
}
