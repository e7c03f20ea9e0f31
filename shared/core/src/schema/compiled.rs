//! A schema ready to hold records against: its fields, and validators that are made when first needed.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::expr::{Kind, moment};

use super::field::{self, Field};
use super::keywords;
use super::validate::{self, BoundedValidator};
use crate::json_pointer::escape;

/// A schema compiled for use.
#[derive(Debug)]
pub(super) struct CompiledSchema {
    schema: Value,
    /// Whether the schema looks at one member at a time.
    pub memberwise: bool,
    pub fields: BTreeMap<String, Field>,
    /// Made on first use: reading a record needs no validator, and a cold start should not wait for one.
    records: OnceLock<Result<BoundedValidator, Vec<FieldError>>>,
    members: OnceLock<Result<BoundedValidator, Vec<FieldError>>>,
}

impl CompiledSchema {
    /// Reads the fields out of a schema.
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

    /// Everything wrong with a whole record's data, an object.
    pub fn problems(&self, data: &Value) -> Vec<FieldError> {
        self.find(self.records.get_or_init(|| validate::of_records(&self.schema)), data)
    }

    /// Everything wrong with a merge patch, member by member.
    pub fn problems_of_patch(&self, patch: &Map<String, Value>) -> Vec<FieldError> {
        let (removed, set): (Map<_, _>, Map<_, _>) = patch.clone().into_iter().partition(|(_, value)| value.is_null());
        let mut problems = self.find(self.members.get_or_init(|| validate::of_members(&self.schema)), &set.into());
        for name in removed.keys() {
            let pointer = format!("/{}", escape(name));
            match self.fields.get(name) {
                None => problems.push(FieldError::new(pointer, "unknown_field", "there is no such field")),
                Some(field) if field.required => {
                    problems.push(FieldError::new(pointer, "required", "this field is required"))
                }
                Some(_) => {}
            }
        }
        problems
    }

    fn find(&self, judge: &Result<BoundedValidator, Vec<FieldError>>, data: &Value) -> Vec<FieldError> {
        match judge {
            Ok(judge) => validate::find(judge, &self.fields, data),
            Err(problems) => problems.clone(),
        }
    }

    /// Whether a member's value is a time, which is stored in one form only.
    pub fn is_moment(&self, name: &str) -> bool {
        self.fields.get(name).is_some_and(|field| field.value.kind == Kind::Moment)
    }

    /// The times of a stored record that are not in the form in which times compare.
    pub fn loose_times(&self, data: &Map<String, Value>) -> Vec<FieldError> {
        let canonical = |text: &str| moment::canonical(text).as_deref() == Some(text);
        let loose =
            |name: &str, value: &Value| self.is_moment(name) && value.as_str().is_some_and(|text| !canonical(text));
        let message = "a time is stored in one form, like 2026-03-01T12:00:00.000Z: write this record again";
        let loose = data.iter().filter(|(name, value)| loose(name, value));
        loose.map(|(name, _)| FieldError::new(format!("/{}", escape(name)), "format", message)).collect()
    }
}
