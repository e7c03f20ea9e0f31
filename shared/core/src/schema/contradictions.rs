//! Definitions that contradict themselves: a required field that is not declared, a minimum above the maximum, a field or a listed
//! value that no record can have. Each is refused with its pointer; otherwise the first write would fail, for a reason that the
//! definition already shows.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::{Map, Number, Value, json};

use crate::error::FieldError;
use crate::expr::{Kind, number};
use crate::json_pointer::escape;

use super::field::Field;
use super::places::Places;
use super::validate;

/// The code of all these errors.
const CODE: &str = "unsatisfiable";
/// Keywords whose first value must not exceed the second.
const RANGES: [(&str, &str); 6] = [
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minContains", "maxContains"),
    ("minContains", "maxItems"),
    ("minimum", "maximum"),
];
/// Keywords whose first value must be below the second.
const OPEN_RANGES: [(&str, &str); 3] =
    [("minimum", "exclusiveMaximum"), ("exclusiveMinimum", "maximum"), ("exclusiveMinimum", "exclusiveMaximum")];
/// Any id of a record, and any time, in their stored forms.
const ID: &str = "01900000-0000-7000-8000-000000000000";
const TIME: &str = "2026-03-01T12:00:00.000Z";

/// Checks the keywords of a schema and its subschemas against each other.
pub(super) fn check(schema: &Value, fields: &BTreeMap<String, Field>, problems: &mut Vec<FieldError>) {
    let Some(root) = schema.as_object() else { return };
    for (pointer, schema) in &Places::of(root).schemas {
        if schema.get("enum").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            let message = "An empty `enum` allows no value. List the allowed values, or leave it out.";
            problems.push(FieldError::new(format!("{pointer}/enum"), CODE, message));
        }
        check_ranges(schema, pointer, problems);
        if pointer == "/schema" || is_closed(schema) {
            check_required(schema, pointer, problems);
        }
    }
    let counts =
        [("minProperties", fields.len(), Ordering::Greater), ("maxProperties", required(root).count(), Ordering::Less)];
    for (keyword, count, wrong) in counts {
        let stated = root.get(keyword).and_then(Value::as_number);
        if stated.is_some_and(|stated| number::compare(stated, &Number::from(count)) == wrong) {
            let message = format!(
                "A record has at most {} fields and requires {}, so none can satisfy this.",
                fields.len(),
                required(root).count()
            );
            problems.push(FieldError::new(format!("/schema/{keyword}"), CODE, message));
        }
    }
    for (name, _) in fields.iter().filter(|(_, field)| field.types.is_none()) {
        let pointer = format!("/schema/properties/{}", escape(name));
        if !problems.iter().any(|problem| problem.pointer.starts_with(&pointer)) {
            let message =
                "No value fits this field: its keywords exclude every type. Correct them, or remove the field.";
            problems.push(FieldError::new(pointer, CODE, message));
        }
    }
}

fn check_ranges(schema: &Map<String, Value>, pointer: &str, problems: &mut Vec<FieldError>) {
    let is_wrong = |least: &str, most: &str, may_be_equal: bool| {
        let [least, most] = [least, most].map(|keyword| schema.get(keyword).and_then(Value::as_number));
        let order = least.zip(most).map(|(least, most)| number::compare(least, most));
        order.is_some_and(|order| order.is_gt() || (order.is_eq() && !may_be_equal))
    };
    let ranges = RANGES.map(|range| (range, true)).into_iter().chain(OPEN_RANGES.map(|range| (range, false)));
    for ((least, most), may_be_equal) in ranges {
        if is_wrong(least, most, may_be_equal) {
            let message = format!("No value lies between `{least}` and `{most}`. Correct one of them.");
            problems.push(FieldError::new(format!("{pointer}/{least}"), CODE, message));
        }
    }
}

/// Whether an object has only its declared members.
fn is_closed(schema: &Map<String, Value>) -> bool {
    schema.get("additionalProperties") == Some(&Value::Bool(false)) && !schema.contains_key("patternProperties")
}

/// Checks that every required member of a closed object is declared.
fn check_required(schema: &Map<String, Value>, pointer: &str, problems: &mut Vec<FieldError>) {
    let declared = |name: &str| {
        schema.get("properties").and_then(Value::as_object).is_some_and(|properties| properties.contains_key(name))
    };
    let mut check = |name: &str, place: String| {
        if !declared(name) {
            let message = format!("`properties` declares no `{}`. Declare it, or correct the name.", shortened(name));
            problems.push(FieldError::new(place, CODE, message));
        }
    };
    for (position, name) in required(schema).enumerate() {
        check(name, format!("{pointer}/required/{position}"));
    }
    for (name, others) in schema.get("dependentRequired").and_then(Value::as_object).into_iter().flatten() {
        let place = format!("{pointer}/dependentRequired/{}", escape(name));
        check(name, place.clone());
        for (position, other) in names(others).enumerate() {
            check(other, format!("{place}/{position}"));
        }
    }
}

fn required(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    schema.get("required").into_iter().flat_map(names)
}

fn names(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Checks with the validator that each listed value of a field fits its other keywords, and that an id fits a relation and a time fits
/// a field of times. For a schema without other errors.
pub(super) fn check_values(schema: &Value, fields: &BTreeMap<String, Field>, problems: &mut Vec<FieldError>) {
    let Ok(others) = validate::of_members(&without_lists(schema)) else { return };
    let found =
        |name: &str, value: Value| validate::find(&others, fields, &Map::from_iter([(name.to_owned(), value)]).into());
    for (name, field) in fields {
        let pointer = format!("/schema/properties/{}", escape(name));
        for (place, value) in listed(schema, name) {
            let stored = field.stored_form(value);
            if stored != *value {
                let message =
                    format!("A time is stored as {TIME}, so no record has this value. Write it in that form.");
                problems.push(FieldError::new(format!("{pointer}/{place}"), CODE, message));
            } else if let Some(wrong) = found(name, stored).into_iter().next() {
                let message = format!(
                    "No record can have this value, because the field's other keywords refuse it: {}",
                    wrong.message
                );
                problems.push(FieldError::new(format!("{pointer}/{place}"), CODE, message));
            }
        }
        let sample = match (&field.relation, &field.value.kind) {
            (Some(_), Kind::List(_)) => Some((json!([ID]), "id of a record")),
            (Some(_), _) => Some((ID.into(), "id of a record")),
            (None, Kind::Moment) => Some((TIME.into(), "time")),
            _ => None,
        };
        // A pattern may fit other ids or times.
        let is_of_form = |problem: &FieldError| matches!(problem.code, "too_long" | "too_short" | "format");
        let of_sample = sample.and_then(|(value, what)| Some((what, found(name, value).into_iter().find(is_of_form)?)));
        if let Some((what, wrong)) = of_sample {
            let message = format!("No {what} fits this field: {}", wrong.message);
            problems.push(FieldError::new(pointer, CODE, message));
        }
    }
}

/// The schema without the lists of values of its fields.
fn without_lists(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let fields = schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten();
    for members in fields.filter_map(|(_, field)| field.as_object_mut()) {
        members.retain(|keyword, _| !["enum", "const"].contains(&keyword.as_str()));
    }
    schema
}

/// The values that a field's `enum` and `const` list, each with its place.
fn listed<'a>(schema: &'a Value, name: &str) -> Vec<(String, &'a Value)> {
    let field = schema.get("properties").and_then(|properties| properties.get(name));
    let constant = field.and_then(|field| field.get("const")).map(|value| ("const".to_owned(), value));
    let values = field.and_then(|field| field.get("enum")).and_then(Value::as_array).into_iter().flatten();
    values.enumerate().map(|(position, value)| (format!("enum/{position}"), value)).chain(constant).collect()
}

#[cfg(test)]
mod tests {
    use crate::schema::Definition;
    use serde_json::{Value, json};

    fn refused(schema: Value) -> Vec<(String, &'static str)> {
        let body = json!({ "schema": schema });
        let problems = Definition::parse("things", body, None).err().unwrap_or_default();
        problems.into_iter().map(|problem| (problem.pointer, problem.code)).collect()
    }

    fn field(x: Value) -> Vec<(String, &'static str)> {
        refused(json!({ "type": "object", "properties": { "x": x, "y": {} } }))
    }

    #[test]
    fn a_field_without_possible_values_is_refused_with_its_pointer() {
        let time = |keyword: &str, value: Value| json!({ "type": "string", "format": "date-time", keyword: value });
        for (x, place) in [
            (json!(false), ""),
            (json!({ "enum": [] }), "/enum"),
            (json!({ "allOf": [{ "type": "string" }, { "type": "integer" }] }), ""),
            (json!({ "$ref": "#/properties/y", "not": true, "type": "string", "const": 1 }), ""),
            (json!({ "type": "string", "const": 1 }), ""),
            (json!({ "type": "string", "minLength": 3, "maxLength": 2 }), "/minLength"),
            (json!({ "minItems": 3, "maxItems": 2 }), "/minItems"),
            (json!({ "minimum": 1.5, "maximum": 1 }), "/minimum"),
            (json!({ "minimum": 1, "exclusiveMaximum": 1 }), "/minimum"),
            (json!({ "exclusiveMinimum": 1, "maximum": 1 }), "/exclusiveMinimum"),
            (json!({ "exclusiveMinimum": 1, "exclusiveMaximum": 1.0 }), "/exclusiveMinimum"),
            (json!({ "items": { "anyOf": [{ "minLength": 2, "maxLength": 1 }] } }), "/items/anyOf/0/minLength"),
            (json!({ "contains": true, "minContains": 3, "maxContains": 2 }), "/minContains"),
            (json!({ "additionalProperties": false, "required": ["a"] }), "/required/0"),
            (
                json!({ "properties": { "a": true }, "additionalProperties": false, "dependentRequired": { "a": ["b"] } }),
                "/dependentRequired/a/0",
            ),
            (json!({ "type": "string", "enum": ["a", 1] }), "/enum/1"),
            (json!({ "maxLength": 2, "enum": ["ab", "abc", null] }), "/enum/1"),
            (json!({ "minimum": 2, "const": 1 }), "/const"),
            (time("enum", json!(["2026-03-01T12:00:00.000Z", "2026-03-01T12:00:00Z"])), "/enum/1"),
            (time("maxLength", json!(20)), ""),
            (time("minLength", json!(25)), ""),
            (json!({ "allOf": [{ "format": "date" }], "type": "string", "format": "date-time" }), ""),
            (json!({ "type": "string", "maxLength": 20, "relation": { "collection": "users" } }), ""),
            (json!({ "type": "string", "format": "email", "relation": { "collection": "users" } }), ""),
        ] {
            assert_eq!(field(x.clone()), [(format!("/schema/properties/x{place}"), "unsatisfiable")], "{x}");
        }
    }

    #[test]
    fn keywords_of_the_record_must_name_its_fields() {
        let record = |more: Value| {
            let mut schema = json!({ "type": "object", "properties": { "x": {}, "y": {} } });
            schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            refused(schema)
        };
        for (more, place) in [
            (json!({ "required": ["x", "b"] }), "/required/1"),
            (json!({ "dependentRequired": { "x": ["b"] } }), "/dependentRequired/x/0"),
            (json!({ "dependentRequired": { "b": ["x"] } }), "/dependentRequired/b"),
            (json!({ "minProperties": 3 }), "/minProperties"),
            (json!({ "maxProperties": 1, "required": ["x", "y"] }), "/maxProperties"),
        ] {
            assert_eq!(record(more.clone()), [(format!("/schema{place}"), "unsatisfiable")], "{more}");
        }
    }

    #[test]
    fn what_some_record_satisfies_is_accepted() {
        for x in [
            json!(true),
            json!({ "type": "null" }),
            json!({ "enum": ["a", 1, null] }),
            json!({ "minimum": 1, "maximum": 1 }),
            json!({ "exclusiveMinimum": 0, "maximum": 1 }),
            json!({ "minLength": 2, "maxLength": 2, "enum": ["ab"] }),
            json!({ "required": ["a"] }),
            json!({ "patternProperties": { "^a": {} }, "additionalProperties": false, "required": ["a"] }),
            json!({ "type": ["string", "null"], "format": "date-time", "enum": [null, "2026-03-01T12:00:00.000Z"] }),
            json!({ "type": "string", "format": "date-time", "pattern": "^2030" }),
            json!({ "type": "string", "format": "uuid", "maxLength": 36, "relation": { "collection": "users" } }),
        ] {
            assert_eq!(field(x.clone()), [], "{x}");
        }
    }
}
