//! Definitions: which are accepted, which are refused and with which pointer, and what a change keeps.

mod blind;
mod bound;
mod changes;
mod elements;
mod language;
mod places;
mod records;

use serde_json::{Value, json};

use super::*;
use crate::error::FieldError;
use crate::expr::Rule;
use crate::query::MAX_INDEXES;

/// The definition of the ten-minute tour.
pub(super) fn tasks() -> Value {
    json!({
        "name": "tasks",
        "schema": { "type": "object", "required": ["title"], "additionalProperties": false, "properties": {
            "title": { "type": "string", "minLength": 1, "maxLength": 200 },
            "slug": { "type": "string", "pattern": "^[a-z0-9-]{1,60}$" },
            "status": { "enum": ["open", "done"], "default": "open" },
            "priority": { "type": "integer", "minimum": 0, "maximum": 9 },
            "due": { "type": ["string", "null"], "format": "date-time" },
            "tags": { "type": "array", "items": { "type": "string" }, "maxItems": 5 },
            "address": { "type": "object", "properties": { "city": { "type": "string" } } },
            "secret": { "type": "string", "hidden": true },
            "source": { "type": "string", "writeOnce": true },
            "score": { "type": "number", "readOnly": true },
            "owner": { "type": "string", "relation": { "collection": "users", "onDelete": "cascade" } } } },
        "unique": [["slug"]],
        "indexes": [{ "name": "mine", "partition": ["owner"], "sort": ["status", "-priority"] }],
        "rules": {
            "list": "record.owner == auth.id",
            "read": "record.owner == auth.id",
            "create": "auth.id != '' && input.owner == auth.id",
            "update": "record.owner == auth.id && !changed('owner')",
            "delete": "record.owner == auth.id",
        },
    })
}

/// The tour's definition with one change.
pub(super) fn tasks_with(pointer: &str, value: Value) -> Value {
    let mut body = tasks();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    body.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
    body
}

fn collection_of(definition: Definition) -> Collection {
    Collection::compile(definition).unwrap()
}

fn parse(body: Value) -> Result<Definition, Vec<FieldError>> {
    Definition::parse("tasks", body, None)
}

#[test]
fn the_tour_s_definition_is_accepted_and_returned_unchanged() {
    let definition = parse(tasks()).unwrap();
    assert_eq!((definition.generation, definition.version, definition.shards), (1, 1, 1));
    assert_eq!(definition.indexes.iter().map(|index| (index.slot, index.generation)).collect::<Vec<_>>(), [(1, 1)]);
    let stored: Definition = serde_json::from_str(&serde_json::to_string(&definition).unwrap()).unwrap();
    assert_eq!(stored, definition);
    let again = Definition::parse("tasks", definition.as_put(), Some(&definition)).unwrap();
    assert_eq!((again.version, &again.indexes, again.as_put()), (2, &definition.indexes, definition.as_put()));
}

#[test]
fn a_refused_name_of_a_field_says_which_letters() {
    for (name, refused) in [
        ("größe", "It cannot have `ß`, `ö`."),
        ("名前", "It cannot have `前`, `名`."),
        ("a b-c", "It cannot have ` `, `-`."),
        ("a\u{0}", "It cannot have `\\0`."),
        ("1st", "does not begin with a digit."),
        (&"ä".repeat(65), "It cannot have `ä`."),
    ] {
        let body = tasks_with("/schema/properties", json!({ (name): {} }));
        let problems = Definition::parse("tasks", body, None).unwrap_err();
        let problem = problems.iter().find(|problem| problem.code == "bad_name").unwrap();
        assert!(problem.message.contains("1 to 64 of a-z, A-Z, 0-9 and _"), "{}", problem.message);
        assert!(problem.message.contains(refused), "{}", problem.message);
    }
}

#[test]
fn errors_in_a_definition_have_code_and_pointer() {
    let property = |schema: Value| tasks_with("/schema/properties/x", schema);
    let index = |index: Value| tasks_with("/indexes", json!([index]));
    let named = |name: &str| tasks_with(&format!("/schema/properties/{name}"), json!({}));
    for (body, pointer, code) in [
        (json!([]), "", "type"),
        (json!({}), "/schema", "type"),
        (tasks_with("/nmae", json!(1)), "/nmae", "unknown_field"),
        (tasks_with("/generation", json!(7)), "/generation", "unknown_field"),
        (tasks_with("/name", json!("other")), "/name", "name_differs"),
        (tasks_with("/schema", json!({ "type": "array" })), "/schema/type", "type"),
        (tasks_with("/schema/additionalProperties", json!(true)), "/schema/additionalProperties", "open_schema"),
        (tasks_with("/schema/patternProperties", json!({})), "/schema/patternProperties", "open_schema"),
        (
            tasks_with("/schema/$schema", json!("http://json-schema.org/draft-07/schema#")),
            "/schema/$schema",
            "schema_version",
        ),
        (tasks_with("/schema/properties", json!({ "id": {} })), "/schema/properties/id", "reserved"),
        (named("createdAt"), "/schema/properties/createdAt", "reserved"),
        (named("version"), "/schema/properties/version", "reserved"),
        (named("in"), "/schema/properties/in", "reserved"),
        (named("a.b"), "/schema/properties/a.b", "bad_name"),
        (named("1st"), "/schema/properties/1st", "bad_name"),
        (named("#pk"), "/schema/properties/#pk", "bad_name"),
        (named(&"x".repeat(65)), &format!("/schema/properties/{}", "x".repeat(65)), "bad_name"),
        (property(json!({ "maxlength": 3 })), "/schema/properties/x/maxlength", "unknown_keyword"),
        (property(json!({ "items": { "hidden": true } })), "/schema/properties/x/items/hidden", "misplaced"),
        (property(json!({ "hidden": "yes" })), "/schema/properties/x/hidden", "type"),
        (property(json!({ "$ref": "https://example.com/x" })), "/schema/properties/x/$ref", "remote_reference"),
        (property(json!({ "$id": "https://example.com/x" })), "/schema/properties/x/$id", "misplaced"),
        (property(json!({ "type": "text" })), "/schema/properties/x/type", "bad_schema"),
        (property(json!({ "minLength": -1 })), "/schema/properties/x/minLength", "bad_schema"),
        (property(json!({ "pattern": "(" })), "/schema/properties/x/pattern", "bad_schema"),
        (property(json!({ "pattern": "(?=a)b" })), "/schema/properties/x/pattern", "bad_schema"),
        (property(json!({ "$ref": "#/$defs/none" })), "/schema/properties/x/$ref", "bad_reference"),
        (property(json!({ "type": "string", "format": "colour" })), "/schema/properties/x/format", "unknown_format"),
        (property(json!({ "type": "integer", "default": "1" })), "/schema/properties/x/default", "bad_default"),
        (property(json!({ "type": "string", "relation": {} })), "/schema/properties/x/relation", "relation"),
        (
            property(json!({ "type": "string", "relation": { "collection": "a", "onDelete": "burn" } })),
            "/schema/properties/x/relation",
            "relation",
        ),
        (
            property(json!({ "type": "string", "relation": { "collection": "No" } })),
            "/schema/properties/x/relation/collection",
            "bad_name",
        ),
        (
            property(json!({ "type": "integer", "relation": { "collection": "a" } })),
            "/schema/properties/x/relation",
            "relation",
        ),
        (tasks_with("/indexes", json!({})), "/indexes", "type"),
        (index(json!({ "name": "a" })), "/indexes/0", "type"),
        (index(json!({ "name": "a", "partition": ["owner"], "slot": 1 })), "/indexes/0", "type"),
        (index(json!({ "name": "A", "partition": ["owner"] })), "/indexes/0/name", "bad_name"),
        (index(json!({ "name": "a", "partition": [] })), "/indexes/0", "empty"),
        (index(json!({ "name": "a", "partition": ["ghost"] })), "/indexes/0/partition/0", "bad_index_field"),
        (index(json!({ "name": "a", "partition": ["secret"] })), "/indexes/0/partition/0", "bad_index_field"),
        (index(json!({ "name": "a", "partition": ["tags"] })), "/indexes/0/partition/0", "bad_index_field"),
        (
            index(json!({ "name": "a", "partition": ["owner"], "sort": ["-address"] })),
            "/indexes/0/sort/0",
            "bad_index_field",
        ),
        (index(json!({ "name": "a", "partition": ["createdAt"] })), "/indexes/0/partition/0", "bad_index_field"),
        (index(json!({ "name": "a", "partition": ["owner"], "sort": ["-owner"] })), "/indexes/0/sort/0", "duplicate"),
        (
            index(json!({ "name": "a", "partition": ["owner"], "sort": ["version"] })),
            "/indexes/0/sort/0",
            "bad_index_field",
        ),
        (tasks_with("/unique", json!([["tags"]])), "/unique/0/0", "bad_unique_field"),
        (tasks_with("/unique", json!([["slug", "slug"]])), "/unique/0/1", "bad_unique_field"),
        (tasks_with("/unique", json!([["ghost"]])), "/unique/0/0", "bad_unique_field"),
        (tasks_with("/unique", json!([["secret"]])), "/unique/0/0", "bad_unique_field"),
        (tasks_with("/unique", json!([["slug", "secret"]])), "/unique/0/1", "bad_unique_field"),
        (tasks_with("/unique", json!([[]])), "/unique/0", "unique"),
        (tasks_with("/unique", json!(["slug"])), "/unique/0", "type"),
        (tasks_with("/shards", json!(3)), "/shards", "shards"),
        (tasks_with("/shards", json!(128)), "/shards", "shards"),
        (tasks_with("/rules/erase", json!("true")), "/rules/erase", "unknown_field"),
        (tasks_with("/rules/read", json!(null)), "/rules/read", "type"),
        (tasks_with("/rules/read", json!("record.ghost == 1")), "/rules/read", "bad_rule"),
        (tasks_with("/rules/create", json!("record.owner == auth.id")), "/rules/create", "bad_rule"),
    ] {
        let problems = parse(body.clone()).expect_err(&body.to_string());
        let found = problems.iter().any(|problem| problem.pointer.starts_with(pointer) && problem.code == code);
        assert!(found, "{pointer} {code}: {problems:#?}");
        assert!(problems.iter().all(|problem| problem.message.chars().count() <= 400), "{problems:#?}");
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let mut body = tasks_with("/shards", json!(3));
    body["indexes"][0]["sort"] = json!(["ghost"]);
    body["surprise"] = json!(1);
    let pointers: Vec<String> = parse(body).unwrap_err().into_iter().map(|problem| problem.pointer).collect();
    assert_eq!(pointers, ["/surprise", "/shards", "/indexes/0/sort/0"]);
}

#[test]
fn one_more_than_a_limit_is_refused() {
    let fields = |count: usize| {
        let properties: serde_json::Map<_, _> =
            (0..count).map(|number| (format!("f{number}"), json!({ "type": "string" }))).collect();
        Definition::parse("wide", json!({ "schema": { "type": "object", "properties": properties } }), None)
    };
    fields(MAX_PROPERTIES).unwrap();
    assert_eq!(fields(MAX_PROPERTIES + 1).unwrap_err()[0].code, "too_many");

    let indexes = |count: usize| {
        let index = |number| json!({ "name": format!("i{number}"), "partition": ["owner"], "sort": ["priority"] });
        parse(tasks_with("/indexes", (0..count).map(index).collect()))
    };
    indexes(MAX_INDEXES).unwrap();
    assert_eq!(indexes(MAX_INDEXES + 1).unwrap_err()[0].code, "too_many");

    let long = parse(tasks_with("/schema/description", json!("x".repeat(MAX_DEFINITION_BYTES)))).unwrap_err();
    assert_eq!(long[0].code, "too_large");

    let deep = (0..60).fold(json!({ "type": "string" }), |inner, _| json!({ "type": "array", "items": inner }));
    assert_eq!(parse(tasks_with("/schema/properties/x", deep)).unwrap_err()[0].code, "too_deep");
    for name in ["", "Tasks", "1a", "a-b", "a#b", "ü", &"a".repeat(64)] {
        let body = json!({ "schema": { "type": "object", "properties": {} } });
        assert_eq!(Definition::parse(name, body, None).unwrap_err()[0].code, "bad_name", "{name}");
    }
}

#[test]
fn an_unchanged_index_keeps_its_slot_and_a_changed_one_moves() {
    let index = |name: &str, sort: &str| json!({ "name": name, "partition": ["owner"], "sort": [sort] });
    let first = parse(tasks_with("/indexes", json!([index("a", "status"), index("b", "priority")]))).unwrap();
    let body = tasks_with("/indexes", json!([index("b", "priority"), index("a", "-status"), index("c", "title")]));
    let second = Definition::parse("tasks", body, Some(&first)).unwrap();
    let places: Vec<_> =
        second.indexes.iter().map(|index| (index.name.as_str(), index.slot, index.generation)).collect();
    assert_eq!(
        places,
        [("b", 2, 1), ("a", 3, 2), ("c", 4, 2), ("a", 1, 1)],
        "the old `a` serves until the new one does"
    );
    let all: Vec<Value> = ["p", "q", "r", "s", "t"].map(|name| index(name, "title")).to_vec();
    let third = Definition::parse("tasks", tasks_with("/indexes", json!(all)), Some(&second)).unwrap();
    let mut slots: Vec<u8> = third.indexes.iter().map(|index| index.slot).collect();
    assert!(third.indexes.iter().all(|index| index.generation == 3));
    slots.sort_unstable();
    assert_eq!(slots, [1, 2, 3, 4, 5]);
}

#[test]
fn a_list_rule_is_checked_against_the_indexes() {
    for (rule, served) in [
        ("record.owner == auth.id", true),
        ("true", true),
        ("auth.id != ''", true),
        ("'admin' in auth.roles", true),
        ("'admin' in auth.roles || record.owner == auth.id", true),
        ("auth.verified && record.owner == auth.id && record.status == 'open'", true),
        ("record.owner == auth.id || record.owner == 'everyone'", true),
        ("record.owner == auth.id && record.status in ['open', 'done']", true),
        ("record.id == auth.id", true),
        ("auth.id == '' && record.id == 'x' || auth.id != '' && record.owner == auth.id", true),
        ("record.status == 'open'", false),
        ("'admin' in auth.roles || record.status == 'open'", false),
        ("!('admin' in auth.roles) && record.status == 'open'", false),
        ("record.owner == auth.id && record.status != 'open'", false),
        ("record.owner == auth.id && record.secret == 'x'", false),
        ("record.owner == auth.id || record.slug == auth.id", false),
        ("has(record.owner)", false),
        ("auth.id in record.tags", false),
    ] {
        match (parse(tasks_with("/rules/list", json!(rule))), served) {
            (Ok(_), true) => {}
            (Err(problems), false) => {
                assert_eq!(
                    (problems[0].pointer.as_str(), problems[0].code),
                    ("/rules/list", "rule_not_served"),
                    "{rule}"
                );
            }
            (result, _) => panic!("{rule}: {result:?}"),
        }
    }
    let problems = parse(tasks_with("/rules/list", json!("record.status == 'open'"))).unwrap_err();
    assert!(
        problems[0].message.contains(r#"{"name":"by_status","partition":["status"],"sort":[]}"#),
        "{}",
        problems[0].message
    );
    let curious = (0..7).map(|number| format!("auth.id != '{number}'")).collect::<Vec<_>>().join(" || ");
    assert_eq!(parse(tasks_with("/rules/list", json!(curious))).unwrap_err()[0].code, "rule_not_served");
}

#[test]
fn a_rule_s_error_names_its_column() {
    let problems =
        parse(tasks_with("/rules/update", json!("record.owner == auth.id && !changed('ownr')"))).unwrap_err();
    assert_eq!(problems[0].message, "column 37: There is no field `ownr`.");
}

#[test]
fn users_read_and_change_their_own_profile_only() {
    let users = Definition::users();
    let parsed = Definition::parse("users", users.as_put(), None).unwrap();
    assert_eq!(parsed, users, "the built-in definition is valid too");
    let users = Collection::compile(users).unwrap();
    assert!(users.read_only("email") && !users.read_only("displayName"));
    assert!(
        users.rule(Rule::List).is_none() && users.rule(Rule::Create).is_none() && users.rule(Rule::Delete).is_none()
    );
    assert!(users.rule(Rule::Read).is_some() && users.rule(Rule::Update).is_some());
}
