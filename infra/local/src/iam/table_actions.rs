//! The actions that calls of DynamoDB require: one for each table and index, with the partition keys of the request.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::required_action::{RequiredAction, unknown_operation};
use super::table_keys::TableKeys;
use crate::aws_error::AwsError;
use crate::template::plain_text;

/// The condition key with the partition keys of a request.
const LEADING_KEYS: &str = "dynamodb:LeadingKeys";

/// The actions that a call of DynamoDB requires.
pub fn required_actions(
    operation: &str,
    body: &Value,
    known: &BTreeMap<String, TableKeys>,
) -> Result<Vec<RequiredAction>, AwsError> {
    let known = KnownTables(known);
    match operation {
        "GetItem" | "UpdateItem" | "DeleteItem" => Ok(vec![known.item(operation, body, body.get("Key"))?]),
        "PutItem" => Ok(vec![known.item(operation, body, body.get("Item"))?]),
        "Query" => Ok(vec![known.query(body)?]),
        "Scan" => Ok(vec![known.whole(operation, body)?]),
        "DescribeTable" | "DescribeTimeToLive" => Ok(vec![known.whole(operation, body)?]),
        "BatchGetItem" => known.batch(operation, body, |request| list(request, "Keys").collect()),
        "BatchWriteItem" => known.batch(operation, body, written),
        "TransactGetItems" | "TransactWriteItems" => known.transaction(body),
        _ => Err(unknown_operation(operation)),
    }
}

/// The actions that a call of DynamoDB Streams requires.
pub fn required_stream_actions(
    operation: &str,
    body: &Value,
    known: &BTreeMap<String, TableKeys>,
) -> Vec<RequiredAction> {
    let action = format!("dynamodb:{operation}");
    match operation {
        // An iterator is opaque. If it does not contain its stream, permission was checked by GetShardIterator only.
        "GetRecords" => stream_of(&text(body, "ShardIterator"), known)
            .map(|arn| RequiredAction::new(&action, arn))
            .into_iter()
            .collect(),
        "ListStreams" => {
            let keys = table_named(&text(body, "TableName"), known);
            vec![RequiredAction::new(
                &action,
                keys.map(|keys| format!("{}/stream/*", keys.arn)).unwrap_or_else(|| "*".into()),
            )]
        }
        _ => vec![RequiredAction::new(&action, text(body, "StreamArn"))],
    }
}

/// The keys of all tables, by name.
struct KnownTables<'a>(&'a BTreeMap<String, TableKeys>);

impl KnownTables<'_> {
    /// An action on one item, whose key is among these attributes.
    fn item(&self, operation: &str, body: &Value, attributes: Option<&Value>) -> Result<RequiredAction, AwsError> {
        let keys = self.table(body)?;
        let leading = attributes.and_then(|attributes| key_text(attributes.get(&keys.partition)?));
        Ok(RequiredAction::new(&format!("dynamodb:{operation}"), &keys.arn)
            .with(LEADING_KEYS, leading.into_iter().collect()))
    }

    /// An action on a whole table or index, without partition keys.
    fn whole(&self, operation: &str, body: &Value) -> Result<RequiredAction, AwsError> {
        let (_, arn) = self.part(body)?;
        Ok(RequiredAction::new(&format!("dynamodb:{operation}"), arn))
    }

    fn query(&self, body: &Value) -> Result<RequiredAction, AwsError> {
        let (partition, arn) = self.part(body)?;
        let leading = queried_partition(body, partition)
            .ok_or_else(|| AwsError::new("ValidationException", "Query condition missed key schema element"))?;
        Ok(RequiredAction::new("dynamodb:Query", arn).with(LEADING_KEYS, vec![leading]))
    }

    /// The actions of a batch: one for each table, with all its partition keys.
    fn batch<'b>(
        &self,
        operation: &str,
        body: &'b Value,
        items: impl Fn(&'b Value) -> Vec<&'b Value>,
    ) -> Result<Vec<RequiredAction>, AwsError> {
        let requests = body.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
        let of_table = |(name, request): (&String, &'b Value)| {
            let keys = table_named(name, self.0).ok_or_else(|| missing(name))?;
            let items = items(request);
            let leading = items.iter().filter_map(|item| key_text(item.get(&keys.partition)?)).collect();
            Ok(RequiredAction::new(&format!("dynamodb:{operation}"), &keys.arn).with(LEADING_KEYS, leading))
        };
        requests.map(of_table).collect()
    }

    /// The actions of a transaction: those of each of its parts.
    fn transaction(&self, body: &Value) -> Result<Vec<RequiredAction>, AwsError> {
        let parts = list(body, "TransactItems").filter_map(Value::as_object).flatten();
        let of_part = |(kind, part): (&String, &Value)| match kind.as_str() {
            "Put" => self.item("PutItem", part, part.get("Item")),
            "Get" | "Update" | "Delete" => self.item(&format!("{kind}Item"), part, part.get("Key")),
            "ConditionCheck" => self.item("ConditionCheckItem", part, part.get("Key")),
            other => Err(unknown_operation(other)),
        };
        parts.map(of_part).collect()
    }

    /// The partition key's name and the ARN of the table or index that a call reads.
    fn part(&self, body: &Value) -> Result<(&str, String), AwsError> {
        let keys = self.table(body)?;
        let Some(index) = body.get("IndexName").and_then(Value::as_str) else {
            return Ok((&keys.partition, keys.arn.clone()));
        };
        let partition = keys.indexes.get(index);
        let partition = partition.ok_or_else(|| {
            AwsError::new("ValidationException", format!("The table does not have the specified index: {index}"))
        })?;
        Ok((partition, format!("{}/index/{index}", keys.arn)))
    }

    fn table(&self, body: &Value) -> Result<&TableKeys, AwsError> {
        let name = text(body, "TableName");
        table_named(&name, self.0).ok_or_else(|| missing(&name))
    }
}

/// The items that a `BatchWriteItem` puts, and the keys that it deletes.
fn written(request: &Value) -> Vec<&Value> {
    let each = request.as_array().into_iter().flatten();
    each.filter_map(|one| one.pointer("/PutRequest/Item").or_else(|| one.pointer("/DeleteRequest/Key"))).collect()
}

/// The value of the partition key in a query's key condition.
fn queried_partition(body: &Value, partition: &str) -> Option<String> {
    if let Some(values) = body.pointer(&format!("/KeyConditions/{partition}/AttributeValueList")) {
        return key_text(values.get(0)?);
    }
    let condition = text(body, "KeyConditionExpression").replace(['(', ')'], " ").replace('=', " = ");
    let words: Vec<_> = condition.split_whitespace().collect();
    let name = |word: &str| match word.starts_with('#') {
        true => body.pointer("/ExpressionAttributeNames").map(|names| text(names, word)).unwrap_or_default(),
        false => word.to_owned(),
    };
    let equal = words.windows(3).find_map(|window| match window {
        [left, "=", right] if name(left) == partition => Some(*right),
        [left, "=", right] if name(right) == partition => Some(*left),
        _ => None,
    })?;
    key_text(body.get("ExpressionAttributeValues")?.get(equal)?)
}

/// A key as it appears in a condition: the text in `{"S": "text"}`.
fn key_text(attribute: &Value) -> Option<String> {
    attribute.as_object()?.values().next().map(plain_text)
}

fn stream_of(iterator: &str, known: &BTreeMap<String, TableKeys>) -> Option<String> {
    if iterator.starts_with("arn:") {
        return iterator.split('|').next().map(str::to_owned);
    }
    let inside: Value = serde_json::from_slice(&STANDARD.decode(iterator).ok()?).ok()?;
    table_named(inside.get("table_name")?.as_str()?, known).map(|keys| keys.stream.clone())
}

/// A table by its name or its ARN.
fn table_named<'a>(name: &str, known: &'a BTreeMap<String, TableKeys>) -> Option<&'a TableKeys> {
    known.get(name.rsplit(":table/").next().unwrap_or(name))
}

fn missing(name: &str) -> AwsError {
    AwsError::new("ResourceNotFoundException", format!("Requested resource not found: Table: {name} not found"))
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

fn text(value: &Value, field: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn known() -> BTreeMap<String, TableKeys> {
        let described = json!({
            "TableArn": "arn:t", "LatestStreamArn": "arn:t/stream/1",
            "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }, { "AttributeName": "sk", "KeyType": "RANGE" }],
            "GlobalSecondaryIndexes": [{ "IndexName": "ix", "KeySchema": [{ "AttributeName": "ixp", "KeyType": "HASH" }] }],
        });
        [("T".to_owned(), TableKeys::read(&described))].into()
    }

    /// Actions, resources and partition keys of a call, one line each.
    fn required(operation: &str, body: Value) -> Vec<String> {
        let required_actions = required_actions(operation, &body, &known()).unwrap();
        let line = |required: RequiredAction| {
            let leading = required.context.get(LEADING_KEYS).map(|keys| keys.join(",")).unwrap_or_else(|| "-".into());
            format!("{} {} {leading}", required.action, required.resource)
        };
        required_actions.into_iter().map(line).collect()
    }

    #[test]
    fn a_call_requires_an_action_on_each_table_or_index_with_its_partition_keys() {
        let key = json!({ "pk": { "S": "a" }, "sk": { "S": "x" } });
        let values = json!({ ":v": { "S": "p" }, ":s": { "S": "q" } });
        let cases = [
            ("GetItem", json!({ "TableName": "T", "Key": key }), vec!["dynamodb:GetItem arn:t a"]),
            (
                "PutItem",
                json!({ "TableName": "arn:aws:dynamodb:r:0:table/T", "Item": key }),
                vec!["dynamodb:PutItem arn:t a"],
            ),
            ("Scan", json!({ "TableName": "T", "IndexName": "ix" }), vec!["dynamodb:Scan arn:t/index/ix -"]),
            (
                "Query",
                json!({ "TableName": "T", "KeyConditionExpression": "sk > :s AND (#p=:v)",
                        "ExpressionAttributeNames": { "#p": "pk" }, "ExpressionAttributeValues": values }),
                vec!["dynamodb:Query arn:t p"],
            ),
            (
                "Query",
                json!({ "TableName": "T", "IndexName": "ix", "KeyConditionExpression": "ixp = :v",
                        "ExpressionAttributeValues": values }),
                vec!["dynamodb:Query arn:t/index/ix p"],
            ),
            (
                "BatchGetItem",
                json!({ "RequestItems": { "T": { "Keys": [key, { "pk": { "S": "b" } }] } } }),
                vec!["dynamodb:BatchGetItem arn:t a,b"],
            ),
            (
                "BatchWriteItem",
                json!({ "RequestItems": { "T": [{ "PutRequest": { "Item": key } }, { "DeleteRequest": { "Key": { "pk": { "S": "b" } } } }] } }),
                vec!["dynamodb:BatchWriteItem arn:t a,b"],
            ),
            (
                "TransactWriteItems",
                json!({ "TransactItems": [
                    { "Put": { "TableName": "T", "Item": key } },
                    { "Update": { "TableName": "T", "Key": key } },
                    { "Delete": { "TableName": "T", "Key": key } },
                    { "ConditionCheck": { "TableName": "T", "Key": key } },
                ] }),
                vec![
                    "dynamodb:PutItem arn:t a",
                    "dynamodb:UpdateItem arn:t a",
                    "dynamodb:DeleteItem arn:t a",
                    "dynamodb:ConditionCheckItem arn:t a",
                ],
            ),
        ];
        for (operation, body, expected) in cases {
            assert_eq!(required(operation, body.clone()), expected, "{operation} {body}");
        }
    }

    #[test]
    fn an_unknown_operation_is_rejected() {
        let unknown_operation =
            required_actions("ExecuteStatement", &json!({ "Statement": "SELECT * FROM T" }), &known());
        assert_eq!(unknown_operation.unwrap_err().code, "AccessDeniedException");
        let nowhere = required_actions("GetItem", &json!({ "TableName": "U" }), &known());
        assert_eq!(nowhere.unwrap_err().code, "ResourceNotFoundException");
        let all = json!({ "TableName": "T", "KeyConditionExpression": "sk > :s" });
        assert_eq!(required_actions("Query", &all, &known()).unwrap_err().code, "ValidationException");
    }

    #[test]
    fn an_iterator_requires_permission_for_the_stream_it_contains() {
        let ours = STANDARD.encode(r#"{"table_name":"T","shard_id":"s","position":0}"#);
        for (iterator, expected) in [
            (ours.as_str(), vec!["arn:t/stream/1"]),
            ("arn:x/stream/2|1|z", vec!["arn:x/stream/2"]),
            ("opaque", vec![]),
        ] {
            let required_actions =
                required_stream_actions("GetRecords", &json!({ "ShardIterator": iterator }), &known());
            let resources: Vec<_> = required_actions.iter().map(|required| required.resource.as_str()).collect();
            assert_eq!(resources, expected);
        }
    }
}
