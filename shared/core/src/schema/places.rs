//! Where a keyword means something, and what references reach: a keyword that is enforced on the fields of a record only is
//! refused wherever it would be taken and not enforced, and so is a reference that would carry it there.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::error::FieldError;

use super::keywords::{inner_schemas, is_field};
use crate::json_pointer::escape;
use crate::json_pointer::look_up;

/// What is enforced on a field of the record, and there alone.
const OF_FIELDS: [&str; 5] = ["relation", "hidden", "writeOnce", "readOnly", "default"];
/// What looks like one of ours, and what to write.
const OTHERS: [(&str, &str); 4] =
    [("writeOnly", "hidden"), ("x-hidden", "hidden"), ("x-writeOnce", "writeOnce"), ("x-relation", "relation")];

/// The schemas of a definition, each with its pointer, and the anchors among them.
pub(super) struct Places<'a> {
    /// By pointer: `/schema/properties/title`.
    pub schemas: BTreeMap<String, &'a Map<String, Value>>,
    anchors: BTreeMap<&'a str, String>,
    root: &'a Map<String, Value>,
}

/// Where a reference leads.
pub(super) enum Target<'a> {
    /// To the schema at this pointer.
    Schema(&'a str),
    /// To `true` or `false`, which is a schema too.
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

    /// Where a reference leads; `None` if to no schema.
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

/// A URI fragment as it was before it was written into a URI (RFC 3986 section 2.1).
fn percent_decoded(fragment: &str) -> Option<String> {
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

/// Refuses keywords where they would not be enforced, and references that lead to no schema or to one that is more where it
/// stands than it would be here.
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
        return Some(format!("this is not enforced: write `{ours}`, on a field of the record"));
    }
    // The rest of ours is refused wherever a schema is read.
    let is_loose = ["readOnly", "default"].contains(&keyword) && !is_field(pointer);
    is_loose.then(|| {
        "this is enforced on a field of the record only, in `/schema/properties/{field}` itself: move it there or leave it out"
            .to_owned()
    })
}

/// What is wrong with where a reference leads.
fn astray(places: &Places, reference: &str) -> Option<(&'static str, String)> {
    // What is not local is refused where keywords are checked.
    if !reference.starts_with('#') {
        return None;
    }
    let Some(target) = places.target(reference) else {
        return Some((
            "bad_reference",
            "no schema stands there: refer to one of `$defs`, by `#/$defs/name`".to_owned(),
        ));
    };
    let of_fields = |pointer: &str| {
        let schema = places.schemas.get(pointer)?;
        OF_FIELDS.into_iter().find(|keyword| schema.contains_key(*keyword))
    };
    // The record itself holds all its fields.
    let keyword = match target {
        Target::Boolean => None,
        Target::Schema("/schema") => {
            places.schemas.keys().filter(|pointer| is_field(pointer)).find_map(|pointer| of_fields(pointer))
        }
        Target::Schema(field) => of_fields(field).filter(|_| is_field(field)),
    };
    keyword.map(|keyword| {
        let message = format!(
            "what this refers to has `{keyword}`, which is enforced on the field itself only: put what they share into \
             `$defs`, and refer to it from both"
        );
        ("misplaced", message)
    })
}
