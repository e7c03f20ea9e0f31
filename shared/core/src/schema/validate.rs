//! Records held against the schema: the validators, and what they find in words and pointers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};

use crate::error::FieldError;
use crate::expr::{Kind, moment, number};

use super::bound::Bound;
use super::field::Field;
use super::unique_items::UniqueItems;
use crate::json_pointer::escape;

/// The longest name of a member inside a record, in bytes: DynamoDB takes no longer one, and no empty one.
const MAX_NAME_BYTES: usize = 65_535;
/// How many problems of one record are reported.
const MAX_PROBLEMS: usize = 50;
/// The size a compiled pattern may have, in bytes.
const MAX_PATTERN_BYTES: usize = 256 * 1024;

/// The most applications of schemas that the problems of one record may take to be told one by one: each may end in a problem.
const MOST_TOLD: u64 = 100_000;

/// A schema ready to hold values against, and how much work that is.
#[derive(Debug)]
pub(super) struct BoundedValidator {
    validator: Validator,
    bound: Bound,
}

/// The validator of whole records.
pub(super) fn of_records(schema: &Value) -> Result<BoundedValidator, Vec<FieldError>> {
    let mut schema = schema.clone();
    if let Some(root) = schema.as_object_mut() {
        root.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    build(&schema)
}

/// The validator of some members of a record, each by itself.
pub(super) fn of_members(schema: &Value) -> Result<BoundedValidator, Vec<FieldError>> {
    let members = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": schema.get("properties").unwrap_or(&json!({})),
        "$defs": schema.get("$defs").unwrap_or(&json!({})),
    });
    build(&members)
}

/// Formats are asserted, patterns run in linear time, nothing is fetched, and what would be too much work is not begun.
fn build(schema: &Value) -> Result<BoundedValidator, Vec<FieldError>> {
    let bound = Bound::of(schema).map_err(|error| vec![error])?;
    let patterns = PatternOptions::regex().size_limit(MAX_PATTERN_BYTES);
    jsonschema::options()
        .with_draft(Draft::Draft202012)
        .should_validate_formats(true)
        .should_ignore_unknown_formats(false)
        .with_pattern_options(patterns)
        .with_keyword("uniqueItems", |_, value, _| Ok(Box::new(UniqueItems::of(value))))
        .offline()
        .build(schema)
        .map(|validator| BoundedValidator { validator, bound })
        .map_err(|error| {
            vec![FieldError::new(
                format!("/schema{}", error.instance_path()),
                "bad_schema",
                shortened(&error.to_string()),
            )]
        })
}

/// Checks that the schema compiles and that its defaults are values it allows.
pub(super) fn check_schema(schema: &Value, fields: &BTreeMap<String, Field>, problems: &mut Vec<FieldError>) {
    let records = match of_records(schema) {
        Ok(records) => records,
        Err(found) => return problems.extend(found),
    };
    for (name, field) in fields {
        let Some(default) = &field.default else { continue };
        let record = Map::from_iter([(name.clone(), default.clone())]).into();
        // Of a record that has only this, what else is missing does not count.
        let (place, within) = (format!("/{}", escape(name)), format!("/{}/", escape(name)));
        let found = find(&records, fields, &record).into_iter();
        let found = found.filter(|found| found.pointer == place || found.pointer.starts_with(&within));
        let pointer = format!("/schema/properties/{}/default", escape(name));
        problems.extend(found.map(|found| FieldError::new(&pointer, "bad_default", found.message)));
    }
}

/// Everything wrong with a record, or with some members of one: an object.
pub(super) fn find(judge: &BoundedValidator, fields: &BTreeMap<String, Field>, data: &Value) -> Vec<FieldError> {
    let mut problems = unstorable(data, "");
    if !problems.is_empty() {
        // A number beyond the store's range is never computed with: spelled out it could fill the memory.
        problems.truncate(MAX_PROBLEMS);
        return problems;
    }
    problems.extend(judge.problems(fields, data));
    for (name, value) in data.as_object().into_iter().flatten() {
        let pointer = format!("/{}", escape(name));
        let is_moment = fields.get(name).is_some_and(|field| field.value.kind == Kind::Moment);
        if is_moment && value.as_str().is_some_and(|text| moment::canonical(text).is_none()) {
            problems.push(FieldError::new(
                pointer,
                "format",
                "a time was expected, like 2026-03-01T12:00:00Z, to the millisecond",
            ));
        }
    }
    problems.truncate(MAX_PROBLEMS);
    problems
}

impl BoundedValidator {
    /// Whether a value fits is known at a price that does not multiply: what was applied to it once is remembered. Its problems
    /// are gathered all at once, and where they could fill the memory none of them is.
    /// What is hidden is weighed and described apart from the rest, so that how much of it there is decides nothing about the rest.
    fn problems(&self, fields: &BTreeMap<String, Field>, data: &Value) -> Vec<FieldError> {
        if self.bound.is_too_much(data) && apart(fields, data).iter().any(|part| self.bound.is_too_much(&part.data)) {
            let message =
                "this has too many values for a schema that compares each of them with so much: send less at a time";
            return vec![FieldError::new("", "too_complex", message)];
        }
        if self.validator.is_valid(data) {
            return Vec::new();
        }
        let parts = apart(fields, data);
        let told = parts.iter().filter(|part| self.bound.applied_to(&part.data) <= MOST_TOLD);
        let mut problems: Vec<FieldError> = told.flat_map(|part| self.problems_of(part)).collect();
        let is_visible_too_large = parts.first().is_some_and(|part| self.bound.applied_to(&part.data) > MOST_TOLD);
        if is_visible_too_large || problems.is_empty() {
            let message = "this does not fit the schema, and is too large or too deeply nested for its problems to be told one \
                           by one: send less at a time";
            problems.push(FieldError::new("", "invalid", message));
        }
        problems
    }

    fn problems_of(&self, part: &Part) -> Vec<FieldError> {
        let errors = self.validator.iter_errors(&part.data).flat_map(|error| described(&error));
        errors.filter(|problem| part.names(&problem.pointer)).take(MAX_PROBLEMS).collect()
    }
}

/// A part of a record's data.
struct Part<'a> {
    data: Cow<'a, Value>,
    /// The pointers of its hidden fields.
    hidden: Vec<String>,
    /// Whether it is the hidden fields, or all the others.
    is_hidden: bool,
}

impl Part<'_> {
    /// Whether a pointer is of something in this part.
    fn names(&self, pointer: &str) -> bool {
        let is_within =
            |field: &String| pointer.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.hidden.iter().any(is_within) == self.is_hidden
    }
}

/// All of a record's data but what is hidden, and then that, if there is any. No keyword of a schema looks at fields of both: see
/// [`joined`](super::joined).
fn apart<'a>(fields: &BTreeMap<String, Field>, data: &'a Value) -> Vec<Part<'a>> {
    let is_hidden = |name: &str| fields.get(name).is_some_and(|field| field.value.hidden);
    let hidden = fields.keys().filter(|name| is_hidden(name)).map(|name| format!("/{}", escape(name)));
    let hidden: Vec<String> = hidden.collect();
    let Some(members) = data.as_object().filter(|_| !hidden.is_empty()) else {
        return vec![Part { data: Cow::Borrowed(data), hidden, is_hidden: false }];
    };
    let (of_hidden, visible): (Map<_, _>, Map<_, _>) =
        members.clone().into_iter().partition(|(name, _)| is_hidden(name));
    vec![
        Part { data: Cow::Owned(visible.into()), hidden: hidden.clone(), is_hidden: false },
        Part { data: Cow::Owned(of_hidden.into()), hidden, is_hidden: true },
    ]
}

/// Everything the store could not hold of a value that stands at `pointer`: numbers, and names of members.
pub fn unstorable(value: &Value, pointer: &str) -> Vec<FieldError> {
    let mut problems = Vec::new();
    check_storable(value, Location::Root(pointer), &mut problems);
    problems
}

/// Where a value stands. It becomes a JSON Pointer where something is wrong, and only there.
#[derive(Clone, Copy)]
enum Location<'a> {
    Root(&'a str),
    Element(&'a Location<'a>, usize),
    Member(&'a Location<'a>, &'a str),
}

impl Location<'_> {
    fn pointer(&self) -> String {
        match self {
            Self::Root(pointer) => (*pointer).to_owned(),
            Self::Element(of, position) => format!("{}/{position}", of.pointer()),
            Self::Member(of, name) => format!("{}/{}", of.pointer(), escape(name)),
        }
    }
}

/// Numbers and names the store cannot hold are refused before it would.
fn check_storable(value: &Value, place: Location<'_>, problems: &mut Vec<FieldError>) {
    match value {
        Value::Number(number) => {
            if let Err(reason) = number::exact(number.as_str()) {
                problems.push(FieldError::new(place.pointer(), reason.code(), reason.message()));
            }
        }
        Value::Array(elements) => {
            for (position, element) in elements.iter().enumerate() {
                check_storable(element, Location::Element(&place, position), problems);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let place = Location::Member(&place, name);
                if !(1..=MAX_NAME_BYTES).contains(&name.len()) {
                    let message = "the name of a member has 1 to 65535 bytes";
                    problems.push(FieldError::new(place.pointer(), "bad_name", message));
                }
                check_storable(member, place, problems);
            }
        }
        _ => {}
    }
}

/// An error of the validator as ours, without the value: it may be long, and the client knows it.
fn described(error: &ValidationError) -> Vec<FieldError> {
    let pointer = error.instance_path().to_string();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let unknown = |name: &String| {
                FieldError::new(format!("{pointer}/{}", escape(name)), "unknown_field", "there is no such field")
            };
            unexpected.iter().map(unknown).collect()
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![FieldError::new(format!("{pointer}/{}", escape(name)), "required", "this field is required")]
        }
        kind => vec![FieldError::new(pointer, code(kind), shortened(&error.masked().to_string()))],
    }
}

/// The keyword that failed, as a code.
fn code(kind: &ValidationErrorKind) -> &'static str {
    match kind {
        ValidationErrorKind::Type { .. } => "type",
        ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => "enum",
        ValidationErrorKind::Format { .. } => "format",
        ValidationErrorKind::Pattern { .. } => "pattern",
        ValidationErrorKind::MinLength { .. }
        | ValidationErrorKind::MinItems { .. }
        | ValidationErrorKind::MinProperties { .. } => "too_short",
        ValidationErrorKind::MaxLength { .. }
        | ValidationErrorKind::MaxItems { .. }
        | ValidationErrorKind::MaxProperties { .. } => "too_long",
        ValidationErrorKind::Minimum { .. } | ValidationErrorKind::ExclusiveMinimum { .. } => "too_small",
        ValidationErrorKind::Maximum { .. } | ValidationErrorKind::ExclusiveMaximum { .. } => "too_large",
        ValidationErrorKind::MultipleOf { .. } => "multiple_of",
        ValidationErrorKind::Custom { keyword, .. } if keyword == "uniqueItems" => "unique_items",
        _ => "invalid",
    }
}

fn shortened(message: &str) -> String {
    const LONGEST: usize = 300;
    let mut short: String = message.chars().take(LONGEST).collect();
    if short.len() < message.len() {
        short.push('…');
    }
    short
}
