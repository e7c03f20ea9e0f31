//! Steps that change the data of stored records for a new definition: a field that becomes required and has a default is filled,
//! a renamed one is copied, a dropped one is removed.
//!
//! The job of the definition takes the steps for each record. Until every record fits, a *bridge* is in force: the new schema
//! without requiring what a stored record may lack, and with the dropped fields that it may have. The new definition waits as
//! `next`, so that every write fits both. Without a bridge, records could not get the field before it is required.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::compatibility::allows_as_much;
use super::field::{self, Field};
use super::joined;
use super::limits::MAX_PROPERTIES;
use super::renames::{self, pairs};
use crate::error::FieldError;

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
    /// A record gets the value that a field has under its old name.
    Copy {
        /// The old name.
        from: String,
        /// The new name.
        field: String,
    },
    /// A record with this field loses it.
    Drop {
        /// The field.
        field: String,
    },
}

impl Step {
    /// The step as shown to an admin.
    pub(super) fn explain(&self) -> Value {
        match self {
            Self::Fill { field, .. } => json!({ "change": "field", "name": field, "effect": "filled" }),
            Self::Copy { from, field } => json!({ "change": "field", "name": field, "effect": "copied", "from": from }),
            Self::Drop { field } => json!({ "change": "field", "name": field, "effect": "dropped" }),
        }
    }

    fn take(&self, data: &mut Map<String, Value>) {
        match self {
            Self::Fill { field, value } => {
                if !data.contains_key(field) {
                    data.insert(field.clone(), value.clone());
                }
            }
            Self::Copy { from, field } => renames::follow(from, field, data),
            Self::Drop { field } => drop(data.remove(field)),
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

/// Checks the fields to be dropped.
pub(super) fn check_dropped(dropped: &[String], fields: &BTreeMap<String, Field>, problems: &mut Vec<FieldError>) {
    if dropped.len() > MAX_PROPERTIES {
        let message = format!(
            "At most {MAX_PROPERTIES} fields are dropped at once. Leave out those that no record has any more."
        );
        problems.push(FieldError::new("/dropped", "too_many", message));
    }
    for (position, name) in dropped.iter().enumerate().filter(|(_, name)| fields.contains_key(*name)) {
        let message = format!("The schema declares `{name}`. Remove it there, or do not drop it.");
        problems.push(FieldError::new(format!("/dropped/{position}"), "conflict", message));
    }
}

/// Checks that no field is dropped that is being renamed: every record must have the value under its new name before.
pub(super) fn check_copied(
    (old, left): (&Value, &[Step]),
    dropped: &[String],
    fields: &BTreeMap<String, Field>,
    problems: &mut Vec<FieldError>,
) {
    let before = field::read(old, &mut Vec::new());
    let known = pairs(&before);
    for (position, name) in dropped.iter().enumerate().filter(|(_, name)| before.contains_key(*name)) {
        let is_left = left.iter().any(|step| matches!(step, Step::Copy { from, .. } if from == name));
        let mut renamed = fields.iter().filter(|(_, field)| field.renamed_from.as_ref() == Some(name));
        if is_left || renamed.any(|(new, _)| !known.iter().any(|pair| pair.old == *name && pair.new == *new)) {
            let message = format!(
                "The values of `{name}` are not under its new name yet. Put the definition with both fields first, and drop `{name}` \
                 when its `status` is `ready`."
            );
            problems.push(FieldError::new(format!("/dropped/{position}"), "conflict", message));
        }
    }
}

/// The steps that bring the records of an old schema, which has steps left, to a new one.
pub(super) fn steps((old, left): (&Value, &[Step]), new: &Value, dropped: &[String]) -> Vec<Step> {
    let known = pairs(&field::read(old, &mut Vec::new()));
    let renamed = pairs(&field::read(new, &mut Vec::new())).into_iter().filter_map(|pair| {
        let is_known = known.contains(&pair);
        let copy = Step::Copy { from: pair.old, field: pair.new };
        (!is_known || left.contains(&copy)).then_some(copy)
    });
    let fill = |(name, field): (String, Field)| {
        Some(Step::Fill { value: field.stored_form(field.default.as_ref()?), field: name })
    };
    let fills = newly_required(old, new).into_iter().filter_map(fill);
    let had = |name: &&String| old.get("properties").is_some_and(|fields| fields.get(name.as_str()).is_some());
    renamed.chain(fills).chain(dropped.iter().filter(had).map(|field| Step::Drop { field: field.clone() })).collect()
}

/// The new schema without requiring the fields that a stored record may lack, and with those that it may still have. `None` if
/// this is no difference, or if records of the old schema may not fit it for another reason.
pub(super) fn bridge(old: &Value, new: &Value, steps: &[Step]) -> Option<Value> {
    let added = newly_required(old, new);
    let mut bridge = new.clone();
    if let Some(required) = bridge.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !name.as_str().is_some_and(|name| added.contains_key(name)));
    }
    let is_dropped = |name: &str| steps.iter().any(|step| matches!(step, Step::Drop { field } if field == name));
    let mut dropped = members(old, "properties");
    dropped.retain(|name, _| is_dropped(name));
    dropped.values_mut().for_each(without_default);
    let is_different = !(added.is_empty() && dropped.is_empty());
    let shared = if dropped.is_empty() { Map::new() } else { members(old, "$defs") };
    add(&mut bridge, [("properties", dropped), ("$defs", shared)])?;
    (is_different && is_compatible(old, &bridge)).then_some(bridge)
}

/// A field that the new definition does not have gets no value any more.
fn without_default(property: &mut Value) {
    property.as_object_mut().map(|members| members.remove("default"));
}

/// The members of a keyword whose value is an object.
fn members(schema: &Value, keyword: &str) -> Map<String, Value> {
    schema.get(keyword).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// Adds members to keywords of a schema that do not have them.
fn add(schema: &mut Value, more: [(&str, Map<String, Value>); 2]) -> Option<()> {
    for (keyword, more) in more.into_iter().filter(|(_, more)| !more.is_empty()) {
        let members = schema.as_object_mut()?.entry(keyword).or_insert_with(|| json!({})).as_object_mut()?;
        for (name, value) in more {
            members.entry(name).or_insert(value);
        }
    }
    Some(())
}

/// The old schema, and beside it the fields that become required and that it does not declare. `None` if they do not fit into it.
pub(super) fn opened(old: &Value, new: &Value) -> Option<Value> {
    let mut opened = old.clone();
    let added = newly_required(old, new);
    let (mut fields, shared) = (members(new, "properties"), members(new, "$defs"));
    let properties = opened.get_mut("properties").and_then(Value::as_object_mut);
    let gone = properties.into_iter().flatten().filter(|(name, _)| !fields.contains_key(*name));
    gone.for_each(|(_, property)| without_default(property));
    fields.retain(|name, _| added.contains_key(name));
    if fields.is_empty() {
        return Some(opened);
    }
    add(&mut opened, [("properties", fields), ("$defs", shared.clone())])?;
    let declared = |name: &String| opened.get("$defs").and_then(|defs| defs.get(name));
    let is_declared_alike = shared.iter().all(|(name, schema)| declared(name) == Some(schema));
    (is_declared_alike && is_compatible(old, &opened)).then_some(opened)
}

/// Whether this schema may be in force where the old one was. Nobody put it, so it is checked like one that is put.
fn is_compatible(old: &Value, schema: &Value) -> bool {
    let mut problems = Vec::new();
    field::read(schema, &mut problems);
    joined::check(schema, &mut problems);
    problems.is_empty() && allows_as_much(old, schema)
}
