//! The refusal of a list that no index serves: the reason, and the index to add.

use serde::Serialize;
use serde_json::Value;

use crate::expr::{Expr, FieldTypes};

use super::advice::{definition, is_usable};
use super::element::{MAX_ELEMENTS, element_of, equals};
use super::layout::{Index, Layout, MAX_INDEX_FIELDS, MAX_INDEXES};
use super::named::MAX_IDS;
use super::ordering::SortField;
use super::ranges::{Branch, range_test};

/// The refusal of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Refusal {
    /// `index_required`, or `index_building` if waiting is enough.
    pub code: &'static str,
    /// What is missing, and what to do.
    pub message: String,
    /// `{"name", "partition", "sort"}` to add to the definition's `indexes`. `None` if no single index would help.
    #[serde(rename = "addIndex", skip_serializing_if = "Option::is_none")]
    pub add_index: Option<Value>,
}

/// A list that was refused.
pub(super) struct Refused<'a> {
    pub layout: &'a Layout,
    pub branches: &'a [Branch],
    pub sort: &'a [SortField],
    /// Whether a scan would answer it.
    pub can_scan: bool,
}

impl Refused<'_> {
    /// The index that serves it is being built.
    pub fn building(&self, index: &str) -> Refusal {
        let message =
            format!("The index `{index}` serves this query and is still being built. Wait for it{}.", self.or_scan());
        Refusal { code: "index_building", message, add_index: None }
    }

    /// It has more alternatives than one list merges.
    pub fn too_many(&self, most: usize) -> Refusal {
        self.without_advice(format!(
            "`||` and `in` make more than {most} alternatives of this query, and one list merges at most {most}"
        ))
    }

    /// It names more ids than one list reads.
    pub fn too_many_ids(&self, ids: usize) -> Refusal {
        let message = format!(
            "The filter names {ids} ids, and one list reads at most {MAX_IDS} records by id. Send the ids in several requests."
        );
        Refusal { code: "index_required", message, add_index: None }
    }

    /// These indexes would serve it.
    pub fn lacking(&self, missing: &[Index]) -> Refusal {
        let (shown, or_scan) = (self.shown(), self.or_scan());
        let declared = self.layout.indexes.iter().filter(|index| !index.retiring).count();
        let room = declared + missing.len() <= MAX_INDEXES;
        let definitions: Vec<String> = missing.iter().map(|index| definition(index).to_string()).collect();
        let definitions = definitions.join(" and ");
        let (message, add_index) = match (missing, room) {
            ([], _) => return self.without_advice(self.reason()),
            ([index], true) => {
                let message =
                    format!("No index serves {shown}. Add the index in `addIndex`{or_scan}.{}", bounded(missing));
                (message, Some(definition(index)))
            }
            (_, true) => {
                (format!("No index serves {shown}. Add the indexes {definitions}{or_scan}.{}", bounded(missing)), None)
            }
            (_, false) => {
                let message = format!(
                    "No index serves {shown}. It needs {definitions}, and a collection has at most {MAX_INDEXES} indexes. Replace an index that no query needs{or_scan}."
                );
                (message, None)
            }
        };
        Refusal { code: "index_required", message, add_index }
    }

    fn without_advice(&self, reason: String) -> Refusal {
        let scan = if self.can_scan { "Read with scan=N, or change the query" } else { "Change the query" };
        Refusal { code: "index_required", message: format!("{reason}. {scan}."), add_index: None }
    }

    fn or_scan(&self) -> &'static str {
        if self.can_scan { ", or read with scan=N" } else { "" }
    }

    /// The query, as its refusal calls it.
    fn shown(&self) -> String {
        let tests = Expr::any(self.branches.iter().map(|branch| Expr::all(branch.tests())));
        let order: Vec<String> = self.sort.iter().map(ToString::to_string).collect();
        match (tests.is_true(), order.is_empty()) {
            (false, true) => format!("`{tests}`"),
            (false, false) => format!("`{tests}` sorted by `{}`", order.join(",")),
            (true, _) => format!("the order `{}`", order.join(",")),
        }
    }

    /// Why no index serves it.
    fn reason(&self) -> String {
        let of_branch = self.branches.iter().find_map(|branch| why_not(&self.layout.fields, branch, self.sort));
        of_branch.unwrap_or_else(|| match self.branches.len() {
            1 => "No index can answer this query in this order".to_owned(),
            _ => "The alternatives of this query cannot be merged in one order".to_owned(),
        })
    }
}

/// What the schema must say for an index over elements.
fn bounded(missing: &[Index]) -> String {
    let array = missing.iter().flat_map(|index| &index.partition).find_map(|field| element_of(field));
    array.map_or_else(String::new, |array| {
        format!(" An index over the elements of `{array}` needs `maxItems` of at most {MAX_ELEMENTS} on that array.")
    })
}

/// Why no index serves the branch in this order.
fn why_not(fields: &FieldTypes, branch: &Branch, sort: &[SortField]) -> Option<String> {
    if let Some(test) = branch.others.iter().find(|test| range_test(test).is_none()) {
        return Some(format!("No index can answer `{test}`"));
    }
    if branch.equal.iter().filter(|(field, _)| element_of(field).is_some()).count() > 1 {
        return Some("An index lists the elements of one array, so no index can answer tests of two".to_owned());
    }
    let mut ranged: Vec<&str> = branch.others.iter().filter_map(range_test).map(|(field, _)| field).collect();
    ranged.sort_unstable();
    ranged.dedup();
    let equal = branch.equal.iter().map(|(field, _)| field.as_str());
    let before_id = sort.iter().map(|by| by.field.as_str()).take_while(|field| *field != "id");
    let mut used: Vec<&str> = equal.chain(ranged.iter().copied()).chain(before_id).collect();
    if let Some(field) = used.iter().find(|field| !is_usable(fields, field)) {
        return Some(match fields.visible(field) {
            Some(_) if *field == "id" && branch.value("id").is_some() => {
                "Records are read by id where every alternative of the filter names ids. Send the other alternatives in a request of their own".to_owned()
            }
            Some(_) if *field == "id" => {
                "No index has the fields of this query and selects by `id`. Select by `createdAt` instead, which orders like `id`, or go on with `cursor`".to_owned()
            }
            Some(_) => format!("No index can contain `{field}`"),
            None => "No index can answer this query".to_owned(),
        });
    }
    used.sort_unstable();
    used.dedup();
    let first = sort.iter().find(|by| branch.value(&by.field).is_none());
    match (ranged.as_slice(), first) {
        ([_, _, ..], _) => Some(format!("An index can answer a range on only one field, not on {}", ranged.join(", "))),
        ([field], Some(first)) if first.field != *field => {
            Some(format!("An index cannot select a range of `{field}` and sort by `{}` first", first.field))
        }
        _ if used.len() > MAX_INDEX_FIELDS => {
            Some(format!("It needs an index of {} fields, and an index has at most {MAX_INDEX_FIELDS}", used.len()))
        }
        _ => None,
    }
}

impl Branch {
    /// The branch's tests, equalities first.
    pub(super) fn tests(&self) -> Vec<Expr> {
        let equal = self.equal.iter().map(|(field, value)| equals(field, value));
        equal.chain(self.others.iter().cloned()).collect()
    }
}
