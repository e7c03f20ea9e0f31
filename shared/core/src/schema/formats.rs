//! Formats: those that are asserted, and what a definition says about others.
//!
//! A definition refuses unknown formats, because a misspelt one would assert nothing. With `"formats": "annotate"` it takes them as
//! annotations (JSON Schema 2020-12, Validation, section 7.2.1): they are kept and published, and hold no value.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::FieldError;

use super::keywords;
use super::places::Places;

/// The formats that are asserted: all of 2020-12 except the two that need tables of international names.
const ASSERTED: [&str; 17] = [
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "iri",
    "iri-reference",
    "json-pointer",
    "regex",
    "relative-json-pointer",
    "time",
    "uri",
    "uri-reference",
    "uri-template",
    "uuid",
];

/// What a definition makes of formats that are not asserted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Formats {
    /// They are refused.
    #[default]
    Assert,
    /// They are annotations.
    Annotate,
}

impl Formats {
    /// Whether it is the default.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the member `formats` of a definition.
    pub(super) fn read(member: Option<Value>, problems: &mut Vec<FieldError>) -> Self {
        member.map_or(Some(Self::default()), |member| serde_json::from_value(member).ok()).unwrap_or_else(|| {
            problems.push(FieldError::new("/formats", "type", "This must be \"assert\" or \"annotate\"."));
            Self::default()
        })
    }

    /// Refuses what would assert nothing, unless the definition allows it.
    pub(super) fn check(self, schema: &Value, problems: &mut Vec<FieldError>) {
        let Some(root) = schema.as_object().filter(|_| self == Self::Assert) else { return };
        for (pointer, schema) in &Places::of(root).schemas {
            if schema.get("format").is_some_and(is_annotation) {
                let message = format!(
                    "This format is not asserted. Use one that is ({}), or set `\"formats\": \"annotate\"` in the definition, which takes \
                     all others as annotations.",
                    ASSERTED.join(", ")
                );
                problems.push(FieldError::new(format!("{pointer}/format"), "unknown_format", message));
            }
        }
    }
}

/// Whether a value of `format` is an annotation only. A value that is no text is a wrong schema.
pub(super) fn is_annotation(format: &Value) -> bool {
    format.as_str().is_some_and(|name| !ASSERTED.contains(&name))
}

/// The schema as it is asserted: without the formats that are annotations.
pub(super) fn asserted(mut schema: Value) -> Value {
    if let Some(root) = schema.as_object_mut() {
        keywords::each(root, &mut |schema: &mut Map<String, Value>| {
            schema.retain(|keyword, value| keyword != "format" || !is_annotation(value));
        });
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Change, Collection, Definition, SchemaChange};
    use serde_json::json;

    fn definition(formats: Value, field: Value) -> Result<Definition, Vec<FieldError>> {
        let schema = json!({ "type": "object", "properties": { "x": field } });
        Definition::parse("things", json!({ "formats": formats, "schema": schema }), None)
    }

    #[test]
    fn an_unknown_format_is_refused_unless_the_definition_annotates() {
        for format in ["ulid", "int64", "password", "e164", "base64", "idn-email", "Email", "x"] {
            for (field, place) in [
                (json!({ "type": "string", "format": format }), "/format"),
                (json!({ "type": "array", "items": { "anyOf": [{ "format": format }] } }), "/items/anyOf/0/format"),
            ] {
                let refused = definition(json!("assert"), field.clone()).unwrap_err();
                assert_eq!((refused.len(), refused[0].code), (1, "unknown_format"), "{format}");
                assert_eq!(refused[0].pointer, format!("/schema/properties/x{place}"));
                assert!(refused[0].message.contains("`\"formats\": \"annotate\"`"), "{}", refused[0].message);
                let taken = definition(json!("annotate"), field).unwrap();
                assert_eq!(taken.as_put()["formats"], "annotate");
                assert_eq!(Definition::parse("things", taken.as_put(), None).unwrap().as_put(), taken.as_put());
            }
        }
        for wrong in [json!(true), json!("ignore"), json!(null), json!(["annotate"])] {
            let refused = definition(wrong.clone(), json!({})).unwrap_err();
            assert_eq!((refused[0].pointer.as_str(), refused[0].code), ("/formats", "type"), "{wrong}");
        }
        assert_eq!(definition(json!("annotate"), json!({ "format": 1 })).unwrap_err()[0].code, "bad_schema");
    }

    #[test]
    fn annotations_hold_no_value_and_known_formats_do() {
        let field = json!({ "anyOf": [{ "type": "string", "format": "ulid", "maxLength": 9 }, { "type": "string", "format": "uuid" }] });
        let email = json!({ "type": "string", "format": "email" });
        let whole = json!({ "type": "integer", "format": "int64", "default": 1 });
        for (field, value, is_valid) in [
            (&field, json!("no ulid"), true),
            (&field, json!("01900000-0000-7000-8000-000000000000"), true),
            (&field, json!("neither of them"), false),
            (&email, json!("no"), false),
            (&email, json!("a@example.com"), true),
            (&whole, json!(5), true),
            (&whole, json!("5"), false),
        ] {
            let things = Collection::compile(definition(json!("annotate"), field.clone()).unwrap()).unwrap();
            let found = things.validate(&mut Map::from_iter([("x".to_owned(), value.clone())]));
            assert_eq!(found.is_ok(), is_valid, "{field} {value}");
        }
    }

    #[test]
    fn an_annotation_changes_nothing_for_stored_records() {
        let change = |old: Value, new: Value| {
            let [old, new] = [old, new].map(|field| definition(json!("annotate"), field).unwrap());
            Change::between(&old, &new).schema
        };
        let text = |format: &str| json!({ "type": "string", "format": format });
        assert_eq!(change(json!({ "type": "string" }), text("ulid")), SchemaChange::Wider);
        assert_eq!(change(text("ulid"), text("e164")), SchemaChange::Wider);
        assert_eq!(change(text("email"), text("ulid")), SchemaChange::Wider);
        assert_eq!(change(text("ulid"), text("email")), SchemaChange::Narrower);
    }
}
