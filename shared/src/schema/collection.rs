//! A collection ready for use: what the functions ask of it while they serve a request.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::expr::{Expr, Kind, RecordRef, Rule, moment};
use crate::query::{IndexKey, Layout};

use super::definition::Definition;
use super::field::{Field, Relation};
use super::{field, keywords, rules, validate};

/// A definition compiled for use.
#[derive(Debug)]
pub struct Collection {
    definition: Definition,
    fields: BTreeMap<String, Field>,
    rules: BTreeMap<Rule, Expr>,
    layout: Layout,
    /// Made on first use: reading a record needs no validator, and a cold start should not wait for one.
    records: OnceLock<Result<Validator, Vec<FieldError>>>,
    members: OnceLock<Result<Validator, Vec<FieldError>>>,
}

impl Collection {
    /// Compiles a definition.
    ///
    /// # Errors
    /// What [`Definition::parse`] would have refused of the fields and rules.
    pub fn compile(definition: Definition) -> Result<Self, Vec<FieldError>> {
        let mut problems = Vec::new();
        let fields = field::read(&definition.schema, &mut problems);
        let layout = definition.layout(&fields);
        let rules = rules::read(&definition.rules, &layout, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { definition, fields, rules, layout, records: OnceLock::new(), members: OnceLock::new() })
    }

    /// The definition it was compiled from.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The collection's name.
    pub fn name(&self) -> &str {
        &self.definition.name
    }

    /// What the planner knows of it, field types included.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The rule; `None` means admins only.
    pub fn rule(&self, rule: Rule) -> Option<&Expr> {
        self.rules.get(&rule)
    }

    /// What the schema says of a data field.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.get(name)
    }

    /// The data fields clients never see.
    pub fn hidden_fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(|(_, field)| field.value.hidden).map(|(name, _)| name.as_str())
    }

    /// Whether only the server writes the field.
    pub fn read_only(&self, name: &str) -> bool {
        self.field(name).is_some_and(|field| field.read_only)
    }

    /// Whether the field stays as it was when the record was made.
    pub fn write_once(&self, name: &str) -> bool {
        self.field(name).is_some_and(|field| field.write_once)
    }

    /// The fields that point at records, and where.
    pub fn relations(&self) -> impl Iterator<Item = (&str, &Relation)> {
        self.fields.iter().filter_map(|(name, field)| Some((name.as_str(), field.relation.as_ref()?)))
    }

    /// Checks a whole record's data. Unknown fields are refused, not left out.
    ///
    /// # Errors
    /// Everything that is wrong, each with the JSON pointer of the place in the data.
    pub fn validate(&self, data: &Map<String, Value>) -> Result<(), Vec<FieldError>> {
        let validator = self.records.get_or_init(|| validate::of_records(&self.definition.schema));
        self.find(validator, data)
    }

    /// Checks a JSON Merge Patch (RFC 7396) member by member, where [`Collection::can_patch_blind`] says that is enough.
    ///
    /// # Errors
    /// Everything that is wrong, each with the JSON pointer of the place in the patch.
    pub fn validate_patch(&self, patch: &Map<String, Value>) -> Result<(), Vec<FieldError>> {
        let validator = self.members.get_or_init(|| validate::of_members(&self.definition.schema));
        let (removed, set): (Map<_, _>, Map<_, _>) = patch.clone().into_iter().partition(|(_, value)| value.is_null());
        let mut problems = self.find(validator, &set).err().unwrap_or_default();
        for name in removed.keys() {
            match self.field(name) {
                None => problems.push(FieldError::new(
                    format!("/{}", super::body::escaped(name)),
                    "unknown_field",
                    "there is no such field",
                )),
                Some(field) if field.required => {
                    problems.push(FieldError::new(format!("/{name}"), "required", "this field is required"))
                }
                Some(_) => {}
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn find(
        &self,
        validator: &Result<Validator, Vec<FieldError>>,
        data: &Map<String, Value>,
    ) -> Result<(), Vec<FieldError>> {
        let validator = validator.as_ref().map_err(Clone::clone)?;
        let problems = validate::find(validator, &self.fields, data);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    /// Whether a merge patch can be written without reading the record: the schema looks at one member at a time, none
    /// of the members is an object to be merged, and no index or unique constraint looks at any of them.
    pub fn can_patch_blind(&self, patch: &Map<String, Value>) -> bool {
        let memberwise = keywords::is_memberwise(&self.definition.schema);
        let by_update = self.definition.indexes.iter().any(|index| index.sort.iter().any(|by| by.field == "updatedAt"));
        memberwise && !by_update && patch.iter().all(|(name, value)| !value.is_object() && !self.is_keyed(name))
    }

    /// Whether an index or a unique constraint is made of the field.
    fn is_keyed(&self, name: &str) -> bool {
        let indexed = self.definition.indexes.iter().any(|index| {
            index.partition.iter().any(|field| field == name) || index.sort.iter().any(|by| by.field == name)
        });
        indexed || self.definition.unique.iter().flatten().any(|field| field == name)
    }

    /// Puts in the defaults of a new record where the client gave nothing.
    pub fn apply_defaults(&self, data: &mut Map<String, Value>) {
        for (name, field) in &self.fields {
            if let (Some(default), false) = (&field.default, data.contains_key(name)) {
                data.insert(name.clone(), default.clone());
            }
        }
    }

    /// Brings times into the one form they are stored in. Right after validation, before anything compares them: for
    /// whole records and for patches.
    pub fn canonicalise(&self, data: &mut Map<String, Value>) {
        for (name, value) in data.iter_mut() {
            let is_moment = self.fields.get(name).is_some_and(|field| field.value.kind == Kind::Moment);
            if let (true, Some(canonical)) = (is_moment, value.as_str().and_then(moment::canonical)) {
                *value = Value::String(canonical);
            }
        }
    }

    /// Where a record stands in every index: the slot, and the key unless the record is not in that index.
    ///
    /// # Errors
    /// The indexes whose key would be longer than the store allows.
    pub fn index_keys(&self, record: &RecordRef) -> Result<Vec<(u8, Option<IndexKey>)>, Vec<FieldError>> {
        let (mut keys, mut problems) = (Vec::new(), Vec::new());
        for index in &self.layout.indexes {
            match index.key(&self.layout, record) {
                Ok(key) => keys.push((index.slot, key)),
                Err(too_long) => {
                    let message = format!("the values of index `{}` are together too long for a key", too_long.index);
                    problems.push(FieldError::new("", "index_key_too_long", message));
                }
            }
        }
        if problems.is_empty() { Ok(keys) } else { Err(problems) }
    }
}
