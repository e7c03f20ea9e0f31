//! Keywords that validate several fields together. One that involves a hidden field is refused: whether the other fields are
//! valid would reveal the hidden value.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::json_pointer::escape;

/// Keywords at the top level that involve all fields, whatever their value.
const ALL_FIELDS: [&str; 5] = ["minProperties", "maxProperties", "propertyNames", "const", "enum"];
/// The same inside a combining keyword, where these involve the fields that they name or leave out.
const ALL_FIELDS_BELOW: [&str; 5] =
    ["additionalProperties", "unevaluatedProperties", "patternProperties", "$ref", "$dynamicRef"];

/// Refuses keywords that would reveal a hidden field.
pub(super) fn check(schema: &Value, problems: &mut Vec<FieldError>) {
    let Some(root) = schema.as_object() else { return };
    let hidden = hidden(root);
    if hidden.is_empty() {
        return;
    }
    for (keyword, value) in root {
        let is_told = match keyword.as_str() {
            // These apply to each field separately, or to all fields by name.
            "properties" | "required" => false,
            "$ref" | "$dynamicRef" => true,
            _ => tells(keyword, value, &hidden),
        };
        if is_told {
            let message = "This keyword validates several fields together, including a hidden one, so whether the others are \
                           valid would reveal the hidden value. Leave the hidden field out of it, or move it to its own \
                           collection.";
            problems.push(FieldError::new(format!("/schema/{}", escape(keyword)), "tells_hidden", message));
        }
    }
}

fn hidden(root: &Map<String, Value>) -> BTreeSet<&str> {
    let fields = root.get("properties").and_then(Value::as_object).into_iter().flatten();
    let hidden = fields.filter(|(_, field)| field.get("hidden") == Some(&Value::Bool(true)));
    hidden.map(|(name, _)| name.as_str()).collect()
}

/// Whether a keyword's result for the whole record depends on a hidden field.
fn tells(keyword: &str, value: &Value, hidden: &BTreeSet<&str>) -> bool {
    let is_hidden = |name: &Value| name.as_str().is_some_and(|name| hidden.contains(name));
    let names = |names: &Value| names.as_array().into_iter().flatten().any(is_hidden);
    let below = |schema: &Value| schema.as_object().is_some_and(|schema| tells_below(schema, hidden));
    let members = || value.as_object().into_iter().flatten();
    match keyword {
        "allOf" | "anyOf" | "oneOf" => value.as_array().into_iter().flatten().any(below),
        "not" | "if" | "then" | "else" => below(value),
        "required" => names(value),
        "properties" => members().any(|(name, _)| hidden.contains(name.as_str())),
        "dependentRequired" => members().any(|(name, listed)| hidden.contains(name.as_str()) || names(listed)),
        "dependentSchemas" => members().any(|(name, schema)| hidden.contains(name.as_str()) || below(schema)),
        other => ALL_FIELDS.contains(&other),
    }
}

fn tells_below(schema: &Map<String, Value>, hidden: &BTreeSet<&str>) -> bool {
    schema.iter().any(|(keyword, value)| ALL_FIELDS_BELOW.contains(&keyword.as_str()) || tells(keyword, value, hidden))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(more: &Value) -> Vec<String> {
        let mut schema = json!({ "type": "object", "additionalProperties": false, "required": ["pin"], "properties": {
            "pin": { "type": "string", "hidden": true }, "x": { "type": "integer" }, "y": { "type": "integer" } } });
        schema.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let mut problems = Vec::new();
        check(&schema, &mut problems);
        problems.into_iter().map(|problem| problem.pointer).collect()
    }

    #[test]
    fn a_keyword_over_several_fields_is_refused_only_with_a_hidden_one() {
        for fine in [
            json!({}),
            json!({ "dependentRequired": { "x": ["y"] } }),
            json!({ "if": { "properties": { "x": { "const": 1 } } }, "then": { "required": ["y"] } }),
            json!({ "anyOf": [{ "required": ["x"] }, { "not": { "required": ["y"] } }] }),
            json!({ "dependentSchemas": { "x": { "properties": { "y": { "enum": [1] } } } } }),
        ] {
            assert_eq!(refused(&fine), [""; 0], "{fine}");
        }
        for (revealing, pointer) in [
            (json!({ "dependentRequired": { "x": ["pin"] } }), "/schema/dependentRequired"),
            (json!({ "dependentRequired": { "pin": ["x"] } }), "/schema/dependentRequired"),
            (json!({ "dependentSchemas": { "pin": {} } }), "/schema/dependentSchemas"),
            (json!({ "maxProperties": 2 }), "/schema/maxProperties"),
            (json!({ "minProperties": 2 }), "/schema/minProperties"),
            (json!({ "const": { "pin": "gold" } }), "/schema/const"),
            (json!({ "if": { "properties": { "pin": { "const": "gold" } } } }), "/schema/if"),
            (json!({ "anyOf": [{ "required": ["x"] }, { "required": ["pin"] }] }), "/schema/anyOf"),
            (json!({ "oneOf": [{ "allOf": [{ "maxProperties": 1 }] }] }), "/schema/oneOf"),
            (json!({ "not": { "additionalProperties": { "const": "gold" } } }), "/schema/not"),
            (json!({ "allOf": [{ "$ref": "#/$defs/a" }] }), "/schema/allOf"),
            (json!({ "$ref": "#/$defs/a" }), "/schema/$ref"),
        ] {
            assert_eq!(refused(&revealing), [pointer], "{revealing}");
        }
    }
}
