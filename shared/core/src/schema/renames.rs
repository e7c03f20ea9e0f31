//! Renaming a field: `renamedFrom` on the field with the new name. While both names are declared, every write of one writes both,
//! so that each client may use the name that it knows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::json_pointer::escape;

use super::field::Field;

/// Keywords in which the two may differ.
const APART: [&str; 6] = ["renamedFrom", "title", "description", "examples", "$comment", "deprecated"];

/// A field by its old and its new name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub old: String,
    pub new: String,
}

/// The fields that are declared under both names.
pub(super) fn pairs(fields: &BTreeMap<String, Field>) -> Vec<Pair> {
    let pair = |(new, field): (&String, &Field)| {
        let old = field.renamed_from.clone().filter(|old| fields.contains_key(old))?;
        Some(Pair { old, new: new.clone() })
    };
    fields.iter().filter_map(pair).collect()
}

/// Checks that a field has one former name, and that both names mean the same.
pub(super) fn check(schema: &Value, fields: &BTreeMap<String, Field>, problems: &mut Vec<FieldError>) {
    let mut former = BTreeSet::new();
    for (name, field) in fields {
        let Some(old) = &field.renamed_from else { continue };
        let keywords = |name: &str| {
            let property = schema.get("properties").and_then(|properties| properties.get(name));
            let mut keywords = property.and_then(Value::as_object).cloned().unwrap_or_default();
            keywords.retain(|keyword, _| !APART.contains(&keyword.as_str()) && !keyword.starts_with("x-"));
            keywords
        };
        let is_chain = old == name || fields.get(old).is_some_and(|field| field.renamed_from.is_some());
        let message = if is_chain || !former.insert(old) {
            format!("`{old}` is the former name of another field, or has one itself. A field has one former name.")
        } else if fields.contains_key(old) && keywords(old) != keywords(name) {
            format!("`{old}` and `{name}` are one field, but their keywords differ. Give both the same keywords.")
        } else {
            continue;
        };
        let pointer = format!("/schema/properties/{}/renamedFrom", escape(name));
        problems.push(FieldError::new(pointer, "conflict", message));
    }
}

/// Writes a value that has one of the names under the other one too.
pub(super) fn mirror(pairs: &[Pair], data: &mut Map<String, Value>) {
    for Pair { old, new } in pairs {
        match (data.get(old).cloned(), data.get(new).cloned()) {
            (Some(value), None) => data.insert(new.clone(), value),
            (None, Some(value)) => data.insert(old.clone(), value),
            _ => None,
        };
    }
}

/// The fields that have two values under their two names.
pub(super) fn unequal(pairs: &[Pair], data: &Map<String, Value>) -> Vec<FieldError> {
    let differs = |pair: &&Pair| {
        let values = data.get(&pair.old).zip(data.get(&pair.new));
        values.is_some_and(|(old, new)| old != new)
    };
    let error = |Pair { old, new }: &Pair| {
        let message = format!("`{old}` is the former name of `{new}`, and has another value. Send one of the two.");
        FieldError::new(format!("/{}", escape(new)), "conflict", message)
    };
    pairs.iter().filter(differs).map(error).collect()
}

/// Gives the new name what the old one holds.
pub(super) fn follow(old: &str, new: &str, data: &mut Map<String, Value>) {
    match data.get(old).cloned() {
        Some(value) => drop(data.insert(new.to_owned(), value)),
        None => drop(data.remove(new)),
    }
}
