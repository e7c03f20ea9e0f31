//! The keys of a table and its indexes.

use std::collections::BTreeMap;

use serde_json::Value;

/// ARNs and partition keys of a table.
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
    /// Reads the output of `DescribeTable`.
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
