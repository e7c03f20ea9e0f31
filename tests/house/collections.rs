//! Collections: what a definition promises, kept: unique values, relations, rules that are served, changes without harm.

use crate::data::{TASKS, path, task, with_tasks};
use crate::world::{World, tasks};
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::json;

#[tokio::test]
async fn a_unique_value_belongs_to_one_record_and_is_free_once_that_lets_go() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let with_slug = json!({ "title": "t", "owner": ada.id(), "slug": "one" });
    let answers = join_all((0..16).map(|_| ada.post(TASKS, with_slug.clone()))).await;
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert_eq!(won.len(), 1);
    for answer in &answers {
        assert!([201, 409, 503].contains(&answer.status), "{}", answer.text);
    }
    let first = won[0].body.clone();
    assert_eq!(ada.post(TASKS, with_slug.clone()).await.expect(409).code(), "not_unique");

    // Renamed, the old value is free; renamed back, it is taken again.
    ada.patch(&path(&first), json!({ "slug": "two" })).await.expect(200);
    let second = ada.post(TASKS, with_slug.clone()).await.expect(201).body;
    ada.patch(&path(&first), json!({ "slug": "one" })).await.expect(409);
    ada.delete(&path(&second)).await.expect(204);
    ada.patch(&path(&first), json!({ "slug": "one" })).await.expect(200);
    ada.post(TASKS, with_slug).await.expect(409);
    ada.patch(&path(&first), json!({ "slug": null })).await.expect(200);
    ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "slug": "one" })).await.expect(201);
}

#[tokio::test]
async fn one_and_one_point_zero_are_one_unique_value() {
    let world = World::new().await;
    let numbers = json!({ "name": "numbers", "unique": [["n"]], "schema": { "type": "object", "additionalProperties": false,
        "properties": { "n": { "type": "number" } } }, "rules": { "create": "auth.id != ''" } });
    world.admin().await.put("/v1/collections/numbers", numbers).await.expect(201);
    let ada = world.user("ada").await;
    let make = async |text: &str| {
        let body = format!("{{\"n\":{text}}}");
        let knock =
            ada.request(Method::POST, "/v1/collections/numbers/records").header("content-type", "application/json");
        knock.raw(body).send().await.status
    };
    assert_eq!(make("1.0").await, 201);
    for same in ["1", "1.0", "1.00", "1e0", "10e-1"] {
        assert_eq!(make(same).await, 409, "{same}");
    }
    assert_eq!(make("1.5").await, 201);
    assert_eq!(make("1.50").await, 409);
}

#[tokio::test]
async fn a_relation_points_at_somebody_who_is_there() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, bob) = (world.admin().await, world.user("bob").await);
    admin.post(TASKS, json!({ "title": "for bob", "owner": bob.id() })).await.expect(201);
    for nobody in ["017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "nobody"] {
        let refused = admin.post(TASKS, json!({ "title": "for nobody", "owner": nobody })).await.expect(400);
        assert_eq!(
            (refused.body["errors"][0]["pointer"].as_str(), refused.body["errors"][0]["code"].as_str()),
            (Some("/owner"), Some("relation"))
        );
    }
    assert_eq!(bob.get(TASKS).await.expect(200).body["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_rule_that_no_index_serves_is_refused_when_it_is_put() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut unserved = tasks();
    unserved["indexes"] = json!([]);
    let refused = admin.put("/v1/collections/tasks", unserved).await.expect(400);
    assert_eq!(refused.body["errors"][0]["pointer"], "/rules/list");
    assert!(
        refused.body["errors"][0]["message"].as_str().unwrap().contains("\"partition\":[\"owner\"]"),
        "{}",
        refused.text
    );
    admin.get("/v1/collections/tasks").await.expect(404);
}

#[tokio::test]
async fn a_definition_changes_without_harm() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let version = admin.get("/v1/collections/tasks").await.expect(200);
    assert_eq!(
        admin.put("/v1/collections/tasks", tasks()).await.expect(200).body,
        version.body,
        "the same again changes nothing"
    );
    let record = task(&ada, "kept").await;

    let mut wider = tasks();
    wider["schema"]["properties"]["note"] = json!({ "type": "string" });
    admin.put("/v1/collections/tasks", wider.clone()).await.expect(200);
    assert_eq!(admin.delete("/v1/collections/tasks").await.expect(409).code(), "not_empty");
    assert_eq!(ada.get(&path(&record)).await.expect(200).body, record);

    let stale = admin
        .request(Method::PUT, "/v1/collections/tasks")
        .header("if-match", version.header("etag"))
        .json(tasks())
        .send()
        .await;
    stale.expect(412);
}

#[tokio::test]
async fn a_collection_deleted_and_made_anew_starts_empty() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let record = ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "slug": "one" })).await.expect(201).body;
    ada.delete(&path(&record)).await.expect(204);
    admin.delete("/v1/collections/tasks").await.expect(204);
    admin.get("/v1/collections/tasks").await.expect(404);
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    world.advance(std::time::Duration::from_secs(14));
    assert_eq!(admin.get(TASKS).await.expect(200).body["items"], json!([]));
    ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "slug": "one" })).await.expect(201);
}
