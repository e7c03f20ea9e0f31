//! The fields of a collection: kind, flags and relation of each property of the schema.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::expr::{FieldType, Kind, is_system, moment};
use crate::query::MAX_ELEMENTS;
use crate::strict_serde;

use super::limits::{MAX_PROPERTIES, is_collection_name};
use super::types::Types;
use crate::json_pointer::escape;

/// Maximum length of a field name, in characters.
const MAX_NAME: usize = 64;
/// Names reserved by the expression language.
const RESERVED: [&str; 4] = ["true", "false", "null", "in"];

/// The schema's information on one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The kind of its values, whether `null` is one, and whether clients see it.
    pub value: FieldType,
    /// The types of its values.
    pub(super) types: Types,
    /// Whether it is required.
    pub required: bool,
    /// Whether only the server writes it.
    pub read_only: bool,
    /// Whether it stays as it was at creation.
    pub write_once: bool,
    /// The relation, if it has one.
    pub relation: Option<Relation>,
    /// Maximum number of elements, if it is an array whose schema states one.
    pub max_items: Option<u64>,
    /// The name that it had before.
    pub renamed_from: Option<String>,
    /// The default of a new record.
    pub default: Option<Value>,
}

impl Field {
    /// A value of this field as it is stored: a time has only one form. An invalid time stays as it is.
    pub(super) fn stored_form(&self, value: &Value) -> Value {
        let moment = value.as_str().filter(|_| self.value.kind == Kind::Moment).and_then(moment::canonical);
        moment.map_or_else(|| value.clone(), Value::String)
    }
}

/// A field that contains the id of a record in another collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Relation {
    /// The other collection.
    pub collection: String,
    /// What happens to this record when the other is deleted.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// The ids in the value of a relation field: the value itself, or the elements of an array, each with its position. A value that is
/// no text names no record.
pub fn related_ids(value: &Value) -> impl Iterator<Item = (Option<usize>, &str)> {
    let elements = value.as_array().into_iter().flatten().enumerate();
    let elements = elements.filter_map(|(at, element)| Some((Some(at), element.as_str()?)));
    value.as_str().map(|id| (None, id)).into_iter().chain(elements)
}

/// What happens to a record when the one it refers to is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OnDelete {
    /// The other record cannot be deleted.
    #[default]
    Restrict,
    /// This record is deleted too.
    Cascade,
    /// The field, or the element of an array, is removed from this record.
    SetNull,
}

impl Field {
    /// Whether it is an array, whose elements are ids if it has a relation.
    pub fn is_many(&self) -> bool {
        matches!(self.value.kind, Kind::List(_))
    }
}

/// Reads the fields from a schema, which must describe an object and name all its properties.
pub(super) fn read(schema: &Value, problems: &mut Vec<FieldError>) -> BTreeMap<String, Field> {
    let Some(root) = schema.as_object() else {
        problems.push(FieldError::new(
            "/schema",
            "type",
            "The schema must be a JSON Schema object with `type` and `properties`.",
        ));
        return BTreeMap::new();
    };
    let empty = Map::new();
    let properties = root.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    if properties.len() > MAX_PROPERTIES {
        let message = format!("A collection has at most {MAX_PROPERTIES} fields. Remove some.");
        problems.push(FieldError::new("/schema/properties", "too_many", message));
    }
    let required = |name: &str| {
        root.get("required")
            .and_then(Value::as_array)
            .is_some_and(|names| names.iter().any(|other| other.as_str() == Some(name)))
    };
    let mut fields = BTreeMap::new();
    for (name, property) in properties {
        let pointer = format!("/schema/properties/{}", escape(name));
        check_name(name, &pointer, problems);
        fields.insert(name.clone(), field(root, property, required(name), &pointer, problems));
    }
    fields
}

fn check_name(name: &str, pointer: &str, problems: &mut Vec<FieldError>) {
    let is_allowed = |char: &char| char.is_ascii_alphanumeric() || *char == '_';
    let begins = name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    if !begins || !name.chars().all(|char| is_allowed(&char)) || name.len() > MAX_NAME {
        let refused: BTreeSet<char> = name.chars().filter(|char| !is_allowed(char)).take(MAX_NAME).collect();
        let refused: Vec<String> = refused.into_iter().map(|char| format!("`{}`", char.escape_debug())).collect();
        let which = if refused.is_empty() { String::new() } else { format!(" It cannot have {}.", refused.join(", ")) };
        let message = format!(
            "A field's name is 1 to {MAX_NAME} of a-z, A-Z, 0-9 and _, and does not begin with a digit.{which} Put a name for people in \
             `title`."
        );
        problems.push(FieldError::new(pointer, "bad_name", message));
    }
    if is_system(name) {
        problems.push(FieldError::new(
            pointer,
            "reserved",
            "The server sets a field with this name on every record. Rename the field.",
        ));
    }
    if RESERVED.contains(&name) {
        problems.push(FieldError::new(
            pointer,
            "reserved",
            "This word is reserved by the expression language. Rename the field.",
        ));
    }
}

fn field(
    root: &Map<String, Value>,
    property: &Value,
    required: bool,
    pointer: &str,
    problems: &mut Vec<FieldError>,
) -> Field {
    let mut flag = |name: &str| match property.get(name) {
        None => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => {
            problems.push(FieldError::new(format!("{pointer}/{name}"), "type", "This must be true or false."));
            false
        }
    };
    let (hidden, read_only, write_once) = (flag("hidden"), flag("readOnly"), flag("writeOnce"));
    let types = Types::of(root, property);
    let relation = relation(property, &types, pointer, problems);
    let value = FieldType { kind: types.kind(), nullable: types.has_null(), hidden, read_only };
    let renamed_from = match property.get("renamedFrom") {
        Some(Value::String(name)) => Some(name.clone()),
        None => None,
        Some(_) => {
            problems.push(FieldError::new(
                format!("{pointer}/renamedFrom"),
                "type",
                "This must be the name of a field.",
            ));
            None
        }
    };
    let (max_items, default) = (types.max_items(), property.get("default").cloned());
    Field { value, types, required, read_only, write_once, relation, max_items, renamed_from, default }
}

fn relation(property: &Value, types: &Types, pointer: &str, problems: &mut Vec<FieldError>) -> Option<Relation> {
    let pointer = format!("{pointer}/relation");
    let relation = match strict_serde::read::<Relation>(property.get("relation")?.clone()) {
        Ok(relation) => relation,
        Err(error) => {
            problems.push(FieldError::new(pointer, "relation", error.to_string()));
            return None;
        }
    };
    if !is_collection_name(&relation.collection) {
        problems.push(FieldError::new(
            format!("{pointer}/collection"),
            "bad_name",
            "A collection's name is 1 to 63 of a-z, 0-9 and _, beginning with a letter.",
        ));
    }
    let kind = types.kind();
    if matches!(&kind, Kind::List(element) if **element == Kind::Text) {
        if types.max_items().is_none_or(|most| most > MAX_ELEMENTS) {
            let message = format!(
                "Each id of an array is checked in the transaction that writes the record. Set `maxItems` of at most {MAX_ELEMENTS}."
            );
            problems.push(FieldError::new(pointer, "relation", message));
        }
    } else if kind != Kind::Text {
        let message = format!(
            "A relation field holds a record's id, which is text; by its schema this field is {}. Set its `type` to string, to string and null, \
             or to an array of strings.",
            types.description()
        );
        problems.push(FieldError::new(pointer, "relation", message));
    }
    Some(relation)
}
