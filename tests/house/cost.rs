//! What calls cost, held to the budget as counts: round trips, and capacity units as DynamoDB reports them.

use crate::world::{PASSWORD, World, tasks};
use axum::http::Method;
use serde_json::json;

/// A collection with one index and no unique field: the budget's plain case.
fn plain() -> serde_json::Value {
    let mut plain = tasks();
    plain["name"] = json!("plain");
    plain.as_object_mut().unwrap().remove("unique");
    plain
}

#[tokio::test]
async fn every_call_costs_what_the_budget_says() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/plain", plain()).await.expect(201);
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    let ada = world.user("ada").await;
    let stranger = world.stranger();
    let path = "/v1/collections/plain/records";
    // Warm: keys, definitions and secrets are fetched once.
    let warm = ada.post(path, json!({ "title": "warm", "owner": ada.id() })).await.expect(201);
    ada.post("/v1/collections/tasks/records", json!({ "title": "warm", "owner": ada.id() })).await.expect(201);
    ada.get(&format!("{path}?limit=1")).await.expect(200);

    let sign_in =
        stranger.post("/v1/auth/signin", json!({ "email": "ada@example.org", "password": PASSWORD })).await.expect(200);
    assert_eq!(sign_in.cost().2, 2, "sign-in: two round trips");
    let refresh = stranger.post("/v1/auth/refresh", json!({ "refreshToken": ada.refresh_token })).await.expect(200);
    assert_eq!(refresh.cost(), (0.0, 1.0, 1), "refresh: one write, one round trip");

    let created =
        ada.post(path, json!({ "title": "x".repeat(200), "owner": ada.id(), "priority": 1 })).await.expect(201);
    assert_eq!(created.cost(), (0.0, 2.0, 1), "create: 1 + 1 for its index");
    let one = created.header("location").to_owned();
    assert_eq!(ada.get(&one).await.expect(200).cost(), (0.5, 0.0, 1), "read");
    assert_eq!(ada.get(&format!("{one}?consistent=true")).await.expect(200).cost(), (1.0, 0.0, 1), "consistent read");
    let patched = ada
        .request(Method::PATCH, &one)
        .header("if-match", "\"1\"")
        .json(json!({ "title": "y" }))
        .send()
        .await
        .expect(200);
    assert_eq!(
        (patched.cost().2, patched.cost().1),
        (1, 2.0),
        "patch of a field no index is keyed by: 1 + 1 for the copy in the index"
    );
    let moved = ada.patch(&one, json!({ "status": "done" })).await.expect(200);
    assert_eq!(moved.cost(), (1.0, 3.0, 2), "patch that moves an index key: read, then 1 + 2");
    assert_eq!(ada.delete(&one).await.expect(204).cost(), (0.0, 2.0, 1), "delete: 1 + 1 for its index");

    let unique = ada
        .post("/v1/collections/tasks/records", json!({ "title": "u", "owner": ada.id(), "slug": "u" }))
        .await
        .expect(201);
    assert_eq!(unique.cost(), (0.0, 5.0, 1), "create with one unique field: 2 (1 + 1), and its index once");
    let job = json!({ "type": "email.send", "payload": { "to": "a@example.org", "subject": "s", "text": "t" } });
    admin.get("/v1/jobs").await.expect(200);
    assert_eq!(admin.post("/v1/jobs", job).await.expect(202).cost().2, 1, "enqueue");
    world.settle().await;
    let _ = warm;
}

#[tokio::test]
async fn a_page_of_twenty_costs_the_same_on_page_one_and_on_page_ten() {
    let world = World::new().await;
    world.admin().await.put("/v1/collections/plain", plain()).await.expect(201);
    let ada = world.user("ada").await;
    let path = "/v1/collections/plain/records";
    for nth in 0..220 {
        ada.post(path, json!({ "title": "x".repeat(150), "owner": ada.id(), "priority": nth % 10 })).await.expect(201);
    }
    let mut cursor = String::new();
    let mut costs = Vec::new();
    for page in 0..11 {
        let answer = ada.get(&format!("{path}?limit=20{cursor}")).await.expect(200);
        assert_eq!(answer.body["items"].as_array().unwrap().len(), 20, "page {page}");
        // The first cursor fetches the key that seals it; that trip is paid once a cold start.
        if page > 0 {
            costs.push(answer.cost());
        }
        cursor = answer.body["nextCursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    assert!(cursor.is_empty(), "exactly eleven pages");
    let first = costs[0];
    assert!(costs[..costs.len() - 1].iter().all(|cost| *cost == first), "{costs:?}");
    assert_eq!(first.2, 1);
    assert!(first.0 <= 1.5, "{first:?}");
}

#[tokio::test]
async fn what_is_refused_before_the_data_is_needed_costs_nothing() {
    let world = World::new().await;
    world.admin().await.put("/v1/collections/plain", plain()).await.expect(201);
    let ada = world.user("ada").await;
    let path = "/v1/collections/plain/records";
    ada.get(path).await.expect(200);
    let free = (0.0, 0.0, 0);
    assert_eq!(ada.post(path, json!({ "owner": ada.id() })).await.expect(400).cost(), free, "schema error");
    assert_eq!(ada.get(&format!("{path}?filter=title%3D%3D%22x%22")).await.expect(422).cost(), free, "refused query");
    let bad = world.stranger().request(Method::GET, path).header("authorization", "Bearer nonsense").send().await;
    assert_eq!(bad.expect(401).cost(), free, "bad token");
}

#[tokio::test]
async fn a_level_of_expand_is_one_trip_more_for_any_number_of_records() {
    let world = World::new().await;
    let tree = json!({ "name": "trees", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "up": { "type": "string", "relation": { "collection": "trees" } },
        "owner": { "type": "string", "relation": { "collection": "users" } } } },
        "indexes": [{ "name": "by_up", "partition": ["up"], "sort": [] }],
        "rules": { "list": "true", "read": "true", "create": "true" } });
    world.admin().await.put("/v1/collections/trees", tree).await.expect(201);
    let ada = world.user("ada").await;
    let path = "/v1/collections/trees/records";
    let mut up = ada.post(path, json!({ "owner": ada.id() })).await.expect(201).body["id"].clone();
    for _ in 0..19 {
        up = ada.post(path, json!({ "owner": ada.id(), "up": up })).await.expect(201).body["id"].clone();
    }
    let cost = async |query: &str| ada.get(&format!("{path}?limit=20{query}")).await.expect(200).cost();
    cost("&expand=up,owner").await;
    let (plain, _, trips) = cost("").await;
    assert_eq!(trips, 1);
    // Nineteen records and one user, half a unit each; the user once, though twenty point there.
    assert_eq!(cost("&expand=up").await, (plain + 9.5, 0.0, 2), "one level");
    assert_eq!(cost("&expand=up,owner").await, (plain + 10.0, 0.0, 2), "two collections, one level");
    assert_eq!(cost("&expand=up.up").await, (plain + 9.5 + 9.0, 0.0, 3), "two levels");
    let (_, _, trips) = cost("&expand=trees_via_up,owner").await;
    assert_eq!(trips, 2 + 20, "backward: a query a record, side by side, beside the batch");
    let one = format!("{path}/{}", up.as_str().unwrap());
    assert_eq!(ada.get(&one).await.expect(200).cost(), (0.5, 0.0, 1));
    assert_eq!(ada.get(&format!("{one}?expand=up,owner")).await.expect(200).cost(), (1.5, 0.0, 2));
    let refused = ada.get(&format!("{path}?expand=up,owner.nothing")).await.expect(400);
    assert!(
        !refused.headers.contains_key("undercroft-cost"),
        "what a name cost to look for would tell whether it is there"
    );
}
