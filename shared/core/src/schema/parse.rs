//! The shape of a definition's body: which members it has and what each may look like, before they are held together.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::expr::Rule;
use crate::json_pointer::escape;
use crate::query::SortField;
use crate::strict_serde;

use super::limits::{MAX_DEFINITION_BYTES, MAX_SHARDS, is_collection_name};

const MEMBERS: [&str; 8] = ["name", "schema", "unique", "indexes", "rules", "shards", "counts", "changes"];

/// A definition's members, read but not yet held against each other.
pub(super) struct Body {
    pub schema: Value,
    pub unique: Vec<Vec<String>>,
    pub indexes: Vec<IndexBody>,
    pub rules: BTreeMap<Rule, String>,
    pub shards: u8,
    pub counts: bool,
    pub changes: bool,
}

/// What the server keeps of a definition and shows beside it.
const KEPT: [&str; 4] = ["version", "status", "job", "next"];

/// A declared index, as it is put.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IndexBody {
    pub name: String,
    pub partition: Vec<String>,
    #[serde(default)]
    pub sort: Vec<SortField>,
    /// Kept by the server, and shown: what was read can be put again.
    #[serde(default, rename = "ready")]
    _ready: bool,
}

/// Reads the members of a body, leaving out what cannot be read.
pub(super) fn read(name: &str, body: Value, problems: &mut Vec<FieldError>) -> Body {
    if body.to_string().len() > MAX_DEFINITION_BYTES {
        problems.push(FieldError::new(
            "",
            "too_large",
            format!("a definition has at most {MAX_DEFINITION_BYTES} bytes"),
        ));
    }
    let Value::Object(mut members) = body else {
        problems.push(FieldError::new("", "type", "a definition is an object"));
        return Body {
            schema: Value::Null,
            unique: Vec::new(),
            indexes: Vec::new(),
            rules: BTreeMap::new(),
            shards: 1,
            counts: false,
            changes: false,
        };
    };
    // What the server keeps and shows beside it may come back: what was read can be put again.
    members.retain(|member, _| !KEPT.contains(&member.as_str()));
    for member in members.keys().filter(|member| !MEMBERS.contains(&member.as_str())) {
        problems.push(FieldError::new(
            format!("/{}", escape(member)),
            "unknown_field",
            "a definition has no such member",
        ));
    }
    check_name(name, members.get("name"), problems);
    Body {
        schema: members.remove("schema").unwrap_or(Value::Null),
        unique: list(&mut members, "unique", problems),
        indexes: list(&mut members, "indexes", problems),
        rules: rules(members.remove("rules"), problems),
        shards: shards(members.remove("shards"), problems),
        counts: flag(&mut members, "counts", problems),
        changes: flag(&mut members, "changes", problems),
    }
}

fn check_name(name: &str, inside: Option<&Value>, problems: &mut Vec<FieldError>) {
    if !is_collection_name(name) {
        let message = "a collection's name is 1 to 63 of a-z, 0-9 and _, beginning with a letter";
        problems.push(FieldError::new("/name", "bad_name", message));
    }
    if inside.is_some_and(|inside| inside.as_str() != Some(name)) {
        problems.push(FieldError::new("/name", "name_differs", "the name in the body is not the one in the path"));
    }
}

/// The elements of a list that may be absent.
fn list<T: DeserializeOwned>(members: &mut Map<String, Value>, name: &str, problems: &mut Vec<FieldError>) -> Vec<T> {
    let elements = match members.remove(name) {
        None => return Vec::new(),
        Some(Value::Array(elements)) => elements,
        Some(_) => {
            problems.push(FieldError::new(format!("/{name}"), "type", "a list was expected"));
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
            problems.push(FieldError::new("/rules", "type", "an object was expected"));
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
            (Some(_), _) => {
                problems.push(FieldError::new(pointer, "type", "a rule is text; leave it out for admins only"))
            }
            (None, _) => problems.push(FieldError::new(
                pointer,
                "unknown_field",
                "the rules are list, read, create, update and delete",
            )),
        }
    }
    rules
}

/// A member that is on or off, and off where it is absent.
fn flag(members: &mut Map<String, Value>, name: &str, problems: &mut Vec<FieldError>) -> bool {
    match members.remove(name) {
        None => false,
        Some(Value::Bool(flag)) => flag,
        Some(_) => {
            problems.push(FieldError::new(format!("/{name}"), "type", "true or false was expected"));
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
                format!("shards are a power of two, 1 to {MAX_SHARDS}"),
            ));
            1
        }
    }
}
