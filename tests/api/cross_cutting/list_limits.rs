//! Limits (R75): the maximum is accepted and one more is refused, for batch operations, jobs on a page, and bytes of a payload.

use crate::records::crud::{TASKS, with_tasks};
use crate::world::World;
use serde_json::{Value, json};

#[tokio::test]
async fn a_batch_has_a_hundred_operations_and_no_more() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let operation = json!({ "method": "POST", "path": TASKS, "body": { "title": "t", "owner": ada.id() } });
    let batch = |count: usize| json!({ "operations": vec![operation.clone(); count] });
    // The keys that tokens are verified with are fetched by the first request.
    ada.get(TASKS).await.expect(200);
    let refused = ada.post("/v1/batch", batch(101)).await.expect(400);
    assert_eq!(refused.body["errors"][0]["pointer"], "/operations", "{}", refused.text);
    assert_eq!(refused.cost(), (0.0, 0.0, 0));
    assert_eq!(ada.get(TASKS).await.expect(200).body["items"], json!([]));
    let done = ada.post("/v1/batch", batch(100)).await.expect(200);
    assert_eq!(done.body["results"].as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn a_page_of_jobs_and_a_payload_have_a_maximum() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.get("/v1/jobs").await.expect(200);
    for limit in ["0", "101", "-1", "1.5"] {
        assert_eq!(admin.get(&format!("/v1/jobs?limit={limit}")).await.expect(400).cost(), (0.0, 0.0, 0), "{limit}");
    }
    for limit in [1, 100] {
        admin.get(&format!("/v1/jobs?limit={limit}")).await.expect(200);
    }
    let payload = |bytes: usize| -> Value {
        let around = json!({ "x": "" }).to_string().len();
        json!({ "type": "no.such_job", "maxAttempts": 1, "payload": { "x": "x".repeat(bytes - around) } })
    };
    let refused = admin.post("/v1/jobs", payload(100_001)).await.expect(400);
    assert_eq!(refused.body["errors"][0]["code"], "too_large", "{}", refused.text);
    admin.post("/v1/jobs", payload(100_000)).await.expect(202);
    world.settle().await;
}
