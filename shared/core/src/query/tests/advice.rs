//! The index in a refusal makes the list answer, or there is none and the message says why.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use serde_json::{Value, json};

use crate::expr::Expr;
use crate::expr::tests::generated::{fields, filter};
use crate::query::{Index, Layout, ListQuery, MAX_INDEXES, Plan, Refusal, SortField, parse_sort, plan};
use crate::schema::Definition;

/// `tasks` with two indexes.
fn layout() -> Layout {
    let indexes = vec![index(0, &["owner"], &["status", "-priority"]), index(1, &["note"], &["-updatedAt"])];
    Layout { collection: "tasks".to_owned(), generation: 1, indexes, fields: fields() }
}

fn index(position: u8, partition: &[&str], sort: &[&str]) -> Index {
    Index {
        name: format!("i{position}"),
        partition: partition.iter().map(ToString::to_string).collect(),
        sort: sort.iter().map(|by| SortField::from(by.to_string())).collect(),
        slot: position + 1,
        generation: 1,
        ready: true,
        retiring: false,
        clearing: false,
    }
}

fn asked(layout: &Layout, rule: &str, filter: &str, sort: &str) -> Result<Plan, Refusal> {
    let read = |source| Expr::filter(source, &layout.fields).unwrap_or_else(|error| panic!("{source}: {error}"));
    let sort = if sort.is_empty() { Vec::new() } else { parse_sort(sort, &layout.fields).unwrap() };
    plan(layout, &ListQuery { rule: &read(rule), filter: Some(&read(filter)), sort: &sort, scan: None })
}

/// The layout with the advised index in a free slot, after a definition has accepted it beside the others.
fn with(layout: &Layout, advised: &Value) -> Layout {
    let text = json!({ "type": "string" });
    let moment = json!({ "type": "string", "format": "date-time" });
    let schema = json!({ "type": "object", "properties": { "status": text, "owner": text, "note": text, "due": moment,
        "priority": { "type": "number" }, "done": { "type": "boolean" }, "stamp": text,
        "tags": { "type": "array", "maxItems": 45, "items": text } } });
    let declared = layout.indexes.iter();
    let declared =
        declared.map(|index| json!({ "name": index.name, "partition": index.partition, "sort": index.sort }));
    let indexes: Vec<Value> = declared.chain([advised.clone()]).collect();
    let body = json!({ "schema": schema, "indexes": indexes });
    Definition::parse("tasks", body, None).unwrap_or_else(|problems| panic!("{advised}: {problems:?}"));
    let mut index = advised.as_object().cloned().unwrap();
    index.extend([("slot".to_owned(), json!(layout.indexes.len() + 1)), ("generation".to_owned(), json!(2))]);
    let mut layout = layout.clone();
    layout.indexes.push(serde_json::from_value(index.into()).unwrap());
    layout
}

#[test]
fn a_refusal_names_the_missing_index() {
    for (filter, sort, index) in [
        ("status == 'open'", "", json!({ "name": "by_status", "partition": ["status"], "sort": [] })),
        (
            "status == 'open'",
            "-priority",
            json!({ "name": "by_status__priority_desc", "partition": ["status"], "sort": ["-priority"] }),
        ),
        ("true", "-priority", json!({ "name": "by_priority_desc", "partition": [], "sort": ["-priority"] })),
        ("priority > 3", "", json!({ "name": "by_priority_asc", "partition": [], "sort": ["priority"] })),
        (
            "owner == 'ada' && priority == 3",
            "",
            json!({ "name": "by_owner__priority", "partition": ["owner", "priority"], "sort": [] }),
        ),
        (
            "owner == 'ada'",
            "-createdAt",
            json!({ "name": "by_owner__created_at_desc", "partition": ["owner"], "sort": ["-createdAt"] }),
        ),
        (
            "owner == 'ada' && priority > 3",
            "priority,-updatedAt",
            json!({ "name": "by_owner__priority_asc__updated_at_desc", "partition": ["owner"], "sort": ["priority", "-updatedAt"] }),
        ),
        ("owner == 'ada' && status > 'a'", "-createdAt", Value::Null),
        ("owner == 'ada' && status != 'open'", "", Value::Null),
        ("owner == 'ada' && !has(due)", "", Value::Null),
        ("'late' in tags", "", json!({ "name": "by_tags", "partition": ["tags[]"], "sort": [] })),
        (
            "'late' in tags && owner == 'ada'",
            "-due",
            json!({ "name": "by_tags__owner__due_desc", "partition": ["tags[]", "owner"], "sort": ["-due"] }),
        ),
        (
            "'late' in tags || 'soon' in tags",
            "-updatedAt",
            json!({ "name": "by_tags__updated_at_desc", "partition": ["tags[]"], "sort": ["-updatedAt"] }),
        ),
        (
            "status == 'open' && 'late' in tags && priority > 3",
            "priority",
            json!({ "name": "by_status__tags__priority_asc", "partition": ["status", "tags[]"], "sort": ["priority"] }),
        ),
        ("'late' in tags && 'soon' in tags", "", Value::Null),
        ("!('late' in tags)", "", Value::Null),
        ("status == owner", "", Value::Null),
        ("owner == 'ada' && priority > 3 && due < '2026-01-01T00:00:00Z'", "", Value::Null),
        // In the order of the index that serves the other alternative.
        (
            "owner == 'ada' || status == 'open'",
            "",
            json!({ "name": "by_status_asc__priority_desc", "partition": [], "sort": ["status", "-priority"] }),
        ),
        (
            "owner == 'ada' || status == 'open' && done",
            "status",
            json!({ "name": "by_done__status_asc__priority_desc", "partition": ["done"], "sort": ["status", "-priority"] }),
        ),
        // Several values of one field are merged in its order.
        (
            "status in ['open', 'done']",
            "status",
            json!({ "name": "by_status_asc", "partition": [], "sort": ["status"] }),
        ),
        (
            "status > 'a' && done && priority in [1, 2]",
            "-priority",
            json!({ "name": "by_done__priority_desc__status_asc", "partition": ["done"], "sort": ["-priority", "status"] }),
        ),
        (
            "owner == 'ada'",
            "status,priority",
            json!({ "name": "by_owner__status_asc__priority_asc", "partition": ["owner"], "sort": ["status", "priority"] }),
        ),
        (
            "owner == 'ada'",
            "-status,-createdAt",
            json!({ "name": "by_owner__status_desc__created_at_desc", "partition": ["owner"], "sort": ["-status", "-createdAt"] }),
        ),
        (
            "owner == 'ada' && status == 'x'",
            "priority,createdAt",
            json!({ "name": "by_owner__status__priority_asc__created_at_asc", "partition": ["owner", "status"], "sort": ["priority", "createdAt"] }),
        ),
        // Several records can have the same creation time, so an order must not end in the time.
        (
            "true",
            "-createdAt,status",
            json!({ "name": "by_created_at_desc__status_asc", "partition": [], "sort": ["-createdAt", "status"] }),
        ),
        (
            "status == 'open' && done",
            "createdAt,note",
            json!({ "name": "by_status__done__created_at_asc__note_asc", "partition": ["status", "done"], "sort": ["createdAt", "note"] }),
        ),
        // An index ends in the ascending id, so it is read backward.
        ("true", "createdAt,-id", json!({ "name": "by_created_at_desc", "partition": [], "sort": ["-createdAt"] })),
        (
            "done && owner == 'ada' && priority == 1",
            "",
            json!({ "name": "by_done__owner__priority", "partition": ["done", "owner", "priority"], "sort": [] }),
        ),
        ("note == null", "", json!({ "name": "by_note_asc", "partition": [], "sort": ["note"] })),
        ("version > 3", "", Value::Null),
        ("owner == 'ada'", "version", Value::Null),
        ("status in ['1','2','3','4','5','6','7','8','9']", "", Value::Null),
    ] {
        let refusal = asked(&layout(), "true", filter, sort).expect_err(filter);
        assert_eq!(refusal.code, "index_required");
        assert_eq!(refusal.add_index.clone().unwrap_or_default(), index, "{filter} / {sort}: {}", refusal.message);
        if let Some(index) = &refusal.add_index {
            assert!(asked(&with(&layout(), index), "true", filter, sort).is_ok(), "{filter} / {sort}: {index}");
        }
    }
}

#[test]
fn a_refusal_without_an_index_says_why() {
    for (filter, sort, why) in [
        ("'late' in tags && 'soon' in tags", "", "can answer `\"soon\" in tags`"),
        ("done && id > 'a'", "", "selects by `id`. Select by `createdAt` instead"),
        ("id > 'a'", "", "selects by `id`. Select by `createdAt` instead"),
        ("status in ['1','2','3','4','5','6','7','8','9']", "", "more than 8 alternatives"),
        ("version > 3", "", "can contain `version`"),
        ("done", "version", "can contain `version`"),
        ("done && status != 'open'", "", "can answer `status != \"open\"`"),
        ("done && status > 'a'", "-createdAt", "a range of `status` and sort by `createdAt` first"),
        ("priority > 3 && due < '2026-01-01T00:00:00Z'", "", "a range on only one field, not on due, priority"),
        ("done || status == 'a'", "", "Add the indexes {\"name\":\"by_done\""),
        ("status in ['a', 'b']", "-priority,status", "cannot be merged in one order"),
    ] {
        let refusal = asked(&layout(), "true", filter, sort).expect_err(filter);
        assert!(refusal.message.contains(why), "{filter} / {sort}: {}", refusal.message);
        assert_eq!(refusal.add_index, None, "{filter} / {sort}");
    }
}

/// A scan is proposed only where it would answer.
#[test]
fn a_refusal_names_a_scan_that_works() {
    for (rule, filter, sort, proposed) in [
        ("true", "status == 'x'", "", true),
        ("true", "status == 'x'", "-priority", false),
        ("status == 'x'", "done", "", false),
        ("owner == 'x'", "done", "", true),
        ("true", "'late' in tags", "", true),
        ("true", "'late' in tags", "due", false),
    ] {
        let refusal = asked(&layout(), rule, filter, sort).expect_err(filter);
        assert_eq!(refusal.message.contains("scan=N"), proposed, "{rule}, {filter} / {sort}: {}", refusal.message);
    }
}

#[test]
fn a_full_collection_is_not_advised_a_sixth_index() {
    let more = [&["due"], &["done"], &["stamp"]].iter().enumerate();
    let more = more.map(|(position, by)| index(2 + position as u8, *by, &[]));
    let full = Layout { indexes: layout().indexes.into_iter().chain(more).collect(), ..layout() };
    assert_eq!(full.indexes.len(), MAX_INDEXES);
    let refusal = asked(&full, "true", "status == 'x'", "").expect_err("no index");
    assert_eq!(refusal.add_index, None);
    assert!(
        refusal.message.contains("at most 5 indexes") && refusal.message.contains("by_status"),
        "{}",
        refusal.message
    );
}

#[test]
fn the_name_of_an_advised_index_is_free_and_says_what_it_is() {
    let taken =
        Layout { indexes: vec![Index { name: "by_status".to_owned(), ..index(0, &["done"], &[]) }], ..layout() };
    let refusal = asked(&taken, "true", "status == 'x'", "").expect_err("no index");
    assert_eq!(refusal.add_index.unwrap()["name"], "by_status___2");
    let name = |partition: &[&str], sort: &[&str]| {
        let index = index(0, partition, sort);
        crate::query::free_index_name(&[], &index.partition, &index.sort)
    };
    assert_eq!(name(&["owner", "dueDate"], &["-createdAt"]), "by_owner__due_date__created_at_desc");
    let similar: [(&[&str], &[&str]); 12] = [
        (&["a", "b"], &[]),
        (&["a"], &["b"]),
        (&["a"], &["-b"]),
        (&[], &["a", "b"]),
        (&["a_b"], &[]),
        (&["aB"], &[]),
        (&["A_b"], &[]),
        (&["a__b"], &[]),
        (&["aAsc"], &[]),
        (&[], &["a"]),
        (&["a_asc"], &[]),
        (&["_a"], &["bDesc"]),
    ];
    let names: std::collections::BTreeSet<String> =
        similar.iter().map(|(partition, sort)| name(partition, sort)).collect();
    assert_eq!(names.len(), similar.len(), "{names:?}");
    let long = "x".repeat(60);
    assert_ne!(name(&[&long, "y"], &[]), name(&[&long, "z"], &[]));
    assert!(name(&[&long, "y"], &[]).len() <= 63);
}

/// A filter of a few tests, most of which an index can answer.
fn narrow() -> impl Strategy<Value = String> {
    let test = select(vec![
        "owner == 'a'",
        "owner in ['a', 'b']",
        "status == 'a'",
        "status in ['open', 'done']",
        "status > 'a'",
        "status.startsWith('a')",
        "priority == 1",
        "priority in [1, 2]",
        "priority > 1",
        "done",
        "'a' in tags",
        "'b' in tags",
        "!done",
        "note == null",
        "note in [null, 'a']",
        "note == 'x'",
        "due > '2026-01-01T00:00:00Z'",
        "createdAt > '2026-01-01T00:00:00Z'",
        "createdAt == '2026-01-01T00:00:00Z'",
        "updatedAt == '2026-01-01T00:00:00Z'",
        "id == '01900000-0000-7000-8000-000000000001'",
        "id > '0'",
        "version == 1",
        "'a' in tags",
        "(owner == 'a' || status == 'b')",
        "(status == 'a' && done || priority == 2)",
    ]);
    vec(test, 1..4).prop_map(|tests| tests.join(" && "))
}

fn sort() -> impl Strategy<Value = String> {
    let fields = vec!["status", "priority", "owner", "due", "note", "createdAt", "updatedAt", "done", "id", "version"];
    let picked = subsequence(fields, 0..4).prop_shuffle();
    (picked, vec(any::<bool>(), 4)).prop_map(|(fields, down)| {
        let by = fields.iter().zip(down).map(|(field, down)| format!("{}{field}", if down { "-" } else { "" }));
        by.collect::<Vec<_>>().join(",")
    })
}

fn generated() -> impl Strategy<Value = (String, String, String, Layout)> {
    let rule = select(vec!["true", "true", "owner == 'a'", "status in ['a', 'b']", "done || owner == 'a'"]);
    let filter = prop_oneof![4 => narrow(), 1 => filter()];
    let indexes = vec![
        index(0, &["owner"], &["status", "-priority"]),
        index(1, &["note"], &["-updatedAt"]),
        index(2, &[], &["due"]),
        index(3, &["status", "done"], &[]),
    ];
    let indexes = subsequence(indexes, 0..4).prop_map(|indexes| {
        let slotted = indexes.into_iter().enumerate();
        slotted.map(|(at, index)| Index { slot: at as u8 + 1, ..index }).collect()
    });
    (rule, filter, sort(), indexes)
        .prop_map(|(rule, filter, sort, indexes)| (rule.to_owned(), filter, sort, Layout { indexes, ..layout() }))
}

#[test]
fn advice_makes_the_list_answer_or_the_message_says_why_there_is_none() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut advised, mut explained) = (0, 0);
    let mut names: BTreeMap<String, Value> = BTreeMap::new();
    for _ in 0..4_000 {
        let (rule, filter, sort, layout) = generated().new_tree(&mut runner).unwrap().current();
        let Err(refusal) = asked(&layout, &rule, &filter, &sort) else { continue };
        let case = format!("{rule} && {filter} / {sort} beside {:?}: {}", layout.indexes, refusal.message);
        let Some(index) = refusal.add_index else {
            let reasons = [
                "No index can",
                "selects by `id`",
                "more than 8 alternatives",
                "only one field",
                "cannot select a range",
                "cannot be merged",
                "at most 5 indexes",
                "Add the indexes",
                "at most 8",
            ];
            assert!(reasons.iter().any(|reason| refusal.message.contains(reason)), "{case}");
            explained += 1;
            continue;
        };
        let answered = asked(&with(&layout, &index), &rule, &filter, &sort);
        assert!(answered.is_ok(), "{case}, then {answered:?}");
        let name = index["name"].as_str().unwrap().to_owned();
        assert_eq!(names.entry(name).or_insert_with(|| index.clone()), &index, "{case}");
        advised += 1;
    }
    assert!(advised > 1_000 && explained > 500 && names.len() > 200, "{advised}, {explained}, {}", names.len());
}
