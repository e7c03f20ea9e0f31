//! The plan of a patch: `explain=true` states the number of round trips, and the patch takes that many.

use crate::world::{Answer, World};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const PAPERS: &str = "/v1/collections/papers/records";

/// A collection with everything that a patch may have to check.
fn papers(with: Value) -> Value {
    let text = json!({ "type": "string", "maxLength": 200 });
    let mut papers = json!({
        "name": "papers",
        "schema": { "type": "object", "additionalProperties": false, "properties": {
            "title": text, "state": text, "slug": text, "lot": text, "place": { "type": "object" },
            "number": { "type": "string", "writeOnce": true },
            "parent": { "type": "string", "relation": { "collection": "papers" } } } },
        "unique": [["slug"]],
        "indexes": [{ "name": "states", "partition": ["state"], "sort": ["createdAt"] }],
        "rules": { "read": "auth.id != ''", "create": "auth.id != ''", "update": "auth.id != ''" }
    });
    let (members, with) = (papers.as_object_mut().unwrap(), with.as_object().unwrap());
    members.extend(with.clone());
    papers
}

#[tokio::test]
async fn the_plan_of_a_patch_says_how_many_round_trips_it_takes_and_why() {
    let world = World::new().await;
    let admin = world.admin().await;
    let cases = [
        (json!({ "title": "b" }), "UpdateItem", vec![]),
        (json!({ "title": null }), "UpdateItem", vec![]),
        (json!({ "state": "b" }), "PutItem", vec!["`state`"]),
        (json!({ "place": { "city": "b" } }), "PutItem", vec!["`place` is an object"]),
        (json!({ "number": "1" }), "PutItem", vec!["`number` is writeOnce"]),
        (json!({ "slug": "b" }), "TransactWriteItems", vec!["`slug`"]),
        (json!({ "slug": null }), "PutItem", vec!["`slug`"]),
        (json!({ "parent": "other" }), "TransactWriteItems", vec!["`parent` refers to"]),
        (json!({ "parent": "self" }), "PutItem", vec!["`parent` refers to"]),
        (json!({ "state": "c", "place": { "city": "c" } }), "PutItem", vec!["`place`", "`state`"]),
    ];
    hold(&world, &papers(json!({})), &cases).await;
    let unmade = format!("{PAPERS}/017f22e2-79b0-7cc3-98c4-dc0c0c07398f?explain=true");
    let free = admin.patch(&unmade, json!({ "title": "b" })).await.expect(200);
    assert_eq!(free.cost(), (0.0, 0.0, 0), "nothing is read to say so, not even whether it is there");
}

#[tokio::test]
async fn the_plan_of_a_patch_names_what_in_the_definition_prevents_one_round_trip() {
    let title = json!({ "title": "b" });
    let world = World::new().await;
    let recent = json!({ "indexes": [{ "name": "recent", "partition": ["lot"], "sort": ["-updatedAt"] }] });
    hold(&world, &papers(recent), &[(title.clone(), "PutItem", vec!["`recent`"])]).await;
    let world = World::new().await;
    let mut few = papers(json!({}));
    few["schema"]["minProperties"] = json!(1);
    hold(&world, &few, &[(title.clone(), "PutItem", vec!["validated separately"])]).await;
    let world = World::new().await;
    let rules = json!({ "rules": {
        "read": "auth.id != ''", "create": "auth.id != ''", "update": "record.lot.startsWith(record.lot)" } });
    hold(&world, &papers(rules), &[(title, "PutItem", vec!["The rule"])]).await;
}

#[tokio::test]
async fn the_plan_of_a_patch_names_referenced_records_that_are_read() {
    let world = World::new().await;
    let rules = json!({ "rules": { "create": "auth.id != ''", "update": "auth.id != ''",
        "read": "auth.id != '' && record.number == '1'", "refer": "record.number == '1' || record.title == 'open'" } });
    world.admin().await.put("/v1/collections/papers", papers(rules)).await.expect(201);
    let ada = world.user("ada").await;
    let made = ada.post(PAPERS, json!({ "number": "1" })).await.expect(201);
    let path = made.header("location");
    let other = ada.post(PAPERS, json!({ "number": "1" })).await.expect(201).body["id"].clone();
    let parent = json!({ "parent": other });
    let explained = ada.patch(&format!("{path}?explain=true"), parent.clone()).await.expect(200).body;
    let done = written(&world, ada.patch(path, parent.clone())).await;
    assert_eq!((&explained["plan"]["write"], &explained["expected"]["trips"]), (&done.0, &done.1));
    assert_eq!(done, (json!("TransactWriteItems"), json!(3)));
    assert_eq!(written(&world, ada.patch(path, parent)).await.1, 2, "it points there already");
    assert!(explained["plan"]["targetsReadBecause"][0].as_str().unwrap().contains("`parent`"), "{explained}");
}

#[tokio::test]
async fn while_a_unique_constraint_is_being_claimed_a_patch_of_another_field_leaves_that_to_the_job() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/papers", papers(json!({ "unique": [] }))).await.expect(201);
    let made = admin.post(PAPERS, json!({ "title": "a", "slug": "s" })).await.expect(201);
    let path = made.header("location");
    admin.put("/v1/collections/papers", papers(json!({}))).await.expect(202);
    world.advance(Duration::from_secs(10));
    let change = json!({ "state": "b" });
    let explained = admin.patch(&format!("{path}?explain=true"), change.clone()).await.expect(200);
    assert_eq!(explained.body["plan"]["write"], "PutItem");
    assert_eq!(written(&world, admin.patch(path, change)).await.0, "PutItem");
    world.settle().await;
    world.advance(Duration::from_secs(60));
    world.settle().await;
}

/// Puts the definition, and compares each patch with its plan and each plan with the expected one.
async fn hold(world: &World, papers: &Value, cases: &[(Value, &str, Vec<&str>)]) {
    world.admin().await.put("/v1/collections/papers", papers.clone()).await.expect(201);
    let ada = world.user("ada").await;
    for (patch, write, because) in cases {
        let made = ada.post(PAPERS, json!({ "title": "a", "lot": "a", "number": "1" })).await.expect(201);
        let (path, id) = (made.header("location").to_owned(), made.body["id"].clone());
        let other = ada.post(PAPERS, json!({ "number": "1" })).await.expect(201).body["id"].clone();
        let mut patch = patch.clone();
        for value in patch.as_object_mut().unwrap().values_mut() {
            match value.as_str() {
                Some("self") => *value = id.clone(),
                Some("other") => *value = other.clone(),
                _ => {}
            }
        }
        let explained = ada.patch(&format!("{path}?explain=true"), patch.clone()).await.expect(200);
        let reported: Vec<&str> =
            explained.body["plan"]["readBecause"].as_array().unwrap().iter().map(|why| why.as_str().unwrap()).collect();
        assert_eq!(reported.len(), because.len(), "{patch}: {reported:?}");
        assert!(reported.iter().zip(because).all(|(reported, part)| reported.contains(part)), "{patch}: {reported:?}");
        assert_eq!(explained.body["plan"]["write"], *write, "{patch}");
        let unchanged = ada.get(&path).await.expect(200).body;
        assert_eq!((&unchanged["title"], unchanged["version"].clone()), (&json!("a"), made.body["version"].clone()));
        let done = written(world, ada.patch(&path, patch.clone())).await;
        assert_eq!(
            (&explained.body["plan"]["write"], &explained.body["expected"]["trips"]),
            (&done.0, &done.1),
            "{patch}"
        );

        // With a key it is always a transaction, and explain does not use up the key.
        let keyed = async |path: &str| {
            ada.request(Method::PATCH, path).header("idempotency-key", "\"k\"").json(patch.clone()).send().await
        };
        let explained = keyed(&format!("{path}?explain=true")).await.expect(200).body;
        let done = written(world, keyed(&path)).await;
        assert_eq!((&explained["plan"]["write"], &explained["expected"]["trips"]), (&done.0, &done.1), "{patch}");
        assert_eq!(done.0, "TransactWriteItems", "{patch}");
    }
}

/// The operation and the number of round trips of a patch.
async fn written(world: &World, patch: impl Future<Output = Answer>) -> (Value, Value) {
    world.cloud.faults().record();
    let answer = patch.await.expect(200);
    let calls = world.cloud.faults().calls();
    // A write with a unique value shows no cost, so the calls are counted at the cloud.
    if answer.headers.contains_key("undercroft-cost") {
        assert_eq!(usize::try_from(answer.cost().2).unwrap(), calls.len());
    }
    (json!(calls.last().unwrap().operation), json!(calls.len()))
}

#[tokio::test]
async fn explain_refuses_a_patch_that_would_be_refused_without_a_read() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/papers", papers(json!({}))).await.expect(201);
    let made = admin.post(PAPERS, json!({ "title": "a" })).await.expect(201);
    let explain = format!("{}?explain=true", made.header("location"));
    admin.patch(&explain, json!({ "title": 1 })).await.expect(400);
    admin.patch(&explain, json!({ "state": 1, "slug": "b" })).await.expect(400);
    admin.patch(&explain, json!({ "ghost": null })).await.expect(400);
    admin.patch(&format!("{explain}&scan=1"), json!({ "title": "b" })).await.expect(400);
    let stranger = world.stranger();
    stranger.patch(&explain, json!({ "title": "b" })).await.expect(401);
}
