//! Keywords that are enforced only on a field of the record: refused where they would be published and not enforced.

use serde_json::{Value, json};

use super::parse;

/// A definition whose record has a field with each such keyword, and `x`.
fn with(x: Value) -> Value {
    json!({ "schema": { "type": "object", "additionalProperties": false,
        "$defs": { "plain": { "type": "string", "$anchor": "plain" }, "always": true, "a/b": { "type": "string" } },
        "properties": {
            "kept": { "type": "string", "readOnly": true, "$anchor": "kept", "$dynamicAnchor": "moving" },
            "once": { "type": "string", "writeOnce": true },
            "secret": { "type": "object", "hidden": true, "properties": { "inner": { "type": "string" } } },
            "state": { "type": "string", "default": "open" },
            "friend": { "type": "string", "relation": { "collection": "users" } },
            "free": { "type": "string" },
            "x": x } } })
}

/// A definition with a member at the top level of its schema, or in its `$defs`.
fn at(place: &str, value: Value) -> Value {
    let mut body = with(json!({ "type": "string" }));
    let (parent, name) = place.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap()[name] = value;
    body
}

#[test]
fn field_keywords_are_refused_elsewhere() {
    let x = "/schema/properties/x";
    for (body, pointer) in [
        (
            with(json!({ "type": "object", "properties": { "in": { "readOnly": true } } })),
            format!("{x}/properties/in/readOnly"),
        ),
        (
            with(json!({ "type": "object", "properties": { "in": { "default": 1 } } })),
            format!("{x}/properties/in/default"),
        ),
        (
            with(json!({ "type": "object", "properties": { "in": { "hidden": true } } })),
            format!("{x}/properties/in/hidden"),
        ),
        (
            with(json!({ "type": "object", "properties": { "in": { "writeOnce": true } } })),
            format!("{x}/properties/in/writeOnce"),
        ),
        (with(json!({ "type": "array", "items": { "readOnly": true } })), format!("{x}/items/readOnly")),
        (with(json!({ "allOf": [{ "readOnly": true }] })), format!("{x}/allOf/0/readOnly")),
        (with(json!({ "anyOf": [{ "default": 1 }, {}] })), format!("{x}/anyOf/0/default")),
        (with(json!({ "if": { "readOnly": false } })), format!("{x}/if/readOnly")),
        (with(json!({ "type": "string", "writeOnly": true })), format!("{x}/writeOnly")),
        (with(json!({ "type": "string", "x-hidden": true })), format!("{x}/x-hidden")),
        (with(json!({ "type": "string", "x-writeOnce": true })), format!("{x}/x-writeOnce")),
        (with(json!({ "type": "string", "x-relation": { "collection": "users" } })), format!("{x}/x-relation")),
        (at("/schema/$defs/d", json!({ "readOnly": true })), "/schema/$defs/d/readOnly".to_owned()),
        (at("/schema/$defs/d", json!({ "default": 1 })), "/schema/$defs/d/default".to_owned()),
        (at("/schema/$defs/d", json!({ "hidden": true })), "/schema/$defs/d/hidden".to_owned()),
        (
            at("/schema/allOf", json!([{ "properties": { "free": { "readOnly": true } } }])),
            "/schema/allOf/0/properties/free/readOnly".to_owned(),
        ),
        (
            at("/schema/dependentSchemas", json!({ "free": { "properties": { "x": { "default": 1 } } } })),
            "/schema/dependentSchemas/free/properties/x/default".to_owned(),
        ),
        (at("/schema/default", json!({})), "/schema/default".to_owned()),
        (at("/schema/readOnly", json!(true)), "/schema/readOnly".to_owned()),
        (with(json!({ "$ref": "#/properties/kept" })), format!("{x}/$ref")),
        (with(json!({ "$ref": "#/properties/once" })), format!("{x}/$ref")),
        (with(json!({ "$ref": "#/properties/secret" })), format!("{x}/$ref")),
        (with(json!({ "$ref": "#/properties/state" })), format!("{x}/$ref")),
        (with(json!({ "$ref": "#/properties/friend" })), format!("{x}/$ref")),
        (with(json!({ "$ref": "#/%70roperties/kep%74" })), format!("{x}/$ref")),
        (with(json!({ "$ref": "#kept" })), format!("{x}/$ref")),
        (with(json!({ "$dynamicRef": "#moving" })), format!("{x}/$dynamicRef")),
        (with(json!({ "type": "array", "items": { "$ref": "#" } })), format!("{x}/items/$ref")),
        (with(json!({ "allOf": [{ "$ref": "#/properties/kept" }] })), format!("{x}/allOf/0/$ref")),
    ] {
        let found = parse(body.clone()).expect_err(&body.to_string());
        let found: Vec<(&str, &str)> = found.iter().map(|found| (found.pointer.as_str(), found.code)).collect();
        assert_eq!(found, [(pointer.as_str(), "misplaced")], "{body}");
    }
}

#[test]
fn a_reference_leads_to_a_schema() {
    for reference in [
        "#/properties",
        "#/properties/state/default",
        "#/properties/none",
        "#/$defs",
        "#none",
        "#/additionalProperties/x",
        "#/$defs/a/b",
        "#/%",
        "#/%ff",
    ] {
        let found = parse(with(json!({ "$ref": reference }))).expect_err(reference);
        assert_eq!(found[0].pointer, "/schema/properties/x/$ref", "{reference}: {found:?}");
        assert_eq!(found[0].code, "bad_reference", "{reference}");
    }
    for reference in [
        "#/$defs/plain",
        "#plain",
        "#/$defs/always",
        "#/properties/free",
        "#/properties/secret/properties/inner",
        "#/%24defs/plain",
        "#/$defs/a~1b",
    ] {
        parse(with(json!({ "$ref": reference }))).unwrap_or_else(|found| panic!("{reference}: {found:?}"));
    }
}
