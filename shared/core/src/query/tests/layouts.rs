//! Generated indexes and values: keys order records like the language orders their fields, and the planner's ranges contain
//! exactly the records that the filter matches, in the requested order.
//!
//! [`exact`](super::exact) tests one collection with many kinds of queries. Here the collection varies too, and the values
//! are difficult for a codec.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value};

use super::exact::{Stored, in_order, read};
use crate::expr::{Expr, FieldType, FieldTypes, Kind, number};
use crate::query::{Index, Layout, ListQuery, Plan, SortField, element_of, plan, stored_field};

/// A field of each kind, and two each of the kinds that differ most.
const FIELDS: [(&str, Kind); 6] = [
    ("text", Kind::Text),
    ("word", Kind::Text),
    ("count", Kind::Number),
    ("ratio", Kind::Number),
    ("flag", Kind::Flag),
    ("moment", Kind::Moment),
];

const TEXTS: [&str; 13] =
    ["", "a", "a\u{0}", "a\u{0}b", "a\u{1}", "aa", "b", "Z", "é", "e\u{301}", "\u{ffff}", "\u{10ffff}", "#%:'\\"];
const NUMBERS: [&str; 17] = [
    "0",
    "1",
    "-1",
    "9",
    "10",
    "-10",
    "0.1",
    "0.10000000000000000000000000000000000001",
    "-0.1",
    "12345678901234567890123456789012345678",
    "12345678901234567890123456789012345677",
    "-12345678901234567890123456789012345678",
    "9007199254740993",
    "9007199254740992",
    "1e-130",
    "9.99e125",
    "-9.99e125",
];
const MOMENTS: [&str; 5] = [
    "0000-01-01T00:00:00.000Z",
    "1969-12-31T23:59:59.999Z",
    "2026-03-01T12:00:00.000Z",
    "2026-03-01T12:00:00.001Z",
    "9999-12-31T23:59:59.999Z",
];

fn of_kind(kind: &Kind) -> BoxedStrategy<Value> {
    match kind {
        Kind::Number => {
            let drawn = select(NUMBERS.to_vec()).prop_map(str::to_owned);
            let made = (-999i64..999, -40i32..40).prop_map(|(digits, exponent)| format!("{digits}e{exponent}"));
            prop_oneof![3 => drawn, 1 => made].prop_map(|text| Value::Number(number::exact(&text).unwrap())).boxed()
        }
        Kind::Flag => any::<bool>().prop_map(Value::from).boxed(),
        Kind::Moment => select(MOMENTS.to_vec()).prop_map(Value::from).boxed(),
        _ => prop_oneof![4 => select(TEXTS.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,6}"]
            .prop_map(Value::from)
            .boxed(),
    }
}

/// Data of a record: every field present, absent, or `null`.
fn data() -> impl Strategy<Value = Map<String, Value>> {
    let members: Vec<_> = FIELDS
        .iter()
        .map(|(name, kind)| {
            let value = prop_oneof![8 => of_kind(kind), 1 => Just(Value::Null)];
            option::weighted(0.85, value).prop_map(|value| (*name, value))
        })
        .collect();
    let tags = vec(select(TEXTS.to_vec()), 0..5).prop_map(Value::from_iter);
    (members, option::weighted(0.85, tags)).prop_map(|(members, tags)| {
        let members = members.into_iter().chain([("tags", tags)]);
        members.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    })
}

fn records() -> impl Strategy<Value = Vec<Stored>> {
    vec((data(), 0usize..60), 1..14).prop_map(|all| {
        all.into_iter().enumerate().map(|(position, (data, updated))| Stored::new(position, updated, data)).collect()
    })
}

/// An index over some fields, in any order and direction.
fn index(slot: u8) -> impl Strategy<Value = Index> {
    let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
    let picked = subsequence(names, 1..=4).prop_shuffle();
    let time = option::weighted(0.3, select(vec!["createdAt", "updatedAt"]));
    (picked, 0usize..3, vec(any::<bool>(), 4), time, option::weighted(0.3, Just("tags[]"))).prop_map(
        move |(picked, partition, directions, time, elements)| {
            let (partition, sorted) = picked.split_at(partition.min(picked.len()));
            let sorted = sorted.iter().copied().chain(time).zip(directions);
            Index {
                name: format!("i{slot}"),
                partition: partition.iter().copied().chain(elements).map(str::to_owned).collect(),
                sort: sorted.map(|(field, descending)| SortField { field: field.to_owned(), descending }).collect(),
                slot,
                generation: 1,
                ready: true,
                retiring: false,
                clearing: false,
            }
        },
    )
}

fn layout() -> impl Strategy<Value = Layout> {
    (index(1), index(2)).prop_map(|(first, second)| Layout {
        collection: "things".to_owned(),
        generation: 1,
        indexes: vec![first, second],
        fields: FieldTypes::new(
            FIELDS
                .map(|(name, kind)| (name.to_owned(), FieldType { nullable: true, ..FieldType::plain(kind) }))
                .into_iter()
                .chain([("tags".to_owned(), FieldType::plain(Kind::List(Box::new(Kind::Text))))]),
        ),
    })
}

/// The value as an expression literal.
fn literal(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let escaped: String = text.chars().map(|char| format!("\\U{:08x}", u32::from(char))).collect();
            format!("'{escaped}'")
        }
        other => other.to_string(),
    }
}

/// A range test of the next field of an index.
fn range(field: String, kind: Kind, between: (Value, Value), which: usize) -> String {
    let (low, high) = (literal(&between.0), literal(&between.1));
    match (which, &kind) {
        (_, Kind::Flag) => "true".to_owned(),
        (0, _) => format!("{field} > {low}"),
        (1, _) => format!("{field} <= {low}"),
        (2, _) => format!("{field} >= {low} && {field} < {high}"),
        (3, _) => format!("{low} <= {field} && {field} <= {high}"),
        (4, Kind::Text) => format!("{field}.startsWith({low})"),
        _ => "true".to_owned(),
    }
}

/// A collection with a filter and a sort, similar enough to its first index that it may serve them.
#[derive(Debug, Clone)]
struct Asked {
    layout: Layout,
    filter: String,
    sort: Vec<SortField>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let values = || vec((data(), data()), 2);
    (layout(), values(), 0usize..4, 0usize..6, any::<bool>(), 0usize..5, any::<bool>()).prop_map(
        |(layout, values, bound, which, several, sorted, reversed)| {
            let Some(index) = layout.indexes.first() else { panic!("two indexes") };
            let kind = |name: &str| layout.fields.get(name).map_or(Kind::Other, |field| field.kind.clone());
            // The equality values: one per field, of the right kind, or `null`.
            let drawn = |name: &str, nth: usize| {
                if name.ends_with("At") {
                    return Value::from(format!("2026-03-01T12:00:{:02}.000Z", 7 * (nth + which)));
                }
                let held: Vec<&Value> = values
                    .iter()
                    .flat_map(|(a, b)| [a.get(stored_field(name)), b.get(stored_field(name))])
                    .flatten()
                    .collect();
                let pool: Vec<&Value> = held
                    .into_iter()
                    .flat_map(|held| held.as_array().map_or(vec![held], |all| all.iter().collect()))
                    .collect();
                pool.get(nth % pool.len().max(1)).map(|value| (*value).clone()).unwrap_or(Value::Null)
            };
            let mut parts = Vec::new();
            let equalled = index.partition.iter().chain(index.sort.iter().take(bound).map(|by| &by.field));
            for (position, field) in equalled.enumerate() {
                let (one, other) = (literal(&drawn(field, 0)), literal(&drawn(field, 1)));
                if let Some(array) = element_of(field) {
                    // There is no such element: a test of `null` is none.
                    let (one, other) = if one == "null" { ("'x'".to_owned(), "'y'".to_owned()) } else { (one, other) };
                    let other = if other == "null" { "'y'".to_owned() } else { other };
                    parts.push(match several {
                        true => format!("({one} in {array} || {other} in {array})"),
                        false => format!("{one} in {array}"),
                    });
                    continue;
                }
                parts.push(match (several && position == 0, position % 2) {
                    (true, 0) => format!("{field} in [{one}, {other}]"),
                    (true, _) => format!("({field} == {one} || {field} == {other})"),
                    (false, _) => format!("{field} == {one}"),
                });
            }
            if let Some(next) = index.sort.get(bound) {
                let between = (drawn(&next.field, 2), drawn(&next.field, 3));
                if !between.0.is_null() && !between.1.is_null() {
                    parts.push(range(next.field.clone(), kind(&next.field), between, which));
                }
            }
            parts.push("true".to_owned());
            let sort = index.sort.iter().skip(bound).take(sorted);
            let sort = sort.map(|by| SortField { descending: by.descending != reversed, ..by.clone() }).collect();
            Asked { filter: parts.join(" && "), sort, layout }
        },
    )
}

fn planned(asked: &Asked, filter: &Expr) -> Option<Plan> {
    plan(&asked.layout, &ListQuery { rule: &Expr::True, filter: Some(filter), sort: &asked.sort, scan: None }).ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_plan_over_any_index_reads_exactly_what_matches_in_order(asked in asked(), records in records()) {
        let filter = Expr::filter(&asked.filter, &asked.layout.fields).unwrap_or_else(|error| panic!("{}: {error}", asked.filter));
        let Some(plan) = planned(&asked, &filter) else { return Ok(()) };
        prop_assert_eq!(&plan.residual_filter, &Expr::True);
        let found = read(&plan, &asked.layout, &records);
        prop_assert!(in_order(&found, &asked.sort), "{:?} {:?}", asked, plan);
        let mut ids: Vec<&str> = found.iter().map(|record| record.view().id).collect();
        ids.sort_unstable();
        let wanted = records.iter().map(Stored::view).filter(|record| filter.matches(record));
        let mut expected: Vec<&str> = wanted.map(|record| record.id).collect();
        expected.sort_unstable();
        prop_assert_eq!(ids, expected, "{:?} {:?}", asked, plan);
    }

    #[test]
    fn keys_sort_as_their_records_do(index in index(1), records in records()) {
        let layout = Layout { collection: "things".to_owned(), generation: 1, indexes: Vec::new(), fields: FieldTypes::new([]) };
        let by = Index { partition: Vec::new(), ..index };
        let mut keyed: Vec<(Vec<u8>, &Stored)> =
            records.iter().map(|record| (by.keys(&layout, &record.view()).unwrap().remove(0).sort, record)).collect();
        keyed.sort_by(|(left, _), (right, _)| left.cmp(right));
        let order: Vec<&Stored> = keyed.into_iter().map(|(_, record)| record).collect();
        let promised: Vec<SortField> = by.sort.iter().cloned().chain([SortField::ascending("id")]).collect();
        prop_assert!(in_order(&order, &promised), "{:?}", promised);
    }
}

/// The properties are meaningless if hardly any query is planned, or nothing is found.
#[test]
fn enough_generated_queries_are_served_and_find_records() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut served, mut found) = (0, 0);
    for _ in 0..500 {
        let (asked, records) = (asked(), records()).new_tree(&mut runner).unwrap().current();
        let filter = Expr::filter(&asked.filter, &asked.layout.fields).unwrap();
        let Some(plan) = planned(&asked, &filter) else { continue };
        served += usize::from(!plan.ranges.is_empty());
        found += usize::from(!read(&plan, &asked.layout, &records).is_empty());
    }
    assert!(served > 250 && found > 50, "{served} served and {found} found of 500");
}
