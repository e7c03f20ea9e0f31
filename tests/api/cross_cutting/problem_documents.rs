//! Errors outside handlers: a method that a path does not allow (R88), and a failed AWS call (R87).

use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::{Answer, World};
use axum::http::Method;
use serde_json::json;
use undercroft_local::Fault;

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_refused_by_a_problem_document() {
    let world = World::new().await;
    with_tasks(&world).await;
    let admin = world.admin().await;
    let at = path(&task(&admin, "t").await);
    for (method, path, allowed) in [
        (Method::GET, "/v1/auth/signin", "POST"),
        (Method::DELETE, "/v1/auth/me", "GET,HEAD"),
        (Method::POST, "/.well-known/jwks.json", "GET,HEAD"),
        (Method::PATCH, "/v1/collections/tasks", "GET,HEAD,PUT,DELETE"),
        (Method::DELETE, TASKS, "GET,HEAD,POST,PUT"),
        (Method::POST, at.as_str(), "GET,HEAD,PUT,PATCH,DELETE"),
        (Method::TRACE, at.as_str(), "GET,HEAD,PUT,PATCH,DELETE"),
        (Method::GET, "/v1/batch", "POST"),
        (Method::PUT, "/v1/jobs", "GET,HEAD,POST"),
    ] {
        let refused = admin.request(method, path).json(json!({})).send().await.expect(405);
        assert_eq!((refused.code(), &refused.body["status"]), ("method_not_allowed", &json!(405)), "{}", refused.asked);
        let mut reported: Vec<&str> = refused.header("allow").split(',').map(str::trim).collect();
        let mut allowed: Vec<&str> = allowed.split(',').collect();
        reported.sort_unstable();
        allowed.sort_unstable();
        assert_eq!(reported, allowed, "{}", refused.asked);
    }
    world.settle().await;
}

/// Words that would reveal internals: the SDK, tables, keys, addresses.
const INSIDE: [&str; 12] = [
    "dynamodb",
    "dynamo",
    "ssm",
    "aws",
    "table",
    "undercroft-local",
    "arn:",
    "http",
    "127.0.0.1",
    "item",
    ".rs",
    "error",
];

#[track_caller]
fn tells_nothing(answer: Answer, what: &str) {
    let answer = answer.expect(503);
    assert_eq!(answer.code(), "unavailable", "{what}: {}", answer.text);
    assert!(answer.header("retry-after").parse::<u32>().unwrap() >= 1, "{what}");
    let detail = answer.body["detail"].as_str().unwrap().to_lowercase();
    for inside in INSIDE {
        assert!(!detail.contains(inside), "{what}: {detail}");
    }
    let mut members: Vec<&str> = answer.body.as_object().unwrap().keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["code", "detail", "requestId", "status", "title", "type"], "{what}: {}", answer.text);
}

#[tokio::test]
async fn no_answer_reveals_the_error_of_an_aws_service() {
    let world = World::that_tries_once().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let at = path(&task(&ada, "t").await);
    let body = json!({ "title": "t", "owner": ada.id() });
    let with_slug = json!({ "title": "t", "owner": ada.id(), "slug": "s" });
    for fault in [Fault::FailedBefore, Fault::LostRequest, Fault::TornAnswer, Fault::Throttled] {
        for operation in ["GetItem", "Query", "PutItem", "UpdateItem", "TransactWriteItems"] {
            world.cloud.faults().on(operation, 1, fault);
            let answer = match operation {
                "GetItem" => ada.get(&at).await,
                "Query" => ada.get(TASKS).await,
                "PutItem" => ada.post(TASKS, body.clone()).await,
                "UpdateItem" => ada.patch(&at, json!({ "title": "u" })).await,
                _ => ada.post(TASKS, with_slug.clone()).await,
            };
            assert_eq!(world.cloud.faults().clear(), 0, "{operation} was called");
            tells_nothing(answer, &format!("{operation}, {fault:?}"));
        }
        world.cloud.faults().on("PutItem", 1, fault);
        let job = admin.post("/v1/jobs", json!({ "type": "no.such_job", "maxAttempts": 1 })).await;
        tells_nothing(job, &format!("a job, {fault:?}"));
        world.cloud.faults().clear();
        world.settle().await;
    }
}
