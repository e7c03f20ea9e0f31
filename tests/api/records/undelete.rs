//! Undelete after a change of the definition: a record is restored only if the current definition allows it.

use crate::world::{Caller, World};
use serde_json::{Value, json};

const CARDS: &str = "/v1/collections/cards/records";

fn cards(properties: &Value) -> Value {
    json!({ "name": "cards", "schema": { "type": "object", "additionalProperties": false, "properties": properties },
        "rules": { "read": "true", "create": "true", "update": "true", "delete": "true", "undelete": "true" } })
}

/// Puts the definition, and waits until it is in force.
async fn put(world: &World, properties: &Value) {
    let admin = world.admin().await;
    let put = admin.put("/v1/collections/cards", cards(properties)).await;
    assert!(put.status < 300, "{}", put.text);
    for _ in 0..3 {
        world.settle().await;
        world.advance(std::time::Duration::from_secs(60));
    }
    world.settle().await;
}

/// A card that is deleted, by its path.
async fn deleted(caller: &Caller<'_>, card: Value) -> String {
    let path = caller.post(CARDS, card).await.expect(201).header("location").to_owned();
    caller.delete(&path).await.expect(204);
    path
}

#[tokio::test]
async fn a_record_the_definition_no_longer_allows_cannot_be_restored() {
    let world = World::new().await;
    let rank = |maximum: u32| json!({ "rank": { "type": "integer", "maximum": maximum } });
    put(&world, &rank(9)).await;
    let ada = world.user("ada").await;
    let (high, low) = (deleted(&ada, json!({ "rank": 9 })).await, deleted(&ada, json!({ "rank": 2 })).await);
    put(&world, &rank(3)).await;
    let ada = world.user("ada").await;
    let refused = ada.post(&format!("{high}/undelete"), json!({})).await.expect(409);
    assert_eq!(refused.code(), "no_longer_valid");
    assert!(refused.body["detail"].as_str().unwrap().contains("/rank: "), "{}", refused.text);
    let batch = json!({ "operations": [{ "method": "POST", "path": format!("{high}/undelete") }] });
    ada.post("/v1/batch", batch).await.expect(409);
    ada.get(&high).await.expect(404);
    assert_eq!(ada.post(&format!("{low}/undelete"), json!({})).await.expect(200).body["rank"], 2);
    put(&world, &rank(9)).await;
    let ada = world.user("ada").await;
    assert_eq!(ada.post(&format!("{high}/undelete"), json!({})).await.expect(200).body["rank"], 9);
}

#[tokio::test]
async fn a_removed_hidden_field_is_not_shown_after_undelete() {
    let world = World::new().await;
    let name = json!({ "type": "string" });
    put(&world, &json!({ "name": name, "pin": { "type": "string", "hidden": true, "readOnly": true } })).await;
    let admin = world.admin().await;
    let card = deleted(&admin, json!({ "name": "Ada", "pin": "CANARY" })).await;
    put(&world, &json!({ "name": name })).await;
    let (ada, admin) = (world.user("ada").await, world.admin().await);
    let refused = ada.post(&format!("{card}/undelete"), json!({})).await.expect(409);
    assert!(refused.code() == "no_longer_valid" && !refused.text.contains("pin"), "{}", refused.text);
    assert!(!refused.text.contains("CANARY"));
    let refused = admin.post(&format!("{card}/undelete"), json!({})).await.expect(409);
    assert!(refused.text.contains("/pin: The schema has no such field"), "{}", refused.text);
}
