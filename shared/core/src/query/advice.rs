//! The indexes that would serve a refused list. Each is tried: it is advised only if the list is then answered.

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use crate::expr::{FieldTypes, Kind, is_system};

use super::element::{element_of, stored_field};
use super::layout::{Index, Layout, MAX_INDEX_FIELDS};
use super::ordering::{SortField, without_id};
use super::ranges::{Branch, range_test, unsettled};

/// Maximum length of an index's name.
const MAX_NAME: usize = 63;

/// Whether these indexes answer a list of these alternatives.
type Answers<'a> = &'a dyn Fn(&Layout, &[Branch]) -> bool;

/// The indexes that make the list answer once they stand beside those that are there: one if one is enough. Empty if none do.
pub(super) fn advise(layout: &Layout, branches: &[Branch], sort: &[SortField], answers: Answers) -> Vec<Index> {
    let layout = layout.when_built();
    let (served, refused): (Vec<&Branch>, Vec<&Branch>) =
        branches.iter().partition(|branch| answers(&layout, std::slice::from_ref(*branch)));
    let mut orders = vec![unsettled(branches, sort)];
    orders.extend(served.iter().flat_map(|branch| orders_of(&layout, branch)));
    if sort.is_empty() {
        let ranged = branches.iter().flat_map(|branch| branch.others.iter().filter_map(range_test));
        orders.extend(ranged.map(|(field, _)| vec![SortField::ascending(field)]));
    }
    let all: Vec<&Branch> = branches.iter().collect();
    let alone = refused.iter().map(|branch| vec![*branch]);
    let groups: Vec<Vec<&Branch>> = [all, refused.clone()].into_iter().chain(alone).collect();
    let helping = |order: &Vec<SortField>| {
        let candidates = groups.iter().flat_map(|group| candidates(&layout, group, order));
        candidates.map(|index| vec![index]).find(|index| answers(&beside(&layout, index), branches))
    };
    let one = orders.iter().find_map(helping);
    one.or_else(|| orders.iter().find_map(|order| several(&layout, branches, order, answers))).unwrap_or_default()
}

/// One index for each alternative that the ones before do not serve.
fn several(layout: &Layout, branches: &[Branch], order: &[SortField], answers: Answers) -> Option<Vec<Index>> {
    let mut added: Vec<Index> = Vec::new();
    for branch in branches.iter().map(std::slice::from_ref) {
        let so_far = beside(layout, &added);
        if !answers(&so_far, branch) {
            let mut candidates = branch.iter().flat_map(|alone| candidates(&so_far, &[alone], order));
            let helps = |index: &Index| answers(&beside(&so_far, std::slice::from_ref(index)), branch);
            added.push(candidates.find(helps)?);
        }
    }
    answers(&beside(layout, &added), branches).then_some(added)
}

/// The layout with these indexes too.
fn beside(layout: &Layout, added: &[Index]) -> Layout {
    let mut layout = layout.clone();
    layout.indexes.extend(added.iter().cloned());
    layout
}

/// The orders in which the present indexes hold exactly the records of an alternative.
fn orders_of(layout: &Layout, branch: &Branch) -> Vec<Vec<SortField>> {
    let through = |index| (0..).map_while(move |skip| branch.through(layout, index, skip));
    let exact = layout.serving().flat_map(through).filter(|route| route.residual_filter.is_empty());
    exact.map(|route| route.order).collect()
}

/// Indexes that may serve these alternatives in this order: what they all equal, then the order, with what else they select
/// by before or after it. None that a definition could not declare.
fn candidates(layout: &Layout, group: &[&Branch], order: &[SortField]) -> Vec<Index> {
    let (order, _) = without_id(order);
    let is_ordered = |field: &str| order.iter().any(|by| by.field == field);
    let is_common = |field: &str| group.iter().all(|branch| branch.value(field).is_some());
    let is_null = |field: &str| group.iter().any(|branch| branch.value(field).is_some_and(Value::is_null));
    let mut fields: Vec<&str> = Vec::new();
    for field in group.iter().flat_map(|branch| branch.fields()).filter(|field| !is_ordered(field)) {
        if !fields.contains(&field) {
            fields.push(field);
        }
    }
    let (common, others): (Vec<&str>, Vec<&str>) = fields.into_iter().partition(|field| is_common(field));
    // The server's times and `null` have no place in a partition.
    let (bound, partition): (Vec<&str>, Vec<&str>) =
        common.into_iter().partition(|field| is_system(field) || is_null(field));
    let by = |fields: &[&str]| fields.iter().map(|field| SortField::ascending(field)).collect::<Vec<_>>();
    let (bound, others) = (by(&bound), by(&others));
    let sorts = [[bound.as_slice(), &others, &order].concat(), [bound.as_slice(), &order, &others].concat()];
    sorts.into_iter().filter_map(|sort| declarable(layout, &partition, sort)).collect()
}

/// The index with these fields, if a definition can declare it.
fn declarable(layout: &Layout, partition: &[&str], sort: Vec<SortField>) -> Option<Index> {
    let mut fields = partition.iter().copied().chain(sort.iter().map(|by| by.field.as_str()));
    let count = partition.len() + sort.len();
    let arrays = partition.iter().filter(|field| element_of(field).is_some()).count();
    let is_sortable = sort.iter().all(|by| element_of(&by.field).is_none());
    if !(1..=MAX_INDEX_FIELDS).contains(&count) || arrays > 1 || !is_sortable {
        return None;
    }
    if !fields.all(|field| is_usable(&layout.fields, field)) {
        return None;
    }
    let partition: Vec<String> = partition.iter().map(ToString::to_string).collect();
    let name = free_index_name(&layout.indexes, &partition, &sort);
    Some(Index { name, partition, sort, slot: 0, generation: 0, ready: true, retiring: false, clearing: false })
}

/// Whether an index can contain the field. `members[]` stands for the elements of an array, of which the definition decides.
pub(super) fn is_usable(fields: &FieldTypes, field: &str) -> bool {
    let kind_fits = |kind: &Kind| element_of(field).is_some() || kind.is_scalar();
    !matches!(field, "id" | "version")
        && fields.visible(stored_field(field)).is_some_and(|field| kind_fits(&field.kind))
}

/// The definition of an advised index.
pub(super) fn definition(index: &Index) -> Value {
    json!({ "name": index.name, "partition": index.partition, "sort": index.sort })
}

/// A name for an index with these fields that none of `indexes` has: `by_owner__due_date_desc`, or that with a number.
pub fn free_index_name(indexes: &[Index], partition: &[String], sort: &[SortField]) -> String {
    let name = index_name(partition, sort);
    let is_free = |name: &String| indexes.iter().all(|index| index.name != *name);
    let numbered = (2..).map(|number| {
        let end = format!("___{number}");
        name.chars().take(MAX_NAME - end.len()).chain(end.chars()).collect()
    });
    std::iter::once(name.clone()).chain(numbered).find(is_free).unwrap_or_default()
}

/// The name of an index with these fields. Different indexes have different names: one whose
/// fields such a name does not tell apart ends in a part of its digest.
fn index_name(partition: &[String], sort: &[SortField]) -> String {
    let sorted = |by: &SortField| format!("{}_{}", snake(&by.field), if by.descending { "desc" } else { "asc" });
    let parts: Vec<String> = partition.iter().map(|field| snake(field)).chain(sort.iter().map(sorted)).collect();
    let name = format!("by_{}", parts.join("__"));
    let mut fields = partition.iter().chain(sort.iter().map(|by| &by.field));
    if name.len() <= MAX_NAME && fields.all(|field| is_told_apart(stored_field(field))) {
        return name;
    }
    let digest = digest(&SHA256, json!([partition, sort]).to_string().as_bytes());
    let end: String = digest.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let beginning: String = name.chars().take(MAX_NAME - end.len() - 3).collect();
    format!("{beginning}___{end}")
}

/// `due_date` for `dueDate`.
fn snake(field: &str) -> String {
    let mut name = String::new();
    for char in field.chars().filter(|char| char.is_ascii_alphanumeric() || *char == '_') {
        if char.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(char.to_ascii_lowercase());
    }
    name
}

/// Whether no other field has its part of a name, and no direction ends it.
fn is_told_apart(field: &str) -> bool {
    field.starts_with(|char: char| char.is_ascii_lowercase() || char.is_ascii_digit())
        && field.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && !["Asc", "Desc"].iter().any(|end| field.ends_with(end))
}

impl Branch {
    /// Every field that an equality or a range is about.
    fn fields(&self) -> impl Iterator<Item = &str> {
        let ranged = self.others.iter().filter_map(range_test).map(|(field, _)| field);
        self.equal.iter().map(|(field, _)| field.as_str()).chain(ranged)
    }
}
