//! The keywords of a schema: all of JSON Schema 2020-12 and Undercroft's own, with their allowed places. Unknown keywords are
//! errors.
//!
//! Refused are: references out of the schema (`$id`, a `$ref` that is not local), because nothing is fetched; `$vocabulary`
//! and an inner `$schema`, because there is one dialect; top-level keywords that allow undeclared fields, because filters,
//! indexes and rules use the declared ones. [`formats`](super::formats) are refused separately.

use serde_json::{Map, Value};

use crate::error::FieldError;

use crate::json_pointer::escape;

/// Maximum nesting depth of schemas.
const MAX_DEPTH: usize = 16;

/// Undercroft's own keywords, allowed on the properties of a record only.
const FLAGS: [&str; 4] = ["relation", "hidden", "writeOnce", "renamedFrom"];
/// Keywords whose value is a schema.
const ONE: [&str; 11] = [
    "items",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "additionalProperties",
    "unevaluatedItems",
    "unevaluatedProperties",
    "propertyNames",
    "contentSchema",
];
/// Keywords whose value is a list of schemas.
const LISTS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value maps names to schemas.
const NAMED: [&str; 4] = ["properties", "patternProperties", "dependentSchemas", "$defs"];
/// Keywords whose value is not a schema.
const PLAIN: [&str; 38] = [
    "$schema",
    "$id",
    "$ref",
    "$dynamicRef",
    "$anchor",
    "$dynamicAnchor",
    "$comment",
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxContains",
    "minContains",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
    "title",
    "description",
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "examples",
    "format",
    "contentEncoding",
    "contentMediaType",
    "$vocabulary",
];
/// Keywords of earlier drafts and of OpenAPI, and what to write instead.
const OTHER_DIALECTS: [(&str, &str); 8] = [
    ("definitions", "Write `$defs`."),
    ("dependencies", "Write `dependentRequired` or `dependentSchemas`."),
    ("additionalItems", "Write `prefixItems` for the first elements and `items` for the others."),
    ("$recursiveRef", "Write `$dynamicRef`."),
    ("$recursiveAnchor", "Write `$dynamicAnchor`."),
    ("nullable", "Write `\"null\"` as one of the types."),
    ("example", "Write `examples`, a list."),
    ("discriminator", "Remove it; `oneOf` decides by `const`."),
];
/// Top-level keywords that apply to one member at a time, or to none.
const MEMBERWISE: [&str; 11] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "$defs",
    "$schema",
    "$comment",
    "title",
    "description",
    "examples",
    "default",
];
/// The supported dialect of JSON Schema.
const SCHEMA_URI: &str = "https://json-schema.org/draft/2020-12/schema";

/// Checks the keywords of a collection's schema, at every depth.
pub(super) fn check(schema: &Value, problems: &mut Vec<FieldError>) {
    let Some(root) = schema.as_object() else { return };
    check_top(root, problems);
    check_below(root, "/schema", 0, problems);
}

/// Whether each member of a record can be validated separately: no top-level keyword involves several, and every reference
/// leads to a shared definition.
pub(super) fn is_memberwise(schema: &Value) -> bool {
    let top = schema.as_object().is_some_and(|root| root.keys().all(|key| MEMBERWISE.contains(&key.as_str())));
    top && refers_to_shared_only(schema)
}

fn refers_to_shared_only(value: &Value) -> bool {
    let shared = |target: &Value| target.as_str().is_some_and(|target| target.starts_with("#/$defs/"));
    match value {
        Value::Object(members) => members.iter().all(|(name, member)| match (name.as_str(), member) {
            ("$ref", Value::String(_)) => shared(member),
            ("$dynamicRef", Value::String(_)) => false,
            _ => refers_to_shared_only(member),
        }),
        Value::Array(elements) => elements.iter().all(refers_to_shared_only),
        _ => true,
    }
}

/// The top-level schema must describe an object with named properties, so that unknown fields can be refused.
fn check_top(root: &Map<String, Value>, problems: &mut Vec<FieldError>) {
    if root.get("type").and_then(Value::as_str) != Some("object") {
        problems.push(FieldError::new("/schema/type", "type", "A record is an object. Add `\"type\": \"object\"`."));
    }
    if !root.get("properties").is_some_and(Value::is_object) {
        problems.push(FieldError::new(
            "/schema/properties",
            "required",
            "A record's fields must be declared in `properties`. Add it.",
        ));
    }
    if root.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false)) {
        let message = "A record has only its declared fields. Leave this out or set it to false.";
        problems.push(FieldError::new("/schema/additionalProperties", "open_schema", message));
    }
    for keyword in ["patternProperties", "unevaluatedProperties", "$ref", "$dynamicRef"] {
        if root.get(keyword).is_some_and(|value| *value != Value::Bool(false)) {
            let message = "A record's fields must be declared by name in `properties`. Declare them there.";
            problems.push(FieldError::new(format!("/schema/{keyword}"), "open_schema", message));
        }
    }
    if root.get("$schema").is_some_and(|uri| uri.as_str().map(|uri| uri.trim_end_matches('#')) != Some(SCHEMA_URI)) {
        problems.push(FieldError::new(
            "/schema/$schema",
            "schema_version",
            format!("The supported JSON Schema dialect is {SCHEMA_URI}."),
        ));
    }
}

fn check_below(schema: &Map<String, Value>, pointer: &str, depth: usize, problems: &mut Vec<FieldError>) {
    if depth > MAX_DEPTH {
        problems.push(FieldError::new(
            pointer,
            "too_deep",
            format!("Schemas nest at most {MAX_DEPTH} levels deep. Flatten this one."),
        ));
        return;
    }
    for (keyword, value) in schema {
        let here = format!("{pointer}/{}", escape(keyword));
        check_keyword(keyword, value, pointer, &here, problems);
        for (place, inner) in inner_schemas(keyword, value, &here) {
            check_below(inner, &place, depth + 1, problems);
        }
    }
}

fn check_keyword(keyword: &str, value: &Value, pointer: &str, here: &str, problems: &mut Vec<FieldError>) {
    let known = [&ONE[..], &LISTS, &NAMED, &PLAIN].iter().any(|keywords| keywords.contains(&keyword));
    if FLAGS.contains(&keyword) && !is_field(pointer) {
        problems.push(FieldError::new(
            here,
            "misplaced",
            "This keyword is allowed only on a field of the record. Move it there.",
        ));
    } else if !known && !FLAGS.contains(&keyword) && !keyword.starts_with("x-") {
        let instead = OTHER_DIALECTS.iter().find(|(other, _)| *other == keyword).map(|(_, instead)| *instead);
        let instead = instead.unwrap_or("Remove it or correct its spelling.");
        let message = format!("This is not a keyword of JSON Schema 2020-12. {instead}");
        problems.push(FieldError::new(here, "unknown_keyword", message));
    }
    if let Some((code, message)) = refused(keyword, value, pointer) {
        problems.push(FieldError::new(here, code, message));
    }
}

/// Whether this pointer is a field of the record.
pub(super) fn is_field(pointer: &str) -> bool {
    pointer.strip_prefix("/schema/properties/").is_some_and(|name| !name.contains('/'))
}

/// Why a JSON Schema keyword is refused.
fn refused(keyword: &str, value: &Value, pointer: &str) -> Option<(&'static str, String)> {
    match keyword {
        "$ref" | "$dynamicRef" if value.as_str().is_some_and(|reference| !reference.starts_with('#')) => {
            Some(("remote_reference", "A schema may refer only to its own `$defs`, as `#/$defs/name`.".to_owned()))
        }
        "$id" => {
            let message = "A schema needs no name of its own: nothing refers to it, and it refers only to its own `$defs`, as \
                           `#/$defs/name`. Leave `$id` out.";
            Some(("misplaced", message.to_owned()))
        }
        "$vocabulary" => Some(("misplaced", "This keyword belongs in a meta-schema. Remove it.".to_owned())),
        "$schema" if pointer != "/schema" => {
            Some(("misplaced", "This keyword is allowed only at the top level. Remove it here.".to_owned()))
        }
        _ => None,
    }
}

/// The subschemas in a keyword's value, each with its pointer.
pub(super) fn inner_schemas<'a>(keyword: &str, value: &'a Value, here: &str) -> Vec<(String, &'a Map<String, Value>)> {
    let inner: Vec<(String, &Value)> = match value {
        value if ONE.contains(&keyword) => vec![(here.to_owned(), value)],
        Value::Array(schemas) if LISTS.contains(&keyword) => {
            schemas.iter().enumerate().map(|(position, schema)| (format!("{here}/{position}"), schema)).collect()
        }
        Value::Object(schemas) if NAMED.contains(&keyword) => {
            schemas.iter().map(|(name, schema)| (format!("{here}/{}", escape(name)), schema)).collect()
        }
        _ => Vec::new(),
    };
    inner.into_iter().filter_map(|(place, schema)| Some((place, schema.as_object()?))).collect()
}

/// Applies a function to a schema and to every subschema.
pub(super) fn each(schema: &mut Map<String, Value>, change: &mut impl FnMut(&mut Map<String, Value>)) {
    change(schema);
    for (keyword, value) in schema.iter_mut() {
        let keyword = keyword.as_str();
        let inner: Vec<&mut Value> = match value {
            value if ONE.contains(&keyword) => vec![value],
            Value::Array(schemas) if LISTS.contains(&keyword) => schemas.iter_mut().collect(),
            Value::Object(schemas) if NAMED.contains(&keyword) => schemas.values_mut().collect(),
            _ => Vec::new(),
        };
        inner.into_iter().filter_map(Value::as_object_mut).for_each(|schema| each(schema, change));
    }
}
