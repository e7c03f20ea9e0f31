//! The shape of a definition's body: its members and their types, before they are checked against each other.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::expr::Rule;
use crate::json_pointer::escape;
use crate::query::SortField;
use crate::strict_serde;

use super::formats::Formats;
use super::limits::{MAX_DEFINITION_BYTES, MAX_SHARDS, is_collection_name};

const MEMBERS: [&str; 10] =
    ["name", "schema", "formats", "unique", "indexes", "rules", "shards", "counts", "changes", "dropped"];

/// A definition's members, read but not yet checked against each other.
pub(super) struct Body {
    pub schema: Value,
    pub formats: Formats,
    pub unique: Vec<Vec<String>>,
    pub indexes: Vec<IndexBody>,
    pub rules: BTreeMap<Rule, String>,
    pub shards: u8,
    pub counts: bool,
    pub changes: bool,
    pub dropped: Vec<String>,
}

/// Members that the server adds to a definition and shows.
const KEPT: [&str; 4] = ["version", "status", "job", "next"];

/// A declared index, as sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IndexBody {
    pub name: String,
    pub partition: Vec<String>,
    #[serde(default)]
    pub sort: Vec<SortField>,
    /// Set and shown by the server, and accepted so that a definition can be put back as it was read.
    #[serde(default, rename = "ready")]
    _ready: bool,
}

/// Reads the members of a body and leaves out what cannot be read.
pub(super) fn read(name: &str, body: Value, problems: &mut Vec<FieldError>) -> Body {
    if body.to_string().len() > MAX_DEFINITION_BYTES {
        problems.push(FieldError::new(
            "",
            "too_large",
            format!("A definition has at most {MAX_DEFINITION_BYTES} bytes. Shorten it."),
        ));
    }
    let Value::Object(mut members) = body else {
        problems.push(FieldError::new("", "type", "A definition must be a JSON object."));
        return Body {
            schema: Value::Null,
            formats: Formats::default(),
            unique: Vec::new(),
            indexes: Vec::new(),
            rules: BTreeMap::new(),
            shards: 1,
            counts: false,
            changes: false,
            dropped: Vec::new(),
        };
    };
    // Server-owned members are accepted, so that a definition can be put back as it was read.
    members.retain(|member, _| !KEPT.contains(&member.as_str()));
    for member in members.keys().filter(|member| !MEMBERS.contains(&member.as_str())) {
        problems.push(FieldError::new(
            format!("/{}", escape(member)),
            "unknown_field",
            "A definition has no such member. Remove it.",
        ));
    }
    check_name(name, members.get("name"), problems);
    Body {
        schema: members.remove("schema").unwrap_or(Value::Null),
        formats: Formats::read(members.remove("formats"), problems),
        unique: list(&mut members, "unique", problems),
        indexes: list(&mut members, "indexes", problems),
        rules: rules(members.remove("rules"), problems),
        shards: shards(members.remove("shards"), problems),
        counts: flag(&mut members, "counts", problems),
        changes: flag(&mut members, "changes", problems),
        dropped: list(&mut members, "dropped", problems),
    }
}

fn check_name(name: &str, inside: Option<&Value>, problems: &mut Vec<FieldError>) {
    if !is_collection_name(name) {
        let message = "A collection's name is 1 to 63 of a-z, 0-9 and _, beginning with a letter.";
        problems.push(FieldError::new("/name", "bad_name", message));
    }
    if inside.is_some_and(|inside| inside.as_str() != Some(name)) {
        problems.push(FieldError::new(
            "/name",
            "name_differs",
            "The name in the body differs from the name in the path. Leave it out of the body.",
        ));
    }
}

/// The elements of an optional list.
fn list<T: DeserializeOwned>(members: &mut Map<String, Value>, name: &str, problems: &mut Vec<FieldError>) -> Vec<T> {
    let elements = match members.remove(name) {
        None => return Vec::new(),
        Some(Value::Array(elements)) => elements,
        Some(_) => {
            problems.push(FieldError::new(format!("/{name}"), "type", "This must be an array."));
            return Vec::new();
        }
    };
    let mut read = Vec::new();
    for (position, element) in elements.into_iter().enumerate() {
        match strict_serde::read(element) {
            Ok(element) => read.push(element),
            Err(error) => problems.push(FieldError::new(format!("/{name}/{position}"), "type", error.to_string())),
        }
    }
    read
}

fn rules(member: Option<Value>, problems: &mut Vec<FieldError>) -> BTreeMap<Rule, String> {
    let members = match member {
        None => return BTreeMap::new(),
        Some(Value::Object(members)) => members,
        Some(_) => {
            problems.push(FieldError::new("/rules", "type", "This must be an object."));
            return BTreeMap::new();
        }
    };
    let mut rules = BTreeMap::new();
    for (name, source) in members {
        let pointer = format!("/rules/{}", escape(&name));
        let rule = Rule::ALL.into_iter().find(|rule| rule.name() == name);
        match (rule, source) {
            (Some(rule), Value::String(source)) => {
                rules.insert(rule, source);
            }
            (Some(_), _) => problems.push(FieldError::new(
                pointer,
                "type",
                "A rule must be a string. Leave it out to allow admins only.",
            )),
            (None, _) => problems.push(FieldError::new(
                pointer,
                "unknown_field",
                "There is no such rule. The rules are list, read, create, update, delete, undelete and refer.",
            )),
        }
    }
    rules
}

/// An optional boolean member, false by default.
fn flag(members: &mut Map<String, Value>, name: &str, problems: &mut Vec<FieldError>) -> bool {
    match members.remove(name) {
        None => false,
        Some(Value::Bool(flag)) => flag,
        Some(_) => {
            problems.push(FieldError::new(format!("/{name}"), "type", "This must be true or false."));
            false
        }
    }
}

fn shards(member: Option<Value>, problems: &mut Vec<FieldError>) -> u8 {
    let Some(member) = member else { return 1 };
    let shards = member.as_u64().and_then(|shards| u8::try_from(shards).ok());
    match shards.filter(|shards| shards.is_power_of_two() && *shards <= MAX_SHARDS) {
        Some(shards) => shards,
        None => {
            problems.push(FieldError::new(
                "/shards",
                "shards",
                format!("shards must be a power of two from 1 to {MAX_SHARDS}."),
            ));
            1
        }
    }
}
