//! `Idempotency-Key`, row by row (R92), its record and its effect in one (R94), and how long it is kept (R96).

use crate::data::{TASKS, path, task, with_tasks};
use crate::world::{Answer, Caller, World};
use axum::http::Method;
use serde_json::{Value, json};
use std::task::Poll;
use undercroft_local::Mishap;

async fn keyed(caller: &Caller<'_>, method: Method, path: &str, key: &str, body: Value) -> Answer {
    caller.request(method, path).header("idempotency-key", key).json(body).send().await
}

async fn count(caller: &Caller<'_>) -> usize {
    caller.get(&format!("{TASKS}?limit=100")).await.expect(200).body["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_key_is_a_quoted_string_of_at_most_255_characters_at_every_door_that_writes() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let at = path(&task(&ada, "t").await);
    let (long, longest) = (format!("\"{}\"", "k".repeat(256)), format!("\"{}\"", "k".repeat(255)));
    let doors = [
        (&ada, Method::POST, TASKS.to_owned(), json!({ "title": "new", "owner": ada.id() })),
        (&ada, Method::PATCH, at.clone(), json!({ "title": "u" })),
        (
            &ada,
            Method::POST,
            "/v1/batch".into(),
            json!({ "operations": [{ "method": "PATCH", "path": at, "body": {} }] }),
        ),
        (
            &admin,
            Method::PUT,
            "/v1/collections/other".into(),
            json!({ "schema": { "type": "object", "properties": {} } }),
        ),
        (&admin, Method::POST, "/v1/jobs".into(), json!({ "type": "no.such_job", "maxAttempts": 1 })),
        (&ada, Method::DELETE, at.clone(), json!({})),
        (&ada, Method::POST, format!("{at}/undelete"), json!({})),
    ];
    for (caller, method, door, body) in doors {
        for wrong in ["k", "\"\"", "\"k", "k\"", "\"a\"b\"", "?1", ":aw==:", "\"a\\n\"", &long] {
            let refused = keyed(caller, method.clone(), &door, wrong, body.clone()).await.expect(400);
            assert_eq!(refused.code(), "idempotency_key", "{method} {door}: {wrong}");
        }
        let first = keyed(caller, method.clone(), &door, &longest, body.clone()).await;
        assert!(first.status < 300, "{method} {door}: {}", first.text);
        let again = keyed(caller, method.clone(), &door, &longest, body.clone()).await;
        assert_eq!((first.status, &first.text), (again.status, &again.text), "{method} {door}");
        for name in ["etag", "location", "content-type"] {
            assert_eq!(first.headers.get(name), again.headers.get(name), "{method} {door}: {name}");
        }
        if method != Method::DELETE && !door.ends_with("undelete") {
            let other = keyed(caller, method.clone(), &door, &longest, json!({ "operations": [{}] })).await;
            assert!(matches!(other.status, 400 | 422), "{method} {door}: {}", other.text);
        }
    }
    assert_eq!(count(&ada).await, 2);
    world.settle().await;
}

#[tokio::test]
async fn another_payload_under_the_same_key_is_422_and_a_request_in_flight_409() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada, bob) = (world.admin().await, world.user("ada").await, world.user("bob").await);
    let body = |title: &str| json!({ "title": title, "owner": ada.id() });
    let create = async |title: &str| keyed(&ada, Method::POST, TASKS, "\"k\"", body(title)).await;
    // Somebody else's transaction is at work on the kept answer: the same request is being done right now.
    world.cloud.faults().on("TransactWriteItems", 1, Mishap::LastInConflict);
    assert_eq!(create("one").await.expect(409).code(), "in_progress");
    assert_eq!(count(&ada).await, 0);
    create("one").await.expect(201);
    assert_eq!(create("two").await.expect(422).code(), "key_reused");
    let job = |kind: &str| json!({ "type": kind, "maxAttempts": 1 });
    world.cloud.faults().on("TransactWriteItems", 1, Mishap::LastInConflict);
    let enqueue = async |kind: &str| keyed(&admin, Method::POST, "/v1/jobs", "\"k\"", job(kind)).await;
    assert_eq!(enqueue("no.such_job").await.expect(409).code(), "in_progress");
    enqueue("no.such_job").await.expect(202);
    assert_eq!(enqueue("no.other_job").await.expect(422).code(), "key_reused");

    // What a condition says is part of what is asked for.
    let at = path(&task(&ada, "t").await);
    let patch = |tag: &str| ada.request(Method::PATCH, &at).header("idempotency-key", "\"p\"").header("if-match", tag);
    patch("\"1\"").json(json!({ "title": "u" })).send().await.expect(200);
    patch("\"1\"").json(json!({ "title": "u" })).send().await.expect(200);
    assert_eq!(patch("\"2\"").json(json!({ "title": "u" })).send().await.expect(422).code(), "key_reused");

    // Another principal's key is another key, even for the same record; and so is the same key at another door.
    keyed(&bob, Method::PATCH, &at, "\"p\"", json!({ "title": "u" })).await.expect(404);
    keyed(&ada, Method::DELETE, &at, "\"p\"", json!({})).await.expect(204);
    assert_eq!(count(&ada).await, 1);
    world.settle().await;
}

/// The execution environment ends at any of the moments at which a keyed request waits for something: 0 effects or 1, and the next
/// try settles which (R94).
#[tokio::test]
async fn a_keyed_request_killed_at_any_await_has_its_effect_once_when_it_is_asked_again() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let mut kills = 0;
    for wakes in 0.. {
        let body = json!({ "title": format!("t{wakes}"), "owner": ada.id(), "slug": format!("s{wakes}") });
        let key = format!("\"k{wakes}\"");
        let before = count(&ada).await;
        let killed = {
            let mut first = std::pin::pin!(keyed(&ada, Method::POST, TASKS, &key, body.clone()));
            let mut left = wakes;
            std::future::poll_fn(|context| match (left, first.as_mut().poll(context)) {
                (_, Poll::Ready(_)) => Poll::Ready(false),
                (0, Poll::Pending) => Poll::Ready(true),
                (_, Poll::Pending) => {
                    left -= 1;
                    Poll::Pending
                }
            })
            .await
        };
        let between = count(&ada).await - before;
        assert!(between <= 1, "killed at {wakes}: {between} effects");
        let settled = keyed(&ada, Method::POST, TASKS, &key, body.clone()).await.expect(201);
        assert_eq!(keyed(&ada, Method::POST, TASKS, &key, body).await.expect(201).text, settled.text);
        assert_eq!(count(&ada).await - before, 1, "killed at {wakes}");
        kills += usize::from(killed);
        ada.delete(&path(&settled.body)).await.expect(204);
        if !killed {
            break;
        }
    }
    assert!(kills >= 1, "it waited at least for its write");
}

/// DynamoDB removes expired items late, so an answer that is still there must not count when its day is over (R96).
#[tokio::test]
async fn an_answer_is_kept_for_a_day_and_its_item_says_until_when() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    keyed(&ada, Method::POST, TASKS, "\"k\"", json!({ "title": "t", "owner": ada.id() })).await.expect(201);
    let stored = world.dump("RecordsTable").await;
    let kept: Vec<&Value> =
        stored.as_array().unwrap().iter().filter(|item| item["pk"]["S"].as_str().unwrap().starts_with("i#")).collect();
    assert_eq!(kept.len(), 1);
    let until: u64 = kept[0]["ttl"]["N"].as_str().unwrap().parse().unwrap();
    assert_eq!(until, world.now() / 1000 + 86_400);
    assert!(!kept[0].to_string().contains("\"k\\\\\\\"\""), "the key itself is not stored");
}
