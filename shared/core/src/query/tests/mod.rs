//! The planner in tables, and compared with plain evaluation.

mod advice;
mod conditions;
mod exact;
mod layouts;
mod named;

use serde_json::json;

use super::*;
use crate::expr::tests::fields;
use crate::expr::{Auth, Expr, Input, Known, Rule};

/// `tasks`, with an index of each shape.
fn layout() -> Layout {
    let index = |slot, name: &str, partition: &[&str], sort: &[&str]| Index {
        name: name.to_owned(),
        partition: partition.iter().map(ToString::to_string).collect(),
        sort: sort.iter().map(|by| SortField::from(by.to_string())).collect(),
        slot,
        generation: 1,
        ready: true,
        retiring: false,
        clearing: false,
    };
    let indexes = vec![
        index(1, "mine", &["owner"], &["status", "-priority"]),
        index(2, "by_status", &["status", "done"], &[]),
        index(3, "by_due", &[], &["due", "-note"]),
        index(4, "recent", &["note"], &["-updatedAt"]),
        index(5, "deep", &["done"], &["owner", "status", "-priority"]),
    ];
    Layout { collection: "tasks".to_owned(), generation: 1, indexes, fields: fields() }
}

fn planned(filter: &str, sort: &str, scan: Option<u32>) -> Result<Plan, Refusal> {
    let layout = layout();
    let filter = Expr::filter(filter, &layout.fields).unwrap_or_else(|error| panic!("{filter}: {error}"));
    let sort = if sort.is_empty() { Vec::new() } else { parse_sort(sort, &layout.fields).unwrap() };
    plan(&layout, &ListQuery { rule: &Expr::True, filter: Some(&filter), sort: &sort, scan })
}

/// The plan in one line: the place and direction of each range.
fn shown(plan: &Plan) -> String {
    let mut names: Vec<&str> = plan
        .ranges
        .iter()
        .map(|range| match range {
            Range::Records { .. } => "records",
            Range::Index { name, .. } => name,
        })
        .collect();
    names.sort_unstable();
    format!("{} {}", names.join("+"), if plan.forward { "up" } else { "down" })
}

#[test]
fn a_query_is_served_by_the_key_or_a_matching_index() {
    for (filter, sort, expected) in [
        ("true", "", "records up"),
        ("true", "createdAt", "records up"),
        ("true", "-createdAt", "records down"),
        ("true", "-id", "records down"),
        ("true", "-createdAt,-id", "records down"),
        ("true", "id,status", "records up"),
        ("createdAt >= '2026-01-01T00:00:00Z' && createdAt < '2026-02-01T00:00:00Z'", "-createdAt", "records down"),
        ("owner == 'ada'", "", "mine up"),
        ("owner == 'ada'", "status", "mine up"),
        ("owner == 'ada'", "-status,priority", "mine down"),
        ("owner == 'ada'", "status,-priority,createdAt", "mine up"),
        ("owner == 'ada'", "-status,priority,-createdAt,-id,note", "mine down"),
        ("owner == 'ada'", "-status,priority,-id", "mine down"),
        ("owner == 'ada' && status == 'open'", "-priority", "mine up"),
        ("owner == 'ada' && status == 'open'", "priority,-createdAt", "mine down"),
        ("owner == 'ada' && status == 'open'", "owner,status,priority", "mine down"),
        ("owner == 'ada' && status == 'open' && priority > 3 && priority <= 9", "", "mine up"),
        ("owner == 'ada' && status.startsWith('o')", "-status", "mine down"),
        ("owner == 'ada' && status > 'a' && has(status) && has(owner)", "", "mine up"),
        ("owner == 'ada' && status in ['open', 'late']", "", "mine+mine up"),
        ("owner == 'ada' && status in ['open', 'late']", "-priority", "mine+mine up"),
        ("owner == 'ada' && status in ['open', 'late']", "status,-priority", "mine+mine up"),
        ("owner == 'ada' || owner == 'bob'", "status", "mine+mine up"),
        ("owner in ['ada', 'bob'] && status in ['a', 'b']", "-priority", "mine+mine+mine+mine up"),
        ("status == 'open' && done", "-createdAt", "by_status down"),
        ("status == 'open'  && !done || status == 'late' && done", "id", "by_status+by_status up"),
        (
            "status == 'open' && done || id == '0198c5a2-0000-7000-8000-000000000001'",
            "createdAt",
            "by_status+records up",
        ),
        ("true", "due", "by_due up"),
        ("due > '2026-01-01T00:00:00Z'", "-due,note", "by_due down"),
        ("note == 'x'", "-updatedAt", "recent up"),
        ("note == 'x' && updatedAt > '2026-01-01T00:00:00Z'", "updatedAt", "recent down"),
        ("owner == 'ada' && owner == 'bob'", "", " up"),
        ("owner == 'ada' && owner in ['bob', 'ada']", "", "mine up"),
        ("owner == 'ada' && owner != 'bob' && owner.startsWith('a')", "", "mine up"),
        ("owner == 'ada' && status > 'b' && status < 'a'", "", " up"),
        ("status in []", "-priority", " up"),
        ("createdAt < '1950-01-01T00:00:00Z'", "", "records up"),
        ("createdAt > '2027-01-01T00:00:00Z' && createdAt < '2026-01-01T00:00:00Z'", "", " up"),
    ] {
        match planned(filter, sort, None) {
            Ok(plan) => assert_eq!(
                (shown(&plan).as_str(), plan.residual_filter, plan.scan),
                (expected, Expr::True, None),
                "{filter} / {sort}"
            ),
            Err(refusal) => panic!("{filter} / {sort}: {refusal:?}"),
        }
    }
}

#[test]
fn a_scan_uses_the_best_index_and_shows_the_residual_filter() {
    for (filter, sort, expected, residual_filter) in [
        ("owner == 'ada' && status != 'open'", "", "mine up", "status != \"open\""),
        ("owner == 'ada' && status == 'x' && 'late' in tags", "priority", "mine down", "\"late\" in tags"),
        ("priority == 3", "-createdAt", "records down", "priority == 3"),
        ("priority in [1, 2, 3]", "", "records up", "priority in [1,2,3]"),
    ] {
        let plan = planned(filter, sort, Some(500)).unwrap_or_else(|refusal| panic!("{filter}: {refusal:?}"));
        assert_eq!(
            (shown(&plan).as_str(), plan.residual_filter.to_string().as_str(), plan.scan),
            (expected, residual_filter, Some(500))
        );
    }
    planned("owner == 'ada'", "-priority", Some(500)).expect_err("a scan cannot sort");
    assert_eq!(planned("owner == 'ada'", "", Some(500)).unwrap().scan, None, "a scan is not used if an index serves");
}

#[test]
fn a_rule_narrows_the_plan_and_never_widens_it() {
    let layout = layout();
    let auth = Auth { id: "ada".into(), ..Auth::default() };
    let known = Known { auth: Some(&auth), now: "2026-01-01T00:00:00.000Z", input: Input::None };
    let rule = Expr::rule("record.owner == auth.id", &layout.fields, Rule::List).unwrap().partial(&known);
    let partition = |filter: &str| {
        let filter = Expr::filter(filter, &layout.fields).unwrap();
        let plan = plan(&layout, &ListQuery { rule: &rule, filter: Some(&filter), sort: &[], scan: None }).ok()?;
        let partitions = plan.ranges.iter().map(|range| match range {
            Range::Index { partition, .. } => partition.clone(),
            Range::Records { .. } => "records".to_owned(),
        });
        Some(partitions.collect::<Vec<_>>())
    };
    assert_eq!(partition("true"), Some(vec!["tasks#1.1#s:ada".to_owned()]));
    assert_eq!(partition("owner == 'bob'"), Some(vec![]), "a query for another caller's records finds nothing");
    assert_eq!(partition("owner == 'bob' || owner == 'ada'"), Some(vec!["tasks#1.1#s:ada".to_owned()]));
    assert_eq!(partition("true || owner == 'bob'"), Some(vec!["tasks#1.1#s:ada".to_owned()]));
    assert_eq!(partition("note == 'x'"), None, "an index without the owner does not serve");
}

/// A filter may imply the rule. The plan still must not read what the rule hides: decision 15.
#[test]
fn a_scan_s_residual_has_no_field_of_the_rule() {
    let layout = layout();
    for (rule, filter, served) in [
        ("note in ['a', 'b']", "note == 'a' && 'late' in tags", Some("recent")),
        ("priority in [1, 2]", "priority == 1 && 'late' in tags", None),
        ("priority > 3", "priority == 5 && 'late' in tags", None),
        ("has(priority)", "priority > 5 && 'late' in tags", None),
        ("has(due) && due < '2026-06-01T00:00:00Z'", "due == '2026-03-01T00:00:00Z' && 'late' in tags", Some("by_due")),
    ] {
        let read = |source| Expr::filter(source, &layout.fields).unwrap();
        let (rule, filter) = (read(rule), read(filter));
        let query = ListQuery { rule: &rule, filter: Some(&filter), sort: &[], scan: Some(100) };
        let scanned = plan(&layout, &query).ok().map(|plan| shown(&plan));
        assert_eq!(scanned, served.map(|index| format!("{index} up")), "{rule} and {filter}");
    }
}

#[test]
fn a_key_longer_than_the_limit_is_never_read() {
    let long = "x".repeat(3_000);
    let plan = planned(&format!("owner == '{long}'"), "", None).unwrap();
    assert_eq!(plan.ranges, vec![], "no such record can be written, so none exists");
    let plan = planned(&format!("owner == 'ada' && status < '{long}'"), "", None).unwrap();
    let Some(Range::Index { upper, .. }) = plan.ranges.first() else { panic!("an index range") };
    assert!(upper.len() <= keys::MAX_SORT_BYTES);
}

#[test]
fn sort_and_fields_are_validated() {
    assert_eq!(
        parse_sort("-createdAt, status", &fields()).unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["-createdAt", "status"]
    );
    assert_eq!(parse_fields("id,tags,address", &fields()).unwrap(), ["id", "tags", "address"]);
    for (sort, column, message) in [
        ("", 1, "A field name"),
        ("status,", 8, "A field name"),
        ("status,,done", 8, "A field name"),
        ("ghost", 1, "no field `ghost`"),
        ("status, ghost", 9, "no field `ghost`"),
        ("secret", 1, "no field `secret`"),
        ("--status", 1, "no field `-status`"),
        ("tags", 1, "cannot be sorted"),
        ("status,-status", 8, "named twice"),
        ("id,status,owner,priority,done,due", 31, "at most 5"),
        ("#pk", 1, "no field `#pk`"),
    ] {
        let error = parse_sort(sort, &fields()).expect_err(sort);
        assert_eq!((error.column, error.message.contains(message)), (column, true), "{sort}: {error}");
    }
    assert!(parse_fields("secret", &fields()).is_err() && parse_fields("id,id", &fields()).is_err());
    assert!(parse_sort(&",".repeat(100_000), &fields()).is_err());
}

#[test]
fn a_plan_explains_itself() {
    let explained = planned("owner == 'a#b' && status == 'open'", "-priority", None).unwrap().explain();
    assert_eq!(explained["ranges"][0]["index"], "mine");
    assert_eq!(explained["ranges"][0]["partition"], "tasks#1.1#s:a%23b");
    assert_eq!((&explained["order"], &explained["forward"]), (&json!(["-priority", "id"]), &json!(true)));
    let scanned = planned("'late' in tags", "", Some(9)).unwrap().explain();
    assert_eq!((&scanned["scan"], &scanned["residualFilter"]), (&json!(9), &json!("\"late\" in tags")));
}
