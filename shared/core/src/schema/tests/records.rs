//! Records validated by a compiled collection.

use serde_json::{Map, Value, json};

use super::{tasks, tasks_with};
use crate::expr::RecordRef;
use crate::expr::tests::object;
use crate::schema::{Collection, Definition, OnDelete};

fn collection(body: Value) -> Collection {
    Collection::compile(Definition::parse("tasks", body, None).unwrap()).unwrap()
}

fn codes(result: Result<(), Vec<crate::error::FieldError>>) -> Vec<(String, &'static str)> {
    result.err().unwrap_or_default().into_iter().map(|problem| (problem.pointer, problem.code)).collect()
}

#[test]
fn a_record_is_accepted_or_refused_with_pointers() {
    let tasks = collection(tasks());
    for (data, expected) in [
        (json!({ "title": "x" }), vec![]),
        (
            json!({ "title": "x", "due": null, "tags": ["a"], "address": { "city": "y", "zip": 1 }, "priority": 9 }),
            vec![],
        ),
        (json!({ "title": "x", "due": "2026-03-01T12:00:00+02:00" }), vec![]),
        (json!({}), vec![("/title", "required")]),
        (json!({ "title": "" }), vec![("/title", "too_short")]),
        (json!({ "title": "x".repeat(201) }), vec![("/title", "too_long")]),
        (json!({ "title": null }), vec![("/title", "type")]),
        (json!({ "title": { "S": "x" } }), vec![("/title", "type")]),
        (json!({ "title": { "$ne": "" } }), vec![("/title", "type")]),
        (json!({ "title": "x", "ghost": 1 }), vec![("/ghost", "unknown_field")]),
        (
            json!({ "title": "x", "id": "1", "version": 2 }),
            vec![("/id", "unknown_field"), ("/version", "unknown_field")],
        ),
        (json!({ "title": "x", "a/b~": 1 }), vec![("/a~1b~0", "unknown_field")]),
        (json!({ "title": "x", "status": "opne" }), vec![("/status", "enum")]),
        (json!({ "title": "x", "priority": 1.5 }), vec![("/priority", "type")]),
        (json!({ "title": "x", "priority": -1 }), vec![("/priority", "too_small")]),
        (json!({ "title": "x", "priority": 10 }), vec![("/priority", "too_large")]),
        (json!({ "title": "x", "slug": "No" }), vec![("/slug", "pattern")]),
        (json!({ "title": "x", "tags": ["a", 1] }), vec![("/tags/1", "type")]),
        (json!({ "title": "x", "tags": ["a", "b", "c", "d", "e", "f"] }), vec![("/tags", "too_long")]),
        (json!({ "title": "x", "due": "2026-03-01T12:00:00.0001Z" }), vec![("/due", "format")]),
        (json!({ "title": "x", "address": { "": 1 } }), vec![("/address/", "bad_name")]),
        (json!({ "title": "x", "score": 1e200 }), vec![("/score", "number_range")]),
        (json!({ "title": "x", "address": { "n": [1e-200] } }), vec![("/address/n/0", "number_range")]),
    ] {
        let mut found = codes(tasks.validate(&mut object(data.clone())));
        found.sort();
        assert_eq!(
            found,
            expected.iter().map(|(pointer, code)| (pointer.to_string(), *code)).collect::<Vec<_>>(),
            "{data}"
        );
    }
    let problems = tasks.validate(&mut object(json!({ "title": "x", "due": "tomorrow" }))).unwrap_err();
    assert!(
        problems.iter().all(|problem| problem.code == "format" && !problem.message.contains("tomorrow")),
        "{problems:?}"
    );
}

#[test]
fn a_time_is_validated_as_it_is_stored() {
    let at = |keyword: &str, value: Value| {
        let mut at = json!({ "type": ["string", "null"], "format": "date-time" });
        at[keyword] = value;
        json!({ "schema": { "type": "object", "properties": { "at": at } } })
    };
    let by_default = |pattern: &str| {
        let mut body = at("pattern", json!(pattern));
        body["schema"]["properties"]["at"]["default"] = json!("2026-03-01T12:00:00Z");
        Definition::parse("tasks", body, None).err().map(|problems| (problems[0].pointer.clone(), problems[0].code))
    };
    assert_eq!(by_default("\\.000Z$"), None);
    assert_eq!(by_default(":00Z$"), Some(("/schema/properties/at/default".to_owned(), "bad_default")));
    for spelling in ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z", "2026-03-01T14:00:00.0+02:00"] {
        for (keyword, value, code) in [
            ("pattern", json!("^[0-9T:-]{19}Z$"), "pattern"),
            ("maxLength", json!(20), "too_long"),
            ("minLength", json!(25), "too_short"),
            ("enum", json!([null, "2026-03-01T12:00:00Z"]), "enum"),
            ("not", json!({ "const": "2026-03-01T12:00:00.000Z" }), "invalid"),
        ] {
            let mut stored = Definition::parse("tasks", at("description", json!("a time")), None).unwrap();
            stored.schema = at(keyword, value)["schema"].clone();
            let times = Collection::compile(stored).unwrap();
            let mut data = object(json!({ "at": spelling }));
            assert_eq!(codes(times.validate(&mut data.clone())), [("/at".to_owned(), code)], "{keyword} {spelling}");
            assert_eq!(codes(times.validate_change(&Map::new(), &mut data.clone())).len(), 1);
            let message = times.validate_patch(&mut data).unwrap_err().remove(0).message;
            assert!(message.contains("2026-03-01T12:00:00.000Z"), "{message}");
        }
        let times = collection(at("pattern", json!("\\.000Z$")));
        let mut data = object(json!({ "at": spelling }));
        assert_eq!(times.validate(&mut data), Ok(()));
        assert_eq!(data["at"], "2026-03-01T12:00:00.000Z");
    }
}

#[test]
fn undeclared_fields_are_refused() {
    let open = collection(json!({ "schema": { "type": "object", "properties": { "title": { "type": "string" } } } }));
    assert_eq!(codes(open.validate(&mut object(json!({ "ghost": 1 })))), [("/ghost".to_owned(), "unknown_field")]);
}

#[test]
fn the_number_of_reported_errors_is_limited() {
    let tasks = collection(tasks());
    let mut ghosts: Map<String, Value> = (0..5_000).map(|number| (format!("g{number}"), json!(1))).collect();
    assert!(tasks.validate(&mut ghosts).unwrap_err().len() <= 50);
}

#[test]
fn defaults_are_added_and_times_get_one_form() {
    let tasks = collection(tasks());
    let mut data = object(json!({ "title": "x", "due": "2026-03-01T14:00:00+02:00" }));
    tasks.apply_defaults(&mut data);
    tasks.canonicalise(&mut data);
    assert_eq!(Value::from(data), json!({ "title": "x", "status": "open", "due": "2026-03-01T12:00:00.000Z" }));
    let mut given = object(json!({ "status": "done" }));
    tasks.apply_defaults(&mut given);
    assert_eq!(Value::from(given), json!({ "status": "done" }));
}

#[test]
fn a_patch_is_written_without_a_read_only_if_no_other_field_matters() {
    let blind = |body: Value, patch: Value| collection(body).read_reasons(&object(patch)).next().is_none();
    for (patch, expected) in [
        (json!({ "title": "y" }), true),
        (json!({ "due": null, "tags": [] }), true),
        (json!({}), true),
        (json!({ "address": { "city": "y" } }), false),
        (json!({ "address": null }), true),
        (json!({ "owner": "bob" }), false),
        (json!({ "priority": 1 }), false),
        (json!({ "status": null }), false),
        (json!({ "title": "y", "slug": "s" }), false),
    ] {
        assert_eq!(blind(tasks(), patch.clone()), expected, "{patch}");
    }
    let title = || json!({ "title": "y" });
    for keyword in ["minProperties", "maxProperties"] {
        let mut body = tasks_with(&format!("/schema/{keyword}"), json!(3));
        body["schema"]["properties"].as_object_mut().unwrap().remove("secret");
        assert!(!blind(body, title()), "{keyword}");
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        assert!(
            !blind(tasks_with(&format!("/schema/{keyword}"), json!([{ "required": ["title"] }])), title()),
            "{keyword}"
        );
    }
    assert!(!blind(tasks_with("/schema/dependentRequired", json!({ "title": ["owner"] })), title()));
    let recent = json!([{ "name": "recent", "partition": ["owner"], "sort": ["-updatedAt"] }]);
    assert!(!blind(tasks_with("/indexes", recent), title()), "every write changes its key");
}

#[test]
fn a_patch_without_a_read_is_validated_member_by_member() {
    let tasks = collection(tasks());
    for (patch, expected) in [
        (json!({ "title": "y" }), vec![]),
        (json!({ "due": null }), vec![]),
        (json!({ "title": null }), vec![("/title", "required")]),
        (json!({ "ghost": null }), vec![("/ghost", "unknown_field")]),
        (json!({ "ghost": 1 }), vec![("/ghost", "unknown_field")]),
        (json!({ "tags": "a" }), vec![("/tags", "type")]),
        (json!({ "score": 1e126 }), vec![("/score", "number_range")]),
    ] {
        let found = codes(tasks.validate_patch(&mut object(patch.clone())));
        assert_eq!(
            found,
            expected.iter().map(|(pointer, code)| (pointer.to_string(), *code)).collect::<Vec<_>>(),
            "{patch}"
        );
    }
}

#[test]
fn references_inside_the_schema_are_followed() {
    let body = json!({
        "schema": {
            "type": "object",
            "$defs": { "name": { "type": "string", "maxLength": 3 } },
            "properties": { "first": { "$ref": "#/$defs/name" } },
        },
        "indexes": [{ "name": "by_first", "partition": ["first"] }],
    });
    let people = collection(body);
    assert_eq!(codes(people.validate(&mut object(json!({ "first": "long" })))), [("/first".to_owned(), "too_long")]);
    assert_eq!(
        codes(people.validate_patch(&mut object(json!({ "first": "long" })))),
        [("/first".to_owned(), "too_long")]
    );
}

#[test]
fn flags_and_relations_are_known() {
    let tasks = collection(tasks());
    assert_eq!(tasks.hidden_fields().collect::<Vec<_>>(), ["secret"]);
    assert!(
        tasks.read_only("score")
            && !tasks.read_only("title")
            && tasks.write_once("source")
            && !tasks.write_once("ghost")
    );
    let relations: Vec<_> = tasks.relations().collect();
    assert_eq!(relations.len(), 1);
    assert_eq!(
        (relations[0].0, relations[0].1.collection.as_str(), relations[0].1.on_delete),
        ("owner", "users", OnDelete::Cascade)
    );
}

#[test]
fn a_record_is_in_the_indexes_whose_partition_fields_it_has() {
    let tasks = collection(tasks());
    let keys = |data: Value| {
        let data = object(data);
        let record = RecordRef { id: "7", created_at: "c", updated_at: "u", version: 1, data: &data };
        tasks.index_keys(&record)
    };
    let key = keys(json!({ "owner": "ada", "status": "open" })).unwrap().pop().unwrap();
    assert_eq!((key.0, key.1.as_ref().unwrap().partition.as_str()), (1, "tasks#1.1#s:ada"));
    assert!(key.1.unwrap().sort.ends_with(b"7"));
    assert_eq!(keys(json!({ "status": "open" })).unwrap(), [(1, None)], "sparse");
    assert_eq!(keys(json!({ "owner": null })).unwrap(), [(1, None)]);
    let problems = keys(json!({ "owner": "x".repeat(2_048) })).unwrap_err();
    assert_eq!(problems[0].code, "index_key_too_long");
    assert!(keys(json!({ "owner": "ada", "status": "x".repeat(1_024) })).is_err());
}
