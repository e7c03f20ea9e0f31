//! Schema compatibility: whether a new schema accepts everything an old one accepts. Stored records then need no check.
//!
//! It compares the text of the two schemas, keyword by keyword, and answers no if it cannot tell. A job then checks the
//! records, which costs time and not correctness.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use crate::expr::number;

use super::formats::is_annotation;

/// Annotation keywords, which do not affect validity.
const SILENT: [&str; 13] = [
    "title",
    "description",
    "default",
    "examples",
    "$comment",
    "$schema",
    "deprecated",
    "readOnly",
    "writeOnly",
    "hidden",
    "writeOnce",
    "relation",
    "renamedFrom",
];
/// Keywords that are wider with a smaller number.
const LEAST: [&str; 5] = ["minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum"];
/// Keywords that are wider with a larger number.
const MOST: [&str; 5] = ["maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum"];
/// Keywords whose removal widens the schema and whose values are not compared.
const FORBIDDING: [&str; 13] = [
    "pattern",
    "format",
    "multipleOf",
    "uniqueItems",
    "not",
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "$ref",
];
/// Keywords that change the meaning of sibling keywords.
const FAR_REACHING: [&str; 4] = ["patternProperties", "unevaluatedProperties", "unevaluatedItems", "$anchor"];

/// Whether `new` accepts every record that `old` accepts. Both describe records with only declared members.
pub(super) fn allows_as_much(old: &Value, new: &Value) -> bool {
    let closed = |schema: &Value| {
        let mut schema = schema.as_object().cloned().unwrap_or_default();
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
        schema
    };
    let (old, new) = (closed(old), closed(new));
    let plain = refers_to_definitions_only(old.values()) && refers_to_definitions_only(new.values());
    old == new || (plain && all_keywords(&old, &new))
}

/// Whether every `$ref` points into `$defs`, whose schemas must stay unchanged: a reference to a property would make a change
/// there apply elsewhere. A `$dynamicRef` is never accepted.
fn refers_to_definitions_only<'a>(values: impl IntoIterator<Item = &'a Value>) -> bool {
    values.into_iter().all(|value| match value {
        Value::Array(items) => refers_to_definitions_only(items),
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str).is_none_or(|target| target.starts_with("#/$defs/"));
            own && !members.contains_key("$dynamicRef") && refers_to_definitions_only(members.values())
        }
        _ => true,
    })
}

fn within(old: &Value, new: &Value) -> bool {
    match (old, new) {
        _ if old == new => true,
        (Value::Bool(false), _) | (_, Value::Bool(true)) => true,
        (Value::Bool(true), Value::Object(new)) => all_keywords(&Map::new(), new),
        (Value::Object(old), Value::Object(new)) => all_keywords(old, new),
        _ => false,
    }
}

fn all_keywords(old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    let speaks = |keyword: &&String| !SILENT.contains(&keyword.as_str()) && !keyword.starts_with("x-");
    let keywords = || old.keys().chain(new.keys()).filter(speaks);
    if keywords().any(|keyword| FAR_REACHING.contains(&keyword.as_str())) {
        return keywords().all(|keyword| old.get(keyword) == new.get(keyword));
    }
    keywords().all(|keyword| keyword_allows_as_much(keyword, old, new))
}

/// Whether everything `old` accepts satisfies this one keyword of `new`.
fn keyword_allows_as_much(keyword: &str, old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    let (before, after) = (old.get(keyword), new.get(keyword));
    if before == after {
        return true;
    }
    match (keyword, before, after) {
        ("properties" | "additionalProperties", ..) => members_allow_as_much(old, new),
        ("required", ..) => elements(after).iter().all(|name| elements(before).contains(name)),
        ("$defs", Some(before), Some(after)) => entries(before).all(|(name, old)| {
            let kept = after.get(name);
            kept.is_none() || kept == Some(old)
        }),
        ("$defs" | "type" | "enum" | "const" | "items" | "then" | "else", _, None) => true,
        ("$defs", None, _) => true,
        ("then" | "else", ..) => !new.contains_key("if"),
        ("format", _, Some(after)) if is_annotation(after) => true,
        ("type", Some(before), Some(after)) => {
            types(before).all(|name| types(after).any(|other| includes(other, name)))
        }
        ("enum" | "const", _, Some(_)) => {
            listed(old).is_some_and(|old| listed(new).is_some_and(|new| old.iter().all(|value| new.contains(value))))
        }
        ("items", Some(before), Some(after)) => within(before, after),
        (_, Some(Value::Number(before)), Some(Value::Number(after))) => match number::compare(before, after) {
            Ordering::Greater => LEAST.contains(&keyword),
            Ordering::Less => MOST.contains(&keyword),
            Ordering::Equal => LEAST.contains(&keyword) || MOST.contains(&keyword),
        },
        (_, Some(_), None) => [&LEAST[..], &MOST, &FORBIDDING].iter().any(|keywords| keywords.contains(&keyword)),
        _ => false,
    }
}

/// Members by name. A member that one side does not name follows its `additionalProperties`.
fn members_allow_as_much(old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    const OPEN: Value = Value::Bool(true);
    let rest = |schema: &Map<String, Value>| schema.get("additionalProperties").cloned().unwrap_or(OPEN);
    let named =
        |schema: &Map<String, Value>| schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    let (rest_before, rest_after, before, after) = (rest(old), rest(new), named(old), named(new));
    before.iter().all(|(name, property)| within(property, after.get(name).unwrap_or(&rest_after)))
        && after.iter().all(|(name, property)| before.contains_key(name) || within(&rest_before, property))
        && within(&rest_before, &rest_after)
}

fn elements(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn types(value: &Value) -> impl Iterator<Item = &str> {
    value.as_str().into_iter().chain(value.as_array().into_iter().flatten().filter_map(Value::as_str))
}

fn includes(wide: &str, narrow: &str) -> bool {
    wide == narrow || (wide, narrow) == ("number", "integer")
}

/// The values of `enum` or `const`, if the schema has either.
fn listed(schema: &Map<String, Value>) -> Option<Vec<Value>> {
    match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => Some(vec![value.clone()]),
        (None, Some(Value::Array(values))) => Some(values.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A record of one property, before and after.
    fn property(old: Value, new: Value) -> bool {
        let record = |property| json!({ "type": "object", "properties": { "p": property } });
        allows_as_much(&record(old), &record(new))
    }

    #[test]
    fn a_wider_schema_is_recognised() {
        for (old, new) in [
            (json!({ "type": "string", "maxLength": 3 }), json!({ "type": "string", "maxLength": 4 })),
            (json!({ "type": "string", "maxLength": 3 }), json!({ "type": "string" })),
            (json!({ "type": "string", "minLength": 3 }), json!({ "type": "string", "minLength": 2 })),
            (json!({ "minimum": 1e2 }), json!({ "minimum": 99.5 })),
            (json!({ "type": "integer" }), json!({ "type": "number" })),
            (json!({ "type": "integer" }), json!({ "type": ["number", "null"] })),
            (json!({ "type": "integer" }), json!({})),
            (json!({ "type": "integer" }), json!(true)),
            (json!({ "enum": ["a"] }), json!({ "enum": ["b", "a"] })),
            (json!({ "const": "a" }), json!({ "enum": ["b", "a"] })),
            (json!({ "type": "string", "enum": ["a"] }), json!({ "type": "string" })),
            (json!({ "type": "string", "pattern": "^a" }), json!({ "type": "string" })),
            (json!({ "type": "string", "format": "email" }), json!({ "type": "string" })),
            (json!({ "type": "string" }), json!({ "type": "string", "title": "A", "hidden": true, "x-mine": 1 })),
            (json!({ "items": { "maximum": 1 } }), json!({ "items": { "maximum": 2 } })),
            (json!({ "if": { "const": 1 }, "then": false }), json!({})),
            (json!({ "required": ["a", "b"] }), json!({ "required": ["b"] })),
            (
                json!({ "properties": { "a": true }, "additionalProperties": false }),
                json!({ "properties": { "a": true, "b": { "type": "string" } }, "additionalProperties": false }),
            ),
            (json!({ "properties": { "a": { "type": "string" } } }), json!({ "properties": {} })),
        ] {
            assert!(property(old.clone(), new.clone()), "{old} to {new}");
        }
    }

    #[test]
    fn a_schema_that_could_exclude_a_value_is_refused() {
        for (old, new) in [
            (json!({ "type": "string", "maxLength": 3 }), json!({ "type": "string", "maxLength": 2 })),
            (json!({ "type": "string" }), json!({ "type": "string", "maxLength": 1000 })),
            (json!({ "minimum": 1 }), json!({ "minimum": 1.5 })),
            (json!({ "type": "number" }), json!({ "type": "integer" })),
            (json!({ "type": ["string", "null"] }), json!({ "type": "string" })),
            (json!({}), json!({ "type": "string" })),
            (json!({ "enum": ["a", "b"] }), json!({ "enum": ["a"] })),
            (json!({ "enum": ["a", "b"] }), json!({ "enum": ["a", "b"], "const": "a" })),
            (json!({ "type": "string" }), json!({ "type": "string", "format": "date-time" })),
            (json!({ "pattern": "^a" }), json!({ "pattern": "^ab" })),
            (json!({ "multipleOf": 2 }), json!({ "multipleOf": 1 })),
            (json!({ "prefixItems": [true], "items": false }), json!({ "items": false })),
            (json!({ "contains": true, "minContains": 2 }), json!({ "contains": true })),
            (json!({ "not": { "const": 1 } }), json!({ "not": { "enum": [1, 2] } })),
            (json!({}), json!({ "if": { "const": 1 }, "then": false })),
            (json!({ "required": [] }), json!({ "required": ["a"] })),
            (json!({ "properties": {} }), json!({ "properties": { "a": { "type": "string" } } })),
            (json!({ "additionalProperties": true }), json!({ "additionalProperties": false })),
            (
                json!({ "unevaluatedProperties": false, "properties": { "a": true } }),
                json!({ "unevaluatedProperties": false }),
            ),
        ] {
            assert!(!property(old.clone(), new.clone()), "{old} to {new}");
        }
    }

    #[test]
    fn fields_of_a_record_may_be_added_and_not_removed() {
        let record = |properties: Value| json!({ "type": "object", "properties": properties });
        assert!(allows_as_much(
            &record(json!({ "a": true })),
            &record(json!({ "a": true, "b": { "type": "string" } }))
        ));
        assert!(!allows_as_much(&record(json!({ "a": true, "b": true })), &record(json!({ "a": true }))));
    }

    #[test]
    fn a_reference_is_as_wide_as_its_target() {
        let record = |length: u32, target: &str| {
            json!({ "type": "object", "properties": { "a": { "$ref": target }, "b": { "maxLength": length } },
                    "$defs": { "d": { "maxLength": length } } })
        };
        assert!(
            !allows_as_much(&record(3, "#/$defs/d"), &record(4, "#/$defs/d")),
            "a changed definition is not compared"
        );
        let property = |length: u32| json!({ "type": "object", "properties": { "a": { "not": { "$ref": "#/properties/b" } }, "b": { "maxLength": length } } });
        assert!(!allows_as_much(&property(3), &property(4)), "a wider target under `not` is narrower");
        let dynamic = |length: u32| json!({ "type": "object", "properties": { "a": { "not": { "$dynamicRef": "#/properties/b" } }, "b": { "maxLength": length } } });
        assert!(!allows_as_much(&dynamic(3), &dynamic(4)), "also by a dynamic reference");
    }

    /// Schemas from few keywords, so that one of a pair often includes the other.
    fn demands() -> impl proptest::strategy::Strategy<Value = Value> {
        use proptest::prelude::*;
        let demand = prop_oneof![
            (0..4).prop_map(|n| ("maximum".to_owned(), json!(n))),
            (0..4).prop_map(|n| ("minimum".to_owned(), json!(n))),
            (0..4).prop_map(|n| ("exclusiveMaximum".to_owned(), json!(n))),
            (0..3).prop_map(|n| ("maxLength".to_owned(), json!(n))),
            (1..3).prop_map(|n| ("multipleOf".to_owned(), json!(n))),
            proptest::sample::subsequence(vec!["string", "integer", "number", "null", "array"], 1..4)
                .prop_map(|names| ("type".to_owned(), json!(names))),
            proptest::sample::subsequence(vec![json!(1), json!(2), json!("a"), json!(null)], 1..4)
                .prop_map(|values| ("enum".to_owned(), json!(values))),
            (0..3).prop_map(|n| ("items".to_owned(), json!({ "maximum": n }))),
            (0..3).prop_map(|n| ("not".to_owned(), json!({ "const": n }))),
        ];
        prop::collection::vec(demand, 0..4).prop_map(|demands| Value::Object(demands.into_iter().collect()))
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_wider_schema_accepts_everything_the_old_one_does(old in demands(), new in demands()) {
            let values = [json!(0), json!(1), json!(2), json!(3), json!(1.5), json!(""), json!("a"), json!("bcd"), json!(null), json!([]), json!([1]), json!([2, "a"])];
            if property(old.clone(), new.clone()) {
                let (old, new) = (jsonschema::validator_for(&old).unwrap(), jsonschema::validator_for(&new).unwrap());
                for value in values {
                    proptest::prop_assert!(!old.is_valid(&value) || new.is_valid(&value), "{value}");
                }
            }
        }
    }
}
