//! Reads operations from the document.

use serde_json::Value;

/// An operation of the document with its path and method.
pub struct Operation<'a> {
    pub path: &'a str,
    pub method: &'a str,
    pub members: &'a Value,
}

impl Operation<'_> {
    pub fn text(&self, member: &str) -> &str {
        self.members.get(member).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn tag(&self) -> &str {
        self.members.pointer("/tags/0").and_then(Value::as_str).unwrap_or_default()
    }
}

/// The elements of a list of an operation, with references resolved.
pub fn listed<'a>(document: &'a Value, operation: &Operation<'a>, member: &str) -> impl Iterator<Item = &'a Value> {
    let elements = operation.members.get(member).and_then(Value::as_array).into_iter().flatten();
    elements.map(|element| resolved(document, element))
}

pub fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let target = value.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    target.and_then(|path| document.pointer(path)).unwrap_or(value)
}

pub fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
