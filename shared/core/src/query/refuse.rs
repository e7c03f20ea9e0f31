//! The refusal of a list that no index serves: the reason, and the index to add.

use serde::Serialize;
use serde_json::{Value, json};

use crate::expr::{Expr, FieldTypes, is_system};

use super::element::{MAX_ELEMENTS, element_of, equals, stored_field};
use super::layout::Layout;
use super::list_query::ListQuery;
use super::ordering::SortField;
use super::ranges::{Branch, range_test};

/// The refusal of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refusal {
    /// `index_required`, or `index_building` if waiting is enough.
    pub code: &'static str,
    /// What is missing, and what to do.
    pub message: String,
    /// `{"name", "partition", "sort"}` to add to the definition's `indexes`. `None` if no index would help.
    #[serde(rename = "addIndex", skip_serializing_if = "Option::is_none")]
    pub add_index: Option<Value>,
}

/// The refusal for branches that could not be planned. `is_refused` tests a single query.
pub(super) fn refuse(
    layout: &Layout,
    branches: &[Branch],
    query: &ListQuery,
    is_refused: impl Fn(&ListQuery) -> bool,
) -> Refusal {
    let alone = |branch: &&Branch| {
        let rule = Expr::all(branch.tests());
        // A single branch is the one that was refused.
        branches.len() == 1 || is_refused(&ListQuery { rule: &rule, filter: None, scan: None, ..*query })
    };
    let Some(branch) = branches.iter().find(alone) else {
        return no_index("The alternatives of this query cannot be merged in one order".to_owned());
    };
    match missing_index(&layout.fields, branch, query.sort) {
        Ok(index) => Refusal {
            code: "index_required",
            message: format!(
                "No index serves {}. Add the index in `addIndex`, or read with scan=N.{}",
                shown(branch, query.sort),
                bounded(branch)
            ),
            add_index: Some(index),
        },
        Err(reason) => no_index(reason),
    }
}

/// What an index over elements needs besides.
fn bounded(branch: &Branch) -> String {
    let array = branch.equal.iter().find_map(|(field, _)| element_of(field));
    array.map_or_else(String::new, |array| {
        format!(" An index over the elements of `{array}` needs `maxItems` of at most {MAX_ELEMENTS} on that array.")
    })
}

fn no_index(reason: String) -> Refusal {
    Refusal {
        code: "index_required",
        message: format!("{reason}. Read with scan=N, or change the query."),
        add_index: None,
    }
}

fn shown(branch: &Branch, sort: &[SortField]) -> String {
    let tests = Expr::all(branch.tests());
    let order: Vec<String> = sort.iter().map(ToString::to_string).collect();
    match (tests.is_true(), order.is_empty()) {
        (false, true) => format!("`{tests}`"),
        (false, false) => format!("`{tests}` sorted by `{}`", order.join(",")),
        (true, _) => format!("the order `{}`", order.join(",")),
    }
}

/// The definition of an index for the branch in this order, or why there is none.
fn missing_index(fields: &FieldTypes, branch: &Branch, sort: &[SortField]) -> Result<Value, String> {
    if let Some(test) = branch.others.iter().find(|test| range_test(test).is_none()) {
        return Err(format!("No index can answer `{test}`"));
    }
    // Only data fields can be partition fields; the server's times come first in the sort.
    let (times, partition): (Vec<&str>, Vec<&str>) =
        branch.equal.iter().map(|(field, _)| field.as_str()).partition(|field| is_system(field));
    let wanted: Vec<SortField> = sort.iter().filter(|by| branch.value(&by.field).is_none()).cloned().collect();
    let times = times.into_iter().map(SortField::ascending);
    let sort: Vec<SortField> = times.chain(with_range(branch, wanted)?).collect();
    let by_name = partition.iter().copied().chain(sort.iter().map(|by| by.field.as_str()));
    if partition.iter().filter(|field| element_of(field).is_some()).count() > 1 {
        return Err("An index lists the elements of one array, so no index can answer tests of two arrays".to_owned());
    }
    let usable = |field: &str| field != "id" && field != "version" && fields.visible(stored_field(field)).is_some();
    if !by_name.clone().all(usable) || branch.equal.iter().any(|(_, value)| value.is_null()) {
        return Err("No index can answer this query".to_owned());
    }
    Ok(json!({ "name": index_name(by_name), "partition": partition, "sort": sort }))
}

/// The sort of such an index, with the range field first.
fn with_range(branch: &Branch, mut sort: Vec<SortField>) -> Result<Vec<SortField>, String> {
    let mut ranged: Vec<&str> = branch.others.iter().filter_map(range_test).map(|(field, _)| field).collect();
    ranged.dedup();
    match (ranged.as_slice(), sort.first()) {
        ([], _) => {}
        ([field], None) => sort.push(SortField::ascending(field)),
        ([field], Some(first)) if first.field == *field => {}
        ([field], Some(first)) => {
            return Err(format!("An index cannot select a range of `{field}` and sort by `{}` first", first.field));
        }
        _ => {
            return Err(format!("An index can answer a range on only one field, not on {}", ranged.join(", ")));
        }
    }
    if sort.last().is_some_and(|by| by.field == "id" && !by.descending) {
        sort.pop();
    }
    Ok(sort)
}

fn index_name<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let mut name = "by".to_owned();
    for field in fields {
        name.push('_');
        for char in stored_field(field).chars() {
            if char.is_ascii_uppercase() {
                name.push('_');
            }
            name.push(char.to_ascii_lowercase());
        }
    }
    name.truncate(63);
    name
}

impl Branch {
    /// The branch's tests, equalities first.
    pub(super) fn tests(&self) -> Vec<Expr> {
        let equal = self.equal.iter().map(|(field, value)| equals(field, value));
        equal.chain(self.others.iter().cloned()).collect()
    }
}
