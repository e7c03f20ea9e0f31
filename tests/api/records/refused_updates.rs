//! An update that the rule refuses for what it writes: 403 with the condition to callers who may read the record and could change
//! it otherwise, and 404 to everybody else, as for a missing record.

use crate::world::{Answer, Caller, World};
use axum::http::Method;
use serde_json::{Value, json};

const BOARDS: &str = "/v1/collections/boards/records";
const MISSING: &str = "/v1/collections/boards/records/017f22e2-79b0-7cc3-98c4-dc0c0c07398f";

/// A board of ada's, which bob may read and eve may not.
async fn board<'a>(world: &'a World, update: &str) -> (Caller<'a>, Caller<'a>, Caller<'a>, String) {
    let text = json!({ "type": "string" });
    let texts = json!({ "type": "array", "items": text });
    let definition = json!({ "name": "boards", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": text, "reader": text, "state": text, "title": text, "members": texts, "amount": { "type": "integer" },
        "pin": { "type": "string", "hidden": true }, "blocked": { "type": "boolean", "hidden": true } } },
        "rules": { "create": "true", "read": "record.owner == auth.id || record.reader == auth.id",
            "update": format!("record.owner == auth.id && {update}") } });
    world.admin().await.put("/v1/collections/boards", definition).await.expect(201);
    let (ada, bob, eve) = (world.user("ada").await, world.user("bob").await, world.user("eve").await);
    let body = json!({ "owner": ada.id(), "reader": bob.id(), "state": "open", "title": "t", "members": ["x"], "amount": 5, "pin": "7" });
    let path = ada.post(BOARDS, body).await.expect(201).header("location").to_owned();
    (ada, bob, eve, path)
}

/// The answers to a change by PATCH, with a condition, by PUT and in a batch.
async fn answers(caller: &Caller<'_>, path: &str, patch: &Value) -> Vec<(u16, Value)> {
    let mut answers = vec![caller.patch(path, patch.clone()).await];
    for (method, tag) in [(Method::PATCH, "\"99\""), (Method::PATCH, "*"), (Method::PUT, "*")] {
        answers.push(caller.request(method, path).header("if-match", tag).json(patch.clone()).send().await);
    }
    let operation = json!({ "method": "PATCH", "path": path, "body": patch });
    let batch = caller.post("/v1/batch", json!({ "operations": [operation] })).await;
    let shown = |answer: Answer| {
        assert_eq!(answer.headers.get("undercroft-cost"), None, "{}", answer.text);
        (answer.status, answer.body["detail"].clone())
    };
    let of_batch = batch.body["operations"][0]["detail"].clone();
    answers.into_iter().map(shown).chain([(batch.status, of_batch)]).collect()
}

#[tokio::test]
async fn a_refused_change_is_403_with_the_condition_and_404_to_others() {
    for (update, patch, condition) in [
        ("!changed('members')", json!({ "members": [] }), "`!changed('members')`"),
        (
            "!changed('members') && !changed('title')",
            json!({ "members": [], "title": "u" }),
            "`!changed('members') && !changed('title')`",
        ),
        ("(!changed('state') || 'moderator' in auth.roles)", json!({ "state": "done" }), "`!changed('state')`"),
        // What only the author of the rule knows is not shown.
        ("input.state != 'top secret'", json!({ "state": "top secret" }), "`input.state != \"...\"`"),
        ("input.state in ['open', 'done']", json!({ "state": "x" }), "`input.state in [\"...\"]`"),
        ("input.amount >= record.amount", json!({ "amount": 1 }), "`input.amount >= amount`"),
        ("input.amount < 10", json!({ "amount": 10 }), "`input.amount < 10`"),
        ("!has(input.state)", json!({ "title": "u", "state": "done" }), "`!has(input.state)`"),
        ("!changed('pin')", json!({ "pin": "8" }), "a field that you may not see"),
        (
            "(record.amount > 9 && input.title == 'a' || input.title == 'b')",
            json!({ "title": "c" }),
            "`input.title == \"...\"`",
        ),
    ] {
        let world = World::new().await;
        let (ada, bob, eve, path) = board(&world, update).await;
        for (status, detail) in answers(&ada, &path, &patch).await {
            let detail = detail.as_str().unwrap();
            assert!(status == 403 && detail.contains(condition), "{update}: {status} {detail}");
            assert!(!detail.contains("secret") && !detail.contains("pin"), "{detail}");
        }
        for other in [bob, eve] {
            let of_missing = answers(&other, MISSING, &patch).await;
            assert!(of_missing.iter().all(|(status, _)| *status == 404), "{of_missing:?}");
            assert_eq!(answers(&other, &path, &patch).await, of_missing, "{update}");
        }
        answers(&ada, MISSING, &patch).await.into_iter().for_each(|(status, _)| assert_eq!(status, 404));
        assert_eq!(ada.get(&path).await.expect(200).body["version"], 1, "nothing was written");
    }
}

#[tokio::test]
async fn a_record_that_no_input_may_change_is_404_and_is_not_read_where_the_caller_decides() {
    // By the record.
    let world = World::new().await;
    let (ada, .., path) = board(&world, "record.blocked == true && !changed('members')").await;
    for (status, _) in answers(&ada, &path, &json!({ "members": [] })).await {
        assert_eq!(status, 404);
    }
    // By the caller: no record is read.
    let world = World::new().await;
    let (ada, .., path) = board(&world, "'editor' in auth.roles && input.state == 'done'").await;
    ada.patch(&path, json!({ "state": "x" })).await.expect(404);
    assert_eq!(world.logged_cost(), (0.0, 0.0, 0));
    // A record that cannot be read may be changed, and a refusal does not say why.
    let world = World::new().await;
    let (ada, .., path) = board(&world, "input.state == 'done'").await;
    ada.patch(&path, json!({ "state": "done", "owner": ada.id() })).await.expect(200);
    ada.patch(&path, json!({ "state": "x" })).await.expect(403);
    assert_eq!(world.logged_cost(), (1.0, 0.0, 1), "one read, as of every change that is decided after reading");
    world.stranger().patch(&path, json!({ "state": "x" })).await.expect(401);
}

#[tokio::test]
async fn a_writer_who_may_not_read_learns_no_condition() {
    let world = World::new().await;
    let definition = json!({ "name": "boards", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "title": { "type": "string" } } },
        "rules": { "create": "true", "read": "record.owner == auth.id", "update": "auth.id != '' && input.title != 'no' && !changed('owner')" } });
    world.admin().await.put("/v1/collections/boards", definition).await.expect(201);
    let (ada, eve) = (world.user("ada").await, world.user("eve").await);
    let path =
        ada.post(BOARDS, json!({ "owner": ada.id(), "title": "t" })).await.expect(201).header("location").to_owned();
    eve.patch(&path, json!({ "title": "yes" })).await.expect(200);
    for patch in [json!({ "title": "no" }), json!({ "owner": eve.id() }), json!({ "owner": ada.id() })] {
        assert_eq!(answers(&eve, &path, &patch).await, answers(&eve, MISSING, &patch).await, "{patch}");
    }
    ada.patch(&path, json!({ "title": "no" })).await.expect(403);
}
