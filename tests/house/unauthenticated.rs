//! What callers who have not signed in may cost: what ends in a 401 takes two calls at most, however much was asked for.

use crate::doors::{DOORS, knock};
use crate::world::{World, tasks};
use serde_json::{Value, json};

/// Most calls to AWS of a request that ends in a 401.
const MOST: usize = 2;

fn batch(names: impl Iterator<Item = String>) -> Value {
    let operation = |name| json!({ "method": "POST", "path": format!("/v1/collections/{name}/records"), "body": {} });
    json!({ "operations": names.map(operation).collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_batch_of_a_hundred_collections_costs_a_stranger_and_us_no_more_than_one_of_one() {
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
        assert_eq!(refused.body["operations"].as_array().unwrap().len(), 100, "each is told what is wrong with it");
        assert!(refused.headers.get("undercroft-cost").is_none());
    }
    // The same for somebody who has signed in: names that are not there are looked up together.
    let user = world.user("user").await;
    world.cloud.faults().record();
    user.post("/v1/batch", batch((0..100).map(|nth| format!("nowhere{nth}")))).await.expect(404);
    assert!(world.cloud.faults().calls().len() <= MOST);
}

#[tokio::test]
async fn names_that_are_not_there_are_remembered_for_a_second_and_only_for_strangers() {
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

#[tokio::test]
async fn no_door_that_is_shut_to_strangers_takes_more_than_two_calls_to_say_so() {
    let mut world = World::new().await;
    world.admin().await.put("/v1/collections/tasks", tasks()).await.expect(201);
    let mut shut = 0;
    for (method, route, _) in DOORS {
        let path = route.replace("{collection}", "tasks").replace("{id}", "01890000-0000-7000-8000-000000000000");
        for token in [None, Some("e30.e30.e30"), Some("eyJhbGciOiJFZERTQSIsInR5cCI6ImF0K2p3dCIsImtpZCI6IngifQ.e30.AA")]
        {
            // Whatever a function has in memory may not be what makes it cheap.
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
