//! Pointing at a record requires the right to read it, or its collection's rule `refer`. So a relation neither reveals hidden
//! records nor blocks their deletion.

use crate::world::{Answer, Caller, World};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const SECRETS: &str = "/v1/collections/secrets/records";
const LINKS: &str = "/v1/collections/links/records";
const ABSENT: &str = "01890000-0000-7000-8000-000000000000";

fn secrets(rules: Value) -> Value {
    json!({ "name": "secrets", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "size": { "type": "integer" } } }, "rules": rules })
}

fn links(on_delete: &str) -> Value {
    json!({ "name": "links", "schema": { "type": "object", "additionalProperties": false, "properties": {
            "to": { "type": "string", "relation": { "collection": "secrets", "onDelete": on_delete } },
            "who": { "type": "string", "relation": { "collection": "users", "onDelete": "cascade" } },
            "text": { "type": "string" } } },
        "indexes": [{ "name": "by_to", "partition": ["to"] }],
        "rules": { "read": "auth.id != ''", "create": "auth.id != ''", "update": "auth.id != ''", "delete": "auth.id != ''" } })
}

/// Two rules that let only the owner read: one that DynamoDB can evaluate, and one that it cannot.
const READ: [&str; 2] = ["record.owner == auth.id", "record.owner == auth.id && !(record.size == 7)"];

async fn with(world: &World, rules: Value, on_delete: &str) {
    let admin = world.admin().await;
    admin.put("/v1/collections/secrets", secrets(rules)).await.expect(201);
    admin.put("/v1/collections/links", links(on_delete)).await.expect(201);
}

/// Every request that makes a record point at another.
async fn point(caller: &Caller<'_>, link: &str, to: &str, nth: u64) -> Vec<Answer> {
    let batch = |operation: Value| json!({ "operations": [operation] });
    let own = format!("{LINKS}/01890000-0000-7000-8000-{:012x}", 0x1000 + nth);
    vec![
        caller.post(LINKS, json!({ "to": to })).await,
        caller.patch(link, json!({ "to": to })).await,
        caller.request(Method::PUT, link).header("if-match", "*").json(json!({ "to": to })).send().await,
        caller.request(Method::PUT, &own).header("if-none-match", "*").json(json!({ "to": to })).send().await,
        caller.post("/v1/batch", batch(json!({ "method": "POST", "path": LINKS, "body": { "to": to } }))).await,
        caller.post("/v1/batch", batch(json!({ "method": "PATCH", "path": link, "body": { "to": to } }))).await,
    ]
}

/// Everything that distinguishes two answers for the caller.
fn reported(answer: &Answer, named: &str) -> (u16, Option<String>, String) {
    let cost = answer.headers.get("undercroft-cost").map(|cost| cost.to_str().unwrap().to_owned());
    let mut body = answer.body.clone();
    body.as_object_mut().unwrap().remove("requestId");
    (answer.status, cost, body.to_string().replace(named, "ID"))
}

#[tokio::test]
async fn pointing_at_a_hidden_record_answers_like_pointing_at_a_missing_one() {
    for read in READ {
        let world = World::new().await;
        with(
            &world,
            json!({ "read": read, "create": "auth.id != ''", "delete": "record.owner == auth.id" }),
            "restrict",
        )
        .await;
        let (ada, eve) = (world.user("ada").await, world.user("eve").await);
        let secret = ada.post(SECRETS, json!({ "owner": ada.id(), "size": 1 })).await.expect(201);
        let (path, id) = (secret.header("location").to_owned(), secret.body["id"].as_str().unwrap().to_owned());
        let link = eve.post(LINKS, json!({ "text": "free" })).await.expect(201).header("location").to_owned();
        let hidden = point(&eve, &link, &id, 0).await;
        let absent = point(&eve, &link, ABSENT, 1).await;
        for (hidden, absent) in hidden.iter().zip(&absent) {
            assert_eq!(hidden.status, 400, "{}: {}", hidden.asked, hidden.text);
            assert_eq!(reported(hidden, &id), reported(absent, ABSENT), "{}", hidden.asked);
        }
        // The owner can still delete it, and callers who may read it may point at it.
        for answer in point(&ada, &link, &id, 2).await {
            assert!(answer.status < 300, "{}: {}", answer.asked, answer.text);
        }
        assert_eq!(ada.delete(&path).await.expect(409).code(), "referenced", "its owner's own links do");
        // Keeping an existing reference needs no right.
        eve.request(Method::PUT, &link)
            .header("if-match", "*")
            .json(json!({ "to": id, "text": "kept" }))
            .send()
            .await
            .expect(200);
        eve.patch(&link, json!({ "to": id, "text": "kept" })).await.expect(200);
        world.settle().await;
    }
}

#[tokio::test]
async fn the_refer_rule_allows_pointing_at_records_the_caller_may_not_read() {
    let world = World::new().await;
    let rules = json!({ "read": "record.owner == auth.id", "create": "auth.id != ''", "refer": "record.size > 3" });
    with(&world, rules, "cascade").await;
    let (ada, eve) = (world.user("ada").await, world.user("eve").await);
    let make = async |size: u32| {
        let made = ada.post(SECRETS, json!({ "owner": ada.id(), "size": size })).await.expect(201);
        made.body["id"].as_str().unwrap().to_owned()
    };
    let (small, large) = (make(1).await, make(9).await);
    eve.post(LINKS, json!({ "to": large })).await.expect(201);
    assert_eq!(eve.post(LINKS, json!({ "to": small })).await.expect(400).body["errors"][0]["code"], "relation");
    ada.post(LINKS, json!({ "to": small })).await.expect(201);
    world.admin().await.post(LINKS, json!({ "to": small })).await.expect(201);
    // Every signed-in user may point at another user without the right to read the profile.
    let theirs = format!("/v1/collections/users/records/{}", ada.id());
    eve.get(&theirs).await.expect(404);
    eve.post(LINKS, json!({ "who": ada.id() })).await.expect(201);
    eve.post(LINKS, json!({ "who": ABSENT })).await.expect(400);
    world.settle().await;
}

#[tokio::test]
async fn writing_a_record_in_the_same_batch_gives_no_right_to_point_at_it() {
    let world = World::new().await;
    let rules = json!({ "read": READ[0], "create": "auth.id != ''", "update": "auth.id != ''", "delete": READ[0] });
    with(&world, rules, "restrict").await;
    let (ada, eve) = (world.user("ada").await, world.user("eve").await);
    let secret = ada.post(SECRETS, json!({ "owner": ada.id(), "size": 1 })).await.expect(201);
    let path = secret.header("location").to_owned();
    let batch = json!({ "operations": [{ "method": "PATCH", "path": path, "body": { "size": 2 } },
        { "method": "POST", "path": LINKS, "body": { "to": secret.body["id"] } }] });
    eve.post("/v1/batch", batch.clone()).await.expect(400);
    ada.post("/v1/batch", batch).await.expect(200);
    world.settle().await;
}

#[tokio::test]
async fn a_right_withdrawn_between_read_and_write_makes_no_reference() {
    let world = World::new().await;
    with(&world, json!({ "read": READ[1], "create": "auth.id != ''", "update": "true" }), "cascade").await;
    let ada = world.user("ada").await;
    let secret = ada.post(SECRETS, json!({ "owner": ada.id(), "size": 1 })).await.expect(201);
    let path = secret.header("location").to_owned();
    let given_away = async {
        world.admin().await.patch(&path, json!({ "owner": "somebody else" })).await.expect(200);
    };
    // The secret is read, because its rule cannot be asked with the write; then it is given away.
    let pointing = ada.post(LINKS, json!({ "to": secret.body["id"] }));
    let refused = crate::records::concurrent_writes::meanwhile(&world, ("GetItem", 1), pointing, given_away).await;
    assert!([400, 503].contains(&refused.status), "{}", refused.text);
    world.advance(Duration::from_secs(1));
    world.settle().await;
}

#[tokio::test]
async fn refusing_a_taken_id_costs_the_same_as_any_other_refusal() {
    let world = World::new().await;
    with(&world, json!({ "read": READ[0], "create": "auth.id != ''" }), "cascade").await;
    let (ada, eve) = (world.user("ada").await, world.user("eve").await);
    let secret = ada.post(SECRETS, json!({ "owner": ada.id() })).await.expect(201);
    let taken = eve.request(Method::PUT, secret.header("location")).header("if-none-match", "*").json(json!({}));
    let taken = taken.send().await.expect(412);
    assert!(taken.headers.get("undercroft-cost").is_none(), "{:?}", taken.headers);
}
