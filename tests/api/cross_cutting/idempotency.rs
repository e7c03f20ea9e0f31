//! `Idempotency-Key`: every case (R92), stored in the transaction of its effect (R94), and kept for a day (R96).

use crate::imports::bucket::follow;
use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::{Answer, Caller, World};
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::task::Poll;
use std::time::Duration;
use undercroft::routes::{Route, all as routes};
use undercroft_local::Fault;

async fn keyed(caller: &Caller<'_>, method: Method, path: &str, key: &str, body: Value) -> Answer {
    caller.request(method, path).header("idempotency-key", key).json(body).send().await
}

async fn count(caller: &Caller<'_>) -> usize {
    caller.get(&format!("{TASKS}?limit=100")).await.expect(200).body["items"].as_array().unwrap().len()
}

/// A valid request for each operation that stores its answer: name, caller, path and body.
type Row<'a> = (&'static str, &'a Caller<'a>, String, Value);

async fn rows<'a>(world: &World, ada: &'a Caller<'a>, admin: &'a Caller<'a>) -> Vec<Row<'a>> {
    let at = path(&task(ada, "t").await);
    let schema = json!({ "schema": { "type": "object", "properties": {} } });
    admin.put("/v1/collections/doomed", schema.clone()).await.expect(201);
    let later = json!({ "type": "no.such_job", "maxAttempts": 1, "delaySeconds": 300 });
    let job = admin.post("/v1/jobs", later).await.expect(202).header("location").to_owned();
    world.settle().await;
    let new = format!("{TASKS}/01900000-0000-7000-8000-000000000001");
    let patch = json!({ "method": "PATCH", "path": at, "body": {} });
    vec![
        ("createRecord", ada, TASKS.to_owned(), json!({ "title": "new", "owner": ada.id() })),
        ("replaceRecord", ada, new, json!({ "title": "new", "owner": ada.id() })),
        (
            "upsertRecord",
            ada,
            format!("{TASKS}?unique=slug"),
            json!({ "title": "u", "owner": ada.id(), "slug": "one" }),
        ),
        ("patchRecord", ada, at.clone(), json!({ "title": "u" })),
        ("batch", ada, "/v1/batch".into(), json!({ "operations": [patch] })),
        ("deleteRecord", ada, at.clone(), json!({})),
        ("undeleteRecord", ada, format!("{at}/undelete"), json!({})),
        ("putCollection", admin, "/v1/collections/other".into(), schema),
        ("deleteCollection", admin, "/v1/collections/doomed".into(), json!({})),
        ("enqueueJob", admin, "/v1/jobs".into(), json!({ "type": "no.such_job", "maxAttempts": 1 })),
        ("uploadFile", admin, "/v1/jobs/uploads".into(), json!({ "format": "csv", "bytes": 7 })),
        ("cancelJob", admin, format!("{job}/cancel"), json!({})),
        ("redriveJob", admin, format!("{job}/redrive"), json!({})),
        ("redriveJobs", admin, "/v1/jobs/redrive".into(), json!({})),
    ]
}

/// Every operation that writes, with its function.
fn writing() -> Vec<(&'static str, Route)> {
    let all =
        routes().into_iter().flat_map(|(function, routes)| routes.into_iter().map(move |route| (function, route)));
    all.filter(|(_, route)| !route.is_safe()).collect()
}

#[tokio::test]
async fn an_idempotency_key_is_a_quoted_string_of_at_most_255_characters_on_every_route() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let (long, longest) = (format!("\"{}\"", "k".repeat(256)), format!("\"{}\"", "k".repeat(255)));
    let mut unseen: BTreeMap<&str, Route> = writing().into_iter().map(|(_, route)| (route.id, route)).collect();
    unseen.retain(|name, _| !refusing().contains(name));
    for (name, caller, path, body) in rows(&world, &ada, &admin).await {
        let route = unseen.remove(name).expect(name);
        let method: Method = route.method.to_uppercase().parse().unwrap();
        let ask = async |key: &str, body: &Value| {
            let knock = caller.request(method.clone(), &path).header("idempotency-key", key);
            let knock = if name == "replaceRecord" { knock.header("if-none-match", "*") } else { knock };
            knock.json(body.clone()).send().await
        };
        for wrong in ["k", "\"\"", "\"k", "k\"", "\"a\"b\"", "?1", ":aw==:", "\"a\\n\"", &long] {
            assert_eq!(ask(wrong, &body).await.expect(400).code(), "idempotency_key", "{name}: {wrong}");
        }
        let first = ask(&longest, &body).await;
        assert!(first.status < 300, "{name}: {}", first.text);
        let again = ask(&longest, &body).await;
        assert_eq!((first.status, &first.text), (again.status, &again.text), "{name}");
        for header in ["etag", "location", "content-type"] {
            assert_eq!(first.headers.get(header), again.headers.get(header), "{name}: {header}");
        }
        let other = ask(&longest, &json!({ "operations": [{}] })).await;
        // An invalid body is refused as such.
        let is_malformed = other.status == 400 && route.body.is_some();
        assert!(other.code() == "key_reused" || is_malformed, "{name}: {}", other.text);
    }
    let unseen: Vec<&&str> = unseen.keys().collect();
    assert!(unseen.is_empty(), "these write, and no row above says what a key does there: {unseen:?}");
    assert_eq!(count(&ada).await, 4);
    world.settle().await;
    world.advance(Duration::from_secs(301));
    world.settle().await;
}

/// The operations that store no answer: those of `auth`, whose answers have tokens (decision 24).
fn refusing() -> Vec<&'static str> {
    writing().into_iter().filter(|(function, _)| *function == "auth").map(|(_, route)| route.id).collect()
}

#[tokio::test]
async fn the_document_offers_a_key_where_one_is_kept_and_everywhere_else_it_is_refused() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    assert!(refusing().len() > 5);
    for (_, route) in writing() {
        let is_refused = refusing().contains(&route.id);
        assert_eq!(route.parameters.contains(&"IdempotencyKey"), !is_refused, "{}", route.id);
        if is_refused {
            let refused = keyed(&ada, Method::POST, route.path, "\"k\"", json!({})).await.expect(422);
            assert_eq!(refused.code(), "idempotency_not_offered", "{}", route.id);
        }
    }
    ada.get("/v1/auth/me").await.expect(200);
    world.settle().await;
}

#[tokio::test]
async fn a_key_names_one_uploaded_file_whose_link_is_signed_anew() {
    let world = World::new().await;
    let (admin, path) = (world.admin().await, "/v1/jobs/uploads");
    let ask = async |key: &str, bytes: u64| {
        keyed(&admin, Method::POST, path, key, json!({ "format": "csv", "bytes": bytes })).await
    };
    let first = ask("\"a\"", 7).await.expect(201).body;
    assert_eq!(ask("\"a\"", 8).await.expect(422).code(), "key_reused");
    assert_ne!(ask("\"b\"", 7).await.expect(201).body["key"], first["key"]);
    let at_once = join_all((0..16).map(|_| ask("\"c\"", 7))).await;
    let keys: HashSet<String> =
        at_once.iter().filter(|answer| answer.status == 201).map(|answer| answer.body["key"].to_string()).collect();
    assert!(keys.len() == 1 && at_once.iter().all(|answer| answer.status == 201 || answer.code() == "in_progress"));
    // An hour later the first link is no good any more, and nothing else has changed.
    world.advance(Duration::from_secs(3_600));
    let admin = world.admin().await;
    let again =
        keyed(&admin, Method::POST, path, "\"a\"", json!({ "format": "csv", "bytes": 7 })).await.expect(201).body;
    assert_eq!((&again["key"], &again["headers"]), (&first["key"], &first["headers"]));
    assert!(again["url"] != first["url"] && again["expiresAt"].as_str() > first["expiresAt"].as_str());
    let link = again["url"].as_str().unwrap();
    let content_type = [("content-type", again["headers"]["content-type"].as_str().unwrap())];
    let put = follow(Method::PUT, link, &content_type, "a,b\nc,d").await;
    assert_eq!(put.0, 200, "{}", String::from_utf8_lossy(&put.2));
    // No link is kept: whoever reads the table has none.
    assert!(!world.dump("RecordsTable").await.to_string().contains("X-Amz-Signature"));
    world.settle().await;
}

#[tokio::test]
async fn a_key_reused_with_another_payload_is_422_and_a_request_in_flight_is_409() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada, bob) = (world.admin().await, world.user("ada").await, world.user("bob").await);
    let body = |title: &str| json!({ "title": title, "owner": ada.id() });
    let create = async |title: &str| keyed(&ada, Method::POST, TASKS, "\"k\"", body(title)).await;
    // Another transaction writes the stored answer: the same request is in progress.
    world.cloud.faults().on("TransactWriteItems", 1, Fault::LastInConflict);
    assert_eq!(create("one").await.expect(409).code(), "in_progress");
    assert_eq!(count(&ada).await, 0);
    create("one").await.expect(201);
    assert_eq!(create("two").await.expect(422).code(), "key_reused");
    let job = |kind: &str| json!({ "type": kind, "maxAttempts": 1 });
    world.cloud.faults().on("TransactWriteItems", 1, Fault::LastInConflict);
    let enqueue = async |kind: &str| keyed(&admin, Method::POST, "/v1/jobs", "\"k\"", job(kind)).await;
    assert_eq!(enqueue("no.such_job").await.expect(409).code(), "in_progress");
    enqueue("no.such_job").await.expect(202);
    assert_eq!(enqueue("no.other_job").await.expect(422).code(), "key_reused");

    // The precondition is part of the request.
    let at = path(&task(&ada, "t").await);
    let patch = |tag: &str| ada.request(Method::PATCH, &at).header("idempotency-key", "\"p\"").header("if-match", tag);
    patch("\"1\"").json(json!({ "title": "u" })).send().await.expect(200);
    patch("\"1\"").json(json!({ "title": "u" })).send().await.expect(200);
    assert_eq!(patch("\"2\"").json(json!({ "title": "u" })).send().await.expect(422).code(), "key_reused");

    // Another principal's key is another key, even for the same record; and so is the same key on another route.
    keyed(&bob, Method::PATCH, &at, "\"p\"", json!({ "title": "u" })).await.expect(404);
    keyed(&ada, Method::DELETE, &at, "\"p\"", json!({})).await.expect(204);
    assert_eq!(count(&ada).await, 1);
    world.settle().await;
}

/// The execution environment ends at each await of a keyed request: it has had no effect or its whole effect, and the retry
/// completes it (R94).
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

/// DynamoDB removes expired items late, so a stored answer must not be used after a day (R96).
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

#[tokio::test]
async fn percent_encoding_does_not_change_the_path_a_key_is_bound_to() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let make = async |path: &str| {
        let request = ada.request(Method::POST, path).header("idempotency-key", "\"one\"");
        request.json(json!({ "title": "t", "owner": ada.id() })).send().await.expect(201).body
    };
    let first = make(TASKS).await;
    assert_eq!(make(&TASKS.replace("tasks", "t%61sks")).await, first);
    assert_eq!(ada.get(TASKS).await.expect(200).body["items"].as_array().unwrap().len(), 1);
}
