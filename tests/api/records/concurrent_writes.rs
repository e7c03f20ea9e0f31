//! Concurrent writes between the read of a record and the write that depends on it. The cloud holds one call of the function
//! until the other write is done.

use crate::records::crud::{TASKS, path, with_tasks};
use crate::records::restrict::{COMMENTS, POSTS, comments, define, id, make, posts};
use crate::world::{Answer, World};
use futures_util::future::{Either, select};
use serde_json::json;
use std::time::{Duration, Instant};
use undercroft_local::Fault;

/// Well within the minute after which a function asks again (`CALL_PATIENCE`).
const PATIENCE: Duration = Duration::from_secs(20);

/// Makes a request, and runs `between` while the function's `nth` call of this operation is held.
pub async fn meanwhile(
    world: &World,
    (operation, nth): (&str, usize),
    request: impl Future<Output = Answer>,
    between: impl Future<Output = ()>,
) -> Answer {
    let mut paused = world.cloud.faults().pause(operation, nth);
    let mut request = Box::pin(request);
    match select(request.as_mut(), Box::pin(paused.reached())).await {
        Either::Left((answer, _)) => panic!("{} made no {operation} number {nth}: {}", answer.asked, answer.text),
        Either::Right(_) => {}
    }
    let began = Instant::now();
    // The request is polled on, as the runtime would.
    match select(request, Box::pin(between)).await {
        Either::Left((answer, _)) => panic!("{} was not held: {}", answer.asked, answer.text),
        Either::Right((_, request)) => {
            assert!(began.elapsed() < PATIENCE, "too slow to say what the function did meanwhile");
            drop(paused);
            request.await
        }
    }
}

#[tokio::test]
async fn undelete_notices_that_a_tombstone_changed_its_reference_meanwhile() {
    let world = World::new().await;
    define(&world, &[posts(), comments("restrict")]).await;
    let ada = world.user("ada").await;
    let undelete = async |comment: &str| ada.post(&format!("{comment}/undelete"), json!({})).await;
    let (one, other) = (make(&ada, POSTS, json!({})).await, make(&ada, POSTS, json!({})).await);
    let comment = make(&ada, COMMENTS, json!({ "post": id(&one) })).await;
    // A first request fills the caches, so that only the record is read later.
    ada.delete(&comment).await.expect(204);
    undelete(&comment).await.expect(200);
    ada.delete(&comment).await.expect(204);
    let elsewhere = async {
        undelete(&comment).await.expect(200);
        ada.patch(&comment, json!({ "post": id(&other) })).await.expect(200);
        ada.delete(&comment).await.expect(204);
    };
    // The tombstone was read for its references and is about to be written.
    meanwhile(&world, ("GetItem", 2), undelete(&comment), elsewhere).await.expect(503);
    ada.get(&comment).await.expect(404);
    assert_eq!(undelete(&comment).await.expect(200).body["post"], id(&other));
    ada.delete(&other).await.expect(409);
}

#[tokio::test]
async fn a_unique_value_reclaimed_by_its_own_record_is_not_given_to_another() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let task = json!({ "title": "t", "owner": ada.id(), "slug": "s" });
    let first = path(&ada.post(TASKS, task.clone()).await.expect(201).body);
    ada.patch(&first, json!({ "slug": null })).await.expect(200);
    let taken_up = async {
        ada.patch(&first, json!({ "slug": "s" })).await.expect(200);
    };
    // The first transaction learns the last holder of the value; the second takes the value over.
    let claimed = meanwhile(&world, ("TransactWriteItems", 2), ada.post(TASKS, task), taken_up).await;
    assert_eq!(claimed.expect(409).code(), "not_unique");
    assert_eq!(ada.get(&first).await.expect(200).body["slug"], "s");
}

#[tokio::test]
async fn a_conflicting_write_is_not_retried_under_an_expired_definition() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    for (later, status, left) in [(1, 200, "done"), (8, 503, "open")] {
        let task = ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "status": "open" })).await.expect(201);
        let task = path(&task.body);
        world.cloud.faults().on("PutItem", 1, Fault::Overtaken);
        let patch = ada.patch(&task, json!({ "status": "done" }));
        let waiting = async { world.advance(Duration::from_secs(later)) };
        meanwhile(&world, ("GetItem", 2), patch, waiting).await.expect(status);
        assert_eq!(world.cloud.faults().clear(), 0, "it was not overtaken");
        assert_eq!(ada.get(&task).await.expect(200).body["status"], left);
    }
}
