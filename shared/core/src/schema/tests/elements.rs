//! Indexes over the elements of arrays: which are accepted, and how they begin and end.

use serde_json::{Value, json};

use crate::expr::RecordRef;
use crate::query::{Index, serves};
use crate::schema::{Blocked, Change, Collection, Definition, Put};

fn body(most: u64, indexes: Value) -> Value {
    json!({
        "schema": { "type": "object", "properties": {
            "title": { "type": "string" },
            "members": { "type": "array", "items": { "type": "string" }, "maxItems": most },
            "scores": { "$ref": "#/$defs/scores" },
            "unbounded": { "type": "array", "items": { "type": "string" } },
            "objects": { "type": "array", "items": { "type": "object" }, "maxItems": 5 },
            "secret": { "type": "array", "items": { "type": "string" }, "maxItems": 5, "hidden": true } },
            "$defs": { "scores": { "type": "array", "items": { "type": "number" }, "maxItems": 5 } } },
        "indexes": indexes,
    })
}

fn shared(partition: &[&str], sort: &[&str]) -> Value {
    json!([{ "name": "shared", "partition": partition, "sort": sort }])
}

/// The pointers and messages of the errors.
fn refused(body: Value) -> Vec<(String, String)> {
    let problems = Definition::parse("notes", body, None).expect_err("refused");
    problems.into_iter().map(|problem| (problem.pointer, problem.message)).collect()
}

#[test]
fn an_index_over_elements_needs_a_bounded_array_of_scalars() {
    for (most, partition) in [(50, &["members[]"][..]), (50, &["scores[]"]), (45, &["title", "members[]"])] {
        Definition::parse("notes", body(most, shared(partition, &["-createdAt"])), None).expect("accepted");
    }
    for (most, partition, sort, reason) in [
        (51, &["members[]"][..], &[][..], "Set `maxItems` of at most 50 on `members`"),
        (50, &["unbounded[]"], &[], "Set `maxItems` of at most 50 on `unbounded`"),
        (50, &["objects[]"], &[], "array of texts, numbers or booleans"),
        (50, &["title[]"], &[], "array of texts, numbers or booleans"),
        (50, &["secret[]"], &[], "is hidden"),
        (50, &["nothing[]"], &[], "is not a field"),
        (50, &["members"], &[], "is a list"),
        (50, &["title"], &["members[]"], "is not a field"),
        (20, &["members[]", "scores[]"], &[], "the elements of one array only"),
        (20, &["members[]", "members[]"], &[], "occurs twice"),
        // Each entry moves when the record is sorted anew: one item removes it, and another makes it again.
        (46, &["members[]"], &["-updatedAt"], "92 items"),
    ] {
        let problems = refused(body(most, shared(partition, sort)));
        assert!(problems.iter().any(|(_, message)| message.contains(reason)), "{partition:?}: {problems:?}");
    }
    let two = json!([{ "name": "a", "partition": ["members[]"] }, { "name": "b", "partition": ["members[]"], "sort": ["-createdAt"] }]);
    Definition::parse("notes", body(45, two.clone()), None).expect("90 items");
    assert!(
        refused(body(46, two)).iter().any(|(pointer, message)| pointer == "/indexes" && message.contains("92 items"))
    );
}

#[test]
fn a_record_has_an_entry_for_each_distinct_element() {
    let body = body(
        40,
        json!([{ "name": "shared", "partition": ["title", "members[]"], "sort": ["-createdAt"] },
                               { "name": "scored", "partition": ["scores[]"] }]),
    );
    let collection = Collection::compile(Definition::parse("notes", body, None).unwrap()).unwrap();
    let partitions = |data: Value| -> Vec<String> {
        let data = data.as_object().cloned().unwrap();
        let record = RecordRef {
            id: "01900000-0000-7000-8000-000000000001",
            created_at: "2026-03-01T12:00:00.000Z",
            updated_at: "2026-03-01T12:00:00.000Z",
            version: 1,
            data: &data,
        };
        let keys = collection.entry_keys(&record).unwrap();
        assert_eq!(collection.index_keys(&record).unwrap(), [], "they are in no generic index");
        keys.into_iter().map(|key| key.partition).collect()
    };
    let of_both = partitions(json!({ "title": "x", "members": ["b", "a", "b"], "scores": [1, 1.0, null, 2] }));
    assert_eq!(
        of_both,
        ["notes#1.1.6#s:x#s:a", "notes#1.1.6#s:x#s:b", "notes#1.1.7#n:1e0", "notes#1.1.7#n:2e0"],
        "two indexes of one definition have partitions of their own"
    );
    assert_eq!(partitions(json!({ "members": ["a"] })), [""; 0], "no title, no entry");
    assert_eq!(partitions(json!({ "title": "x", "members": [] })), [""; 0]);
}

fn stages(definition: &Definition) -> Vec<(&str, u8, bool, bool, bool)> {
    let stage = |index: &Index| (index.slot, index.ready, index.retiring, index.clearing);
    definition
        .indexes
        .iter()
        .map(|index| {
            let (slot, ready, retiring, clearing) = stage(index);
            (index.name.as_str(), slot, ready, retiring, clearing)
        })
        .collect()
}

const PUT: Put = Put { now: 10, in_force_at: 20, ids_settled_at: 30, job: "j" };

#[test]
fn an_index_over_elements_begins_and_ends_with_writes_that_only_remove_its_entries() {
    let none = Definition::parse("notes", body(50, json!([])), None).unwrap();
    let with = Definition::parse("notes", body(50, shared(&["members[]"], &[])), Some(&none)).unwrap();
    let begun = none.followed_by(with, PUT);
    assert_eq!(stages(&begun), [("shared", 6, false, false, true)], "writes remove entries");
    let opened = begun.opened(Put { now: 40, ..PUT }).expect("it begins");
    assert_eq!(stages(&opened), [("shared", 6, false, false, false)], "writes make entries");
    assert_eq!((opened.work.as_ref().unwrap().since, opened.opened(PUT)), (40, None));
    let ready = opened.concluded(&Blocked::default(), PUT);
    assert_eq!((stages(&ready), &ready.work), (vec![("shared", 6, true, false, false)], &None));

    let other = Definition::parse("notes", body(50, shared(&["members[]"], &["-createdAt"])), Some(&ready)).unwrap();
    let changed = ready.followed_by(other, PUT);
    let (old, new) = (("shared", 6, true, true, false), ("shared", 7, false, false, true));
    assert_eq!(stages(&changed), [new, old], "the old one serves");
    let concluded = changed.opened(PUT).unwrap().concluded(&Blocked::default(), PUT);
    assert_eq!(stages(&concluded), [("shared", 7, true, false, false), old], "functions still list by the old one");
    assert_eq!((serving(&concluded), only_waits(&concluded)), (vec![7], Some(true)));
    let ending = concluded.concluded(&Blocked::default(), PUT);
    assert_eq!(stages(&ending), [("shared", 7, true, false, false), ("shared", 6, false, true, true)]);
    assert_eq!((serving(&ending), only_waits(&ending)), (vec![7], Some(false)), "entries of the old one are left");
    let cleared = ending.concluded(&Blocked::default(), PUT);
    assert_eq!((stages(&cleared), &cleared.work), (vec![("shared", 7, true, false, false)], &None));

    let without = Definition::parse("notes", body(50, json!([])), Some(&cleared)).unwrap();
    assert_eq!(Change::between(&cleared, &without).dropped, ["shared"]);
    let dropped = cleared.followed_by(without, PUT);
    assert_eq!((stages(&dropped), dropped.status()), (vec![("shared", 7, true, true, false)], "ready"));
    assert_eq!((serving(&dropped), only_waits(&dropped)), (vec![], Some(true)), "writes still maintain it");
    let again = |definition: &Definition| {
        let same = shared(&["members[]"], &["-createdAt"]);
        let same = Definition::parse("notes", body(50, same), Some(definition)).unwrap();
        definition.followed_by(same, PUT)
    };
    assert_eq!(stages(&again(&dropped)), [("shared", 7, true, false, false)], "it was complete all the time");
    let ending = dropped.concluded(&Blocked::default(), PUT);
    let ends = ("shared", 7, false, true, true);
    assert_eq!((stages(&ending), only_waits(&ending), ending.status()), (vec![ends], Some(false), "ready"));
    assert_eq!(stages(&again(&ending)), [("shared", 6, false, false, true), ends], "its entries are made anew");
    let gone = ending.concluded(&Blocked::default(), PUT);
    assert_eq!((stages(&gone), &gone.work), (vec![], &None));
}

fn serving(definition: &Definition) -> Vec<u8> {
    let serving = definition.indexes.iter().filter(|index| serves(&definition.indexes, index));
    serving.map(|index| index.slot).collect()
}

fn only_waits(definition: &Definition) -> Option<bool> {
    definition.work.as_ref().map(|work| work.only_waits)
}

#[test]
fn an_index_over_elements_that_was_never_read_ends_at_once() {
    let none = Definition::parse("notes", body(50, json!([])), None).unwrap();
    let with = Definition::parse("notes", body(50, shared(&["members[]"], &[])), Some(&none)).unwrap();
    let begun = none.followed_by(with, PUT);
    for begun in [begun.opened(PUT).expect("it begins"), begun] {
        let without = Definition::parse("notes", body(50, json!([])), Some(&begun)).unwrap();
        let ending = begun.followed_by(without, PUT);
        assert_eq!(stages(&ending), [("shared", 6, false, true, true)]);
        assert_eq!((only_waits(&ending), ending.status()), (Some(false), "ready"));
    }
}

#[test]
fn a_walk_begins_when_every_function_knows_an_index_that_ends_though_records_block_another() {
    let none = Definition::parse("notes", body(50, shared(&["members[]"], &[])), None).unwrap();
    let other = json!([{ "name": "titled", "partition": ["title"], "sort": [] }]);
    let other = Definition::parse("notes", body(50, other), Some(&none)).unwrap();
    let begun = none.followed_by(other, PUT);
    let refused = Blocked { indexes: vec!["titled".to_owned()], ..Blocked::default() };
    let blocked = begun.concluded(&refused, Put { now: 90, ..PUT });
    assert_eq!(stages(&blocked), [("titled", 1, false, false, false), ("shared", 6, false, true, true)]);
    assert_eq!((blocked.status(), blocked.work.as_ref().unwrap().since), ("blocked", 90));
    let still = blocked.concluded(&refused, Put { now: 190, ..PUT });
    assert_eq!(stages(&still), [("titled", 1, false, false, false)]);
    assert_eq!(still.concluded(&refused, Put { now: 290, ..PUT }).work.unwrap().since, 190);
}

#[test]
fn a_record_that_outgrows_a_dropped_index_has_no_entries_in_it() {
    let ready = Definition::parse("notes", body(50, shared(&["members[]"], &[])), None).unwrap();
    let more = Definition::parse("notes", body(500, json!([])), Some(&ready)).unwrap();
    let collection = Collection::compile(ready.followed_by(more, PUT)).unwrap();
    let entries = |count: usize| {
        let members: Vec<String> = (0..count).map(|nth| format!("m{nth}")).collect();
        let data = json!({ "members": members }).as_object().cloned().unwrap();
        let time = "2026-03-01T12:00:00.000Z";
        let record = RecordRef { id: "1", created_at: time, updated_at: time, version: 1, data: &data };
        (collection.entry_keys(&record).unwrap().len(), collection.held_entry_keys(&record, |_| true).len())
    };
    assert_eq!((entries(50), entries(51)), ((50, 50), (0, 0)));
}

#[test]
fn entries_of_the_old_index_and_the_new_one_fit_into_one_transaction() {
    let ready = Definition::parse("notes", body(40, shared(&["members[]"], &["-createdAt"])), None).unwrap();
    let put = |most: u64, indexes: Value| Definition::parse("notes", body(most, indexes), Some(&ready)).unwrap();
    let by_text = || shared(&["members[]"], &["title"]);
    let problem = put(40, by_text()).overfull().expect("120 items");
    assert!(problem.message.contains("`shared`") && problem.message.contains("120 items"), "{}", problem.message);
    assert_eq!(problem.pointer, "/indexes");
    assert_eq!(put(40, shared(&["members[]"], &[])).overfull(), None, "80 items");
    assert_eq!(put(40, json!([])).overfull(), None);
    // Once the old one is cleared, the new one is accepted.
    let cleared = ready.followed_by(put(40, json!([])), PUT);
    let cleared = cleared.concluded(&Blocked::default(), PUT).concluded(&Blocked::default(), PUT);
    assert_eq!(Definition::parse("notes", body(40, by_text()), Some(&cleared)).unwrap().overfull(), None);
}

#[test]
fn the_bound_of_an_array_is_read_through_its_schema() {
    let bound = |schema: Value| {
        let schema = json!({ "type": "object", "properties": { "a": schema }, "$defs": { "few": { "maxItems": 4 } } });
        let body = json!({ "schema": schema, "indexes": [] });
        let collection = Collection::compile(Definition::parse("notes", body, None).unwrap()).unwrap();
        collection.field("a").unwrap().max_items
    };
    let array = |most: u64| json!({ "type": "array", "items": { "type": "string" }, "maxItems": most });
    assert_eq!(bound(array(7)), Some(7));
    assert_eq!(bound(json!({ "anyOf": [array(7), { "type": "null" }] })), Some(7));
    assert_eq!(bound(json!({ "anyOf": [array(7), array(9)] })), Some(9));
    assert_eq!(bound(json!({ "anyOf": [array(7), { "type": "array", "items": { "type": "string" } }] })), None);
    assert_eq!(bound(json!({ "allOf": [array(7), { "$ref": "#/$defs/few" }] })), Some(4));
    assert_eq!(bound(json!({ "enum": [["a"], ["a", "b", "c"], null] })), Some(3));
    assert_eq!(bound(json!({ "type": "string", "maxItems": 3 })), None);
}

#[test]
fn a_dropped_index_over_elements_serves_no_list_rule() {
    let listed = |indexes: Value| {
        let mut body = body(50, indexes);
        body["rules"] = json!({ "list": "auth.id in record.members", "read": "auth.id in record.members" });
        body
    };
    let ready = Definition::parse("notes", listed(shared(&["members[]"], &["-createdAt"])), None).unwrap();
    let problems = Definition::parse("notes", listed(json!([])), Some(&ready)).expect_err("not served");
    let message = &problems[0].message;
    assert!(message.contains(r#"{"name":"by_members","partition":["members[]"],"sort":[]}"#), "{message}");
}
