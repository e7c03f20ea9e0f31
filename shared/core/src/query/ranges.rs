//! From a conjunction of tests to one key range: the part that an index or the collection itself can answer.

use serde_json::Value;

use crate::expr::{Datum, Expr, Op, Operand, Test, Variable, moment};

use super::element::{each_of, equals, membership};
use super::keys::{self, HIGHEST, LOWEST, MAX_SORT_BYTES};
use super::layout::{Index, Layout};
use super::ordering::SortField;

/// Keys from `lower` to `upper`, both inclusive, as for `BETWEEN`. To exclude a bound, it is a key that no record has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// Records by id, in every shard.
    Records {
        /// The least id.
        lower: String,
        /// The greatest id.
        upper: String,
    },
    /// Entries of one partition of one index.
    Index {
        /// The index's name.
        name: String,
        /// The generic index of the store that contains it.
        slot: u8,
        /// The partition key.
        partition: String,
        /// The least sort key.
        lower: Vec<u8>,
        /// The greatest sort key.
        upper: Vec<u8>,
        /// The offset in the sort key of the order by which several ranges are merged.
        order_from: usize,
        /// Whether it is an index over elements: its entries are items of their own, which name their records.
        of_elements: bool,
    },
}

impl Range {
    /// Whether it covers the whole collection, or a whole partition of its index.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Records { lower, upper } => lower == LEAST_ID && upper == GREATEST_ID,
            Self::Index { lower, upper, .. } => (lower.as_slice(), upper.as_slice()) == (&[LOWEST], &[HIGHEST]),
        }
    }
}

/// Tests that must all hold, with the equalities separate. `members[]` equals a value if the array contains it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Branch {
    pub equal: Vec<(String, Value)>,
    pub others: Vec<Expr>,
}

/// A range and its residual filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Route {
    /// `None` if no record can match.
    pub range: Option<Range>,
    /// The order of the range from `order_from` on. The id is always last.
    pub order: Vec<SortField>,
    /// The tests that remain for every record.
    pub residual_filter: Vec<Expr>,
}

impl Branch {
    /// Sorts the tests. `None` if they contradict each other.
    pub fn of(tests: Vec<Expr>) -> Option<Self> {
        let mut branch = Self { equal: Vec::new(), others: Vec::new() };
        for test in tests {
            let equality = equality(&test).map(|(field, value)| (field.to_owned(), value));
            match equality.or_else(|| membership(&test)) {
                Some((field, value)) if branch.value(&field).is_none() => branch.equal.push((field, value.clone())),
                _ => branch.others.push(test),
            }
        }
        let (decided, open): (Vec<Expr>, Vec<Expr>) =
            branch.others.iter().cloned().partition(|test| branch.decides(test));
        let holds = decided.iter().all(|test| test.holds_given(&|place| branch.datum(place)));
        branch.others = open;
        branch.others = branch.others.iter().filter(|test| !branch.implies(test)).cloned().collect();
        holds.then_some(branch)
    }

    /// The value that the field must equal.
    pub fn value(&self, field: &str) -> Option<&Value> {
        self.equal.iter().find(|(name, _)| name == field).map(|(_, value)| value)
    }

    fn datum(&self, place: &Variable) -> Option<Datum<'_>> {
        match place {
            Variable::Record(field) => self.value(field).map(Datum::from),
            _ => None,
        }
    }

    /// Whether the equalities alone answer the test.
    fn decides(&self, expr: &Expr) -> bool {
        let known = |operand: &&Operand| match operand {
            Operand::Constant(_) => true,
            Operand::Variable(place) => self.datum(place).is_some(),
        };
        expr.tests().iter().all(|test| !test.operands().is_empty() && test.operands().iter().all(&known))
    }

    /// `has(f)` is redundant beside a test of `f` that only a present `f` can satisfy.
    fn implies(&self, expr: &Expr) -> bool {
        let Expr::Is(Test::Has(Variable::Record(field))) = expr else { return false };
        self.value(field).is_some()
            || self.value(&each_of(field)).is_some()
            || self.others.iter().any(|other| range_test(other).is_some_and(|(by, _)| by == field))
    }

    /// The route through an index, ordered from the `skip`-th sort field on. `None` if there is none.
    pub fn through(&self, layout: &Layout, index: &Index, skip: usize) -> Option<Route> {
        let part = |field: &String| keys::partition_part(&self.value(field)?.into());
        let parts = index.partition.iter().map(part).collect::<Option<Vec<_>>>()?;
        let partition = index.partition_key(layout, &parts);
        let bound: Vec<&SortField> = index.sort.iter().take_while(|by| self.value(&by.field).is_some()).collect();
        if skip > bound.len() {
            return None;
        }
        let encoded = |by: &&SortField| keys::encode(self.value(&by.field).map(Datum::from).as_ref(), by.descending);
        let prefix: Vec<u8> = bound.iter().flat_map(encoded).collect();
        let order_from = bound.iter().take(skip).flat_map(encoded).count();
        let next = index.sort.get(bound.len());
        let used: Vec<&str> =
            index.partition.iter().chain(bound.iter().map(|by| &by.field)).map(String::as_str).collect();
        let bounds = Bounds::new(&prefix).narrowed(&prefix, next, &self.others, index.max_sort_bytes());
        let residual_filter = self.left_after(&used, next.map(|by| by.field.as_str()));
        let possible = partition.len() <= index.max_partition_bytes() && prefix.len() <= index.max_sort_bytes();
        let range = bounds.filter(|_| possible).map(|(lower, upper)| Range::Index {
            name: index.name.clone(),
            slot: index.slot,
            partition,
            lower,
            upper,
            order_from,
            of_elements: index.is_of_elements(),
        });
        Some(Route { range, order: index.sort.get(skip..).unwrap_or_default().to_vec(), residual_filter })
    }

    /// The route through the collection itself, ordered by id.
    pub fn by_id(&self) -> Route {
        if let Some(Value::String(id)) = self.value("id") {
            let range = usable_id(id).then(|| Range::Records { lower: id.clone(), upper: id.clone() });
            return Route { range, order: Vec::new(), residual_filter: self.left_after(&["id"], None) };
        }
        let equal = self.value("createdAt").map(|value| (Op::Eq, value));
        let ordered = self.others.iter().filter_map(|other| comparison(other).filter(|(by, ..)| *by == "createdAt"));
        let (mut lower, mut upper) = (LEAST_ID.to_owned(), GREATEST_ID.to_owned());
        for (op, value) in equal.into_iter().chain(ordered.map(|(_, op, value)| (op, value))) {
            let (from, to) = ids_made(op, value);
            lower = lower.max(from);
            upper = upper.min(to);
        }
        let range = (lower <= upper).then_some(Range::Records { lower, upper });
        Route { range, order: Vec::new(), residual_filter: self.left_after(&["createdAt"], Some("createdAt")) }
    }

    /// The tests that neither the equalities on `used` nor a range on `ranged` answer.
    fn left_after(&self, used: &[&str], ranged: Option<&str>) -> Vec<Expr> {
        let unequal = self.equal.iter().filter(|(field, _)| !used.contains(&field.as_str()));
        let unequal = unequal.map(|(field, value)| equals(field, value));
        let open = self.others.iter().filter(|other| range_test(other).is_none_or(|(field, _)| Some(field) != ranged));
        unequal.chain(open.cloned()).collect()
    }
}

/// The sort without fields that have a single value in the result.
pub(super) fn unsettled(branches: &[Branch], sort: &[SortField]) -> Vec<SortField> {
    let value = |branch: &Branch, by: &SortField| branch.value(&by.field).cloned();
    let settled = |by: &SortField| match branches.split_first() {
        Some((first, rest)) => {
            value(first, by).is_some_and(|one| rest.iter().all(|branch| value(branch, by).as_ref() == Some(&one)))
        }
        None => false,
    };
    sort.iter().filter(|by| !settled(by)).cloned().collect()
}

/// A stored field compared with a constant.
fn comparison(expr: &Expr) -> Option<(&str, Op, &Value)> {
    match expr {
        Expr::Is(Test::Compare { left, op, right }) => Some((left.record_field()?, *op, right.constant()?)),
        _ => None,
    }
}

/// A field that must equal a constant.
pub(super) fn equality(expr: &Expr) -> Option<(&str, &Value)> {
    comparison(expr).filter(|(_, op, _)| *op == Op::Eq).map(|(field, _, value)| (field, value))
}

/// The field of a test that a key range can answer, and the test.
pub(super) fn range_test(expr: &Expr) -> Option<(&str, &Test)> {
    match expr {
        Expr::Is(test @ Test::Compare { op, .. }) if op.is_order() => comparison(expr).map(|(field, ..)| (field, test)),
        Expr::Is(test @ Test::StartsWith { text, prefix: Operand::Constant(_) }) => Some((text.record_field()?, test)),
        _ => None,
    }
}

/// The possible part of an index's partition.
struct Bounds {
    lower: Vec<u8>,
    upper: Vec<u8>,
}

impl Bounds {
    /// Everything that begins with `prefix`.
    fn new(prefix: &[u8]) -> Self {
        match prefix {
            [] => Self { lower: vec![LOWEST], upper: vec![HIGHEST] },
            prefix => Self { lower: prefix.to_vec(), upper: keys::after(prefix) },
        }
    }

    /// Narrowed by the tests on the next sort field. `None` if the result is empty.
    fn narrowed(
        mut self,
        prefix: &[u8],
        by: Option<&SortField>,
        tests: &[Expr],
        longest: usize,
    ) -> Option<(Vec<u8>, Vec<u8>)> {
        let tests = tests.iter().filter_map(range_test);
        for (by, test) in tests.filter_map(|(field, test)| by.filter(|by| by.field == field).map(|by| (by, test))) {
            let (lower, upper) = span(test, by.descending)?;
            self.lower = self.lower.max([prefix, &lower].concat());
            self.upper = self.upper.min([prefix, &upper].concat());
        }
        // No stored key is longer than this, so truncating a bound there excludes none.
        self.lower.truncate(longest);
        self.upper.truncate(longest);
        (self.lower <= self.upper).then_some((self.lower, self.upper))
    }
}

/// The encoded values that satisfy a range test, from the first to just after the last.
fn span(test: &Test, descending: bool) -> Option<(Vec<u8>, Vec<u8>)> {
    let (op, bound) = match test {
        Test::StartsWith { prefix, .. } => {
            let prefix = keys::encode_prefix(prefix.constant()?.as_str()?, descending);
            return Some((prefix.clone(), keys::after(&prefix)));
        }
        Test::Compare { op, right, .. } => (*op, Datum::from(right.constant()?)),
        _ => return None,
    };
    let kind = keys::encode_kind(&bound, descending);
    let value = keys::encode(Some(&bound), descending);
    let op = if descending { op.mirrored() } else { op };
    match op {
        Op::Lt => Some((kind, value)),
        Op::Le => Some((kind, keys::after(&value))),
        Op::Gt => Some((keys::after(&value), keys::after(&kind))),
        Op::Ge => Some((value, keys::after(&kind))),
        Op::Eq | Op::Ne => None,
    }
}

/// Below every id, which is a UUID in lower-case hex.
const LEAST_ID: &str = "0";
/// Above every id.
const GREATEST_ID: &str = "g";

/// The id range of records with such a `createdAt`.
fn ids_made(op: Op, moment: &Value) -> (String, String) {
    let (least, greatest) = (LEAST_ID.to_owned(), GREATEST_ID.to_owned());
    let Some(millis) = moment.as_str().and_then(moment::milliseconds) else { return (least, greatest) };
    let (from, past) = (id_prefix(millis), id_prefix(millis.saturating_add(1)));
    match op {
        Op::Eq => (from, past),
        Op::Lt => (least, from),
        Op::Le => (least, past),
        Op::Gt => (past, greatest),
        Op::Ge => (from, greatest),
        Op::Ne => (least, greatest),
    }
}

/// The prefix of all ids of that millisecond (RFC 9562, UUIDv7): the record's `createdAt` is the time in its id.
fn id_prefix(milliseconds: i64) -> String {
    let bits = milliseconds.clamp(0, (1 << 48) - 1);
    format!("{:08x}-{:04x}", bits >> 16, bits & 0xFFFF)
}

/// Whether the text has the form of an id. Other text is not sent to the store.
fn usable_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_SORT_BYTES
}
