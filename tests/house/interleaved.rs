//! What somebody else does at the worst moment: between the reading of a record and the write that was decided upon it. One call
//! of the function is held there, by the cloud, until it is done.

use crate::data::{TASKS, path, with_tasks};
use crate::relations::{COMMENTS, POSTS, comments, define, id, make, posts};
use crate::world::{Answer, World};
use futures_util::future::join;
use serde_json::json;
use std::time::{Duration, Instant};
use undercroft_local::Mishap;

/// Well within what a function waits for one answer before it asks again.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// How often a slow machine may spoil it.
const TRIES: usize = 10;

/// Makes a request, and does `between` while the function's `nth` call of this operation is held. `None` if that took so long
/// that the function may have called again.
async fn meanwhile(
    world: &World,
    (operation, nth): (&str, usize),
    request: impl Future<Output = Answer>,
    between: impl Future<Output = ()>,
) -> Option<Answer> {
    let mut hold = world.cloud.faults().hold(operation, nth);
    let held = async move {
        hold.arrived().await;
        let began = Instant::now();
        between.await;
        drop(hold);
        began.elapsed()
    };
    let (answer, held) = join(request, held).await;
    (held < PATIENCE).then_some(answer)
}

#[tokio::test]
async fn a_tombstone_that_points_elsewhere_by_now_does_not_come_back_pointing_there_unseen() {
    let world = World::new().await;
    define(&world, &[posts(), comments("restrict")]).await;
    let ada = world.user("ada").await;
    let undelete = async |comment: &str| ada.post(&format!("{comment}/undelete"), json!({})).await;
    for _ in 0..TRIES {
        let (one, other) = (make(&ada, POSTS, json!({})).await, make(&ada, POSTS, json!({})).await);
        let comment = make(&ada, COMMENTS, json!({ "post": id(&one) })).await;
        // Once before, so that nothing but the record is left to be read.
        ada.delete(&comment).await.expect(204);
        undelete(&comment).await.expect(200);
        ada.delete(&comment).await.expect(204);
        let elsewhere = async {
            undelete(&comment).await.expect(200);
            ada.patch(&comment, json!({ "post": id(&other) })).await.expect(200);
            ada.delete(&comment).await.expect(204);
        };
        // It was read to see where it points; now to be written.
        if let Some(answer) = meanwhile(&world, ("GetItem", 2), undelete(&comment), elsewhere).await {
            answer.expect(503);
            ada.get(&comment).await.expect(404);
            assert_eq!(undelete(&comment).await.expect(200).body["post"], id(&other));
            ada.delete(&other).await.expect(409);
            return;
        }
    }
    panic!("never fast enough to be seen");
}

#[tokio::test]
async fn a_value_that_its_record_takes_up_again_does_not_go_to_another() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    for slug in (0..TRIES).map(|round| format!("slug-{round}")) {
        let task = json!({ "title": "t", "owner": ada.id(), "slug": slug });
        let first = path(&ada.post(TASKS, task.clone()).await.expect(201).body);
        ada.patch(&first, json!({ "slug": null })).await.expect(200);
        let taken_up = async {
            ada.patch(&first, json!({ "slug": slug })).await.expect(200);
        };
        // The first transaction hears who held the value last; the second takes it from there.
        let claim = ada.post(TASKS, task);
        if let Some(answer) = meanwhile(&world, ("TransactWriteItems", 2), claim, taken_up).await {
            assert_eq!(answer.expect(409).code(), "not_unique");
            assert_eq!(ada.get(&first).await.expect(200).body["slug"], slug);
            return;
        }
    }
    panic!("never fast enough to be seen");
}

#[tokio::test]
async fn a_write_that_met_another_does_not_try_again_under_a_definition_that_may_have_changed() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let overtaken = async |later: Duration| {
        for _ in 0..TRIES {
            let task = ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "status": "open" })).await.expect(201);
            let task = path(&task.body);
            world.cloud.faults().on("PutItem", 1, Mishap::Overtaken);
            let patch = ada.patch(&task, json!({ "status": "done" }));
            let waiting = async { world.advance(later) };
            let answer = meanwhile(&world, ("GetItem", 1), patch, waiting).await;
            let overtaken = world.cloud.faults().clear() == 0;
            if let Some(answer) = answer {
                assert!(overtaken, "it was not overtaken");
                return (answer.status, ada.get(&task).await.expect(200).body["status"].clone());
            }
        }
        panic!("never fast enough to be seen");
    };
    assert_eq!(overtaken(Duration::from_secs(1)).await, (200, json!("done")));
    assert_eq!(overtaken(Duration::from_secs(3)).await, (503, json!("open")));
}
