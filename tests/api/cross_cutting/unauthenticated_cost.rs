//! The cost of unauthenticated requests: a request that ends in 401 makes at most two AWS calls.

use crate::cross_cutting::routes::{ROUTES, knock};
use crate::world::{World, tasks};
use serde_json::{Value, json};

/// Maximum number of AWS calls of a request that ends in 401.
const MOST: usize = 2;

fn batch(names: impl Iterator<Item = String>) -> Value {
    let operation = |name| json!({ "method": "POST", "path": format!("/v1/collections/{name}/records"), "body": {} });
    json!({ "operations": names.map(operation).collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_strangers_batch_on_a_hundred_collections_costs_no_more_than_on_one() {
    let world = World::new().await;
    let admin = world.admin().await;
    let stranger = world.stranger();
    for nth in 0..50 {
        let mut body = tasks();
        body["name"] = json!(format!("there{nth}"));
        admin.put(&format!("/v1/collections/there{nth}"), body).await.expect(201);
    }
    for name in ["absent", "there"] {
        let all = batch(
            (0..100).map(|nth| if name == "there" { format!("there{}", nth % 50) } else { format!("absent{nth}") }),
        );
        world.cloud.faults().record();
        let refused = stranger.post("/v1/batch", all.clone()).await.expect(401);
        let calls = world.cloud.faults().calls();
        assert!(calls.len() <= MOST, "{name}: {calls:?}");
        assert_eq!(refused.body["operations"].as_array().unwrap().len(), 100, "each operation has its own error");
        assert!(refused.headers.get("undercroft-cost").is_none());
    }
    // The same for somebody who has signed in: names that are not there are looked up together.
    let user = world.user("user").await;
    world.cloud.faults().record();
    user.post("/v1/batch", batch((0..100).map(|nth| format!("nowhere{nth}")))).await.expect(404);
    assert!(world.cloud.faults().calls().len() <= MOST);
}

#[tokio::test]
async fn missing_collection_names_are_cached_for_a_second_and_only_for_strangers() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (stranger, list) = (world.stranger(), "/v1/collections/tasks/records");
    stranger.get(list).await.expect(401);
    world.cloud.faults().record();
    stranger.get(list).await.expect(401);
    stranger.post("/v1/batch", batch(["tasks".to_owned()].into_iter())).await.expect(401);
    assert_eq!(world.cloud.faults().calls().len(), 0, "it was looked up a moment ago");
    let mut open = tasks();
    open["rules"]["list"] = json!("true");
    admin.put("/v1/collections/tasks", open).await.expect(201);
    admin.get(list).await.expect(200);
    stranger.get(list).await.expect(200);
    // As for everybody, in an environment that has never seen it: for a second.
    let mut world = world;
    world.restart_functions();
    world.stranger().get("/v1/collections/others/records").await.expect(401);
    world.advance(std::time::Duration::from_secs(1));
    world.cloud.faults().record();
    world.stranger().get("/v1/collections/others/records").await.expect(401);
    assert_eq!(world.cloud.faults().calls().len(), 1);
}

/// A collection that is public except its list.
fn open(name: &str) -> Value {
    json!({ "name": name, "schema": { "type": "object", "additionalProperties": false, "properties": { "n": { "type": "integer" } } },
        "rules": { "read": "true", "create": "true", "update": "true", "delete": "true" } })
}

const ID: &str = "01890000-0000-7000-8000-000000000000";

#[tokio::test]
async fn a_malformed_batch_reads_nothing_whichever_collections_it_names() {
    let mut world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    admin.put("/v1/collections/notes", open("notes")).await.expect(201);
    world.restart_functions();
    let malformed = |name: &str| {
        let path = format!("/v1/collections/{name}/records");
        let record = format!("{path}/{ID}");
        vec![
            json!({ "method": "GET", "path": path }),
            json!({ "method": "POST", "path": path }),
            json!({ "method": "POST", "path": path, "body": {}, "ifMatch": "*" }),
            json!({ "method": "PUT", "path": record, "body": {} }),
            json!({ "method": "PUT", "path": format!("{path}/x"), "body": {}, "ifNoneMatch": "*" }),
            json!({ "method": "PATCH", "path": record, "body": {}, "ifMatch": "1" }),
            json!({ "method": "DELETE", "path": record, "body": {} }),
            json!({ "method": "POST", "path": format!("{record}/undelete"), "body": {} }),
        ]
    };
    for _ in 0..2 {
        let mut reported = Vec::new();
        for name in ["tasks", "notes", "nothing", "Wrong"] {
            // Together with operations on collections that would be read.
            let others = [("POST", "tasks"), ("POST", "notes"), ("POST", "nowhere")].map(|(method, name)| {
                json!({ "method": method, "path": format!("/v1/collections/{name}/records"), "body": {} })
            });
            let each = malformed(name).into_iter().map(|one| others.iter().cloned().chain([one]).collect::<Vec<_>>());
            for operations in each {
                world.cloud.faults().record();
                let refused = world.stranger().post("/v1/batch", json!({ "operations": operations })).await;
                assert!([400, 428].contains(&refused.status), "{}", refused.text);
                assert_eq!(refused.header("undercroft-cost"), "rru=0; wru=0; trips=0; scanned=0", "{name}");
                assert_eq!(world.cloud.faults().calls().len(), 0, "{name}");
                assert_eq!(refused.body["operations"].as_array().unwrap().len(), 1, "{}", refused.text);
                reported.push((refused.status, refused.body["operations"].to_string()));
            }
        }
        let of_each: Vec<_> = reported.chunks(8).collect();
        assert!(of_each.iter().all(|of_one| *of_one == of_each[0]), "{of_each:?}");
    }
}

#[tokio::test]
async fn a_refused_batch_shows_no_cost_that_depends_on_its_collections_or_records() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    admin.put("/v1/collections/notes", open("notes")).await.expect(201);
    let wrong = json!({ "method": "POST", "path": "/v1/collections/notes/records", "body": { "n": "x" } });
    for name in ["tasks", "nothing", "notes", "tasks", "nothing"] {
        let beside =
            json!({ "method": "POST", "path": format!("/v1/collections/{name}/records"), "body": { "n": "x" } });
        let batch = json!({ "operations": [wrong, beside] });
        let refused = world.stranger().post("/v1/batch", batch.clone()).await.expect(400);
        assert!(!refused.headers.contains_key("undercroft-cost"), "{name}: {}", refused.text);
        assert!(admin.post("/v1/batch", batch).await.expect(400).headers.contains_key("undercroft-cost"));
    }
}

#[tokio::test]
async fn a_hundred_missing_collection_names_are_read_once_a_second() {
    let world = World::new().await;
    let all = batch((0..100).map(|nth| format!("absent{nth}")));
    for calls in [1, 0, 0] {
        world.cloud.faults().record();
        world.stranger().post("/v1/batch", all.clone()).await.expect(401);
        assert_eq!(world.cloud.faults().calls().len(), calls);
        assert_eq!(world.logged_cost().0, if calls == 0 { 0.0 } else { 100.0 });
    }
    world.advance(std::time::Duration::from_secs(1));
    world.cloud.faults().record();
    world.stranger().post("/v1/batch", all).await.expect(401);
    assert_eq!(world.cloud.faults().calls().len(), 1);
}

#[tokio::test]
async fn no_record_is_read_for_a_batch_that_ends_in_a_401() {
    let mut world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    for nth in 0..4 {
        admin.put(&format!("/v1/collections/far{nth}"), open(&format!("far{nth}"))).await.expect(201);
    }
    let mut notes = open("notes");
    for nth in 0..4 {
        let relation = json!({ "type": "string", "relation": { "collection": format!("far{nth}") } });
        notes["schema"]["properties"][format!("far{nth}")] = relation;
    }
    admin.put("/v1/collections/notes", notes).await.expect(201);
    let path = "/v1/collections/notes/records";
    let id = |nth: u32| format!("01890000-0000-7000-8000-{nth:012}");
    let undelete = |nth: u32| json!({ "method": "POST", "path": format!("{path}/{}/undelete", id(nth)) });
    let pointing: serde_json::Map<_, _> = (0..4).map(|nth| (format!("far{nth}"), json!(ID))).collect();
    let mut operations: Vec<Value> = (0..98).map(undelete).collect();
    operations.push(json!({ "method": "POST", "path": path, "body": pointing }));
    operations.push(json!({ "method": "POST", "path": "/v1/collections/tasks/records", "body": {} }));
    world.restart_functions();
    world.cloud.faults().record();
    world.stranger().post("/v1/batch", json!({ "operations": operations })).await.expect(401);
    let calls = world.cloud.faults().calls();
    assert!(calls.len() <= MOST, "{calls:?}");
    let (units, _, trips) = world.logged_cost();
    // Two definitions, of which none is of a kilobyte.
    assert!(units <= 2.0 && trips <= 2, "{units} {trips}");
    // Without the one that is closed, the tombstones are looked for together.
    operations.pop();
    world.cloud.faults().record();
    world.stranger().post("/v1/batch", json!({ "operations": operations })).await.expect(404);
    let calls = world.cloud.faults().calls();
    assert_eq!(calls.len(), 2, "the tombstones, and the collections that one points into: {calls:?}");
}

#[tokio::test]
async fn no_route_needs_more_than_two_calls_to_refuse_a_stranger() {
    let mut world = World::new().await;
    world.admin().await.put("/v1/collections/tasks", tasks()).await.expect(201);
    let mut shut = 0;
    for (method, route, _) in ROUTES {
        let path = route.replace("{collection}", "tasks").replace("{id}", "01890000-0000-7000-8000-000000000000");
        for token in [None, Some("e30.e30.e30"), Some("eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6IngifQ.e30.AA")]
        {
            // The low cost must not depend on caches.
            world.restart_functions();
            let mut stranger = world.stranger();
            stranger.token = token.map(str::to_owned);
            world.cloud.faults().record();
            let answer = knock(&stranger, method, &path).await;
            let calls = world.cloud.faults().calls();
            if answer.status == 401 {
                shut += 1;
                assert!(calls.len() <= MOST, "{method} {path}: {calls:?}");
            }
        }
    }
    assert!(shut > 30, "{shut}");
    world.settle().await;
}
