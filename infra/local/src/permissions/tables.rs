//! What calls of DynamoDB need. AWS looks at each table and index a call touches, and at the partition keys it names.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::needs::{Need, untold};
use crate::service::Fault;
use crate::template::plain_text;

/// Name of the condition key that holds the partition keys of a request.
const LEADING_KEYS: &str = "dynamodb:LeadingKeys";

/// What must be known about a table to tell what a call needs.
#[derive(Debug, Clone, Default)]
pub struct TableKeys {
    /// ARN of the table.
    pub arn: String,
    /// ARN of its stream, if it has one.
    pub stream: String,
    /// Name of its partition key.
    pub partition: String,
    /// Name of each index's partition key.
    pub indexes: BTreeMap<String, String>,
}

impl TableKeys {
    /// Reads what DescribeTable says.
    pub fn read(described: &Value) -> Self {
        let indexes = ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"];
        let indexes = indexes.iter().flat_map(|kind| list(described, kind));
        Self {
            arn: text(described, "TableArn"),
            stream: text(described, "LatestStreamArn"),
            partition: partition(described),
            indexes: indexes.map(|index| (text(index, "IndexName"), partition(index))).collect(),
        }
    }
}

/// What a call of DynamoDB itself needs.
pub fn needs(operation: &str, body: &Value, known: &BTreeMap<String, TableKeys>) -> Result<Vec<Need>, Fault> {
    let known = Known(known);
    match operation {
        "GetItem" | "UpdateItem" | "DeleteItem" => Ok(vec![known.item(operation, body, body.get("Key"))?]),
        "PutItem" => Ok(vec![known.item(operation, body, body.get("Item"))?]),
        "Query" => Ok(vec![known.query(body)?]),
        "Scan" => Ok(vec![known.whole(operation, body)?]),
        "DescribeTable" | "DescribeTimeToLive" => Ok(vec![known.whole(operation, body)?]),
        "BatchGetItem" => known.batch(operation, body, |request| list(request, "Keys").collect()),
        "BatchWriteItem" => known.batch(operation, body, written),
        "TransactGetItems" | "TransactWriteItems" => known.transaction(body),
        _ => Err(untold(operation)),
    }
}

/// What a call of DynamoDB Streams needs.
pub fn stream_needs(operation: &str, body: &Value, known: &BTreeMap<String, TableKeys>) -> Vec<Need> {
    let action = format!("dynamodb:{operation}");
    match operation {
        // An iterator is opaque. Where it does not say which stream it reads, its opening was what was checked.
        "GetRecords" => {
            stream_of(&text(body, "ShardIterator"), known).map(|arn| Need::new(&action, arn)).into_iter().collect()
        }
        "ListStreams" => {
            let keys = table_named(&text(body, "TableName"), known);
            vec![Need::new(&action, keys.map(|keys| format!("{}/stream/*", keys.arn)).unwrap_or_else(|| "*".into()))]
        }
        _ => vec![Need::new(&action, text(body, "StreamArn"))],
    }
}

struct Known<'a>(&'a BTreeMap<String, TableKeys>);

impl Known<'_> {
    /// One item, by the attributes that hold its key.
    fn item(&self, operation: &str, body: &Value, attributes: Option<&Value>) -> Result<Need, Fault> {
        let keys = self.table(body)?;
        let leading = attributes.and_then(|attributes| key_text(attributes.get(&keys.partition)?));
        Ok(Need::new(&format!("dynamodb:{operation}"), &keys.arn).with(LEADING_KEYS, leading.into_iter().collect()))
    }

    /// All of a table, or of one of its indexes: no partition is named.
    fn whole(&self, operation: &str, body: &Value) -> Result<Need, Fault> {
        let (_, arn) = self.part(body)?;
        Ok(Need::new(&format!("dynamodb:{operation}"), arn))
    }

    fn query(&self, body: &Value) -> Result<Need, Fault> {
        let (partition, arn) = self.part(body)?;
        let leading = queried_partition(body, partition)
            .ok_or_else(|| Fault::new("ValidationException", "Query condition missed key schema element"))?;
        Ok(Need::new("dynamodb:Query", arn).with(LEADING_KEYS, vec![leading]))
    }

    /// A batch is checked once a table, with all keys it names there.
    fn batch<'b>(
        &self,
        operation: &str,
        body: &'b Value,
        items: impl Fn(&'b Value) -> Vec<&'b Value>,
    ) -> Result<Vec<Need>, Fault> {
        let requests = body.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
        let of_table = |(name, request): (&String, &'b Value)| {
            let keys = table_named(name, self.0).ok_or_else(|| missing(name))?;
            let items = items(request);
            let leading = items.iter().filter_map(|item| key_text(item.get(&keys.partition)?)).collect();
            Ok(Need::new(&format!("dynamodb:{operation}"), &keys.arn).with(LEADING_KEYS, leading))
        };
        requests.map(of_table).collect()
    }

    /// A transaction needs what each of its parts would need alone.
    fn transaction(&self, body: &Value) -> Result<Vec<Need>, Fault> {
        let parts = list(body, "TransactItems").filter_map(Value::as_object).flatten();
        let of_part = |(kind, part): (&String, &Value)| match kind.as_str() {
            "Put" => self.item("PutItem", part, part.get("Item")),
            "Get" | "Update" | "Delete" => self.item(&format!("{kind}Item"), part, part.get("Key")),
            "ConditionCheck" => self.item("ConditionCheckItem", part, part.get("Key")),
            other => Err(untold(other)),
        };
        parts.map(of_part).collect()
    }

    /// The partition key and ARN of the table or index a call reads.
    fn part(&self, body: &Value) -> Result<(&str, String), Fault> {
        let keys = self.table(body)?;
        let Some(index) = body.get("IndexName").and_then(Value::as_str) else {
            return Ok((&keys.partition, keys.arn.clone()));
        };
        let partition = keys.indexes.get(index);
        let partition = partition.ok_or_else(|| {
            Fault::new("ValidationException", format!("The table does not have the specified index: {index}"))
        })?;
        Ok((partition, format!("{}/index/{index}", keys.arn)))
    }

    fn table(&self, body: &Value) -> Result<&TableKeys, Fault> {
        let name = text(body, "TableName");
        table_named(&name, self.0).ok_or_else(|| missing(&name))
    }
}

/// The items of a BatchWriteItem: what is put, and the keys of what is deleted.
fn written(request: &Value) -> Vec<&Value> {
    let each = request.as_array().into_iter().flatten();
    each.filter_map(|one| one.pointer("/PutRequest/Item").or_else(|| one.pointer("/DeleteRequest/Key"))).collect()
}

/// The value a query's key condition wants its partition key to equal.
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

/// A key as conditions see it: the text inside `{"S": "text"}`.
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

fn missing(name: &str) -> Fault {
    Fault::new("ResourceNotFoundException", format!("Requested resource not found: Table: {name} not found"))
}

fn partition(described: &Value) -> String {
    let hash = list(described, "KeySchema").find(|key| text(key, "KeyType") == "HASH");
    hash.map(|key| text(key, "AttributeName")).unwrap_or_default()
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

    /// Actions, resources and leading keys of a call, one line each.
    fn told(operation: &str, body: Value) -> Vec<String> {
        let needs = needs(operation, &body, &known()).unwrap();
        let line = |need: Need| {
            let leading = need.context.get(LEADING_KEYS).map(|keys| keys.join(",")).unwrap_or_else(|| "-".into());
            format!("{} {} {leading}", need.action, need.resource)
        };
        needs.into_iter().map(line).collect()
    }

    #[test]
    fn a_call_needs_an_action_on_each_table_or_index_it_touches_with_the_partitions_it_names() {
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
            assert_eq!(told(operation, body.clone()), expected, "{operation} {body}");
        }
    }

    #[test]
    fn what_nobody_can_tell_is_refused_and_not_waved_through() {
        let untold = needs("ExecuteStatement", &json!({ "Statement": "SELECT * FROM T" }), &known());
        assert_eq!(untold.unwrap_err().code, "AccessDeniedException");
        let nowhere = needs("GetItem", &json!({ "TableName": "U" }), &known());
        assert_eq!(nowhere.unwrap_err().code, "ResourceNotFoundException");
        let all = json!({ "TableName": "T", "KeyConditionExpression": "sk > :s" });
        assert_eq!(needs("Query", &all, &known()).unwrap_err().code, "ValidationException");
    }

    #[test]
    fn an_iterator_is_checked_against_the_stream_it_reads_where_it_says_which() {
        let ours = STANDARD.encode(r#"{"table_name":"T","shard_id":"s","position":0}"#);
        for (iterator, expected) in [
            (ours.as_str(), vec!["arn:t/stream/1"]),
            ("arn:x/stream/2|1|z", vec!["arn:x/stream/2"]),
            ("opaque", vec![]),
        ] {
            let needs = stream_needs("GetRecords", &json!({ "ShardIterator": iterator }), &known());
            let resources: Vec<_> = needs.iter().map(|need| need.resource.as_str()).collect();
            assert_eq!(resources, expected);
        }
    }
}
