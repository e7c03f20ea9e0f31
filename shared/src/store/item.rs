//! Items: DynamoDB's typed attributes, and their conversion from and to JSON.

use crate::expr::number::Decimal;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Number, Value};
use std::collections::HashMap;

/// An item or a key: attribute name to value.
pub type Item = HashMap<String, AttributeValue>;

/// The key of a table with partition key `pk` and sort key `sk`.
pub fn key(pk: &str, sk: &str) -> Item {
    [("pk", string(pk)), ("sk", string(sk))].map(|(name, value)| (name.to_owned(), value)).into()
}

/// A string attribute.
pub fn string(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// A number attribute.
pub fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The text of a string attribute.
pub fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name)?.as_s().ok().map(String::as_str)
}

/// The value of an integer attribute.
pub fn integer(item: &Item, name: &str) -> Option<u64> {
    item.get(name)?.as_n().ok()?.parse().ok()
}

/// A JSON value as an attribute.
pub fn from_json(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::Number(value) => AttributeValue::N(value.to_string()),
        Value::String(value) => AttributeValue::S(value.clone()),
        Value::Array(items) => AttributeValue::L(items.iter().map(from_json).collect()),
        Value::Object(members) => AttributeValue::M(from_members(members)),
    }
}

/// The members of a JSON object as attributes.
pub fn from_members(members: &Map<String, Value>) -> Item {
    members.iter().map(|(name, value)| (name.clone(), from_json(value))).collect()
}

/// An attribute as JSON. Sets and binaries, which never occur in data, become `null`.
pub fn to_json(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::Bool(value) => Value::Bool(*value),
        AttributeValue::N(text) => Value::Number(number_of(text)),
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::L(items) => items.iter().map(to_json).collect(),
        AttributeValue::M(members) => Value::Object(to_members(members)),
        _ => Value::Null,
    }
}

/// The number in a number attribute. DynamoDB may spell it differently; this restores the form it was written in.
pub fn number_of(text: &str) -> Number {
    text.parse::<i64>().map_or_else(|_| Decimal::from_text(text).number(), Into::into)
}

/// Attributes as the members of a JSON object.
pub fn to_members(item: &Item) -> Map<String, Value> {
    item.iter().map(|(name, value)| (name.clone(), to_json(value))).collect()
}

/// The size of an item as DynamoDB calculates it, or slightly more: names, values and the overhead of lists and maps.
pub fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + size_of(value)).sum()
}

fn size_of(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len() + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::L(elements) => 3 + elements.iter().map(|element| size_of(element) + 1).sum::<usize>(),
        AttributeValue::M(members) => 3 + size(members) + members.len(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_survives_the_round_trip() {
        let value =
            json!({ "a": [1, -2.5, true, null, "ü😀", ""], "b": { "c": {} }, "big": u64::MAX, "small": i64::MIN });
        assert_eq!(to_json(&from_json(&value)), value);
    }
}
