//! Hidden, deleted and missing records are indistinguishable by answers (R64) and by the calls made for them.

use crate::records::crud::{TASKS, path, with_tasks};
use crate::world::{Caller, World};
use axum::http::Method;
use serde_json::{Value, json};

const POSTS: &str = "/v1/collections/posts/records";
const MISSING: &str = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";

/// A request about a record: its name, and how it is sent.
type Asked = (Method, &'static str, Option<&'static str>, Option<Value>);

/// Every request that reads or writes an existing record.
fn ways(other: &str) -> Vec<Asked> {
    let patch = |body: Value| (Method::PATCH, "", None, Some(body));
    vec![
        (Method::GET, "", None, None),
        (Method::GET, "?consistent=true", None, None),
        (Method::GET, "", Some("if-none-match"), None),
        patch(json!({ "title": "unread" })),
        patch(json!({ "status": "done" })),
        patch(json!({ "slug": "taken" })),
        patch(json!({ "slug": "free" })),
        patch(json!({ "owner": other })),
        patch(json!({ "title": null })),
        (Method::PATCH, "", Some("if-match"), Some(json!({ "title": "unread" }))),
        (Method::PATCH, "", Some("if-match"), Some(json!({ "status": "done" }))),
        (Method::PUT, "", Some("if-match"), Some(json!({ "title": "replaced", "owner": other, "slug": "taken" }))),
        (Method::DELETE, "", None, None),
        (Method::DELETE, "", Some("if-match"), None),
        (Method::POST, "/undelete", None, None),
        (Method::POST, "/undelete", Some("if-match"), None),
    ]
}

/// The answers and AWS calls of a request about a record: alone, with a key, and in a batch.
async fn asked(world: &World, caller: &Caller<'_>, record: &str, way: &Asked, key: &str) -> Vec<(u16, String, Value)> {
    let (method, suffix, header, body) = way;
    let mut reported = Vec::new();
    for manner in ["alone", "keyed", "batch"] {
        let mut knock = caller.request(method.clone(), &format!("{record}{suffix}"));
        match manner {
            "keyed" | "batch" if *method == Method::GET => continue,
            // A key is its caller's own, and a stranger has none.
            "keyed" if caller.token.is_none() => continue,
            "batch" => {
                let mut operation = json!({ "method": method.as_str(), "path": format!("{record}{suffix}") });
                body.iter().for_each(|body| operation["body"] = body.clone());
                header.iter().for_each(|_| operation["ifMatch"] = json!("\"1\""));
                knock = caller.request(Method::POST, "/v1/batch").json(json!({ "operations": [operation] }));
            }
            _ => {
                knock = header.iter().fold(knock, |knock, header| knock.header(header, "\"1\""));
                knock = body.iter().fold(knock, |knock, body| knock.json(body.clone()));
            }
        }
        if manner == "keyed" {
            knock = knock.header("idempotency-key", key);
        }
        world.cloud.faults().record();
        let mut answer = knock.send().await;
        let calls: Vec<String> = world.cloud.faults().calls().into_iter().map(|call| call.operation).collect();
        let is_priced = answer.headers.contains_key("undercroft-cost");
        assert!(answer.status != 404 || !is_priced, "{manner} {}", answer.asked);
        answer.body["requestId"] = Value::Null;
        reported.push((answer.status, calls.join(", "), answer.body));
    }
    reported
}

/// Tasks, and posts with referrers, so that a deletion checks them first.
async fn define(world: &World) {
    with_tasks(world).await;
    let own = "record.owner == auth.id";
    let posts = json!({ "name": "posts", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "title": { "type": "string" }, "slug": { "type": "string" },
        "status": { "type": "string" } } }, "unique": [["slug"]],
        "rules": { "read": own, "update": own, "delete": own } });
    let comments = json!({ "name": "comments", "schema": { "type": "object", "additionalProperties": false,
        "properties": { "post": { "type": "string", "relation": { "collection": "posts", "onDelete": "restrict" } } } } });
    let admin = world.admin().await;
    admin.put("/v1/collections/posts", posts).await.expect(201);
    admin.put("/v1/collections/comments", comments).await.expect(201);
    world.advance(std::time::Duration::from_secs(6));
}

#[tokio::test]
async fn hidden_deleted_and_missing_records_give_the_same_answer_after_the_same_calls() {
    let world = World::new().await;
    define(&world).await;
    let (admin, ada, bob) = (world.admin().await, world.user("ada").await, world.user("bob").await);
    for collection in [TASKS, POSTS] {
        let make = async |slug: &str| {
            let body = json!({ "title": "x".repeat(190), "owner": ada.id(), "slug": slug });
            admin.post(collection, body).await.expect(201).body
        };
        let at = |record: &Value| path(record).replace(TASKS, collection);
        let (hidden, pointed_at, deleted) = (at(&make("taken").await), make("pointed-at").await, make("deleted").await);
        if collection == POSTS {
            let comment = json!({ "post": pointed_at["id"] });
            admin.post("/v1/collections/comments/records", comment).await.expect(201);
        }
        admin.delete(&at(&deleted)).await.expect(204);
        let missing = format!("{collection}/{MISSING}");
        // Warm: definitions, keys and secrets are fetched once.
        bob.get(&missing).await.expect(404);
        bob.post("/v1/batch", json!({ "operations": [{ "method": "DELETE", "path": missing }] })).await.expect(404);
        for (caller, nowhere) in [(&bob, 404), (&world.stranger(), 401)] {
            for (nth, way) in ways(bob.id()).iter().enumerate() {
                let key = format!("\"{nth}\"");
                let of_missing = asked(&world, caller, &missing, way, &key).await;
                for other in [&hidden, &at(&pointed_at), &at(&deleted)] {
                    let of_other = asked(&world, caller, other, way, &key).await;
                    assert_eq!(of_other, of_missing, "{} {other}{}", way.0, way.1);
                }
                // Malformed requests are refused before any read.
                let is_wrong = way.3 == Some(json!({ "title": null })) && collection == TASKS && nowhere == 404;
                let expected = if is_wrong { 400 } else { nowhere };
                assert!(of_missing.iter().all(|(status, ..)| *status == expected), "{of_missing:?}");
            }
        }
        // The comparison works: the same requests about her own record make different calls.
        let hers = asked_alone(&world, &ada, &hidden).await;
        assert_ne!(hers, asked_alone(&world, &ada, &missing).await);
    }
}

async fn asked_alone(world: &World, caller: &Caller<'_>, record: &str) -> Vec<String> {
    world.cloud.faults().record();
    caller.patch(record, json!({ "slug": "another" })).await;
    world.cloud.faults().calls().into_iter().map(|call| call.operation).collect()
}
