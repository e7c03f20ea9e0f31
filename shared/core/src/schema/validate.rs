//! Validation of records: the validators, and their errors as messages with pointers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value, json};

use crate::error::FieldError;
use crate::expr::{Kind, moment, number};

use super::bound::Bound;
use super::field::Field;
use super::formats;
use super::unique_items::UniqueItems;
use super::well_formed::{self, shortened};
use crate::json_pointer::{escape, look_up, unescape};

/// Maximum length of a member name inside a record, in bytes (DynamoDB), which must not be empty.
const MAX_NAME_BYTES: usize = 65_535;
/// Maximum number of reported errors per record.
const MAX_PROBLEMS: usize = 50;
/// Maximum size of a compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 256 * 1024;
/// Why a time that looks valid is not.
const KEPT_AS: &str = " A time is stored, and validated, in the form 2026-03-01T12:00:00.000Z.";

/// Why a merge patch lacks a required member that it names.
pub(super) const REMOVED: &str = "In a merge patch, `null` removes a member, and this one is required. Send a value; or, where the schema \
                                  allows `null`, store it with `PUT`.";

/// Maximum number of schema applications for which errors are reported one by one, because each may yield an error.
const MOST_REPORTED: u64 = 100_000;

/// A schema ready for validation, with its cost.
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

/// The validator of some members of a record, each separately.
pub(super) fn of_members(schema: &Value) -> Result<BoundedValidator, Vec<FieldError>> {
    let members = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": schema.get("properties").unwrap_or(&json!({})),
        "$defs": schema.get("$defs").unwrap_or(&json!({})),
    });
    build(&members)
}

/// Formats are asserted, patterns run in linear time, nothing is fetched, and validation that is too costly is not started.
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
        .build(&formats::asserted(schema.clone()))
        .map(|validator| BoundedValidator { validator, bound })
        .map_err(|error| vec![well_formed::described(&error)])
}

/// Checks that the schema compiles and accepts its own defaults.
pub(super) fn check_schema(schema: &Value, fields: &BTreeMap<String, Field>, problems: &mut Vec<FieldError>) {
    let records = match of_records(schema) {
        Ok(records) => records,
        Err(found) => return problems.extend(found),
    };
    for (name, field) in fields {
        let Some(default) = &field.default else { continue };
        let record = Map::from_iter([(name.clone(), field.stored_form(default))]).into();
        // Missing fields of a record with only this default do not count.
        let (place, within) = (format!("/{}", escape(name)), format!("/{}/", escape(name)));
        let found = find(&records, fields, &record).into_iter();
        let found = found.filter(|found| found.pointer == place || found.pointer.starts_with(&within));
        let pointer = format!("/schema/properties/{}/default", escape(name));
        problems.extend(found.map(|found| FieldError::new(&pointer, "bad_default", found.message)));
    }
}

/// The errors in a record, or in some members of one: an object.
pub(super) fn find(judge: &BoundedValidator, fields: &BTreeMap<String, Field>, data: &Value) -> Vec<FieldError> {
    let mut problems = unstorable(data, "");
    if !problems.is_empty() {
        // A number outside the store's range is not used in computations: written out, it could exhaust the memory.
        problems.truncate(MAX_PROBLEMS);
        return problems;
    }
    let is_moment = |name: &str| fields.get(name).is_some_and(|field| field.value.kind == Kind::Moment);
    problems.extend(judge.problems(fields, data));
    for problem in problems.iter_mut().filter(|problem| !matches!(problem.code, "format" | "type" | "required")) {
        if problem.pointer.strip_prefix('/').map(unescape).is_some_and(|name| is_moment(&name)) {
            problem.message.push_str(KEPT_AS);
        }
    }
    for (name, value) in data.as_object().into_iter().flatten() {
        let pointer = format!("/{}", escape(name));
        if is_moment(name) && value.as_str().is_some_and(|text| moment::canonical(text).is_none()) {
            problems.push(FieldError::new(
                pointer,
                "format",
                "This must be an RFC 3339 time with at most milliseconds, like 2026-03-01T12:00:00Z.",
            ));
        }
    }
    problems.truncate(MAX_PROBLEMS);
    problems
}

impl BoundedValidator {
    /// Deciding validity has a bounded cost because the validator caches results. Errors are collected all at once, and none
    /// are collected where they could exhaust the memory. Hidden fields are checked and reported separately, so that their
    /// size does not affect the errors of visible fields.
    fn problems(&self, fields: &BTreeMap<String, Field>, data: &Value) -> Vec<FieldError> {
        if self.bound.is_too_much(data) && apart(fields, data).iter().any(|part| self.bound.is_too_much(&part.data)) {
            let message = "This record has too many values for the cost of its schema. Send fewer values.";
            return vec![FieldError::new("", "too_complex", message)];
        }
        if self.validator.is_valid(data) {
            return Vec::new();
        }
        let parts = apart(fields, data);
        let reported = parts.iter().filter(|part| self.bound.applied_to(&part.data) <= MOST_REPORTED);
        let mut problems: Vec<FieldError> = reported.flat_map(|part| self.problems_of(part)).collect();
        let is_visible_too_large = parts.first().is_some_and(|part| self.bound.applied_to(&part.data) > MOST_REPORTED);
        if is_visible_too_large || problems.is_empty() {
            let message = "This does not match the schema, and it is too large or too deeply nested to report its errors one \
                           by one. Send a smaller value to see them.";
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
    /// Whether it consists of the hidden fields or of the others.
    is_hidden: bool,
}

impl Part<'_> {
    /// Whether a pointer leads into this part.
    fn names(&self, pointer: &str) -> bool {
        let is_within =
            |field: &String| pointer.strip_prefix(field).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self.hidden.iter().any(is_within) == self.is_hidden
    }
}

/// The visible part of a record's data, and the hidden part if there is one. No keyword involves fields of both: see
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

/// The errors of a record after a merge patch (RFC 7396), where a required member is missing because the patch removed it.
pub fn of_merged(patch: &Map<String, Value>, mut problems: Vec<FieldError>) -> Vec<FieldError> {
    let is_removed =
        |pointer: &str| pointer.strip_prefix('/').and_then(|path| look_up(patch, path)) == Some(&Value::Null);
    for problem in problems.iter_mut().filter(|problem| problem.code == "required" && is_removed(&problem.pointer)) {
        problem.message = REMOVED.to_owned();
    }
    problems
}

/// The values at or below `pointer` that the store cannot hold: numbers, and names of members.
pub fn unstorable(value: &Value, pointer: &str) -> Vec<FieldError> {
    let mut problems = Vec::new();
    check_storable(value, Location::Root(pointer), &mut problems);
    problems
}

/// The place of a value. It becomes a JSON Pointer only for an error.
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

/// Refuses numbers and names before DynamoDB would.
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
                    let message = "The name of a member must have 1 to 65535 bytes. Shorten it.";
                    problems.push(FieldError::new(place.pointer(), "bad_name", message));
                }
                check_storable(member, place, problems);
            }
        }
        _ => {}
    }
}

/// A validator's error as a [`FieldError`], without the value, which may be long and which the client knows.
fn described(error: &ValidationError) -> Vec<FieldError> {
    let pointer = error.instance_path().to_string();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let unknown = |name: &String| {
                FieldError::new(
                    format!("{pointer}/{}", escape(name)),
                    "unknown_field",
                    "The schema has no such field. Leave it out, or add it to the schema.",
                )
            };
            unexpected.iter().map(unknown).collect()
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![FieldError::new(
                format!("{pointer}/{}", escape(name)),
                "required",
                "This field is required. Send a value.",
            )]
        }
        kind => vec![FieldError::new(pointer, code(kind), shortened(&error.masked().to_string()))],
    }
}

/// The failed keyword, as an error code.
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
