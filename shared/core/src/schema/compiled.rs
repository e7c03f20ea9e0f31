//! A compiled schema: its fields, and validators that are created on first use.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::expr::{Kind, moment};

use super::field::{self, Field};
use super::keywords;
use super::validate::{self, BoundedValidator};
use crate::json_pointer::escape;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct CompiledSchema {
    schema: Value,
    /// Whether each member can be validated separately.
    pub memberwise: bool,
    pub fields: BTreeMap<String, Field>,
    /// Created on first use: reading a record needs no validator, so a cold start does not compile one.
    records: OnceLock<Result<BoundedValidator, Vec<FieldError>>>,
    members: OnceLock<Result<BoundedValidator, Vec<FieldError>>>,
}

impl CompiledSchema {
    /// Reads the fields from a schema.
    pub fn of(schema: Value, problems: &mut Vec<FieldError>) -> Self {
        let fields = field::read(&schema, problems);
        Self {
            memberwise: keywords::is_memberwise(&schema),
            schema,
            fields,
            records: OnceLock::new(),
            members: OnceLock::new(),
        }
    }

    /// The errors in a whole record's data, an object.
    pub fn problems(&self, data: &Value) -> Vec<FieldError> {
        self.find(self.records.get_or_init(|| validate::of_records(&self.schema)), data)
    }

    /// The errors in a merge patch, member by member.
    pub fn problems_of_patch(&self, patch: &Map<String, Value>) -> Vec<FieldError> {
        let (removed, set): (Map<_, _>, Map<_, _>) = patch.clone().into_iter().partition(|(_, value)| value.is_null());
        let mut problems = self.find(self.members.get_or_init(|| validate::of_members(&self.schema)), &set.into());
        for name in removed.keys() {
            let pointer = format!("/{}", escape(name));
            match self.fields.get(name) {
                None => problems.push(self.with_new_name(FieldError::new(
                    pointer,
                    "unknown_field",
                    "The schema has no such field. Leave it out, or add it to the schema.",
                ))),
                Some(field) if field.required => problems.push(FieldError::new(pointer, "required", validate::REMOVED)),
                Some(_) => {}
            }
        }
        problems
    }

    fn find(&self, judge: &Result<BoundedValidator, Vec<FieldError>>, data: &Value) -> Vec<FieldError> {
        let problems = match judge {
            Ok(judge) => validate::find(judge, &self.fields, data),
            Err(problems) => problems.clone(),
        };
        problems.into_iter().map(|problem| self.with_new_name(problem)).collect()
    }

    /// Adds to the error of an unknown field the name that it has now.
    fn with_new_name(&self, problem: FieldError) -> FieldError {
        let is_it = |field: &Field| field.renamed_from.as_ref().is_some_and(|old| problem.pointer == format!("/{old}"));
        match self.fields.iter().find(|(_, field)| problem.code == "unknown_field" && is_it(field)) {
            Some((new, _)) => FieldError { message: format!("This field is `{new}` now. Use that name."), ..problem },
            None => problem,
        }
    }

    /// Whether a member's value is a time, which has only one stored form.
    pub fn is_moment(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|field| field.value.kind == Kind::Moment)
    }

    /// The times of a stored record that are not in the comparable form.
    pub fn loose_times(&self, data: &Map<String, Value>) -> Vec<FieldError> {
        let canonical = |text: &str| moment::canonical(text).as_deref() == Some(text);
        let loose =
            |name: &str, value: &Value| self.is_moment(name) && value.as_str().is_some_and(|text| !canonical(text));
        let message = "This time is not stored in the form 2026-03-01T12:00:00.000Z. Write the record again.";
        let loose = data.iter().filter(|(name, value)| loose(name, value));
        loose.map(|(name, _)| FieldError::new(format!("/{}", escape(name)), "format", message)).collect()
    }
}
