//! The planner: which key ranges answer a list, in which direction, and the residual filter.

use serde_json::{Value, json};

use crate::expr::{Expr, Operand, RecordRef, Test};
use crate::id;

use super::advice::advise;
use super::element::equals;
use super::keys;
use super::layout::Layout;
use super::list_query::ListQuery;
use super::named::{self, MAX_IDS};
use super::ordering::{SortField, without_id};
use super::ranges::{Branch, Range, Route, unsettled};
use super::refuse::{Refusal, Refused};

/// Maximum number of ranges merged for one list.
pub const MAX_RANGES: usize = 8;

/// How a list is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The ids to read, if the filter names them: ascending, at most [`MAX_IDS`]. The rule is then checked for
    /// each record.
    pub ids: Option<Vec<String>>,
    /// The ranges to read. Several: merge them by [`Plan::order`] and return duplicates once. Without ranges and ids nothing
    /// can match.
    pub ranges: Vec<Range>,
    /// Whether keys are in ascending order.
    pub forward: bool,
    /// The order of each range from its `order_from` on. The id is always last.
    pub order: Vec<SortField>,
    /// The filter that the ranges or ids do not answer. [`Expr::True`] unless ids are named or a scan is allowed.
    pub residual_filter: Expr,
    /// How many items may be read, if there is a residual filter.
    pub scan: Option<u32>,
}

/// Plans a list: by id if the filter names ids, else through the collection itself, or through an index that contains exactly
/// the requested records in the requested order.
///
/// # Errors
/// A [`Refusal`] that names the missing index.
pub fn plan(layout: &Layout, query: &ListQuery) -> Result<Plan, Refusal> {
    let wanted = query.rule.clone().and(query.filter.cloned().unwrap_or(Expr::True));
    let opaque = vec![wanted.conjuncts().to_vec()];
    let alternatives = alternatives(&wanted);
    let is_merged = alternatives.is_some();
    let branches = possible(alternatives.unwrap_or_else(|| opaque.clone()));
    if wanted == Expr::False || branches.is_empty() {
        return Ok(Plan::nothing());
    }
    if let Some(plan) = by_id(query).or_else(|| exact(layout, &branches, query.sort)) {
        return Ok(plan);
    }
    let scanned = |scan| scanning(layout, &possible(opaque.clone()), query, scan);
    if let Some(plan) = query.scan.and_then(scanned) {
        return Ok(plan);
    }
    let can_scan = query.scan.is_none() && scanned(1).is_some();
    let refused = Refused { layout, branches: &branches, sort: query.sort, can_scan };
    if let Some(index) = building(layout, &branches, query.sort) {
        return Err(refused.building(index));
    }
    if let Some(named) = query.filter.and_then(named::ids) {
        return Err(refused.too_many_ids(named.len()));
    }
    if !is_merged {
        return Err(refused.too_many(MAX_RANGES));
    }
    let answers = |layout: &Layout, branches: &[Branch]| exact(layout, branches, query.sort).is_some();
    Err(refused.lacking(&advise(layout, &branches, query.sort, &answers)))
}

/// The index that will serve the list and is still being built.
fn building<'a>(layout: &'a Layout, branches: &[Branch], sort: &[SortField]) -> Option<&'a str> {
    let plan = exact(&layout.when_built(), branches, sort)?;
    let mut unready = layout.indexes.iter().filter(|index| !index.ready);
    unready.find(|index| plan.ranges.iter().any(|range| range.is_of(&index.name))).map(|index| index.name.as_str())
}

/// Expands `||` and `in` to conjunctions, one per alternative. `None` if there are more than can be merged.
fn alternatives(expr: &Expr) -> Option<Vec<Vec<Expr>>> {
    let branches = match expr {
        Expr::True => vec![Vec::new()],
        Expr::False => Vec::new(),
        Expr::Any(parts) => parts.iter().map(alternatives).collect::<Option<Vec<_>>>()?.concat(),
        Expr::All(parts) => {
            parts.iter().try_fold(vec![Vec::new()], |so_far, part| product(&so_far, &alternatives(part)?))?
        }
        Expr::Is(Test::In { item, list: Operand::Constant(Value::Array(values)) }) => match item.record_field() {
            Some(field) => values.iter().map(|value| vec![equals(field, value)]).collect(),
            None => vec![vec![expr.clone()]],
        },
        Expr::Is(_) | Expr::Not(_) => vec![vec![expr.clone()]],
    };
    (branches.len() <= MAX_RANGES).then_some(branches)
}

fn product(left: &[Vec<Expr>], right: &[Vec<Expr>]) -> Option<Vec<Vec<Expr>>> {
    if left.len() * right.len() > MAX_RANGES {
        return None;
    }
    Some(left.iter().flat_map(|left| right.iter().map(|right| [left.as_slice(), right].concat())).collect())
}

/// The satisfiable branches, without duplicates.
fn possible(alternatives: Vec<Vec<Expr>>) -> Vec<Branch> {
    let mut branches = Vec::new();
    for branch in alternatives.into_iter().filter_map(Branch::of) {
        if !branches.contains(&branch) {
            branches.push(branch);
        }
    }
    branches
}

/// The plan of a list whose filter names ids, if it names no more than [`MAX_IDS`].
fn by_id(query: &ListQuery) -> Option<Plan> {
    let filter = query.filter?;
    let named = named::ids(filter).filter(|named| named.len() <= MAX_IDS)?;
    // Other text is no record's id.
    let named = named.into_iter().filter(|named| id::is_valid(named)).map(str::to_owned).collect();
    let is_open = |test: &&Expr| !matches!(test, Expr::Is(_)) || named::ids(test).is_none();
    let residual_filter = Expr::all(filter.conjuncts().iter().filter(is_open).cloned());
    let (order, forward) = match direction(&[], query.sort) {
        Some(forward) => (Vec::new(), forward),
        None => without_id(query.sort),
    };
    Some(Plan { ids: Some(named), ranges: Vec::new(), forward, order, residual_filter, scan: None })
}

/// A plan without a residual filter: a path for the first branch with which every other branch can be merged.
fn exact(layout: &Layout, branches: &[Branch], sort: &[SortField]) -> Option<Plan> {
    let sort = unsettled(branches, sort);
    let (first, rest) = branches.split_first()?;
    let whole = |branch: &Branch| {
        routes(layout, branch).into_iter().filter(|route| route.residual_filter.is_empty()).collect::<Vec<_>>()
    };
    let rest: Vec<Vec<Route>> = rest.iter().map(whole).collect();
    whole(first).into_iter().find_map(|route| {
        let forward = direction(&route.order, &sort)?;
        let same_order = |routes: &Vec<Route>| routes.iter().find(|other| other.order == route.order).cloned();
        let others: Vec<Route> = rest.iter().map(same_order).collect::<Option<_>>()?;
        let order = route.order.clone();
        let ranges = std::iter::once(route).chain(others).filter_map(|route| route.range).collect();
        Some(Plan { ids: None, ranges, forward, order, residual_filter: Expr::True, scan: None })
    })
}

/// A plan with the smallest residual filter in the requested order. The residual never contains tests of the rule: a scan
/// that reads and discards records of others would reveal them by where it stops and what it costs. It contains no other
/// tests of the rule's fields either: a filter that implies the rule takes its place.
fn scanning(layout: &Layout, branches: &[Branch], query: &ListQuery, scan: u32) -> Option<Plan> {
    let sort = unsettled(branches, query.sort);
    let rule = query.rule.record_fields();
    let is_about_rule = |test: &Expr| test.record_fields().iter().any(|field| rule.contains(field));
    let routes = routes(layout, branches.first()?).into_iter();
    let allowed = routes.filter(|route| !route.residual_filter.iter().any(is_about_rule));
    let in_order = allowed.filter_map(|route| direction(&route.order, &sort).map(|forward| (route, forward)));
    let Some((route, forward)) = in_order.min_by_key(|(route, _)| route.residual_filter.len()) else {
        return scanning_rule(layout, query, scan);
    };
    let residual_filter = Expr::all(route.residual_filter);
    Some(Plan {
        ids: None,
        ranges: route.range.into_iter().collect(),
        forward,
        order: route.order,
        residual_filter,
        scan: Some(scan),
    })
}

/// A plan that reads everything the rule allows, with the whole filter as residual.
fn scanning_rule(layout: &Layout, query: &ListQuery, scan: u32) -> Option<Plan> {
    let plan = exact(layout, &possible(alternatives(query.rule)?), query.sort)?;
    Some(Plan { residual_filter: query.filter.cloned().unwrap_or(Expr::True), scan: Some(scan), ..plan })
}

/// Every access path for a branch, the collection itself first.
fn routes(layout: &Layout, branch: &Branch) -> Vec<Route> {
    let through = |index| (0..).map_while(move |skip| branch.through(layout, index, skip));
    std::iter::once(branch.by_id()).chain(layout.serving().flat_map(through)).collect()
}

/// Whether an order satisfies the requested one: `Some(true)` read ascending, `Some(false)` read descending.
///
/// Every order ends in the id, and the id begins with `createdAt`, so `createdAt` may end any requested order. Several
/// records can share one `createdAt`: only the id may follow `createdAt`, and anything may follow the id.
fn direction(order: &[SortField], wanted: &[SortField]) -> Option<bool> {
    let mut forward = None;
    for (position, wanted) in wanted.iter().enumerate() {
        let turned = match order.get(position) {
            Some(by) if by.field == wanted.field => by.descending != wanted.descending,
            None if wanted.field == "id" => wanted.descending,
            None if wanted.field == "createdAt" && position == order.len() => wanted.descending,
            _ => return None,
        };
        if forward.is_some_and(|forward| forward == turned) {
            return None;
        }
        forward = Some(!turned);
        if wanted.field == "id" {
            break;
        }
    }
    Some(forward.unwrap_or(true))
}

impl Plan {
    fn nothing() -> Self {
        let (ids, ranges, order) = (None, Vec::new(), Vec::new());
        Self { ids, ranges, forward: true, order, residual_filter: Expr::True, scan: None }
    }

    /// A record's place in the order. Lists that are read by id are sorted by it.
    pub fn place(&self, record: &RecordRef) -> Vec<u8> {
        let encoded = |by: &SortField| keys::encode(record.field(&by.field).as_ref(), by.descending);
        self.order.iter().flat_map(encoded).chain(record.id.bytes()).collect()
    }

    /// The plan as JSON for developers, for `explain=true`.
    pub fn explain(&self) -> Value {
        let ranges: Vec<Value> = self.ranges.iter().map(Range::explain).collect();
        let order: Vec<String> = self.order.iter().map(ToString::to_string).chain(["id".to_owned()]).collect();
        let mut explained = json!({ "ranges": ranges, "order": order, "forward": self.forward });
        if let Some(members) = explained.as_object_mut() {
            members.extend(self.ids.as_ref().map(|ids| ("ids".to_owned(), json!(ids))));
            members.extend(self.scan.map(|scan| ("scan".to_owned(), scan.into())));
            if self.scan.is_some() || !self.residual_filter.is_true() {
                members.insert("residualFilter".to_owned(), self.residual_filter.to_string().into());
            }
        }
        explained
    }
}

impl Range {
    fn is_of(&self, index: &str) -> bool {
        matches!(self, Self::Index { name, .. } if name == index)
    }

    fn explain(&self) -> Value {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match self {
            Self::Records { lower, upper } => json!({ "from": "records", "lower": lower, "upper": upper }),
            Self::Index { name, partition, lower, upper, of_elements, .. } => {
                let mut range =
                    json!({ "index": name, "partition": partition, "lower": hex(lower), "upper": hex(upper) });
                if let (true, Some(members)) = (*of_elements, range.as_object_mut()) {
                    members.insert("elements".to_owned(), true.into());
                }
                range
            }
        }
    }
}
