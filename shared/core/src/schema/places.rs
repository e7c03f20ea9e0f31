//! The places of keywords and the targets of references. A keyword that is enforced only on the fields of a record is refused
//! elsewhere, and so is a reference that would apply it elsewhere.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::FieldError;

use super::keywords::{inner_schemas, is_field};
use crate::json_pointer::escape;
use crate::json_pointer::look_up;

/// Keywords that are enforced only on a field of the record.
const OF_FIELDS: [&str; 6] = ["relation", "hidden", "writeOnce", "readOnly", "default", "renamedFrom"];
/// Keywords that resemble Undercroft's own, and the keyword to use.
const OTHERS: [(&str, &str); 4] =
    [("writeOnly", "hidden"), ("x-hidden", "hidden"), ("x-writeOnce", "writeOnce"), ("x-relation", "relation")];

/// The subschemas of a definition by pointer, and their anchors.
pub(super) struct Places<'a> {
    /// By pointer: `/schema/properties/title`.
    pub schemas: BTreeMap<String, &'a Map<String, Value>>,
    anchors: BTreeMap<&'a str, String>,
    root: &'a Map<String, Value>,
}

/// The target of a reference.
pub(super) enum Target<'a> {
    /// The schema at this pointer.
    Schema(&'a str),
    /// `true` or `false`, which is a schema too.
    Boolean,
}

impl<'a> Places<'a> {
    /// Every schema within `root`.
    pub fn of(root: &'a Map<String, Value>) -> Self {
        let mut places = Self { schemas: BTreeMap::new(), anchors: BTreeMap::new(), root };
        let mut found = vec![("/schema".to_owned(), root)];
        while let Some((pointer, schema)) = found.pop() {
            for (keyword, value) in schema {
                found.extend(inner_schemas(keyword, value, &format!("{pointer}/{}", escape(keyword))));
                if let ("$anchor" | "$dynamicAnchor", Some(name)) = (keyword.as_str(), value.as_str()) {
                    places.anchors.insert(name, pointer.clone());
                }
            }
            places.schemas.insert(pointer, schema);
        }
        places
    }

    /// The target of a reference. `None` if it is not a schema.
    pub fn target(&self, reference: &str) -> Option<Target<'_>> {
        let fragment = percent_decoded(reference.strip_prefix('#')?)?;
        let pointer = match fragment.as_str() {
            path if path.is_empty() || path.starts_with('/') => format!("/schema{path}"),
            anchor => self.anchors.get(anchor)?.clone(),
        };
        if let Some((pointer, _)) = self.schemas.get_key_value(&pointer) {
            return Some(Target::Schema(pointer));
        }
        let there = look_up(self.root, pointer.strip_prefix("/schema/")?)?;
        there.is_boolean().then_some(Target::Boolean)
    }
}

/// Decodes a URI fragment (RFC 3986 section 2.1).
pub(super) fn percent_decoded(fragment: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = fragment.bytes();
    while let Some(byte) = rest.next() {
        let hex = |digit: Option<u8>| digit.and_then(|digit| char::from(digit).to_digit(16));
        match byte {
            b'%' => bytes.push(u8::try_from(hex(rest.next())? * 16 + hex(rest.next())?).ok()?),
            plain => bytes.push(plain),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Refuses keywords where they would not be enforced, and references whose target is missing or has keywords that would not
/// be enforced at the reference.
pub(super) fn check(schema: &Value, problems: &mut Vec<FieldError>) {
    let Some(root) = schema.as_object() else { return };
    let places = Places::of(root);
    for (pointer, schema) in &places.schemas {
        for (keyword, value) in *schema {
            let here = format!("{pointer}/{}", escape(keyword));
            if let Some(message) = misplaced(keyword, pointer) {
                problems.push(FieldError::new(here, "misplaced", message));
            } else if let ("$ref" | "$dynamicRef", Some(reference)) = (keyword.as_str(), value.as_str()) {
                problems.extend(astray(&places, reference).map(|(code, message)| FieldError::new(here, code, message)));
            }
        }
    }
}

fn misplaced(keyword: &str, pointer: &str) -> Option<String> {
    if let Some((_, ours)) = OTHERS.iter().find(|(other, _)| *other == keyword) {
        return Some(format!("This keyword is not enforced. Use `{ours}` on a field of the record."));
    }
    // Other keywords of ours are refused wherever keywords are checked.
    let is_loose = ["readOnly", "default"].contains(&keyword) && !is_field(pointer);
    is_loose.then(|| {
        "This keyword is enforced only directly on a field, in `/schema/properties/{field}`. Move it there or leave it out."
            .to_owned()
    })
}

/// The error of a reference, if any.
fn astray(places: &Places, reference: &str) -> Option<(&'static str, String)> {
    // Non-local references are refused where keywords are checked.
    if !reference.starts_with('#') {
        return None;
    }
    let Some(target) = places.target(reference) else {
        let defined = places.root.get("$defs").and_then(Value::as_object).into_iter().flatten();
        let mut names: Vec<&str> = defined.map(|(name, _)| name.as_str()).collect();
        names.truncate(10);
        let defined = match names.is_empty() {
            true => "`$defs` defines nothing yet".to_owned(),
            false => format!("`$defs` defines {}", names.join(", ")),
        };
        let message =
            format!("This reference leads to no schema: {defined}. Add it there, and refer to it as `#/$defs/name`.");
        return Some(("bad_reference", message));
    };
    let of_fields = |pointer: &str| {
        let schema = places.schemas.get(pointer)?;
        OF_FIELDS.into_iter().find(|keyword| schema.contains_key(*keyword))
    };
    // A reference to the record includes all its fields.
    let keyword = match target {
        Target::Boolean => None,
        Target::Schema("/schema") => {
            places.schemas.keys().filter(|pointer| is_field(pointer)).find_map(|pointer| of_fields(pointer))
        }
        Target::Schema(field) => of_fields(field).filter(|_| is_field(field)),
    };
    keyword.map(|keyword| {
        let message = format!(
            "The target of this reference has `{keyword}`, which is enforced only on the field itself. Move the common part to \
             `$defs` and refer to it from both."
        );
        ("misplaced", message)
    })
}
