//! What is made has one time: a clock that is read twice would show.

use crate::records::crud::{TASKS, with_tasks};
use crate::world::World;
use axum::http::Method;
use serde_json::{Value, json};
use undercroft::clock::rfc3339;
use undercroft::id;

/// Checks that something new has one time, which is the time in its id.
#[track_caller]
fn has_one_time(made: &Value) {
    let of_id = rfc3339(id::millis(made["id"].as_str().unwrap()).unwrap());
    assert_eq!((&made["createdAt"], &made["updatedAt"]), (&json!(of_id), &json!(of_id)), "{made}");
}

#[tokio::test]
async fn a_new_record_has_one_time_however_it_is_made() {
    let world = World::that_ticks().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let body = json!({ "title": "new", "owner": ada.id(), "slug": "one" });
    has_one_time(&ada.post(TASKS, body.clone()).await.expect(201).body);
    let keyed = ada.request(Method::POST, TASKS).header("idempotency-key", "\"once\"");
    has_one_time(&keyed.json(json!({ "title": "keyed", "owner": ada.id() })).send().await.expect(201).body);
    let write =
        |slug| json!({ "method": "POST", "path": TASKS, "body": { "title": "t", "owner": ada.id(), "slug": slug } });
    let batch = ada.post("/v1/batch", json!({ "operations": [write("two"), write("three")] })).await.expect(200);
    batch.body["results"].as_array().unwrap().iter().for_each(|result| has_one_time(&result["body"]));
    has_one_time(&admin.get(&format!("/v1/collections/users/records/{}", ada.id())).await.expect(200).body);

    // What is listed is what was answered.
    let listed = ada.get(TASKS).await.expect(200).body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 4);
    listed["items"].as_array().unwrap().iter().for_each(has_one_time);
}

#[tokio::test]
async fn the_time_of_a_new_record_is_the_request_s_time_in_the_rule_that_allowed_it() {
    let world = World::that_ticks().await;
    let definition = json!({ "name": "notes", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "text": { "type": "string" } } }, "rules": { "create": "true", "read": "record.updatedAt <= request.time",
        "update": "true", "delete": "true" } });
    world.admin().await.put("/v1/collections/notes", definition).await.expect(201);
    let (ada, path) = (world.user("ada").await, "/v1/collections/notes/records");
    let made = ada.post(path, json!({ "text": "a" })).await.expect(201).body;
    assert_eq!(made["text"], "a", "its writer may read it at the time it was written: {made}");
}

#[tokio::test]
async fn a_new_job_has_one_time() {
    let world = World::that_ticks().await;
    let admin = world.admin().await;
    let mail = json!({ "type": "email.send", "payload": { "to": "a@example.org", "subject": "Hello", "text": "x" } });
    let queued = admin.post("/v1/jobs", mail).await.expect(202).body;
    has_one_time(&queued);
    world.settle().await;
    let done = admin.get(&format!("/v1/jobs/{}", queued["id"].as_str().unwrap())).await.expect(200).body;
    assert_eq!(done["createdAt"], queued["createdAt"], "{done}");
    assert!(done["updatedAt"].as_str() > queued["updatedAt"].as_str(), "{done}");
}

#[tokio::test]
async fn a_new_tombstone_was_changed_last_when_it_was_deleted() {
    let world = World::that_ticks().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let made = ada.post(TASKS, json!({ "title": "new", "owner": ada.id() })).await.expect(201).body;
    ada.delete(&format!("{TASKS}/{}", made["id"].as_str().unwrap())).await.expect(204);
    let deleted = admin.get(&format!("{TASKS}?deleted=true")).await.expect(200).body["items"][0].clone();
    assert_eq!((&deleted["createdAt"], &deleted["deletedAt"]), (&made["createdAt"], &deleted["updatedAt"]));
    assert!(deleted["updatedAt"].as_str() > deleted["createdAt"].as_str(), "{deleted}");
    world.settle().await;
}
