//! Conditional requests in two tables (R85): RFC 9110 section 13 in its order of precedence. Each row has its own record or
//! definition, so that rows are independent.

use crate::cross_cutting::openapi::operations;
use crate::cross_cutting::routes::{knock_with, takes};
use crate::world::{Answer, Caller, World, tasks};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const TASKS: &str = "/v1/collections/tasks/records";

/// Method, whether the target exists, headers, and the expected status. `{tag}` is the target's entity tag in quotes.
type Row = (Method, bool, &'static [(&'static str, &'static str)], u16);

/// Rows for a record; those that read apply to everything with an entity tag.
const ROWS: &[Row] = &[
    (Method::GET, true, &[], 200),
    (Method::GET, true, &[("if-none-match", "{tag}")], 304),
    (Method::HEAD, true, &[("if-none-match", "{tag}")], 304),
    (Method::GET, true, &[("if-none-match", "W/{tag}")], 304),
    (Method::GET, true, &[("if-none-match", "\"other\", {tag}")], 304),
    (Method::GET, true, &[("if-none-match", "\"other\""), ("if-none-match", "{tag}")], 304),
    (Method::GET, true, &[("if-none-match", "*")], 304),
    (Method::GET, true, &[("if-none-match", "\"other\"")], 200),
    (Method::GET, true, &[("if-match", "{tag}")], 200),
    (Method::GET, true, &[("if-match", "*")], 200),
    (Method::GET, true, &[("if-match", "\"other\"")], 412),
    (Method::GET, true, &[("if-match", "W/{tag}")], 412),
    (Method::GET, true, &[("if-match", "\"other\""), ("if-none-match", "{tag}")], 412),
    (Method::GET, true, &[("if-match", "{tag}"), ("if-none-match", "{tag}")], 304),
    (Method::GET, false, &[("if-match", "*")], 404),
    (Method::GET, false, &[("if-none-match", "*")], 404),
    (Method::PUT, true, &[], 428),
    (Method::PUT, true, &[("if-none-match", "\"other\"")], 428),
    (Method::PUT, true, &[("if-match", "{tag}")], 200),
    (Method::PUT, true, &[("if-match", "*")], 200),
    (Method::PUT, true, &[("if-match", "\"7\", {tag}")], 200),
    (Method::PUT, true, &[("if-match", "\"7\"")], 412),
    (Method::PUT, true, &[("if-match", "W/{tag}")], 412),
    (Method::PUT, true, &[("if-none-match", "*")], 412),
    (Method::PUT, false, &[("if-none-match", "*")], 201),
    (Method::PUT, false, &[("if-match", "*")], 404),
    (Method::PATCH, true, &[], 200),
    (Method::PATCH, true, &[("if-match", "{tag}")], 200),
    (Method::PATCH, true, &[("if-match", "*")], 200),
    (Method::PATCH, true, &[("if-match", "\"7\"")], 412),
    (Method::PATCH, true, &[("if-match", "W/{tag}")], 412),
    (Method::PATCH, true, &[("if-match", "{tag}"), ("if-none-match", "\"other\"")], 200),
    (Method::PATCH, true, &[("if-match", "\"7\""), ("if-none-match", "\"other\"")], 412),
    (Method::PATCH, true, &[("if-none-match", "\"other\"")], 200),
    (Method::PATCH, false, &[("if-match", "*")], 404),
    (Method::DELETE, true, &[], 204),
    (Method::DELETE, true, &[("if-match", "{tag}")], 204),
    (Method::DELETE, true, &[("if-match", "*")], 204),
    (Method::DELETE, true, &[("if-match", "\"7\"")], 412),
    (Method::DELETE, true, &[("if-match", "W/{tag}")], 412),
    (Method::DELETE, true, &[("if-none-match", "\"other\"")], 204),
    (Method::DELETE, false, &[("if-match", "*")], 404),
    (Method::GET, true, &[("if-none-match", "unquoted")], 400),
    (Method::PATCH, true, &[("if-match", "unquoted")], 400),
    (Method::DELETE, true, &[("if-match", "\"unclosed")], 400),
    (Method::PATCH, true, &[("if-none-match", "*")], 412),
    (Method::PATCH, true, &[("if-none-match", "{tag}")], 412),
    (Method::PATCH, true, &[("if-none-match", "W/{tag}")], 412),
    (Method::PATCH, true, &[("if-match", "{tag}"), ("if-none-match", "{tag}")], 412),
    (Method::PATCH, true, &[("if-match", "*"), ("if-none-match", "*")], 412),
    (Method::DELETE, true, &[("if-none-match", "*")], 412),
    (Method::DELETE, true, &[("if-none-match", "{tag}")], 412),
    (Method::DELETE, true, &[("if-match", "{tag}"), ("if-none-match", "{tag}")], 412),
    (Method::PUT, true, &[("if-match", "{tag}"), ("if-none-match", "*")], 412),
    (Method::PUT, true, &[("if-match", "{tag}"), ("if-none-match", "{tag}")], 412),
];

/// Rows for writing a definition without records.
const OF_DEFINITIONS: &[Row] = &[
    (Method::PUT, true, &[], 200),
    (Method::PUT, true, &[("if-match", "{tag}")], 200),
    (Method::PUT, true, &[("if-match", "*")], 200),
    (Method::PUT, true, &[("if-match", "\"7\", {tag}")], 200),
    (Method::PUT, true, &[("if-match", "\"7\"")], 412),
    (Method::PUT, true, &[("if-match", "W/{tag}")], 412),
    (Method::PUT, true, &[("if-match", "\"7\""), ("if-none-match", "\"other\"")], 412),
    (Method::PUT, true, &[("if-none-match", "\"other\"")], 200),
    (Method::PUT, true, &[("if-none-match", "*")], 412),
    (Method::PUT, true, &[("if-none-match", "{tag}")], 412),
    (Method::PUT, true, &[("if-none-match", "W/{tag}")], 412),
    (Method::PUT, true, &[("if-match", "{tag}"), ("if-none-match", "*")], 412),
    (Method::PUT, true, &[("if-match", "{tag}"), ("if-none-match", "{tag}")], 412),
    (Method::PUT, true, &[("if-match", "unquoted")], 400),
    (Method::PUT, false, &[], 201),
    (Method::PUT, false, &[("if-none-match", "*")], 201),
    (Method::PUT, false, &[("if-none-match", "\"1\"")], 201),
    (Method::PUT, false, &[("if-match", "*")], 412),
    (Method::PUT, false, &[("if-match", "\"1\"")], 412),
    (Method::PUT, false, &[("if-match", "*"), ("if-none-match", "*")], 412),
    (Method::DELETE, true, &[], 202),
    (Method::DELETE, true, &[("if-match", "{tag}")], 202),
    (Method::DELETE, true, &[("if-match", "*")], 202),
    (Method::DELETE, true, &[("if-match", "\"7\"")], 412),
    (Method::DELETE, true, &[("if-match", "W/{tag}")], 412),
    (Method::DELETE, true, &[("if-none-match", "\"other\"")], 202),
    (Method::DELETE, true, &[("if-none-match", "*")], 412),
    (Method::DELETE, true, &[("if-none-match", "{tag}")], 412),
    (Method::DELETE, true, &[("if-match", "{tag}"), ("if-none-match", "{tag}")], 412),
    (Method::DELETE, true, &[("if-none-match", "\"unclosed")], 400),
    (Method::DELETE, false, &[("if-match", "*")], 404),
    (Method::DELETE, false, &[("if-none-match", "*")], 404),
];

/// Sends the request of a row to this path, with this tag.
async fn ask(caller: &Caller<'_>, (method, _, headers, status): &Row, path: &str, tag: &str, body: &Value) -> Answer {
    let mut knock = caller.request(method.clone(), path);
    for (name, value) in *headers {
        knock = knock.header(name, &value.replace("{tag}", tag));
    }
    if matches!(*method, Method::PUT | Method::PATCH) {
        knock = knock.json(body.clone());
    }
    let answer = knock.send().await;
    assert_eq!(answer.status, *status, "{method} {path} {headers:?}: {}", answer.text);
    if *status == 304 {
        assert_eq!((answer.text.as_str(), answer.header("etag")), ("", tag), "{method} {path} {headers:?}");
    }
    answer
}

#[tokio::test]
async fn a_condition_decides_before_anything_is_done() {
    let world = World::new().await;
    world.admin().await.put("/v1/collections/tasks", tasks()).await.expect(201);
    let ada = world.user("ada").await;
    let changed = json!({ "title": "changed", "owner": ada.id() });
    for (nth, row) in ROWS.iter().enumerate() {
        let made = ada.post(TASKS, json!({ "title": "t", "owner": ada.id() })).await.expect(201);
        let (path, tag) = (made.header("location").to_owned(), made.header("etag").to_owned());
        let absent = format!("{TASKS}/01900000-0000-7000-8000-{nth:012x}");
        ask(&ada, row, if row.1 { &path } else { &absent }, &tag, &changed).await;
        if row.1 && row.3 >= 300 {
            let after = ada.get(&path).await.expect(200);
            assert_eq!(after.body, made.body, "{row:?}: nothing was done");
        }
    }
}

#[tokio::test]
async fn a_precondition_in_a_batch_works_like_the_header() {
    let world = World::new().await;
    world.admin().await.put("/v1/collections/tasks", tasks()).await.expect(201);
    let ada = world.user("ada").await;
    let writes = ROWS.iter().enumerate().filter(|(_, (method, ..))| !method.is_safe());
    for (nth, (method, there, headers, status)) in writes {
        let made = ada.post(TASKS, json!({ "title": "t", "owner": ada.id() })).await.expect(201);
        let (path, tag) = (made.header("location").to_owned(), made.header("etag").to_owned());
        let absent = format!("{TASKS}/01900000-0000-7000-8000-{nth:012x}");
        let mut operation = json!({ "method": method.as_str(), "path": if *there { &path } else { &absent } });
        if *method != Method::DELETE {
            operation["body"] = json!({ "title": "changed", "owner": ada.id() });
        }
        for (name, value) in *headers {
            let member = if *name == "if-match" { "ifMatch" } else { "ifNoneMatch" };
            operation[member] = json!(value.replace("{tag}", &tag));
        }
        let answer = ada.post("/v1/batch", json!({ "operations": [operation] })).await;
        let found =
            if answer.status == 200 { answer.body["results"][0]["status"].clone() } else { json!(answer.status) };
        assert_eq!(found, *status, "{operation}: {}", answer.text);
        if *there && *status >= 300 {
            assert_eq!(ada.get(&path).await.expect(200).body, made.body, "{operation}: nothing was done");
        }
    }
    for (member, value) in [("ifMatch", "*"), ("ifMatch", "\"1\""), ("ifNoneMatch", "*"), ("ifNoneMatch", "\"1\"")] {
        let body = json!({ "title": "made", "owner": ada.id() });
        let make = json!({ "method": "POST", "path": TASKS, "body": body, member: value });
        let refused = ada.post("/v1/batch", json!({ "operations": [make] })).await.expect(400);
        let error = &refused.body["operations"][0]["errors"][0];
        assert_eq!(error["pointer"], format!("/{member}"), "{}", refused.text);
        assert_eq!(error["code"], "condition_not_offered");
    }
}

#[tokio::test]
async fn a_condition_on_a_definition_decides_as_one_on_a_record_does() {
    let world = World::new().await;
    let admin = world.admin().await;
    let definition = |name: &str, properties: Value| json!({ "name": name, "schema": { "type": "object", "additionalProperties": false, "properties": properties } });
    let (old, new) = (json!({}), json!({ "added": { "type": "string" } }));
    for (nth, row) in OF_DEFINITIONS.iter().enumerate() {
        let name = format!("c{nth}");
        let path = format!("/v1/collections/{name}");
        let mut tag = "\"1\"".to_owned();
        if row.1 {
            tag = admin.put(&path, definition(&name, old.clone())).await.expect(201).header("etag").to_owned();
        }
        let before = admin.get(&path).await;
        ask(&admin, row, &path, &tag, &definition(&name, new.clone())).await;
        let after = admin.get(&path).await;
        let reported = |answer: &Answer| (answer.status, answer.body["schema"].clone(), answer.body["status"].clone());
        let is_same = reported(&before) == reported(&after);
        assert_eq!(is_same, row.3 >= 300, "{row:?}: {}", after.text);
    }
    // The purge of a deleted collection waits until the deletion is in force.
    world.settle().await;
    world.advance(Duration::from_secs(60));
    world.settle().await;
}

#[tokio::test]
async fn a_condition_on_reading_a_definition_or_a_schema_decides_as_one_on_reading_a_record_does() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    let ada = world.user("ada").await;
    for row in ROWS.iter().filter(|(method, ..)| method.is_safe()) {
        for (caller, there, absent) in [
            (&admin, "/v1/collections/tasks", "/v1/collections/ghosts"),
            (&admin, "/v1/collections/users", "/v1/collections/ghosts"),
            (&admin, "/v1/collections/tasks/schema", "/v1/collections/ghosts/schema"),
            (&ada, "/v1/collections/tasks/schema", "/v1/collections/ghosts/schema"),
        ] {
            let tag = caller.get(there).await.expect(200).header("etag").to_owned();
            ask(caller, row, if row.1 { there } else { absent }, &tag, &Value::Null).await;
        }
    }
}

#[tokio::test]
async fn a_precondition_without_a_target_is_refused_and_nothing_is_done() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    let ada = world.user("ada").await;
    let made = ada.post(TASKS, json!({ "title": "t", "owner": ada.id() })).await.expect(201);
    let id = made.body["id"].as_str().unwrap();
    let document = undercroft_docs::openapi::document(&[]);
    let mut refused = 0;
    for (method, route, operation) in operations(&document) {
        let path = route.replace("{collection}", "tasks").replace("{id}", id);
        for name in ["If-Match", "If-None-Match"] {
            if takes(&document, operation, "header", Some(name)) {
                continue;
            }
            for (caller, value) in [(&world.stranger(), "\"1\""), (&ada, "*"), (&admin, "unquoted")] {
                let answer = knock_with(caller, &method, &path, &[(name, value)]).await.expect(400);
                assert_eq!(answer.code(), "condition_not_offered", "{method} {path} {name}: {}", answer.text);
                assert!(answer.body["detail"].as_str().unwrap().starts_with(name), "{}", answer.text);
                assert_eq!(answer.cost(), (0.0, 0.0, 0));
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
    assert_eq!(ada.get(TASKS).await.expect(200).body["items"], json!([made.body]));
    ada.get("/v1/auth/me").await.expect(200);
    world.settle().await;
}
