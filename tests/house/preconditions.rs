//! Conditional requests on a record, in one table (R85): RFC 9110 section 13 in its order of precedence. Each row is asked of
//! a record of its own, so that no row depends on another.

use crate::world::{World, tasks};
use axum::http::Method;
use serde_json::json;

const TASKS: &str = "/v1/collections/tasks/records";

/// What is asked: the method, whether of a record that is there, the headers, and the status of the answer. `{tag}` is the
/// record's own entity tag, in its quotes.
type Row = (Method, bool, &'static [(&'static str, &'static str)], u16);

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

#[tokio::test]
async fn a_condition_decides_before_anything_is_done() {
    let world = World::new().await;
    world.admin().await.put("/v1/collections/tasks", tasks()).await.expect(201);
    let ada = world.user("ada").await;
    for (nth, (method, there, headers, status)) in ROWS.iter().enumerate() {
        let made = ada.post(TASKS, json!({ "title": "t", "owner": ada.id() })).await.expect(201);
        let (path, tag) = (made.header("location").to_owned(), made.header("etag").to_owned());
        let absent = format!("{TASKS}/01900000-0000-7000-8000-{nth:012x}");
        let mut knock = ada.request(method.clone(), if *there { &path } else { &absent });
        for (name, value) in *headers {
            knock = knock.header(name, &value.replace("{tag}", &tag));
        }
        if matches!(*method, Method::PUT | Method::PATCH) {
            knock = knock.json(json!({ "title": "changed", "owner": ada.id() }));
        }
        let answer = knock.send().await;
        assert_eq!(answer.status, *status, "{method} {headers:?}: {}", answer.text);
        if *status == 304 {
            assert_eq!((answer.text.as_str(), answer.header("etag")), ("", tag.as_str()), "{method} {headers:?}");
        }
        if *there && *status >= 300 {
            let after = ada.get(&path).await.expect(200);
            assert_eq!(after.body, made.body, "{method} {headers:?}: nothing was done");
        }
    }
}
