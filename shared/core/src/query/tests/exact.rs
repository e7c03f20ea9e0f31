//! A plan reads exactly the records that evaluation matches, in the requested order: over generated records, filters and
//! sorts.

use std::cmp::Ordering;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use serde_json::{Map, Value};

use super::layout;
use crate::expr::tests::generated::{auth, data, filter};
use crate::expr::{Datum, Expr, Input, Known, RecordRef, Rule, number};
use crate::query::{Layout, ListQuery, Plan, Range, SortField, plan};
use crate::schema::unserved;

/// A record in memory.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    id: String,
    created_at: String,
    updated_at: String,
    data: Map<String, Value>,
}

impl Stored {
    /// A record whose id contains its creation time; every tenth has the same time.
    pub(super) fn new(position: usize, updated: usize, data: Map<String, Value>) -> Self {
        let seconds = position % 10 * 5;
        let millis = 1_772_366_400_000 + 1_000 * seconds as u64;
        let id = format!("{:08x}-{:04x}-7000-8000-{position:012x}", millis >> 16, millis & 0xFFFF);
        let moment = |seconds: usize| format!("2026-03-01T12:00:{seconds:02}.000Z");
        Self { id, created_at: moment(seconds), updated_at: moment(updated), data }
    }

    pub(super) fn view(&self) -> RecordRef<'_> {
        RecordRef {
            id: &self.id,
            created_at: &self.created_at,
            updated_at: &self.updated_at,
            version: 1,
            data: &self.data,
        }
    }
}

pub(super) fn records() -> impl Strategy<Value = Vec<Stored>> {
    vec((data(), 0usize..60), 0..30).prop_map(|all| {
        all.into_iter().enumerate().map(|(position, (data, updated))| Stored::new(position, updated, data)).collect()
    })
}

/// A filter and a sort, similar enough to an index that it may serve them.
type Asked = (String, Vec<SortField>);

fn asked() -> impl Strategy<Value = Asked> {
    let mine = near(
        &[
            "owner == 'a'",
            "owner in ['a', 'b']",
            "owner == 'ab' || owner == 'b'",
            "owner == 'a' && status in ['a', '', 'ab']",
        ],
        &[
            "true",
            "status > 'a'",
            "status <= 'a'",
            "status < 'ab'",
            "status >= 'a' && status < 'b'",
            "status.startsWith('a')",
            "status == 'a' && priority > -1",
            "status == 'ab' && priority <= 1.0",
            "status in ['a', 'b'] && priority > -2.5 && priority < 100000000000000000000.0",
        ],
        &[
            "",
            "status",
            "-status",
            "status,-priority",
            "-status,priority",
            "-priority",
            "priority",
            "status,-priority,id",
            "status,priority",
            "-status,-priority",
            "status,-priority,-id",
            "status,-priority,createdAt",
            "status,-priority,createdAt,id",
            "-status,priority,-createdAt,done",
        ],
    );
    let by_status = near(
        &["status == 'a'", "status in ['a', 'a\\u0000']", "status == 'b' && has(owner)"],
        &["done", "!done", "(done || !done)", "done == true && createdAt > '2026-03-01T12:00:20Z'"],
        &["", "createdAt", "-createdAt", "-id", "status", "createdAt,owner", "-createdAt,-id"],
    );
    let by_due = near(
        &["true"],
        &[
            "has(due) && due < '2026-03-01T00:00:00Z'",
            "due >= '2026-01-01T00:00:00Z'",
            "due <= '2026-01-01T00:00:00Z'",
            "due == '2026-01-01T00:00:00Z' && note > 'a'",
            "due in ['2026-01-01T00:00:00Z', '2026-06-01T00:00:00Z'] && note <= 'a'",
        ],
        &["due", "-due", "due,-note", "-due,note,-id", "note", "-note"],
    );
    let recent = near(
        &["note == 'a'", "note in ['', 'b']"],
        &["true", "updatedAt > '2026-03-01T12:00:20Z'", "updatedAt <= '2026-03-01T12:00:30Z'"],
        &["", "updatedAt", "-updatedAt", "-updatedAt,id"],
    );
    let deep = near(
        &["done", "done in [true, false]", "(done || owner == 'a' && !done)"],
        &[
            "owner == 'a' && status in ['a', 'b', 'ab'] && priority == 1",
            "owner in ['a', 'b'] && status == 'a' && priority > -1",
            "owner == 'a' && status in ['a', 'ab']",
            "owner == 'a' && priority == 1",
        ],
        &["", "-priority", "status,-priority", "-status,priority", "owner", "owner,status", "createdAt"],
    );
    let records = near(
        &["true", "(true || done)"],
        &[
            "true",
            "createdAt > '2026-03-01T12:00:20Z'",
            "createdAt <= '2026-03-01T12:00:30Z' && createdAt >= '2026-03-01T12:00:05Z'",
            "createdAt == '2026-03-01T12:00:20Z'",
            "createdAt in ['2026-03-01T12:00:20Z', '2026-03-01T12:00:05Z']",
        ],
        &[
            "",
            "createdAt",
            "-createdAt",
            "-id",
            "createdAt,status",
            "-createdAt,done",
            "createdAt,id",
            "createdAt,-id",
            "id,status",
        ],
    );
    let across = near(
        &[
            "status == 'a' && done || createdAt < '2026-03-01T12:00:20Z'",
            "status == 'a' && done || status == 'b' && !done",
        ],
        &["true"],
        &["createdAt", "-createdAt", "id", ""],
    );
    let settled = near(&["priority == 1", "note == 'a'"], &["status != 'a'", "owner != 'b'"], &["", "createdAt"]);
    let anything =
        (filter(), select(vec!["", "status", "-createdAt"])).prop_map(|(filter, sort)| (filter, sorted_by(sort)));
    prop_oneof![4 => mine, 2 => by_status, 2 => by_due, 2 => recent, 2 => deep, 2 => records, 1 => across, 2 => settled, 1 => anything]
}

fn near(
    equal: &[&'static str],
    ranged: &[&'static str],
    sorts: &[&'static str],
) -> impl Strategy<Value = Asked> + use<> {
    (select(equal.to_vec()), select(ranged.to_vec()), select(sorts.to_vec()))
        .prop_map(|(equal, ranged, sort)| (format!("({equal}) && {ranged}"), sorted_by(sort)))
}

fn sorted_by(sort: &str) -> Vec<SortField> {
    sort.split(',').filter(|by| !by.is_empty()).map(|by| SortField::from(by.to_owned())).collect()
}

/// The store's result: every range read, merged by the order, duplicates removed.
pub(super) fn read<'a>(plan: &Plan, layout: &Layout, records: &'a [Stored]) -> Vec<&'a Stored> {
    let mut found: Vec<(Vec<u8>, &Stored)> = Vec::new();
    for range in &plan.ranges {
        found.extend(records.iter().filter_map(|record| Some((merge_key(range, layout, record)?, record))));
    }
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    found.dedup_by(|(_, left), (_, right)| left.id == right.id);
    if !plan.forward {
        found.reverse();
    }
    found.into_iter().map(|(_, record)| record).collect()
}

/// The part of a record's key by which ranges are merged. `None` if the record is not in the range.
fn merge_key(range: &Range, layout: &Layout, record: &Stored) -> Option<Vec<u8>> {
    match range {
        Range::Records { lower, upper } => {
            (*lower <= record.id && record.id <= *upper).then(|| record.id.clone().into_bytes())
        }
        Range::Index { slot, partition, lower, upper, order_from, .. } => {
            let index = layout.indexes.iter().find(|index| index.slot == *slot).unwrap();
            let keys = index.keys(layout, &record.view()).unwrap();
            let key = keys.into_iter().find(|key| key.partition == *partition)?;
            (*lower <= key.sort && key.sort <= *upper).then(|| key.sort[*order_from..].to_vec())
        }
    }
}

/// Absent before `null`, then booleans, numbers and texts, each in its own order.
fn compare(left: Option<Datum>, right: Option<Datum>) -> Ordering {
    let kind = |datum: &Option<Datum>| match datum {
        None | Some(Datum::Nested(_) | Datum::Texts(_)) => 0,
        Some(Datum::Null) => 1,
        Some(Datum::Flag(_)) => 2,
        Some(Datum::Number(_)) => 3,
        Some(Datum::Text(_)) => 4,
    };
    kind(&left).cmp(&kind(&right)).then_with(|| match (left, right) {
        (Some(Datum::Flag(left)), Some(Datum::Flag(right))) => left.cmp(&right),
        (Some(Datum::Number(left)), Some(Datum::Number(right))) => number::compare(&left, &right),
        (Some(Datum::Text(left)), Some(Datum::Text(right))) => left.cmp(right),
        _ => Ordering::Equal,
    })
}

/// Whether the records are sorted in this order.
pub(super) fn in_order(records: &[&Stored], sort: &[SortField]) -> bool {
    records.windows(2).all(|pair| {
        let by = |by: &SortField| {
            let order = compare(pair[0].view().field(&by.field), pair[1].view().field(&by.field));
            if by.descending { order.reverse() } else { order }
        };
        sort.iter().map(by).find(|order| order.is_ne()).is_none_or(Ordering::is_lt)
    })
}

/// A residual list rule.
pub(super) fn rule() -> impl Strategy<Value = Expr> {
    let rules = vec![
        "owner == 'a'",
        "owner in ['a', 'ab']",
        "done || owner == 'b'",
        "status == 'a' && done",
        "false",
        "status in ['a', 'b'] && done",
        "note in ['a', '']",
        "has(due) && due >= '2026-01-01T00:00:00Z'",
        "priority in [1.0, 2]",
        "priority > 0",
    ];
    let rules = prop_oneof![2 => Just("true"), 3 => select(rules)];
    rules.prop_map(|rule| Expr::filter(rule, &layout().fields).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_plan_reads_exactly_what_matches_in_order(records in records(), (source, sort) in asked(), rule in rule()) {
        let layout = layout();
        let wanted = Expr::filter(&source, &layout.fields).unwrap();
        let Ok(plan) = plan(&layout, &ListQuery { rule: &rule, filter: Some(&wanted), sort: &sort, scan: None }) else { return Ok(()) };
        let found = read(&plan, &layout, &records);
        let mut ids: Vec<&str> = found.iter().map(|record| record.id.as_str()).collect();
        prop_assert!(in_order(&found, &sort), "{} && {} {:?} {:?}", rule, source, sort, plan);
        ids.sort_unstable();
        let mut expected: Vec<&str> = records.iter().filter(|record| rule.matches(&record.view()) && wanted.matches(&record.view())).map(|record| record.id.as_str()).collect();
        expected.sort_unstable();
        prop_assert_eq!(ids, expected, "{} && {} {:?} {:?}", rule, source, sort, plan);
    }

    #[test]
    fn a_scan_reads_every_match_and_nothing_the_rule_hides(records in records(), (source, sort) in asked(), rule in rule()) {
        let layout = layout();
        let wanted = Expr::filter(&source, &layout.fields).unwrap();
        let Ok(plan) = plan(&layout, &ListQuery { rule: &rule, filter: Some(&wanted), sort: &sort, scan: Some(1_000) }) else { return Ok(()) };
        let read = read(&plan, &layout, &records);
        prop_assert!(read.iter().all(|record| rule.matches(&record.view())), "{} && {} {:?}", rule, source, plan);
        let found: Vec<&Stored> = read.into_iter().filter(|record| plan.residual_filter.matches(&record.view())).collect();
        prop_assert!(in_order(&found, &sort));
        prop_assert_eq!(found.len(), records.iter().filter(|record| rule.matches(&record.view()) && wanted.matches(&record.view())).count(), "{} {:?}", source, plan);
    }
}

/// The properties are meaningless if hardly any query is planned.
#[test]
fn enough_generated_queries_are_served() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let layout = layout();
    let served = (0..500).filter(|_| {
        let (source, sort) = asked().new_tree(&mut runner).unwrap().current();
        let wanted = Expr::filter(&source, &layout.fields).unwrap();
        let query = ListQuery { rule: &Expr::True, filter: Some(&wanted), sort: &sort, scan: None };
        plan(&layout, &query).is_ok_and(|plan| !plan.ranges.is_empty())
    });
    let served = served.count();
    assert!(served > 250, "{served} of 500");
}

/// Tests that a rule may contain, of records and of callers.
const ASKED_OF_LISTS: [&str; 12] = [
    "record.owner == auth.id",
    "record.owner == 'a'",
    "record.owner in ['a', 'b']",
    "record.status == 'a'",
    "record.status.startsWith(auth.id)",
    "record.note == auth.email",
    "record.priority > 1",
    "auth.id != ''",
    "auth.verified",
    "!auth.verified",
    "!('a' in auth.roles)",
    "request.time > '2026-02-01T00:00:00Z'",
];

#[test]
fn an_accepted_list_rule_is_served_for_every_caller() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let rules = vec(vec(select(ASKED_OF_LISTS.to_vec()), 1..4).prop_map(|all| all.join(" && ")), 1..4);
    let (layout, mut served) = (layout(), 0);
    for _ in 0..1_000 {
        let source = rules.new_tree(&mut runner).unwrap().current().join(" || ");
        let rule = Expr::rule(&source, &layout.fields, Rule::List).unwrap();
        if unserved(&rule, &layout).is_some() {
            continue;
        }
        let someone = auth().new_tree(&mut runner).unwrap().current();
        for auth in [None, someone.as_ref()] {
            let left = rule.partial(&Known { auth, now: "2026-01-01T00:00:00.000Z", input: Input::None });
            let query = ListQuery { rule: &left, filter: None, sort: &[], scan: None };
            assert!(plan(&layout, &query).is_ok(), "{source}, for {auth:?}, leaves {left}");
            served += usize::from(left != Expr::False);
        }
    }
    assert!(served > 200, "{served}");
}
