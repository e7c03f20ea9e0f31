//! Types read from schemas.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn root() -> Map<String, Value> {
    let defs = json!({ "$defs": {
        "id": { "type": "string" }, "named": { "$anchor": "name", "type": "number" },
        "time": { "type": "string", "format": "date-time" }, "either": { "anyOf": [true, { "type": "boolean" }] },
        "loop": { "items": { "$ref": "#/$defs/loop" } } } });
    defs.as_object().cloned().unwrap()
}

fn read(schema: &Value) -> (Kind, bool) {
    let types = Types::of(&root(), schema);
    (types.kind(), types.has_null())
}

#[test]
fn one_type_beside_null_is_seen_through_every_combination() {
    let list = |kind| Kind::List(Box::new(kind));
    let nothing = || json!({ "type": "null" });
    for (schema, kind, nullable) in [
        (json!({ "type": "string" }), Kind::Text, false),
        (json!({ "type": ["null", "integer", "number"] }), Kind::Number, true),
        (json!({ "anyOf": [{ "type": "string" }, nothing()] }), Kind::Text, true),
        (json!({ "oneOf": [nothing(), { "type": "boolean" }] }), Kind::Flag, true),
        (json!({ "anyOf": [{ "$ref": "#/$defs/id" }, nothing()], "default": null, "title": "Id" }), Kind::Text, true),
        (json!({ "anyOf": [{ "$ref": "#/$defs/time" }, { "const": null }] }), Kind::Moment, true),
        (json!({ "allOf": [{ "$ref": "#/$defs/id" }, { "maxLength": 3 }] }), Kind::Text, false),
        (json!({ "allOf": [{ "type": "string" }, { "format": "date-time" }] }), Kind::Moment, false),
        (json!({ "$ref": "#/$defs/id", "format": "date-time" }), Kind::Moment, false),
        (json!({ "$ref": "#name" }), Kind::Number, false),
        (json!({ "$ref": "#/$defs/either/anyOf/1" }), Kind::Flag, false),
        (json!({ "anyOf": [{ "enum": ["a", "b"] }, { "const": "c" }] }), Kind::Text, false),
        (json!({ "enum": ["a", null] }), Kind::Text, true),
        (json!({ "type": ["string", "null"], "enum": ["a"] }), Kind::Text, true),
        (json!({ "type": "string", "enum": ["a", 1] }), Kind::Text, false),
        (json!({ "anyOf": [{ "type": "integer" }, { "type": "string" }], "type": "integer" }), Kind::Number, false),
        (json!({ "type": ["string", "null"], "not": { "type": "null" } }), Kind::Text, false),
        (
            json!({ "type": ["string", "null"], "if": { "type": "string" }, "then": { "minLength": 1 } }),
            Kind::Text,
            true,
        ),
        (json!({ "if": { "type": "null" }, "else": { "type": "number" } }), Kind::Number, true),
        (
            json!({ "anyOf": [{ "type": "array", "items": { "$ref": "#/$defs/id" } }, nothing()] }),
            list(Kind::Text),
            true,
        ),
        (
            json!({ "type": "array", "items": { "anyOf": [{ "type": "number" }, nothing()] } }),
            list(Kind::Number),
            false,
        ),
        (json!({ "type": "array", "items": { "$ref": "#/$defs/time" } }), list(Kind::Text), false),
        (
            json!({ "type": "array", "prefixItems": [{ "type": "string" }], "items": { "type": "integer" } }),
            Kind::Other,
            false,
        ),
        (json!({ "anyOf": [{ "type": "string" }, { "type": "string", "format": "date-time" }] }), Kind::Text, false),
        (json!({ "anyOf": [{ "type": "string" }, { "type": "number" }] }), Kind::Other, false),
        (json!({ "$ref": "#/$defs/either" }), Kind::Other, true),
        (json!({ "type": "array", "items": { "$ref": "#/$defs/loop" } }), Kind::Other, false),
        (json!({}), Kind::Other, true),
        (json!(false), Kind::Other, false),
    ] {
        assert_eq!(read(&schema), (kind, nullable), "{schema}");
    }
}

#[test]
fn types_are_described_and_missing_ones_known() {
    let of = |schema: Value| Types::of(&root(), &schema);
    assert_eq!(of(json!({ "type": ["string", "null", "array", "integer"] })).description(), "text, a number or a list");
    for never in [
        json!(false),
        json!({ "enum": [] }),
        json!({ "allOf": [{ "type": "string" }, { "type": "integer" }] }),
        json!({ "type": "string", "const": 1 }),
        json!({ "$ref": "#/$defs/id", "type": "boolean" }),
    ] {
        assert!(of(never.clone()).names().next().is_none(), "{never}");
    }
}

#[test]
fn many_references_are_read_in_little_time() {
    let twice = |name: &str| json!({ "anyOf": vec![json!({ "$ref": format!("#/$defs/{name}") }); 100] });
    let defs: Map<String, Value> = (0..8).map(|n| (n.to_string(), twice(&(n + 1).to_string()))).collect();
    let root = Map::from_iter([("$defs".to_owned(), Value::Object(defs))]);
    assert_eq!(Types::of(&root, &twice("0")).kind(), Kind::Other);
}

fn schemas() -> impl Strategy<Value = Value> {
    let names = prop::sample::subsequence(vec!["string", "integer", "null", "array", "object", "boolean"], 1..3);
    let leaf = prop_oneof![
        names.prop_map(|names| json!({ "type": names })),
        prop::sample::subsequence(vec![json!(1), json!("a"), json!(null), json!([1])], 1..3)
            .prop_map(|values| json!({ "enum": values })),
        Just(json!({ "$ref": "#/$defs/id" })),
        Just(json!({ "format": "date-time" })),
        Just(json!({ "minimum": 1 })),
        (0_u64..3).prop_map(|most| json!({ "maxItems": most })),
        Just(json!(true)),
        Just(json!(false)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let combined = prop_oneof![Just("anyOf"), Just("oneOf"), Just("allOf")];
        prop_oneof![
            (combined, prop::collection::vec(inner.clone(), 1..4)).prop_map(|(name, all)| json!({ name: all })),
            inner.clone().prop_map(|not| json!({ "not": not })),
            (inner.clone(), inner.clone(), inner.clone())
                .prop_map(|(a, b, c)| json!({ "if": a, "then": b, "else": c })),
            inner.prop_map(|items| json!({ "items": items })),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_valid_value_has_one_of_the_types(schema in schemas()) {
        let mut whole = root();
        whole.insert("allOf".into(), json!([schema]));
        let judge = jsonschema::options().should_validate_formats(true).build(&Value::Object(whole)).unwrap();
        let types = Types::of(&root(), &schema);
        for value in [json!(1), json!("a"), json!("2026-03-01T12:00:00Z"), json!(null), json!([]), json!([1]), json!(["a"]), json!({}), json!(true)] {
            let own = Types::of_value(&value);
            let is_found = own.clone().and(types.clone()) == own || matches!(value, Value::String(_)) && types.text.is_some()
                || value.is_array() && types.list.is_some();
            prop_assert!(!judge.is_valid(&value) || is_found, "{} {} {:?}", schema, value, types);
            let count = value.as_array().map_or(0, |elements| elements.len() as u64);
            prop_assert!(!judge.is_valid(&value) || count <= types.most, "{} {} {:?}", schema, value, types);
            if types.text == Some(Text::Moment) && value == "a" {
                prop_assert!(!judge.is_valid(&value), "every text is a time: {}", schema);
            }
        }
    }
}
