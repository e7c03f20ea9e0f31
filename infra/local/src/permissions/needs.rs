//! What a call needs: the actions and resources AWS checks before it does what was asked.

use std::collections::BTreeMap;

use serde_json::Value;

use super::tables::{self, TableKeys};
use crate::service::Fault;
use crate::template::{ACCOUNT, REGION, plain_text};

/// One action on one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The action, such as `dynamodb:PutItem`.
    pub action: String,
    /// ARN of what it acts on.
    pub resource: String,
    /// What conditions may ask about: all values of each key.
    pub context: BTreeMap<&'static str, Vec<String>>,
}

/// What stands, by its name. Another endpoint may put it into another account or region than ours.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// The tables.
    pub tables: BTreeMap<String, TableKeys>,
    /// ARNs of the queues, by the last part of their addresses.
    pub queues: BTreeMap<String, String>,
}

impl Need {
    /// An action on a resource, with nothing to ask about.
    pub fn new(action: &str, resource: impl Into<String>) -> Self {
        Self { action: action.to_owned(), resource: resource.into(), context: BTreeMap::new() }
    }

    /// The same, with these values of one condition key.
    #[must_use]
    pub fn with(mut self, key: &'static str, values: Vec<String>) -> Self {
        self.context.insert(key, values);
        self
    }
}

/// What a call of one of AWS's JSON protocols needs.
///
/// # Errors
/// Nobody can tell, because the operation is not known here or its request is not legible.
pub fn of_call(target: &str, body: &Value, standing: &Standing) -> Result<Vec<Need>, Fault> {
    let (service, operation) = target.split_once('.').unwrap_or_default();
    match service {
        "DynamoDB_20120810" => tables::needs(operation, body, &standing.tables),
        "DynamoDBStreams_20120810" => Ok(tables::stream_needs(operation, body, &standing.tables)),
        "AmazonSQS" => Ok(vec![of_queue(operation, body, standing)]),
        "AmazonSSM" => Ok(of_parameters(operation, body)),
        _ => Err(untold(target)),
    }
}

/// What sending a mail needs: the identity it is sent under.
pub fn of_mail(body: &Value) -> Vec<Need> {
    let from = body.get("FromEmailAddress").map(plain_text).unwrap_or_default();
    // `Name <address>` is sent under the address.
    let address = from.rsplit_once('<').map_or(from.as_str(), |(_, address)| address.trim_end_matches('>'));
    let identity = format!("arn:aws:ses:{REGION}:{ACCOUNT}:identity/{address}");
    vec![Need::new("ses:SendEmail", identity).with("ses:FromAddress", vec![address.to_owned()])]
}

/// The refusal of an operation whose needs nobody has written down.
pub(super) fn untold(operation: &str) -> Fault {
    let why = format!("the local cloud does not know what {operation} needs, so no role can allow it here");
    Fault::new("AccessDeniedException", why)
}

fn of_queue(operation: &str, body: &Value, standing: &Standing) -> Need {
    // A batch needs what its single form needs.
    let action = format!("sqs:{}", operation.trim_end_matches("Batch"));
    let url = body.get("QueueUrl").or_else(|| body.get("QueueName")).map(plain_text).unwrap_or_default();
    let name = last_part(&url);
    let elsewhere = || format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}");
    Need::new(&action, standing.queues.get(name).cloned().unwrap_or_else(elsewhere))
}

/// What stands behind an address's last slash.
pub fn last_part(address: &str) -> &str {
    address.rsplit('/').next().unwrap_or(address)
}

fn of_parameters(operation: &str, body: &Value) -> Vec<Need> {
    let one = body.get("Name").into_iter();
    let many = body.get("Names").and_then(Value::as_array).into_iter().flatten();
    let arn = |name: &Value| {
        let name = plain_text(name);
        format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{}", name.trim_start_matches('/'))
    };
    one.chain(many).map(|name| Need::new(&format!("ssm:{operation}"), arn(name))).collect()
}
