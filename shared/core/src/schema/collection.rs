//! A compiled collection: what functions need while they serve a request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

use crate::error::FieldError;
use crate::expr::{Expr, RecordRef, Rule, moment};
use crate::json_pointer;
use crate::query::{Index, IndexKey, Layout, MAX_ELEMENTS, element_of, serves};

use super::compiled::CompiledSchema;
use super::definition::Definition;
use super::field::{Field, Relation};
use super::migration::{self, Step};
use super::renames::{self, Pair};
use super::rules;

/// A definition compiled for use.
#[derive(Debug)]
pub struct Collection {
    definition: Definition,
    shape: CompiledSchema,
    /// The waiting schema, which comes into force once every stored record is valid by it. Writes must be valid by both.
    next: Option<CompiledSchema>,
    /// The fields that have two names.
    pairs: Vec<Pair>,
    rules: BTreeMap<Rule, Expr>,
    layout: Layout,
    /// Until when it may decide calls, in milliseconds since the Unix epoch.
    acted_on_until: AtomicU64,
}

impl Collection {
    /// Compiles a definition.
    ///
    /// # Errors
    /// The errors of fields that [`Definition::parse`] would have reported.
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
        // A name that the waiting schema does not have is not written any more.
        let mut pairs = renames::pairs(&shape.fields);
        let stays = |pair: &Pair| next.as_ref().is_none_or(|next| renames::pairs(&next.fields).contains(pair));
        pairs.retain(stays);
        Ok(Self { definition, shape, next, pairs, rules, layout, acted_on_until: AtomicU64::new(u64::MAX) })
    }

    /// The same collection without the indexes of some slots.
    ///
    /// # Errors
    /// None for a compiled collection.
    pub fn without_indexes(&self, slots: &[u8]) -> Result<Self, Vec<FieldError>> {
        let mut definition = self.definition.clone();
        definition.indexes.retain(|index| !slots.contains(&index.slot));
        let without = Self::compile(definition)?;
        without.may_be_acted_on_until(self.acted_on_until());
        Ok(without)
    }

    /// Until when this definition may decide a call, in milliseconds since the Unix epoch: the end of its lease plus the time
    /// to begin.
    pub fn acted_on_until(&self) -> u64 {
        self.acted_on_until.load(Ordering::Relaxed)
    }

    /// Sets that time: a second read that finds the definition unchanged extends it.
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

    /// What the planner needs, field types included.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The rule. `None` means admins only.
    pub fn rule(&self, rule: Rule) -> Option<&Expr> {
        self.rules.get(&rule)
    }

    /// The schema's information on a data field.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.shape.fields.get(name)
    }

    /// The members that a replacement changes: those it contains, and those it removes by leaving them out. Fields that the
    /// caller cannot write stay unchanged.
    pub fn named_by_replacement(&self, body: &Map<String, Value>) -> Map<String, Value> {
        let mut named = body.clone();
        let fields = self.shape.fields.keys();
        for field in fields.filter(|field| !self.is_hidden(field) && !self.read_only(field) && !self.write_once(field))
        {
            named.entry(field.clone()).or_insert(Value::Null);
        }
        named
    }

    /// The data fields hidden from clients.
    pub fn hidden_fields(&self) -> impl Iterator<Item = &str> {
        self.shape.fields.iter().filter(|(_, field)| field.value.hidden).map(|(name, _)| name.as_str())
    }

    /// Whether the field is hidden from clients.
    pub fn is_hidden(&self, name: &str) -> bool {
        self.field(name).is_some_and(|field| field.value.hidden)
    }

    /// Whether only the server writes the field.
    pub fn read_only(&self, name: &str) -> bool {
        self.field(name).is_some_and(|field| field.read_only)
    }

    /// Whether the field is writeOnce.
    pub fn write_once(&self, name: &str) -> bool {
        self.field(name).is_some_and(|field| field.write_once)
    }

    /// The relation fields with their relations.
    pub fn relations(&self) -> impl Iterator<Item = (&str, &Relation)> {
        self.shape.fields.iter().filter_map(|(name, field)| Some((name.as_str(), field.relation.as_ref()?)))
    }

    /// Brings a whole record's data into its stored form and validates that, also by the waiting schema. Unknown fields are
    /// errors.
    ///
    /// # Errors
    /// Every error, each with its JSON pointer into the data.
    pub fn validate(&self, data: &mut Map<String, Value>) -> Result<(), Vec<FieldError>> {
        self.canonicalise(data);
        // The validator borrows the data and returns it unchanged.
        let whole = Value::Object(std::mem::take(data));
        let valid = all_of(self.shape.problems(&whole), self.next.as_ref().map(|next| next.problems(&whole)));
        if let Value::Object(same) = whole {
            *data = same;
        }
        valid
    }

    /// Brings the data of a record that was `before` into its stored form and validates that. Of the waiting schema's errors, only new ones count: the job finds
    /// the others, and the caller may not be allowed to see them.
    ///
    /// # Errors
    /// As [`Collection::validate`].
    pub fn validate_change(
        &self,
        before: &Map<String, Value>,
        data: &mut Map<String, Value>,
    ) -> Result<(), Vec<FieldError>> {
        self.canonicalise(data);
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

    /// Brings a JSON Merge Patch (RFC 7396) into its stored form and validates that, member by member. Only valid where
    /// [`Collection::judges_each`] holds.
    ///
    /// # Errors
    /// Every error, each with its JSON pointer into the patch.
    pub fn validate_patch(&self, patch: &mut Map<String, Value>) -> Result<(), Vec<FieldError>> {
        self.canonicalise(patch);
        all_of(self.shape.problems_of_patch(patch), self.next.as_ref().map(|next| next.problems_of_patch(patch)))
    }

    /// The errors of a stored record by the waiting schema, if there is one.
    pub fn disagreements(&self, data: &Map<String, Value>) -> Vec<FieldError> {
        let of_next = |next: &CompiledSchema| [next.problems(&data.clone().into()), next.loose_times(data)].concat();
        self.next.as_ref().map(of_next).unwrap_or_default()
    }

    /// The names of its data fields.
    pub fn field_names(&self) -> impl Iterator<Item = &str> {
        self.shape.fields.keys().map(String::as_str)
    }

    /// Whether each member can be validated separately, by the current and the waiting schema.
    pub fn is_memberwise(&self) -> bool {
        self.shape.memberwise && self.next.as_ref().is_none_or(|next| next.memberwise)
    }

    /// Whether another schema is waiting to come into force.
    pub(super) fn is_changing(&self) -> bool {
        self.next.is_some()
    }

    /// Adds the defaults of a new record.
    pub fn apply_defaults(&self, data: &mut Map<String, Value>) {
        self.fill(data, |_| true);
    }

    /// Adds the defaults of a replaced record, except for fields that a replacement does not change.
    pub fn apply_defaults_again(&self, data: &mut Map<String, Value>) {
        self.fill(data, |field| !field.read_only && !field.write_once);
    }

    fn fill(&self, data: &mut Map<String, Value>, wanted: impl Fn(&Field) -> bool) {
        for (name, field) in self.shape.fields.iter().filter(|(_, field)| wanted(field)) {
            if let (Some(default), false) = (&field.default, data.contains_key(name)) {
                data.insert(name.clone(), default.clone());
            }
        }
        for step in self.definition.steps() {
            let Step::Fill { field, value } = step else { continue };
            if self.field(field).is_some_and(&wanted) && !data.contains_key(field) {
                data.insert(field.clone(), value.clone());
            }
        }
    }

    /// The fields that have different values under their two names.
    pub fn unequal(&self, data: &Map<String, Value>) -> Vec<FieldError> {
        renames::unequal(&self.pairs, data)
    }

    /// After a change of these members, what was merged under the old name of a field is under both.
    pub fn mirror_merged(&self, sent: &Map<String, Value>, data: &mut Map<String, Value>) {
        for pair in self.pairs.iter().filter(|pair| sent.contains_key(&pair.old)) {
            renames::follow(&pair.old, &pair.new, data);
        }
    }

    /// Whether this is one of the two names of a field.
    pub fn has_two_names(&self, name: &str) -> bool {
        self.pairs.iter().any(|pair| pair.old == name || pair.new == name)
    }

    /// The former name of a field that has two.
    pub fn former_name(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|pair| pair.new == name).map(|pair| pair.old.as_str())
    }

    /// The data of a stored record after the changes that the definition's job makes. `None` if they leave it as it is.
    pub fn migrated(&self, data: &Map<String, Value>) -> Option<Map<String, Value>> {
        migration::migrated(self.definition.steps(), data)
    }

    /// Brings times into their stored form, before any comparison and validation: rules compare, and the schema validates, what
    /// is stored. An invalid time stays as it is. A field that has two names gets its value under both. For whole records and
    /// patches.
    pub fn canonicalise(&self, data: &mut Map<String, Value>) {
        for (name, value) in data.iter_mut() {
            let is_moment = self.shape.is_moment(name) || self.next.as_ref().is_some_and(|next| next.is_moment(name));
            if let (true, Some(canonical)) = (is_moment, value.as_str().and_then(moment::canonical)) {
                *value = Value::String(canonical);
            }
        }
        renames::mirror(&self.pairs, data);
    }

    /// The keys of a record in every generic index of the store: the slot, and the key unless the record is not in that index.
    ///
    /// # Errors
    /// The indexes whose key would exceed DynamoDB's limit, those over elements included.
    pub fn index_keys(&self, record: &RecordRef) -> Result<Vec<(u8, Option<IndexKey>)>, Vec<FieldError>> {
        let keys = self.keys_of(record, |_| true)?;
        let generic = keys.into_iter().filter(|(index, _)| !index.is_of_elements());
        Ok(generic.map(|(index, keys)| (index.slot, keys.into_iter().next())).collect())
    }

    /// The keys of the entries that a record has in the indexes over elements after it is written.
    ///
    /// # Errors
    /// The indexes whose key would exceed DynamoDB's limit.
    pub fn entry_keys(&self, record: &RecordRef) -> Result<Vec<IndexKey>, Vec<FieldError>> {
        let keys = self.keys_of(record, |index| index.is_of_elements() && index.is_kept())?;
        Ok(keys.into_iter().flat_map(|(_, keys)| keys).collect())
    }

    /// The keys of the entries that a stored record may have in the indexes over elements that `wanted` accepts. An index
    /// whose keys would be too long holds none.
    pub fn held_entry_keys(&self, record: &RecordRef, wanted: impl Fn(&Index) -> bool) -> Vec<IndexKey> {
        let indexes = self.layout.indexes.iter().filter(|index| index.is_of_elements() && wanted(index));
        indexes.flat_map(|index| index.keys(&self.layout, record).unwrap_or_default()).collect()
    }

    fn keys_of(
        &self,
        record: &RecordRef,
        wanted: impl Fn(&Index) -> bool,
    ) -> Result<Vec<(&Index, Vec<IndexKey>)>, Vec<FieldError>> {
        let (mut keys, mut problems) = (Vec::new(), Vec::new());
        for index in self.layout.indexes.iter().filter(|index| wanted(index)) {
            match index.keys(&self.layout, record) {
                Ok(its) => keys.push((index, its)),
                // Nobody may put a value into it any more that only the new definition allows.
                Err(_) if index.retiring && !serves(&self.layout.indexes, index) => keys.push((index, Vec::new())),
                Err(too_long) => {
                    let message = format!(
                        "A value is too long for index `{}`, which allows about {} bytes for each partition field and {} bytes \
                         for each sort field. Send a shorter value.",
                        too_long.index, too_long.of_partition, too_long.of_sort
                    );
                    problems.push(FieldError::new("", "index_key_too_long", message));
                }
            }
        }
        if problems.is_empty() { Ok(keys) } else { Err(problems) }
    }

    /// Whether records have entries in indexes over elements, which a write of the record keeps.
    pub fn has_entries(&self) -> bool {
        self.layout.indexes.iter().any(Index::is_of_elements)
    }

    /// The most entries that a record has, counting every index over elements that is declared, begins or ends.
    pub fn most_entries(&self) -> usize {
        let arrays =
            self.layout.indexes.iter().flat_map(|index| index.partition.iter().filter_map(|by| element_of(by)));
        let most = |array| self.field(array).and_then(|field| field.max_items).unwrap_or(MAX_ELEMENTS);
        arrays.map(|array| usize::try_from(most(array)).unwrap_or(usize::MAX)).sum()
    }
}

/// The errors of both schemas, without duplicates.
fn all_of(problems: Vec<FieldError>, by_next: Option<Vec<FieldError>>) -> Result<(), Vec<FieldError>> {
    let known = |found: &FieldError| problems.iter().any(|known| known.pointer == found.pointer);
    let to_come = |found: FieldError| {
        let message = format!("{} This applies to the definition that is about to come into force.", found.message);
        FieldError { message, ..found }
    };
    let added: Vec<FieldError> = by_next.into_iter().flatten().filter(|found| !known(found)).map(to_come).collect();
    let all = [problems, added].concat();
    if all.is_empty() { Ok(()) } else { Err(all) }
}
