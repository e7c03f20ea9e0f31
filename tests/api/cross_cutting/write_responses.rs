//! A caller who may write a record may lack the right to read it: the answer of a write obeys the read rule.

use crate::world::{Answer, Caller, World};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const BOX: &str = "/v1/collections/box/records";
const CANARY: &str = "nobody but its keeper reads this";

/// A letter box: every signed-in user may create, change and delete letters; only the keeper reads.
fn letters() -> Value {
    json!({ "name": "box", "schema": { "type": "object", "additionalProperties": false, "properties": {
            "text": { "type": "string" }, "keeper": { "type": "string" }, "note": { "type": "string" } } },
        "rules": { "read": "record.keeper == auth.id", "create": "auth.id != ''", "update": "auth.id != ''",
            "delete": "auth.id != ''", "undelete": "auth.id != ''" } })
}

fn is_unread(answer: &Answer, status: u16, version: u64) {
    assert_eq!(answer.status, status, "{}: {}", answer.asked, answer.text);
    let body = answer.body.as_object().unwrap();
    assert!(
        body.len() == 2 && body["id"].is_string() && body["version"] == version,
        "{}: {}",
        answer.asked,
        answer.text
    );
    assert!(!answer.text.contains(CANARY));
    assert!(answer.header("etag").starts_with(&format!("\"{version}")), "the tag for the next write is there");
}

/// Every write of a letter of the keeper by another user.
async fn write_all_ways(sender: &Caller<'_>, keeper: &str, letter: &str, key: Option<&str>) {
    let send = async |method: Method, path: &str, nth: u32, tag: Option<&str>, body: Value| {
        let mut request = sender.request(method, path).json(body);
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", &format!("\"{key}-{nth}\""));
        }
        request.send().await
    };
    let same = async |method: Method, path: &str, nth: u32, tag: Option<&str>, body: Value, version: u64| {
        for _ in 0..if key.is_some() { 2 } else { 1 } {
            is_unread(&send(method.clone(), path, nth, tag, body.clone()).await, 200, version);
        }
    };
    same(Method::PATCH, letter, 1, None, json!({}), 2).await;
    same(Method::PATCH, letter, 2, None, json!({ "note": "x" }), 3).await;
    let whole = json!({ "text": CANARY, "keeper": keeper });
    same(Method::PUT, letter, 3, Some("\"3-v\""), whole, 4).await;
    let removed = send(Method::DELETE, letter, 4, None, Value::Null).await.expect(204);
    assert_eq!(removed.text, "");
    same(Method::POST, &format!("{letter}/undelete"), 5, None, json!({}), 6).await;
    let operations = json!({ "operations": [{ "method": "PATCH", "path": letter, "body": {} },
        { "method": "POST", "path": BOX, "body": { "text": CANARY, "keeper": keeper } }] });
    for _ in 0..if key.is_some() { 2 } else { 1 } {
        let batch = send(Method::POST, "/v1/batch", 6, None, operations.clone()).await.expect(200);
        assert!(!batch.text.contains(CANARY) && !batch.text.contains("createdAt"), "{}", batch.text);
        assert_eq!(batch.body["results"][0]["body"].as_object().unwrap().len(), 2, "{}", batch.text);
        assert_eq!(batch.body["results"][1]["status"], 201);
    }
}

#[tokio::test]
async fn the_answer_of_a_write_shows_only_what_a_read_would() {
    for key in [None, Some("key")] {
        let world = World::new().await;
        world.admin().await.put("/v1/collections/box", letters()).await.expect(201);
        let (keeper, sender) = (world.user("keeper").await, world.user("sender").await);
        let body = json!({ "text": CANARY, "keeper": keeper.id() });
        let made = sender.post(BOX, body.clone()).await;
        is_unread(&made, 201, 1);
        let letter = made.header("location").to_owned();
        sender.get(&letter).await.expect(404);
        write_all_ways(&sender, keeper.id(), &letter, key).await;
        let imported = "01890000-0000-7000-8000-00000000000a";
        let put = sender.request(Method::PUT, &format!("{BOX}/{imported}")).header("if-none-match", "*").json(body);
        is_unread(&put.send().await, 201, 1);
        // A caller who may read the record gets it in the answer.
        let kept = keeper.patch(&letter, json!({ "note": "read" })).await.expect(200);
        assert_eq!((&kept.body["text"], &kept.body["note"]), (&json!(CANARY), &json!("read")));
        assert_eq!(keeper.get(&letter).await.expect(200).body, kept.body);
        // A change that makes it theirs shows it; one that gives it away does not.
        let taken = sender.patch(&letter, json!({ "keeper": sender.id() })).await.expect(200);
        assert_eq!(taken.body["text"], CANARY);
        let given = sender.patch(&letter, json!({ "keeper": keeper.id() })).await;
        assert!(given.status == 200 && !given.text.contains(CANARY), "{}", given.text);
    }
}

#[tokio::test]
async fn a_record_deleted_by_somebody_else_is_restored_only_by_the_undelete_rule() {
    let world = World::new().await;
    let admin = world.admin().await;
    let rule = "record.keeper == auth.id || auth.verified";
    let mut own = letters();
    own["rules"] = json!({ "read": "auth.id != ''", "create": "auth.id != ''", "delete": rule });
    admin.put("/v1/collections/box", own.clone()).await.expect(201);
    let (owner, moderator) = (world.user("owner").await, world.user("moderator").await);
    let make = async || {
        let made = owner.post(BOX, json!({ "text": "spam", "keeper": owner.id() })).await.expect(201);
        made.header("location").to_owned()
    };
    let undelete =
        async |caller: &Caller<'_>, letter: &str| caller.post(&format!("{letter}/undelete"), json!({})).await.status;
    let letter = make().await;
    moderator.delete(&letter).await.expect(204);
    assert_eq!(undelete(&owner, &letter).await, 404, "a moderator has taken it away");
    let batch = json!({ "operations": [{ "method": "POST", "path": format!("{letter}/undelete") }] });
    owner.post("/v1/batch", batch).await.expect(404);
    assert_eq!(undelete(&world.stranger(), &letter).await, 401);
    assert_eq!(undelete(&moderator, &letter).await, 200, "who deleted it may");
    owner.delete(&letter).await.expect(204);
    assert_eq!(undelete(&moderator, &letter).await, 404);
    assert_eq!(undelete(&owner, &letter).await, 200);
    assert_eq!(undelete(&owner, &letter).await, 409, "it is not deleted");
    owner.delete(&letter).await.expect(204);
    assert_eq!(undelete(&admin, &letter).await, 200, "admins may");
    // The rule allows others.
    own["rules"]["undelete"] = json!("record.keeper == auth.id");
    admin.put("/v1/collections/box", own).await.expect(200);
    world.advance(Duration::from_secs(18));
    let (owner, moderator) = (world.user("owner").await, world.user("moderator").await);
    moderator.delete(&letter).await.expect(204);
    assert_eq!(undelete(&owner, &letter).await, 200);
    world.settle().await;
}
