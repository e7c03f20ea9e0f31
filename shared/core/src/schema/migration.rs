//! Steps that change the data of stored records for a new definition: a field that becomes required and has a default is filled.
//!
//! The job of the definition takes the steps for each record. Until every record fits, a *bridge* is in force: the new schema
//! without requiring what a stored record may lack. The new definition waits as `next`, so that every write fits both. Without
//! a bridge, records could not get the field before it is required.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::compatibility::allows_as_much;
use super::field::{self, Field};
use super::joined;

/// A change of a stored record's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// A record without this field gets the value.
    Fill {
        /// The field.
        field: String,
        /// Its default, in the stored form.
        value: Value,
    },
}

impl Step {
    /// The step as shown to an admin.
    pub(super) fn explain(&self) -> Value {
        match self {
            Self::Fill { field, .. } => json!({ "change": "field", "name": field, "effect": "filled" }),
        }
    }

    fn take(&self, data: &mut Map<String, Value>) {
        match self {
            Self::Fill { field, value } => {
                if !data.contains_key(field) {
                    data.insert(field.clone(), value.clone());
                }
            }
        }
    }
}

/// The data after the steps, if they change it.
pub(super) fn migrated(steps: &[Step], data: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut after = data.clone();
    steps.iter().for_each(|step| step.take(&mut after));
    (after != *data).then_some(after)
}

/// The fields that the new schema requires and the old one does not.
fn newly_required(old: &Value, new: &Value) -> BTreeMap<String, Field> {
    let before = field::read(old, &mut Vec::new());
    let is_new = |name: &String| !before.get(name).is_some_and(|field| field.required);
    let fields = field::read(new, &mut Vec::new()).into_iter();
    fields.filter(|(name, field)| field.required && is_new(name)).collect()
}

/// The steps that bring the records of an old schema to a new one.
pub(super) fn steps(old: &Value, new: &Value) -> Vec<Step> {
    let fill = |(name, field): (String, Field)| {
        Some(Step::Fill { value: field.stored_form(field.default.as_ref()?), field: name })
    };
    newly_required(old, new).into_iter().filter_map(fill).collect()
}

/// The new schema without requiring the fields that a stored record may lack. `None` if this is no difference, or if records of
/// the old schema may not fit it for another reason.
pub(super) fn bridge(old: &Value, new: &Value) -> Option<Value> {
    let added = newly_required(old, new);
    let mut bridge = new.clone();
    let required = bridge.get_mut("required").and_then(Value::as_array_mut)?;
    required.retain(|name| !name.as_str().is_some_and(|name| added.contains_key(name)));
    (!added.is_empty() && is_compatible(old, &bridge)).then_some(bridge)
}

/// The old schema, and beside it the fields that become required and that it does not declare. `None` if they do not fit into it.
pub(super) fn opened(old: &Value, new: &Value) -> Option<Value> {
    let mut opened = old.clone();
    let of_new = |keyword: &str| new.get(keyword).and_then(Value::as_object).cloned().unwrap_or_default();
    let added = newly_required(old, new);
    let (mut fields, shared) = (of_new("properties"), of_new("$defs"));
    fields.retain(|name, _| added.contains_key(name));
    if fields.is_empty() {
        return Some(opened);
    }
    let more = [("properties", fields), ("$defs", shared.clone())].into_iter();
    for (keyword, more) in more.filter(|(_, more)| !more.is_empty()) {
        let members = opened.as_object_mut()?.entry(keyword).or_insert_with(|| json!({})).as_object_mut()?;
        for (name, schema) in more {
            members.entry(name).or_insert(schema);
        }
    }
    let is_declared_alike = shared.iter().all(|(name, schema)| opened["$defs"].get(name) == Some(schema));
    (is_declared_alike && is_compatible(old, &opened)).then_some(opened)
}

/// Whether this schema may be in force where the old one was. Nobody put it, so it is checked like one that is put.
fn is_compatible(old: &Value, schema: &Value) -> bool {
    let mut problems = Vec::new();
    field::read(schema, &mut problems);
    joined::check(schema, &mut problems);
    problems.is_empty() && allows_as_much(old, schema)
}
