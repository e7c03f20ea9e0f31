//! A deleted record is absent at once in expansions too (R83), before any cascade job has run.

use crate::world::{Caller, World};
use serde_json::{Value, json};
use std::time::Duration;

/// People; and notes that point at one, whose pointer goes when that one does, or who go with it.
async fn with_notes(world: &World) -> Caller<'_> {
    let admin = world.admin().await;
    let rules = json!({ "list": "true", "read": "true", "create": "true", "update": "true", "delete": "true" });
    let to = |end: &str| json!({ "type": "string", "relation": { "collection": "people", "onDelete": end } });
    for (name, properties, indexes) in [
        ("people", json!({ "name": { "type": "string" } }), json!([])),
        (
            "notes",
            json!({ "about": to("setNull"), "of": to("cascade") }),
            json!([{ "name": "by_about", "partition": ["about"] }, { "name": "by_of", "partition": ["of"] }]),
        ),
    ] {
        let schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
        let body = json!({ "name": name, "schema": schema, "indexes": indexes, "rules": rules });
        admin.put(&format!("/v1/collections/{name}"), body).await.expect(201);
    }
    admin
}

async fn until_it_has_followed(world: &World) {
    world.settle().await;
    world.advance(Duration::from_secs(60));
    world.settle().await;
}

async fn make(caller: &Caller<'_>, collection: &str, body: Value) -> (String, String) {
    let made = caller.post(&format!("/v1/collections/{collection}/records"), body).await.expect(201);
    (made.body["id"].as_str().unwrap().to_owned(), made.header("location").to_owned())
}

#[tokio::test]
async fn a_deleted_record_is_expanded_to_null_before_its_cascade_runs() {
    let world = World::new().await;
    let admin = with_notes(&world).await;
    let ada = world.user("ada").await;
    let (person, at) = make(&ada, "people", json!({ "name": "canary" })).await;
    let (_, note) = make(&ada, "notes", json!({ "about": person, "of": person })).await;
    let expanded = async |caller: &Caller<'_>| {
        let one = caller.get(&format!("{note}?expand=about,of")).await.expect(200);
        let list = caller.get("/v1/collections/notes/records?expand=about,of").await.expect(200);
        assert_eq!(one.body["expanded"], list.body["items"][0]["expanded"]);
        one.body["expanded"].clone()
    };
    assert_eq!(expanded(&ada).await["about"]["name"], "canary");
    ada.delete(&at).await.expect(204);
    for caller in [&ada, &admin, &world.stranger()] {
        assert_eq!(expanded(caller).await, json!({ "about": null, "of": null }));
    }
    until_it_has_followed(&world).await;
}

#[tokio::test]
async fn a_deleted_record_is_not_in_a_back_relation() {
    let world = World::new().await;
    with_notes(&world).await;
    let ada = world.user("ada").await;
    let (person, at) = make(&ada, "people", json!({ "name": "n" })).await;
    let (kept, _) = make(&ada, "notes", json!({ "about": person })).await;
    let (_, note) = make(&ada, "notes", json!({ "about": person, "of": person })).await;
    ada.delete(&note).await.expect(204);
    let back = ada.get(&format!("{at}?expand=notes_via_about,notes_via_of")).await.expect(200).body;
    let ids = |name: &str| -> Vec<Value> {
        back["expanded"][name].as_array().unwrap().iter().map(|note| note["id"].clone()).collect()
    };
    assert_eq!((ids("notes_via_about"), ids("notes_via_of")), (vec![json!(kept)], vec![]));
    // No write can point at it from now on.
    ada.delete(&at).await.expect(204);
    for field in ["about", "of"] {
        ada.post("/v1/collections/notes/records", json!({ field: person })).await.expect(400);
    }
    until_it_has_followed(&world).await;
}
