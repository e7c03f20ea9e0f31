//! JSON Schema 2020-12 as records use it: the effect of each keyword, the asserted formats, the refused keywords.
//!
//! The `jsonschema` crate runs the official test suite. These tests check that the keywords reach it, in a definition and in
//! a record.

use serde_json::{Value, json};

use crate::error::FieldError;
use crate::expr::tests::object;
use crate::schema::{Collection, Definition};

fn compile(schema: Value) -> Result<Collection, Vec<FieldError>> {
    Definition::parse("things", json!({ "schema": schema }), None).and_then(Collection::compile)
}

/// A schema with one field `x` and further top-level keywords.
fn with(x: Value, top: Value) -> Value {
    let mut schema = json!({ "type": "object", "properties": { "x": x, "y": { "type": "integer" } } });
    schema.as_object_mut().unwrap().extend(object(top));
    schema
}

fn problems(schema: Value, data: Value) -> Vec<(String, &'static str)> {
    let collection = compile(schema.clone()).unwrap_or_else(|problems| panic!("{schema}: {problems:#?}"));
    let found = collection.validate(&mut object(data)).err().unwrap_or_default();
    found.into_iter().map(|problem| (problem.pointer, problem.code)).collect()
}

#[test]
fn every_keyword_of_a_field_is_enforced() {
    for (x, fits, fails) in [
        (json!({ "type": ["string", "null"] }), json!(null), json!(1)),
        (json!({ "enum": [1, "a", null, { "b": [1] }] }), json!({ "b": [1] }), json!("b")),
        (json!({ "const": { "a": 1.0 } }), json!({ "a": 1 }), json!({ "a": 2 })),
        (json!({ "multipleOf": 0.01 }), json!(19.99), json!(19.995)),
        (json!({ "maximum": 10 }), json!(10), json!(10.5)),
        (json!({ "exclusiveMaximum": 10 }), json!(9.5), json!(10)),
        (json!({ "minimum": -1 }), json!(-1), json!(-1.5)),
        (json!({ "exclusiveMinimum": -1 }), json!(0), json!(-1)),
        (json!({ "maxLength": 2 }), json!("👩🏽"), json!("abc")),
        (json!({ "minLength": 2 }), json!("ab"), json!("a")),
        (json!({ "pattern": "^\\p{L}+$" }), json!("Zoë"), json!("a1")),
        (json!({ "maxItems": 1 }), json!([1]), json!([1, 2])),
        (json!({ "minItems": 1 }), json!([1]), json!([])),
        (json!({ "uniqueItems": true }), json!([1, 2]), json!([{ "a": 1 }, { "a": 1 }])),
        (json!({ "contains": { "const": 1 } }), json!([2, 1]), json!([2])),
        (json!({ "contains": { "const": 1 }, "minContains": 2 }), json!([1, 1]), json!([1])),
        (json!({ "contains": { "const": 1 }, "maxContains": 1 }), json!([1]), json!([1, 1])),
        (
            json!({ "prefixItems": [{ "type": "string" }], "items": { "type": "integer" } }),
            json!(["a", 1]),
            json!([1, 1]),
        ),
        (json!({ "prefixItems": [{ "const": 1 }], "unevaluatedItems": false }), json!([1]), json!([1, 2])),
        (json!({ "maxProperties": 1 }), json!({ "a": 1 }), json!({ "a": 1, "b": 1 })),
        (json!({ "minProperties": 1 }), json!({ "a": 1 }), json!({})),
        (json!({ "required": ["a"] }), json!({ "a": 1 }), json!({})),
        (json!({ "dependentRequired": { "a": ["b"] } }), json!({ "b": 1 }), json!({ "a": 1 })),
        (json!({ "dependentSchemas": { "a": { "required": ["b"] } } }), json!({ "a": 1, "b": 1 }), json!({ "a": 1 })),
        (json!({ "properties": { "a": { "type": "string" } } }), json!({ "b": 1 }), json!({ "a": 1 })),
        (json!({ "patternProperties": { "^a": { "type": "string" } } }), json!({ "b": 1 }), json!({ "ab": 1 })),
        (json!({ "additionalProperties": { "type": "string" } }), json!({ "a": "b" }), json!({ "a": 1 })),
        (json!({ "propertyNames": { "maxLength": 1 } }), json!({ "a": 1 }), json!({ "ab": 1 })),
        (
            json!({ "allOf": [{ "properties": { "a": true } }], "unevaluatedProperties": false }),
            json!({ "a": 1 }),
            json!({ "b": 1 }),
        ),
        (json!({ "allOf": [{ "minimum": 1 }, { "maximum": 2 }] }), json!(2), json!(3)),
        (json!({ "anyOf": [{ "type": "string" }, { "minimum": 1 }] }), json!("a"), json!(0)),
        (json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 2 }] }), json!(1), json!(2)),
        (json!({ "not": { "type": "string" } }), json!(1), json!("a")),
        (
            json!({ "if": { "type": "integer" }, "then": { "minimum": 1 }, "else": { "const": "a" } }),
            json!("a"),
            json!(0),
        ),
        (json!({ "type": "integer" }), json!(1e30), json!(1.5)),
    ] {
        let schema = with(x.clone(), json!({}));
        assert_eq!(problems(schema.clone(), json!({ "x": fits })), [], "{x}");
        let found = problems(schema, json!({ "x": fails }));
        assert!(!found.is_empty() && found.iter().all(|(pointer, _)| pointer.starts_with("/x")), "{x}: {found:?}");
    }
}

#[test]
fn top_level_keywords_validate_several_fields() {
    for (top, fits, fails) in [
        (json!({ "required": ["x"] }), json!({ "x": 1 }), json!({ "y": 1 })),
        (json!({ "minProperties": 2 }), json!({ "x": 1, "y": 1 }), json!({ "x": 1 })),
        (json!({ "maxProperties": 1 }), json!({ "x": 1 }), json!({ "x": 1, "y": 1 })),
        (json!({ "dependentRequired": { "x": ["y"] } }), json!({ "y": 1 }), json!({ "x": 1 })),
        (json!({ "dependentSchemas": { "x": { "required": ["y"] } } }), json!({ "y": 1 }), json!({ "x": 1 })),
        (json!({ "propertyNames": { "enum": ["x"] } }), json!({ "x": 1 }), json!({ "y": 1 })),
        (json!({ "allOf": [{ "properties": { "y": { "minimum": 1 } } }] }), json!({ "y": 1 }), json!({ "y": 0 })),
        (json!({ "anyOf": [{ "required": ["x"] }, { "required": ["y"] }] }), json!({ "y": 1 }), json!({})),
        (
            json!({ "oneOf": [{ "required": ["x"] }, { "required": ["y"] }] }),
            json!({ "y": 1 }),
            json!({ "x": 1, "y": 1 }),
        ),
        (json!({ "not": { "required": ["x", "y"] } }), json!({ "y": 1 }), json!({ "x": 1, "y": 1 })),
        (
            json!({ "if": { "required": ["x"] }, "then": { "required": ["y"] } }),
            json!({ "x": 1, "y": 1 }),
            json!({ "x": 1 }),
        ),
        (json!({ "unevaluatedProperties": false }), json!({ "x": 1 }), json!({ "z": 1 })),
        (json!({ "additionalProperties": false }), json!({ "x": 1 }), json!({ "z": 1 })),
    ] {
        let schema = with(json!({}), top.clone());
        assert_eq!(problems(schema.clone(), fits), [], "{top}");
        assert!(!problems(schema, fails).is_empty(), "{top}");
    }
}

#[test]
fn references_must_be_local() {
    let defs = json!({ "$defs": {
        "short": { "type": "string", "maxLength": 3 },
        "named": { "$anchor": "named", "type": "integer" },
        "tree": { "$dynamicAnchor": "node", "type": "object", "additionalProperties": { "$dynamicRef": "#node" } },
        "list": { "type": "object", "properties": { "next": { "$ref": "#/$defs/list" } }, "additionalProperties": false },
    } });
    for (x, fits, fails) in [
        (json!({ "$ref": "#/$defs/short" }), json!("abc"), json!("abcd")),
        (json!({ "$ref": "#/$defs/short", "minLength": 2 }), json!("ab"), json!("a")),
        (json!({ "$ref": "#named" }), json!(1), json!("a")),
        (json!({ "$ref": "#/$defs/tree" }), json!({ "a": { "b": {} } }), json!({ "a": { "b": 1 } })),
        (json!({ "$ref": "#/$defs/list" }), json!({ "next": { "next": {} } }), json!({ "next": { "nxt": {} } })),
        (json!({ "$ref": "#/properties/y" }), json!(1), json!("a")),
        (json!({ "$ref": "#" }), json!({ "y": 1 }), json!({ "y": "a" })),
    ] {
        let schema = with(x.clone(), defs.clone());
        assert_eq!(problems(schema.clone(), json!({ "x": fits })), [], "{x}");
        assert!(!problems(schema, json!({ "x": fails })).is_empty(), "{x}");
    }
}

#[test]
fn unsupported_keywords_are_refused_by_name() {
    let x = |schema: Value| with(schema, json!({}));
    let top = |top: Value| with(json!({}), top);
    for (schema, pointer, code) in [
        (x(json!({ "$ref": "https://example.com/schema" })), "/schema/properties/x/$ref", "remote_reference"),
        (x(json!({ "$ref": "file:///etc/passwd" })), "/schema/properties/x/$ref", "remote_reference"),
        (x(json!({ "$ref": "other.json#/a" })), "/schema/properties/x/$ref", "remote_reference"),
        (x(json!({ "$dynamicRef": "other#node" })), "/schema/properties/x/$dynamicRef", "remote_reference"),
        (x(json!({ "$id": "urn:x" })), "/schema/properties/x/$id", "misplaced"),
        (top(json!({ "$id": "urn:x" })), "/schema/$id", "misplaced"),
        (
            x(json!({ "items": { "$schema": "http://json-schema.org/draft-07/schema" } })),
            "/schema/properties/x/items/$schema",
            "misplaced",
        ),
        (top(json!({ "$vocabulary": {} })), "/schema/$vocabulary", "misplaced"),
        (x(json!({ "format": "idn-hostname" })), "/schema/properties/x/format", "unknown_format"),
        (x(json!({ "anyOf": [{ "format": "color" }] })), "/schema/properties/x/anyOf/0/format", "unknown_format"),
        (x(json!({ "definitions": {} })), "/schema/properties/x/definitions", "unknown_keyword"),
        (x(json!({ "dependencies": {} })), "/schema/properties/x/dependencies", "unknown_keyword"),
        (x(json!({ "additionalItems": false })), "/schema/properties/x/additionalItems", "unknown_keyword"),
        (x(json!({ "discriminator": {} })), "/schema/properties/x/discriminator", "unknown_keyword"),
        (x(json!({ "nullable": true })), "/schema/properties/x/nullable", "unknown_keyword"),
        (top(json!({ "$ref": "#/$defs/a", "$defs": { "a": {} } })), "/schema/$ref", "open_schema"),
        (
            top(json!({ "$dynamicRef": "#a", "$defs": { "a": { "$dynamicAnchor": "a" } } })),
            "/schema/$dynamicRef",
            "open_schema",
        ),
        (top(json!({ "unevaluatedProperties": true })), "/schema/unevaluatedProperties", "open_schema"),
        (top(json!({ "patternProperties": { "^x-": {} } })), "/schema/patternProperties", "open_schema"),
        (
            top(json!({ "allOf": [{ "properties": { "x": { "hidden": true } } }] })),
            "/schema/allOf/0/properties/x/hidden",
            "misplaced",
        ),
        (x(json!({ "items": [{ "type": "string" }] })), "/schema/properties/x/items", "bad_schema"),
        (x(json!({ "pattern": "(a+)\\1" })), "/schema/properties/x/pattern", "bad_schema"),
        (x(json!({ "pattern": "(a{1000}){1000}" })), "/schema/properties/x/pattern", "bad_schema"),
    ] {
        let found = compile(schema.clone()).expect_err(&schema.to_string());
        assert!(
            found.iter().any(|problem| problem.pointer == pointer && problem.code == code),
            "{schema} -> {pointer} {code}: {found:#?}"
        );
    }
    let error = &compile(x(json!({ "format": "color" }))).unwrap_err()[0];
    assert!(
        error.message.contains("date-time") && error.message.contains("uuid"),
        "the error lists the formats: {error:?}"
    );
}

#[test]
fn formats_are_asserted() {
    for (format, fits, fails) in [
        ("date", "2026-02-28", "2026-02-29"),
        ("date-time", "2026-03-01T12:00:00Z", "2026-03-01 noon"),
        ("duration", "P1DT2H", "1 day"),
        ("email", "ada@example.org", "ada at example.org"),
        ("hostname", "example.org", "-example.org"),
        ("ipv4", "127.0.0.1", "127.0.0.256"),
        ("ipv6", "::1", "12345::"),
        ("iri", "https://example.org/ü", "//ü"),
        ("iri-reference", "/ü", "\\ü"),
        ("json-pointer", "/a~1b", "a"),
        ("regex", "^a+$", "^(a"),
        ("relative-json-pointer", "1/a", "/a"),
        ("time", "12:00:00Z", "25:00:00Z"),
        ("uri", "https://example.org/", "/relative"),
        ("uri-reference", "/relative", "\\x"),
        ("uri-template", "/{id}", "/{id"),
        ("uuid", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "017f22e2"),
    ] {
        let schema = with(json!({ "type": "string", "format": format }), json!({}));
        assert_eq!(problems(schema.clone(), json!({ "x": fits })), [], "{format}");
        let found = problems(schema, json!({ "x": fails }));
        assert!(found.contains(&("/x".to_owned(), "format")), "{format}: {found:?}");
    }
}

#[test]
fn bounds_are_exact_to_38_digits() {
    let exact = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let bound = "0.12345678901234567890123456789012345678";
    let (below, above) = ("0.12345678901234567890123456789012345677", "0.12345678901234567890123456789012345679");
    let schema = with(json!({ "type": "number", "minimum": exact(bound) }), json!({}));
    assert_eq!(problems(schema.clone(), json!({ "x": exact(bound) })), []);
    assert_eq!(problems(schema.clone(), json!({ "x": exact(above) })), []);
    assert_eq!(problems(schema, json!({ "x": exact(below) })), [("/x".to_owned(), "too_small")]);
    let whole =
        with(json!({ "type": "integer", "maximum": exact("12345678901234567890123456789012345678") }), json!({}));
    assert_eq!(problems(whole.clone(), json!({ "x": exact("12345678901234567890123456789012345678") })), []);
    assert_eq!(
        problems(whole, json!({ "x": exact("12345678901234567890123456789012345679") })),
        [("/x".to_owned(), "too_large")]
    );
}
