//! A collection ready for use: what the functions ask of it while they serve a request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::expr::{Expr, RecordRef, Rule, moment};
use crate::json_pointer;
use crate::query::{IndexKey, Layout};

use super::compiled::CompiledSchema;
use super::definition::Definition;
use super::field::{Field, Relation};
use super::rules;

/// A definition compiled for use.
#[derive(Debug)]
pub struct Collection {
    definition: Definition,
    shape: CompiledSchema,
    /// The schema that comes into force once every stored record fits it. What is written fits both.
    next: Option<CompiledSchema>,
    rules: BTreeMap<Rule, Expr>,
    layout: Layout,
    /// Until when calls that it decides may begin, in milliseconds since the Unix epoch.
    acted_on_until: AtomicU64,
}

impl Collection {
    /// Compiles a definition.
    ///
    /// # Errors
    /// What [`Definition::parse`] would have refused of the fields.
    pub fn compile(definition: Definition) -> Result<Self, Vec<FieldError>> {
        let mut problems = Vec::new();
        let shape = CompiledSchema::of(definition.schema.clone(), &mut problems);
        let layout = definition.layout(&shape.fields);
        let rules = rules::stored(&definition.rules, &layout);
        let next = definition.next().and_then(|next| next.get("schema")).cloned();
        let next = next.map(|schema| CompiledSchema::of(schema, &mut problems));
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self { definition, shape, next, rules, layout, acted_on_until: AtomicU64::new(u64::MAX) })
    }

    /// The same collection without the indexes of some slots.
    ///
    /// # Errors
    /// None for a collection that was compiled.
    pub fn without_indexes(&self, slots: &[u8]) -> Result<Self, Vec<FieldError>> {
        let mut definition = self.definition.clone();
        definition.indexes.retain(|index| !slots.contains(&index.slot));
        let without = Self::compile(definition)?;
        without.may_be_acted_on_until(self.acted_on_until());
        Ok(without)
    }

    /// Until when a call that this definition decides may begin, in milliseconds since the Unix epoch: the lease of what is
    /// remembered, and a little time to begin.
    pub fn acted_on_until(&self) -> u64 {
        self.acted_on_until.load(Ordering::Relaxed)
    }

    /// Says until when: whoever read it again and found it the same says so of the same collection.
    pub fn may_be_acted_on_until(&self, millis: u64) {
        self.acted_on_until.store(millis, Ordering::Relaxed);
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
        self.shape.fields.get(name)
    }

    /// The members of which a replacement says something: those it has, and those it leaves out and thereby removes. What the
    /// caller does not write stays as it is.
    pub fn named_by_replacement(&self, body: &Map<String, Value>) -> Map<String, Value> {
        let mut named = body.clone();
        let fields = self.shape.fields.keys();
        for field in fields.filter(|field| !self.is_hidden(field) && !self.read_only(field) && !self.write_once(field))
        {
            named.entry(field.clone()).or_insert(Value::Null);
        }
        named
    }

    /// The data fields clients never see.
    pub fn hidden_fields(&self) -> impl Iterator<Item = &str> {
        self.shape.fields.iter().filter(|(_, field)| field.value.hidden).map(|(name, _)| name.as_str())
    }

    /// Whether clients never see the field.
    pub fn is_hidden(&self, name: &str) -> bool {
        self.field(name).is_some_and(|field| field.value.hidden)
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
        self.shape.fields.iter().filter_map(|(name, field)| Some((name.as_str(), field.relation.as_ref()?)))
    }

    /// Checks a whole record's data, also against a schema that is to come. Unknown fields are refused, not left out. The
    /// validator borrows the data and gives it back as it was.
    ///
    /// # Errors
    /// Everything that is wrong, each with the JSON pointer of the place in the data.
    pub fn validate(&self, data: &mut Map<String, Value>) -> Result<(), Vec<FieldError>> {
        let whole = Value::Object(std::mem::take(data));
        let valid = all_of(self.shape.problems(&whole), self.next.as_ref().map(|next| next.problems(&whole)));
        if let Value::Object(same) = whole {
            *data = same;
        }
        valid
    }

    /// Checks the data of a record that was `before`. Of what the schema that is to come has against it, only what this change brings
    /// counts: the job finds the rest, and the caller may not see it.
    ///
    /// # Errors
    /// As [`Collection::validate`].
    pub fn validate_change(
        &self,
        before: &Map<String, Value>,
        data: &mut Map<String, Value>,
    ) -> Result<(), Vec<FieldError>> {
        let whole = Value::Object(std::mem::take(data));
        let is_changed = |problem: &FieldError| {
            let name = problem.pointer.split('/').nth(1).map(json_pointer::unescape);
            name.is_none_or(|name| whole.get(&name) != before.get(&name))
        };
        let by_next = self.next.as_ref().map(|next| next.problems(&whole).into_iter().filter(is_changed).collect());
        let valid = all_of(self.shape.problems(&whole), by_next);
        if let Value::Object(same) = whole {
            *data = same;
        }
        valid
    }

    /// Checks a JSON Merge Patch (RFC 7396) member by member, where [`Collection::judges_each`] says that is enough.
    ///
    /// # Errors
    /// Everything that is wrong, each with the JSON pointer of the place in the patch.
    pub fn validate_patch(&self, patch: &Map<String, Value>) -> Result<(), Vec<FieldError>> {
        all_of(self.shape.problems_of_patch(patch), self.next.as_ref().map(|next| next.problems_of_patch(patch)))
    }

    /// What is wrong with a stored record by the schema that is to come, if there is one.
    pub fn disagreements(&self, data: &Map<String, Value>) -> Vec<FieldError> {
        let of_next = |next: &CompiledSchema| [next.problems(&data.clone().into()), next.loose_times(data)].concat();
        self.next.as_ref().map(of_next).unwrap_or_default()
    }

    /// The names of its data fields.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.shape.fields.keys().map(String::as_str)
    }

    /// Whether each member can be judged by itself, by the schema in force and by the one to come.
    pub fn is_memberwise(&self) -> bool {
        self.shape.memberwise && self.next.as_ref().is_none_or(|next| next.memberwise)
    }

    /// Puts in the defaults of a new record where the client gave nothing.
    pub fn apply_defaults(&self, data: &mut Map<String, Value>) {
        self.fill(data, |_| true);
    }

    /// Puts in the defaults of a record that is replaced, but for the fields that a replacement does not change.
    pub fn apply_defaults_again(&self, data: &mut Map<String, Value>) {
        self.fill(data, |field| !field.read_only && !field.write_once);
    }

    fn fill(&self, data: &mut Map<String, Value>, wanted: impl Fn(&Field) -> bool) {
        for (name, field) in self.shape.fields.iter().filter(|(_, field)| wanted(field)) {
            if let (Some(default), false) = (&field.default, data.contains_key(name)) {
                data.insert(name.clone(), default.clone());
            }
        }
    }

    /// Brings times into the one form they are stored in. Right after validation, before anything compares them: for
    /// whole records and for patches.
    pub fn canonicalise(&self, data: &mut Map<String, Value>) {
        for (name, value) in data.iter_mut() {
            let is_moment = self.shape.is_moment(name) || self.next.as_ref().is_some_and(|next| next.is_moment(name));
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
                    let message = format!(
                        "a value is too long for index `{}`: it takes about {} bytes of each partition field and {} bytes of \
                         each sort field",
                        too_long.index, too_long.of_partition, too_long.of_sort
                    );
                    problems.push(FieldError::new("", "index_key_too_long", message));
                }
            }
        }
        if problems.is_empty() { Ok(keys) } else { Err(problems) }
    }
}

/// What is wrong by either schema, each thing once.
fn all_of(problems: Vec<FieldError>, by_next: Option<Vec<FieldError>>) -> Result<(), Vec<FieldError>> {
    let known = |found: &FieldError| problems.iter().any(|known| known.pointer == found.pointer);
    let to_come = |found: FieldError| {
        let message = format!("{}, by the definition that is about to come into force", found.message);
        FieldError { message, ..found }
    };
    let added: Vec<FieldError> = by_next.into_iter().flatten().filter(|found| !known(found)).map(to_come).collect();
    let all = [problems, added].concat();
    if all.is_empty() { Ok(()) } else { Err(all) }
}
