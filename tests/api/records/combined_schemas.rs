//! Fields whose type stands in `anyOf`, `oneOf`, `allOf` or `$defs`, as pydantic and zod write them: they are indexed, compared,
//! unique, related and stored like fields with a plain `type`.

use crate::imports::files::{import, result};
use crate::world::{World, tasks};
use serde_json::{Value, json};
use std::time::Duration;

const NOTES: &str = "/v1/collections/notes";
const RECORDS: &str = "/v1/collections/notes/records";

fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn notes() -> Value {
    let mut owner = or_null(json!({ "type": "string" }));
    owner["relation"] = json!({ "collection": "users" });
    let mut task = or_null(json!({ "$ref": "#/$defs/id" }));
    task["relation"] = json!({ "collection": "tasks", "onDelete": "setNull" });
    json!({ "name": "notes",
        "schema": { "type": "object", "additionalProperties": false, "properties": {
                "owner": owner,
                "task": task,
                "due": or_null(json!({ "type": "string", "format": "date-time", "title": "Due" })),
                "slug": { "allOf": [{ "$ref": "#/$defs/id" }, { "maxLength": 20 }] },
                "status": { "$ref": "#/$defs/status", "default": "open" },
                "rank": { "oneOf": [{ "type": "integer" }, { "type": "null" }], "default": null },
                "place": or_null(json!({ "type": "object", "properties": { "city": { "type": "string" } } })) },
            "$defs": { "id": { "type": "string", "minLength": 1 }, "status": { "anyOf": [{ "const": "open" }, { "const": "done" }] } } },
        "unique": [["slug"]],
        "indexes": [{ "name": "by_owner", "partition": ["owner"], "sort": ["due"] },
            { "name": "by_task", "partition": ["task"] }, { "name": "by_status", "partition": ["status"], "sort": ["-rank"] }],
        "rules": { "list": "auth.id != ''", "read": "true", "create": "auth.id != ''",
            "update": "record.due == null || record.due >= '2026-01-01T00:00:00Z'" } })
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn a_type_in_a_combination_is_like_a_plain_type() {
    let world = World::new().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    admin.put(NOTES, notes()).await.expect(201);
    let task =
        ada.post("/v1/collections/tasks/records", json!({ "title": "t", "owner": ada.id() })).await.expect(201).body;
    let body =
        json!({ "owner": ada.id(), "due": "2026-03-01T14:00:00+02:00", "slug": "a", "rank": 2, "task": task["id"] });
    let made = ada.post(RECORDS, body).await.expect(201);
    assert_eq!((&made.body["due"], &made.body["status"]), (&json!("2026-03-01T12:00:00.000Z"), &json!("open")));
    let path = made.header("location").to_owned();
    let patched =
        ada.patch(&path, json!({ "due": "2026-03-02T12:00:00Z", "place": { "city": "Ur" } })).await.expect(200).body;
    assert_eq!((&patched["due"], &patched["place"]), (&json!("2026-03-02T12:00:00.000Z"), &json!({ "city": "Ur" })));
    let repeated = ada.post(RECORDS, json!({ "slug": "a" })).await.expect(409);
    assert_eq!(repeated.code(), "not_unique");
    let astray = ada.post(RECORDS, json!({ "task": "01900000-0000-7000-8000-000000000001" })).await.expect(400);
    assert_eq!(astray.body["errors"][0]["code"], "relation", "{}", astray.text);
    ada.post(RECORDS, json!({ "owner": null, "due": null, "slug": "b" })).await.expect(201);
    for (query, slugs) in [
        (format!("owner == '{}' && due > '2026-03-02T13:00:00+02:00'", ada.id()), vec!["a"]),
        (format!("owner == '{}' && due > '2026-03-02T12:00:00Z'", ada.id()), vec![]),
        ("status == 'open' && rank > 1".to_owned(), vec!["a"]),
        ("status == 'open' && rank == null".to_owned(), vec!["b"]),
    ] {
        let found = ada.get(&format!("{RECORDS}?filter={}", encoded(&query))).await.expect(200).body;
        let found: Vec<&str> =
            found["items"].as_array().unwrap().iter().map(|it| it["slug"].as_str().unwrap()).collect();
        assert_eq!(found, slugs, "{query}");
    }
    let expanded = ada.get(&format!("{path}?expand=task")).await.expect(200).body;
    assert_eq!(expanded["expanded"]["task"]["title"], "t", "{expanded}");
    ada.delete(&format!("/v1/collections/tasks/records/{}", task["id"].as_str().unwrap())).await.expect(204);
    world.settle().await;
    assert_eq!(ada.get(&path).await.expect(200).body.get("task"), None, "the relation was followed");
    let job = import(&admin, "notes", "csv", "slug,rank,due\r\n\"12\",7,2026-05-01T00:00:00Z\r\n").await;
    world.settle().await;
    assert_eq!(result(&admin, &job).await["imported"], 1);
    let found =
        ada.get(&format!("{RECORDS}?filter={}", encoded("status == 'open' && rank == 7"))).await.expect(200).body;
    assert_eq!(found["items"][0]["slug"], "12");
    assert_eq!(found["items"][0]["due"], "2026-05-01T00:00:00.000Z");
    // The job that follows relations looks once more for what was written meanwhile.
    world.advance(Duration::from_secs(18));
    world.settle().await;
}

#[tokio::test]
async fn a_field_of_several_types_is_refused_with_its_types() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mixed = json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }, { "type": "null" }] });
    for (pointer, at) in
        [("/indexes/0/partition/0", "index"), ("/unique/0/0", "unique"), ("/schema/properties/x/relation", "relation")]
    {
        let mut body = json!({ "schema": { "type": "object", "properties": { "x": mixed } } });
        match at {
            "index" => body["indexes"] = json!([{ "name": "by_x", "partition": ["x"] }]),
            "unique" => body["unique"] = json!([["x"]]),
            _ => body["schema"]["properties"]["x"]["relation"] = json!({ "collection": "users" }),
        }
        let refused = admin.put(NOTES, body).await.expect(400);
        let error = &refused.body["errors"][0];
        assert_eq!(error["pointer"], pointer, "{error}");
        assert!(error["message"].as_str().unwrap().contains("text or a number"), "{error}");
    }
}
