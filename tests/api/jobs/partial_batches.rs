//! Stream batches that the relay can handle only partly: every record that it reports as done is done.

use crate::records::restrict::{COMMENTS, POSTS, comments, define, id, make, open};
use crate::world::{Caller, World};
use serde_json::json;
use std::time::Duration;
use undercroft_local::Fault;

async fn counted(caller: &Caller<'_>, records: &str) -> u64 {
    let page = caller.get(&format!("{records}?count=true&limit=0")).await.expect(200).body;
    page["count"]["records"].as_u64().unwrap()
}

#[tokio::test]
async fn a_cascade_that_cannot_be_enqueued_loses_no_earlier_count_or_change() {
    let world = World::that_tries_once().await;
    let posts = open("posts", json!({}), json!({ "counts": true, "changes": true }));
    define(&world, &[posts, comments("cascade")]).await;
    let ada = world.user("ada").await;
    world.settle().await;
    let (kept, gone) = (make(&ada, POSTS, json!({})).await, make(&ada, POSTS, json!({})).await);
    let comment = make(&ada, COMMENTS, json!({ "post": id(&gone) })).await;
    ada.delete(&gone).await.expect(204);
    // The only item that the relay writes alone is the cascade job.
    world.cloud.faults().on("PutItem", 1, Fault::FailedBefore);
    for _ in 0..4 {
        world.settle().await;
        world.advance(Duration::from_secs(20));
    }
    assert_eq!(world.cloud.faults().clear(), 0, "it did go wrong once");
    assert_eq!(counted(&ada, POSTS).await, 1);
    let changes = ada.get("/v1/changes?collection=posts").await.expect(200).body;
    let kinds: Vec<_> =
        changes["items"].as_array().unwrap().iter().map(|it| (&it["type"], &it["record"]["id"])).collect();
    assert!(kinds.contains(&(&json!("put"), &json!(id(&kept)))), "{changes}");
    ada.get(&comment).await.expect(404);
}
