//! Each function has its own minimal role, and the real calls are checked against it as in AWS.

use crate::imports::bucket::{files, follow};
use crate::world::{Caller, World, tasks};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};
use undercroft::aws::objects::{Link, LinkKind};

const RECORDS: &str = "undercroft-local-RecordsTable";
const IDENTITY: &str = "undercroft-local-IdentityTable";
const JOBS: &str = "undercroft-local-JobsTable";

fn get(table: &str, key: Value) -> (&'static str, Value) {
    ("DynamoDB_20120810.GetItem", json!({ "TableName": table, "Key": key }))
}

fn put(table: &str, item: Value) -> (&'static str, Value) {
    ("DynamoDB_20120810.PutItem", json!({ "TableName": table, "Item": item }))
}

fn key(pk: &str) -> Value {
    json!({ "pk": { "S": pk }, "sk": { "S": "x" } })
}

fn id(id: &str) -> Value {
    json!({ "id": { "S": id } })
}

fn parameter(name: &str) -> (&'static str, Value) {
    ("AmazonSSM.GetParameter", json!({ "Name": format!("/undercroft/undercroft-local/{name}") }))
}

fn send(queue: &str) -> (&'static str, Value) {
    ("AmazonSQS.SendMessage", json!({ "QueueUrl": format!("undercroft-local-{queue}"), "MessageBody": "x" }))
}

#[tokio::test]
async fn a_call_outside_a_functions_role_is_denied() {
    let world = World::new().await;
    let scan = |table: &str| ("DynamoDB_20120810.Scan", json!({ "TableName": table }));
    let denied = [
        ("auth", put(RECORDS, key("d"))),
        ("auth", put(RECORDS, key("c#tasks#0"))),
        ("auth", get(RECORDS, key("c#tasks#0"))),
        ("auth", get(JOBS, id("1"))),
        ("auth", send("JobsQueue")),
        ("auth", parameter("cursor")),
        ("collections", get(IDENTITY, key("a"))),
        ("collections", put(RECORDS, key("k"))),
        ("collections", put(RECORDS, key("c#tasks#0"))),
        ("collections", parameter("signing")),
        ("records", get(IDENTITY, key("a"))),
        ("records", put(IDENTITY, key("a"))),
        ("records", put(RECORDS, key("d"))),
        ("records", put(RECORDS, key("k"))),
        ("records", scan(RECORDS)),
        ("records", send("JobsQueue")),
        ("records", parameter("signing")),
        ("records", parameter("seal")),
        ("jobs", get(IDENTITY, key("a"))),
        ("jobs", get(RECORDS, key("c#users#0"))),
        ("jobs", put(RECORDS, key("k"))),
        ("jobs", put(RECORDS, key("d"))),
        ("jobs", send("JobsQueue")),
        ("jobs", parameter("seal")),
        ("relay", get(IDENTITY, key("a"))),
        ("relay", get(JOBS, id("1"))),
        ("relay", parameter("seal")),
        ("worker", get(IDENTITY, key("a"))),
        ("worker", put(IDENTITY, key("a"))),
        ("worker", put(RECORDS, key("k"))),
        ("worker", put(JOBS, id("1"))),
        ("worker", send("JobsQueue")),
        ("worker", parameter("signing")),
    ];
    for (function, (action, body)) in denied {
        let answer = world.cloud.call_as(function, action, &body).await;
        let refused = answer.expect_err(&format!("{function} may {action} {body}"));
        assert!(refused.is("AccessDeniedException"), "{function} {action} {body}: {refused}");
        // The same call is valid: a role with more rights gets an answer, even if only a 404.
        let allowed = world.cloud.call(action, &body).await;
        assert!(
            !matches!(&allowed, Err(error) if error.is("AccessDeniedException") || error.is("ValidationException"))
        );
    }
    // Calls of this test itself do not count.
    world.cloud.call("AmazonSQS.PurgeQueue", &json!({ "QueueUrl": "undercroft-local-JobsQueue" })).await.unwrap();
}

#[tokio::test]
async fn every_grant_of_every_role_is_needed_by_something_the_system_does() {
    let mut relied_on = BTreeSet::new();
    let mut granted = BTreeSet::new();
    // The first page creates the key that encrypts cursors; either function may do it.
    for first in ["/v1/collections/tasks/records", "/v1/jobs"] {
        let world = World::new().await;
        do_everything(&world, first).await;
        relied_on.extend(world.cloud.grants_relied_on());
        granted = world.cloud.grants();
    }
    // Logs are written by Lambda itself, which no local cloud does.
    let idle: Vec<_> = granted.difference(&relied_on).filter(|grant| !grant.action.starts_with("logs:")).collect();
    assert!(idle.is_empty(), "take these out of their roles, or show below what cannot do without: {idle:#?}");
}

/// Uses every permission once. `first` is paged through first.
async fn do_everything(world: &World, first: &str) {
    let admin = world.admin().await;
    let ada = world.user("ada").await;
    let refreshed = json!({ "refreshToken": ada.refresh_token });
    let ada = world.signed_in(&world.stranger().post("/v1/auth/refresh", refreshed).await.expect(200).body);
    ada.get("/v1/auth/sessions").await.expect(200);

    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    admin.get("/v1/collections").await.expect(200);
    admin.get("/openapi.json").await.expect(200);
    let records = "/v1/collections/tasks/records";
    let task = |slug: &str| json!({ "title": "a task", "slug": slug, "owner": ada.id() });
    let one = ada.post(records, task("one")).await.expect(201).header("location").to_owned();
    ada.post(records, task("two")).await.expect(201);
    ada.get(&format!("{records}?sort=status,-priority")).await.expect(200);
    let patched = ada.patch(&one, json!({ "title": "another" })).await.expect(200);
    let replace = ada.request(Method::PUT, &one).header("if-match", patched.header("etag"));
    replace.json(task("three")).send().await.expect(200);
    ada.delete(&one).await.expect(204);
    // A released unique value is taken over, on the condition that nobody else has taken it.
    ada.post(records, task("three")).await.expect(201);

    let doomed = |attempts: u64| {
        json!({ "type": "email.send", "maxAttempts": attempts,
                "payload": { "to": "x@example.invalid", "subject": "s", "text": "t" } })
    };
    let dead = admin.post("/v1/jobs", doomed(1)).await.expect(202).header("location").to_owned();
    let once = admin.request(Method::POST, "/v1/jobs").header("idempotency-key", "\"k\"");
    once.json(doomed(2)).send().await.expect(202);
    world.settle().await;
    admin.get(&dead).await.expect(200);
    admin.post(&format!("{dead}/redrive"), json!({})).await.expect(200);
    world.settle().await;
    world.advance(Duration::from_secs(120));
    world.settle().await;

    for path in [first, records, "/v1/jobs"] {
        let page = admin.get(&format!("{path}?limit=1")).await.expect(200).body;
        let cursor = page["nextCursor"].as_str().unwrap();
        admin.get(&format!("{path}?limit=1&cursor={cursor}")).await.expect(200);
    }
    ada.post("/v1/auth/signout", json!({})).await.expect(204);
    follow_deletions(world, &admin).await;
    change_definitions(world, &admin).await;
    move_files(world).await;
}

fn collection(name: &str, properties: Value, indexes: Value) -> Value {
    let schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    json!({ "name": name, "schema": schema, "indexes": indexes, "counts": true, "changes": true })
}

fn to(collection: &str, on_delete: &str) -> Value {
    json!({ "type": "string", "relation": { "collection": collection, "onDelete": on_delete } })
}

/// Makes a record, and returns its path and its id.
async fn make(admin: &Caller<'_>, collection: &str, body: Value) -> (String, String) {
    let made = admin.post(&format!("/v1/collections/{collection}/records"), body).await.expect(201);
    (made.header("location").to_owned(), made.body["id"].as_str().unwrap().to_owned())
}

/// Long enough for the change to be in force everywhere, and for jobs that wait for that.
async fn work(world: &World) {
    for _ in 0..3 {
        world.settle().await;
        world.advance(Duration::from_secs(16));
    }
    world.settle().await;
}

/// Deleting a post deletes its comments; a like restricts the deletion of its post.
async fn follow_deletions(world: &World, admin: &Caller<'_>) {
    let by_post = json!([{ "name": "by_post", "partition": ["post"] }]);
    for definition in [
        collection("posts", json!({ "title": { "type": "string" } }), json!([])),
        collection("comments", json!({ "post": to("posts", "cascade") }), by_post),
        collection("likes", json!({ "post": to("posts", "restrict") }), json!([])),
    ] {
        admin.put(&format!("/v1/collections/{}", definition["name"].as_str().unwrap()), definition).await.expect(201);
    }
    let (post, post_id) = make(admin, "posts", json!({ "title": "x" })).await;
    let (comment, _) = make(admin, "comments", json!({ "post": post_id })).await;
    admin.get("/v1/collections/comments/records?expand=post").await.expect(200);
    let (like, _) = make(admin, "likes", json!({ "post": post_id })).await;
    admin.delete(&post).await.expect(409);
    admin.delete(&like).await.expect(204);
    // The deletion of the post removes the old reference of the like.
    admin.delete(&post).await.expect(204);
    work(world).await;
    admin.get(&comment).await.expect(404);
    cascade_over_a_restriction(world, admin).await;
    admin.delete("/v1/collections/likes").await.expect(202);
    work(world).await;
}

/// The definition changes after a deletion, so that its cascade meets records that others restrict: the worker removes an old
/// reference.
async fn cascade_over_a_restriction(world: &World, admin: &Caller<'_>) {
    let (post, post_id) = make(admin, "posts", json!({})).await;
    let (comment, comment_id) = make(admin, "comments", json!({ "post": post_id })).await;
    admin.delete(&post).await.expect(204);
    let by_post = json!([{ "name": "by_post", "partition": ["post"] }]);
    let comments = collection("comments", json!({ "post": to("posts", "restrict") }), by_post);
    admin.put("/v1/collections/comments", comments).await.expect(202);
    let properties = json!({ "post": to("posts", "restrict"), "comment": to("comments", "restrict") });
    admin.put("/v1/collections/likes", collection("likes", properties, json!([]))).await.expect(200);
    world.advance(Duration::from_secs(6));
    let (like, _) = make(admin, "likes", json!({ "comment": comment_id })).await;
    admin.delete(&like).await.expect(204);
    work(world).await;
    admin.get(&comment).await.expect(404);
}

/// A title becomes unique on existing posts.
async fn change_definitions(world: &World, admin: &Caller<'_>) {
    make(admin, "posts", json!({ "title": "x" })).await;
    // A dry run looks for the records that a post points at; two of them need a batch.
    let (_, post) = make(admin, "posts", json!({ "title": "z" })).await;
    make(admin, "posts", json!({ "title": post })).await;
    let mut unique = collection("posts", json!({ "title": { "type": "string" } }), json!([]));
    unique["unique"] = json!([["title"]]);
    // The second put looks whether the job of the first goes on.
    for _ in 0..2 {
        admin.put("/v1/collections/posts", unique.clone()).await.expect(202);
    }
    let related = collection("posts", json!({ "title": to("posts", "restrict") }), json!([]));
    admin.put("/v1/collections/posts?dryRun=true", related).await.expect(200);
    world.advance(Duration::from_secs(6));
    // A record claims the title before the job reaches the post that had it first, and releases it.
    let (second, _) = make(admin, "posts", json!({ "title": "x" })).await;
    admin.patch(&second, json!({ "title": "y" })).await.expect(200);
    work(world).await;
    let ready = admin.get("/v1/collections/posts").await.expect(200).body;
    assert_eq!((&ready["status"], &ready["unique"]), (&json!("ready"), &json!([["title"]])));
}

/// The calls to the bucket that imports and exports make.
async fn move_files(world: &World) {
    let worker = files(world, "worker");
    worker.put("exports/1", "text/csv", b"a".to_vec()).await.unwrap();
    worker.read("exports/1", 0..1, None).await.unwrap();
    assert_eq!(worker.head("uploads/1").await.unwrap(), None);

    let jobs = files(world, "jobs");
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(world.now());
    let link = |key, kind| jobs.link(&Link { kind, key, good_for: Duration::from_secs(60) }, now).unwrap();
    let upload = link("uploads/1", LinkKind::Upload { length: 1, content_type: "text/csv" });
    assert_eq!(follow(Method::PUT, &upload, &[("content-type", "text/csv")], "b").await.0, 200);
    let download = link("exports/1", LinkKind::Download { saved_as: "1.csv" });
    assert_eq!(follow(Method::GET, &download, &[], "").await.0, 200);
}
