//! Definitions of collections: unique values, relations, rules and their indexes, safe changes.

use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::{Caller, World, rounds, tasks};
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};

#[tokio::test]
async fn a_unique_value_belongs_to_one_record_until_that_record_changes_it() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let with_slug = json!({ "title": "t", "owner": ada.id(), "slug": "one" });
    let first = ada.post(TASKS, with_slug.clone()).await.expect(201).body;
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

/// One of 64 concurrent claims of a value succeeds (R79): for a new value and for one just released; with one execution
/// environment and with six.
#[tokio::test]
async fn of_sixty_four_concurrent_claims_of_one_value_one_succeeds() {
    for instances in [1, 6] {
        one_of_sixty_four_gets_it(&World::of_instances(instances).await).await;
    }
}

async fn one_of_sixty_four_gets_it(world: &World) {
    with_tasks(world).await;
    let ada = world.user("ada").await;
    for round in 0..rounds(4) {
        let slug = format!("slug-{}", round / 2);
        let body = json!({ "title": slug, "owner": ada.id(), "slug": slug });
        let answers = join_all((0..64).map(|_| ada.post(TASKS, body.clone()))).await;
        for answer in &answers {
            assert!([201, 409, 503].contains(&answer.status), "round {round}: {}", answer.text);
        }
        let won: Vec<_> = answers.iter().filter(|answer| answer.status == 201).collect();
        assert_eq!(won.len(), 1, "round {round}");
        let page = ada.get(&format!("{TASKS}?limit=100")).await.expect(200).body;
        assert_eq!(page["items"], json!([won[0].body]), "round {round}: and there is no other record");
        ada.delete(&path(&won[0].body)).await.expect(204);
    }
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
async fn fields_unique_together_may_repeat_singly_but_not_as_a_pair() {
    let world = World::new().await;
    let text = json!({ "type": ["string", "null"] });
    let stays = json!({ "name": "stays", "unique": [["room", "day"]], "schema": { "type": "object",
        "additionalProperties": false, "properties": { "room": text, "day": text, "guest": text } },
        "rules": { "create": "auth.id != ''", "read": "auth.id != ''", "update": "auth.id != ''" } });
    world.admin().await.put("/v1/collections/stays", stays).await.expect(201);
    let ada = world.user("ada").await;
    let stays = "/v1/collections/stays/records";
    let make = async |body: Value| ada.post(stays, body).await;
    make(json!({ "room": "1", "day": "mon" })).await.expect(201);
    let taken = make(json!({ "room": "1", "day": "mon", "guest": "Eve" })).await.expect(409);
    assert_eq!(
        (taken.code(), &taken.body["detail"]),
        ("not_unique", &json!("Another record already has this room and day."))
    );
    for free in [
        json!({ "room": "1", "day": "tue" }),
        json!({ "room": "2", "day": "mon" }),
        json!({ "room": "mon", "day": "1" }),
        json!({ "room": "1m", "day": "on" }),
        json!({ "room": "1" }),
        json!({ "room": "1" }),
        json!({ "room": "1", "day": null }),
        json!({ "day": "mon" }),
        json!({ "room": null, "day": "mon" }),
        json!({}),
    ] {
        make(free.clone()).await.expect(201);
        let has_both = free["room"].is_string() && free["day"].is_string();
        make(free).await.expect(if has_both { 409 } else { 201 });
    }

    // By every other route too, and with one half of the pair already there.
    let half = make(json!({ "room": "1", "guest": "Ada" })).await.expect(201).header("location").to_owned();
    let whole = json!({ "room": "1", "day": "mon" });
    let operation = |method: &str, path: &str, body: Value| json!({ "operations": [{ "method": method, "path": path, "body": body, "ifMatch": "*" }] });
    let mut other = operation("POST", stays, whole.clone());
    other["operations"][0].as_object_mut().unwrap().remove("ifMatch");
    for answer in [
        ada.patch(&half, json!({ "day": "mon" })).await,
        ada.request(Method::PUT, &half).header("if-match", "*").json(whole.clone()).send().await,
        ada.request(Method::POST, stays).header("idempotency-key", "\"k\"").json(whole.clone()).send().await,
        ada.post("/v1/batch", operation("PATCH", &half, json!({ "day": "mon" }))).await,
        ada.post("/v1/batch", operation("PUT", &half, whole)).await,
        ada.post("/v1/batch", other).await,
    ] {
        let reported = answer.expect(409);
        assert!(
            [reported.code(), reported.body["operations"][0]["code"].as_str().unwrap_or_default()]
                .contains(&"not_unique")
        );
    }
    ada.patch(&half, json!({ "day": "wed" })).await.expect(200);
    make(json!({ "room": "1", "day": "wed" })).await.expect(409);
    ada.patch(&half, json!({ "day": null })).await.expect(200);
    make(json!({ "room": "1", "day": "wed" })).await.expect(201);
}

#[tokio::test]
async fn a_write_once_field_cannot_be_changed_by_any_route() {
    let world = World::new().await;
    let definition = json!({ "name": "parts", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "serial": { "type": "string", "writeOnce": true }, "note": { "type": "string" } } },
        "rules": { "create": "auth.id != ''", "read": "auth.id != ''", "update": "auth.id != ''" } });
    let admin = world.admin().await;
    admin.put("/v1/collections/parts", definition).await.expect(201);
    let ada = world.user("ada").await;
    let parts = "/v1/collections/parts/records";
    let with = ada.post(parts, json!({ "serial": "a", "note": "n" })).await.expect(201).header("location").to_owned();
    let without = ada.post(parts, json!({ "note": "n" })).await.expect(201).header("location").to_owned();
    let put = async |caller: &Caller<'_>, part: &str, body: Value| {
        caller.request(Method::PUT, part).header("if-match", "*").json(body).send().await
    };
    for (part, changes) in [
        (&with, vec![json!({ "serial": "b" }), json!({ "serial": "b", "note": "m" }), json!({ "serial": null })]),
        (&without, vec![json!({ "serial": "a" })]),
    ] {
        for (body, caller) in changes.into_iter().flat_map(|body| [(body.clone(), &ada), (body, &admin)]) {
            let whole: Value = body.as_object().unwrap().clone().into_iter().filter(|(_, it)| !it.is_null()).collect();
            let operation = |method: &str, body: &Value| json!({ "operations": [{ "method": method, "path": part, "body": body, "ifMatch": "*" }] });
            for answer in [
                caller.patch(part, body.clone()).await,
                put(caller, part, whole.clone()).await,
                caller.post("/v1/batch", operation("PATCH", &body)).await,
                caller.post("/v1/batch", operation("PUT", &whole)).await,
            ] {
                let reported = answer.expect(400).body;
                let errors = reported.pointer("/operations/0/errors").unwrap_or(&reported["errors"]);
                assert_eq!(
                    (&errors[0]["pointer"], &errors[0]["code"]),
                    (&json!("/serial"), &json!("fixed")),
                    "{reported}"
                );
            }
        }
        assert_eq!(ada.get(part).await.expect(200).body["version"], 1);
    }
    // Sending the stored value is not a change.
    ada.patch(&with, json!({ "serial": "a", "note": "m" })).await.expect(200);
    put(&ada, &with, json!({ "serial": "a" })).await.expect(200);
    put(&ada, &without, json!({ "note": "m" })).await.expect(200);
}

#[tokio::test]
async fn a_relation_must_point_at_an_existing_user() {
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
async fn a_definition_change_keeps_stored_records_readable() {
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
async fn a_collection_deleted_and_created_again_starts_empty() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let record = ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "slug": "one" })).await.expect(201).body;
    ada.delete(&path(&record)).await.expect(204);
    admin.delete("/v1/collections/tasks").await.expect(202);
    assert_eq!(admin.get("/v1/collections/tasks").await.expect(200).body["status"], "deleting");
    admin.delete("/v1/collections/tasks").await.expect(404);
    world.settle().await;
    world.advance(std::time::Duration::from_secs(18));
    world.settle().await;
    admin.get("/v1/collections/tasks").await.expect(404);
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    assert_eq!(admin.get(TASKS).await.expect(200).body["items"], json!([]));
    ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "slug": "one" })).await.expect(201);
}
