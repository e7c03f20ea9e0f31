//! Lists that name their ids are read by id, whatever the rule, the other tests and the order.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::exact::{Stored, in_order, records, rule};
use super::{layout, planned};
use crate::expr::Expr;
use crate::query::{ListQuery, MAX_IDS, parse_sort, plan};

fn id(number: usize) -> String {
    format!("0198c5a2-0000-7000-8000-{number:012x}")
}

fn in_list(ids: impl IntoIterator<Item = String>) -> String {
    let quoted: Vec<String> = ids.into_iter().map(|id| format!("\"{id}\"")).collect();
    format!("id in [{}]", quoted.join(", "))
}

#[test]
fn ids_are_named_by_equality_by_in_and_by_what_holds_both() {
    let (one, two) = (id(1), id(2));
    let both = in_list([one.clone(), two.clone()]);
    for (filter, ids, residual) in [
        (format!("id == '{one}'"), vec![&one], "true"),
        (format!("'{one}' == id && status != 'open'"), vec![&one], "status != \"open\""),
        (both.clone(), vec![&one, &two], "true"),
        (format!("{both} && id == '{two}'"), vec![&two], "true"),
        (format!("{both} && {}", in_list([two.clone(), id(3)])), vec![&two], "true"),
        (format!("id == '{two}' || id == '{one}'"), vec![&one, &two], "id == \"{two}\" || id == \"{one}\""),
        (format!("{both} && id > '{one}'"), vec![&one, &two], "id > \"{one}\""),
        ("id == 'no id' || id in ['', 'x']".to_owned(), vec![], "id == \"no id\" || id in [\"\",\"x\"]"),
    ] {
        let plan = planned(&filter, "-priority", None).unwrap();
        assert_eq!(plan.ids.as_ref().map(|ids| ids.iter().collect::<Vec<_>>()), Some(ids), "{filter}");
        assert_eq!(plan.residual_filter.to_string(), residual.replace("{one}", &one).replace("{two}", &two));
        assert!(plan.ranges.is_empty() && plan.scan.is_none());
    }
}

#[test]
fn a_list_names_a_hundred_ids_and_no_more() {
    let named = |count| planned(&in_list((0..count).map(id)), "-priority", None);
    assert_eq!(named(MAX_IDS).unwrap().ids.map(|ids| ids.len()), Some(MAX_IDS));
    let refused = named(MAX_IDS + 1).unwrap_err();
    let message =
        "The filter names 101 ids, and one list reads at most 100 records by id. Send the ids in several requests.";
    assert_eq!((refused.message.as_str(), refused.add_index), (message, None));
    let alternative = planned(&format!("id == '{}' || status == 'open'", id(1)), "-priority", None).unwrap_err();
    assert!(alternative.message.contains("every alternative"), "{}", alternative.message);
}

#[test]
fn ids_contradict_other_tests_before_anything_is_read() {
    for filter in [
        format!("id == '{}' && id == '{}'", id(1), id(2)),
        format!("id == '{}' && owner == 'a' && owner == 'b'", id(1)),
    ] {
        let plan = planned(&filter, "", None).unwrap();
        assert!(plan.ranges.is_empty() && plan.ids.is_none_or(|ids| ids.is_empty()), "{filter}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_list_of_ids_is_planned_under_any_rule_in_any_order(
        records in records(), named in vec(0usize..30, 0..12), rule in rule(),
        other in select(vec!["true", "priority > 0", "status != 'a'", "owner == 'a' || !done", "!has(due)", "createdAt > '2026-03-01T12:00:20Z'"]),
        sort in select(vec!["", "id", "-id", "-createdAt", "status", "-status,priority", "priority,-id", "-updatedAt,id", "due,note"]),
    ) {
        let layout = layout();
        let named: Vec<String> = named.into_iter().map(|position| Stored::new(position, 0, serde_json::Map::new()).view().id.to_owned()).collect();
        let filter = Expr::filter(&format!("{} && ({other})", in_list(named)), &layout.fields).unwrap();
        let sort = if sort.is_empty() { Vec::new() } else { parse_sort(sort, &layout.fields).unwrap() };
        let plan = plan(&layout, &ListQuery { rule: &rule, filter: Some(&filter), sort: &sort, scan: None });
        let plan = plan.unwrap_or_else(|refusal| panic!("{filter} under {rule}: {refusal:?}"));
        let is_read = |record: &&Stored| plan.ids.iter().flatten().any(|id| *id == record.view().id);
        let is_kept = |record: &&Stored| rule.matches(&record.view()) && plan.residual_filter.matches(&record.view());
        let mut found: Vec<&Stored> = records.iter().filter(is_read).filter(is_kept).collect();
        found.sort_by_key(|record| plan.place(&record.view()));
        if !plan.forward {
            found.reverse();
        }
        prop_assert!(in_order(&found, &sort), "{} {:?} {:?}", filter, sort, plan);
        let wanted = records.iter().filter(|record| rule.matches(&record.view()) && filter.matches(&record.view()));
        prop_assert_eq!(found.len(), wanted.count(), "{} under {}: {:?}", filter, rule, plan);
    }
}
