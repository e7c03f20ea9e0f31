//! A stored answer belongs to the whole request (R92) and is kept for a day (R96).

use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::{Answer, Caller, World};
use axum::http::Method;
use serde_json::json;
use std::time::Duration;

async fn patch(caller: &Caller<'_>, at: &str, headers: &[(&'static str, &str)]) -> Answer {
    let knock = caller.request(Method::PATCH, at).header("idempotency-key", "\"k\"");
    let knock = headers.iter().fold(knock, |knock, (name, value)| knock.header(name, value));
    knock.json(json!({ "title": "u" })).send().await
}

#[tokio::test]
async fn a_precondition_is_part_of_the_request_bound_to_a_key() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    for (name, sent, others) in [
        ("if-match", "\"1-v\"", ["\"2-v\"", "*", "\"1-v\", \"2-v\""]),
        ("if-none-match", "\"9-v\"", ["\"8-v\"", "*", "\"9-v\", \"8-v\""]),
    ] {
        let at = path(&task(&ada, "t").await);
        let first = patch(&ada, &at, &[(name, sent)]).await.expect(200);
        assert_eq!(patch(&ada, &at, &[(name, sent)]).await.expect(200).text, first.text);
        assert_eq!(patch(&ada, &at, &[]).await.expect(422).code(), "key_reused", "without {name}");
        for other in others {
            assert_eq!(patch(&ada, &at, &[(name, other)]).await.expect(422).code(), "key_reused", "{name}: {other}");
        }
        assert_eq!(ada.get(&at).await.expect(200).body["version"], 2);
    }
}

#[tokio::test]
async fn a_parameter_is_part_of_the_request_bound_to_a_key() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    task(&ada, "t").await;
    let delete = async |query: &str| {
        let knock = admin.request(Method::DELETE, &format!("/v1/collections/tasks{query}"));
        knock.header("idempotency-key", "\"k\"").send().await
    };
    assert_eq!(delete("").await.expect(409).code(), "not_empty", "what failed keeps no key");
    delete("?records=delete").await.expect(202);
    delete("?records=delete").await.expect(202);
    assert_eq!(delete("").await.expect(422).code(), "key_reused");
    world.settle().await;
    world.advance(Duration::from_secs(60));
    world.settle().await;
}

/// The item of a stored answer exists longer than a day, because DynamoDB removes it late.
#[tokio::test]
async fn a_stored_answer_is_not_repeated_after_a_day() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let at = path(&task(&ada, "t").await);
    patch(&ada, &at, &[("if-match", "\"1-v\"")]).await.expect(200);
    world.advance(Duration::from_secs(86_399));
    let ada = world.user("ada").await;
    assert_eq!(patch(&ada, &at, &[("if-match", "\"1-v\"")]).await.expect(200).body["version"], 2);
    world.advance(Duration::from_secs(1));
    patch(&ada, &at, &[("if-match", "\"1-v\"")]).await.expect(412);
    // A different request is not affected by an expired key.
    patch(&ada, &at, &[("if-match", "\"3-v\"")]).await.expect(412);
    assert!(world.dump("RecordsTable").await.to_string().contains("i#"), "nothing has removed the item");
    assert_eq!(ada.get(&format!("{TASKS}?limit=100")).await.expect(200).body["items"][0]["version"], 2);
}
