//! Whether a schema is valid by the meta-schema of JSON Schema 2020-12, with errors that say what is wrong and what to write.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use regex_syntax::ast;
use serde_json::Value;

use crate::error::FieldError;

/// Maximum length of an error message, in characters.
const LONGEST: usize = 300;

/// Checks a schema that is an object, and every pattern in it. Keywords with an error of their own are not reported again.
pub(super) fn check(schema: &Value, problems: &mut Vec<FieldError>) {
    if !schema.is_object() {
        return;
    }
    for error in jsonschema::draft202012::meta::validator().iter_errors(schema) {
        let found = described(&error);
        if !problems.iter().any(|known| known.pointer == found.pointer) {
            problems.push(found);
        }
    }
}

/// An error in a schema: of the meta-schema, or of the validator that is made from the schema.
pub(super) fn described(error: &ValidationError) -> FieldError {
    let (place, value) = (error.instance_path().to_string(), error.instance());
    let message = match (keyword(&place), error.kind(), value.as_str()) {
        ("type", ValidationErrorKind::AnyOf { .. } | ValidationErrorKind::Enum { .. }, _) => {
            "The types are array, boolean, integer, null, number, object and string. Write one of them, or a list of different ones."
                .to_owned()
        }
        ("items", ValidationErrorKind::Type { .. }, None) if value.is_array() => {
            "`items` is one schema, for all elements. Write a list of schemas, one for each position, as `prefixItems`.".to_owned()
        }
        (_, ValidationErrorKind::Format { format }, Some(pattern)) if format == "regex" => why_not(pattern),
        _ => error.to_string(),
    };
    FieldError::new(format!("/schema{place}"), "bad_schema", shortened(&message))
}

/// The keyword whose value is at this pointer, or holds it.
fn keyword(pointer: &str) -> &str {
    let mut steps = pointer.rsplit('/');
    let last = steps.next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) { steps.next().unwrap_or_default() } else { last }
}

/// Why a pattern cannot be used.
fn why_not(pattern: &str) -> String {
    let Err(error) = ast::parse::Parser::new().parse(pattern) else {
        let reason = regex_syntax::parse(pattern).err().and_then(|error| match error {
            regex_syntax::Error::Translate(error) => Some(error.kind().to_string()),
            _ => None,
        });
        return match reason {
            Some(reason) => format!("This pattern is not a regular expression: {reason}. Correct it."),
            None => "This pattern is too large, mostly for a repetition like `{1000}`. Write a smaller one, or use `maxLength`.".to_owned(),
        };
    };
    let place = error.span().start.column;
    let is_named_reference = pattern.chars().skip(place.saturating_sub(1)).take(2).eq(['\\', 'k']);
    match error.kind() {
        ast::ErrorKind::UnsupportedLookAround => format!(
            "Lookahead and lookbehind (`(?=`, `(?!`, `(?<=`, `(?<!`, at character {place}) are not supported, because patterns are matched \
             in linear time. Write each condition as a pattern of its own in `allOf`, with `not` for what must not match."
        ),
        _ if is_named_reference => back_reference(place),
        ast::ErrorKind::UnsupportedBackreference => back_reference(place),
        reason => {
            format!("This pattern is not a regular expression: {reason} (at character {place}). Correct it.")
        }
    }
}

fn back_reference(place: usize) -> String {
    format!(
        "Backreferences (`\\1`, `\\k<name>`, at character {place}) are not supported, because patterns are matched in linear time. Write \
         the pattern without them."
    )
}

/// A message of bounded length.
pub(super) fn shortened(message: &str) -> String {
    let mut short: String = message.chars().take(LONGEST).collect();
    if short.len() < message.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use crate::error::FieldError;
    use crate::schema::Definition;
    use serde_json::{Value, json};

    fn refused(members: Value) -> Vec<FieldError> {
        let mut body = json!({ "schema": { "type": "object", "properties": { "y": { "type": "string" } } } });
        for (pointer, value) in members.as_object().unwrap() {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            body.pointer_mut(parent).unwrap()[name] = value.clone();
        }
        Definition::parse("things", body, None).expect_err("it is wrong")
    }

    #[test]
    fn errors_of_a_schema_name_what_is_wrong_and_nothing_else() {
        let x = |place: &str| format!("/schema/properties/x{place}");
        let (linear, types) =
            ("matched in linear time", "The types are array, boolean, integer, null, number, object and string");
        for (field, place, code, message) in [
            (json!({ "pattern": "^(?=.*[0-9]).{8,}$" }), "/pattern", "bad_schema", "Lookahead and lookbehind (`(?=`"),
            (json!({ "pattern": "a(?<!b)" }), "/pattern", "bad_schema", "at character 2) are not supported"),
            (json!({ "not": { "pattern": "(?!a)" } }), "/not/pattern", "bad_schema", linear),
            (json!({ "patternProperties": { "(?=a)": {} } }), "/patternProperties/(?=a)", "bad_schema", linear),
            (json!({ "pattern": "(a)\\1" }), "/pattern", "bad_schema", "Backreferences"),
            (json!({ "pattern": "(?<n>a)\\k<n>" }), "/pattern", "bad_schema", "Backreferences"),
            (json!({ "pattern": "a(b" }), "/pattern", "bad_schema", "unclosed group (at character 2)"),
            (json!({ "pattern": "\\p{Foo}" }), "/pattern", "bad_schema", "Unicode property not found"),
            (json!({ "pattern": "a{9000}{9000}" }), "/pattern", "bad_schema", "too large"),
            (json!({ "pattern": "(\\w{200}){20}" }), "/pattern", "bad_schema", "too large"),
            (json!({ "pattern": 5 }), "/pattern", "bad_schema", "5 is not of type"),
            (json!({ "type": "text" }), "/type", "bad_schema", types),
            (json!({ "type": ["string", "nul"] }), "/type", "bad_schema", types),
            (json!({ "type": [] }), "/type", "bad_schema", types),
            (json!({ "type": null }), "/type", "bad_schema", types),
            (json!({ "items": { "type": "int" } }), "/items/type", "bad_schema", types),
            (json!({ "items": [{}] }), "/items", "bad_schema", "`prefixItems`"),
            (json!({ "anyOf": [] }), "/anyOf", "bad_schema", "less than 1 item"),
            (json!({ "minLength": -1 }), "/minLength", "bad_schema", "less than the minimum of 0"),
            (json!({ "$ref": 5 }), "/$ref", "bad_schema", "5 is not of type"),
            (json!({ "$ref": "#/$defs/none" }), "/$ref", "bad_reference", "`$defs` defines place"),
            (json!({ "anyOf": [{ "$ref": "#none" }] }), "/anyOf/0/$ref", "bad_reference", "leads to no schema"),
            (json!({ "$ref": "other.json" }), "/$ref", "remote_reference", "only to its own `$defs`"),
            (json!({ "$id": "https://example.com/x" }), "/$id", "misplaced", "Leave `$id` out"),
            (json!({ "nullable": true }), "/nullable", "unknown_keyword", "Write `\"null\"` as one of the types"),
            (json!({ "definitions": {} }), "/definitions", "unknown_keyword", "Write `$defs`"),
            (json!({ "maxlength": 5 }), "/maxlength", "unknown_keyword", "correct its spelling"),
            (json!({ "readOnly": "yes" }), "/readOnly", "bad_schema", "not of type"),
        ] {
            // What builds on the field is not wrong because the field is.
            let found = refused(json!({ "/schema/properties/x": field, "/schema/$defs": { "place": {} } }));
            assert_eq!(found.len(), 1, "{field}: {found:?}");
            assert_eq!((found[0].pointer.as_str(), found[0].code), (x(place).as_str(), code), "{field}");
            assert!(found[0].message.contains(message), "{field}: {}", found[0].message);
            assert!(!found[0].message.contains("anyOf' keyword"), "{field}: {}", found[0].message);
        }
        let of_root = refused(json!({ "/schema/$id": "https://example.com/tasks" }));
        assert_eq!((of_root.len(), of_root[0].pointer.as_str(), of_root[0].code), (1, "/schema/$id", "misplaced"));
    }

    #[test]
    fn what_builds_on_a_malformed_field_is_not_refused_for_it() {
        for field in [
            json!({ "$ref": "#/$defs/none" }),
            json!({ "type": "text" }),
            json!({ "type": "string", "pattern": "(?=a)" }),
        ] {
            let mut field = field;
            field["relation"] = json!({ "collection": "others" });
            let found =
                refused(json!({ "/schema/properties/x": field, "/indexes": [{ "name": "by_x", "partition": ["x"] }],
                "/unique": [["x"]], "/rules": { "list": "record.x == auth.id" } }));
            assert_eq!(found.len(), 1, "{field}: {found:?}");
        }
        let both = refused(
            json!({ "/schema/properties/x": { "type": "text" }, "/schema/properties/z": { "format": "?", "minLength": "1" },
            "/shards": 3, "/indexes": [{ "name": "A", "partition": ["y"] }] }),
        );
        let places: Vec<&str> = both.iter().map(|problem| problem.pointer.as_str()).collect();
        assert_eq!(both.len(), 5, "{both:?}");
        for place in ["/schema/properties/x/type", "/schema/properties/z/minLength", "/shards", "/indexes/0/name"] {
            assert!(places.contains(&place), "{place}: {places:?}");
        }
    }
}
