//! Records that a cascade cannot write: they do not block others, and the job ends.

use super::{LIKES, all, follow, jobs, likes};
use crate::records::restrict::{COMMENTS, POSTS, comments, define, id, make, posts};
use crate::world::World;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn more_stuck_records_than_fit_a_slice_block_no_other_and_the_job_ends() {
    let mut world = World::new().await;
    world.work_in_slices_of(3);
    define(&world, &[posts(), comments("cascade"), likes("restrict")]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    let mut made = Vec::new();
    for _ in 0..9 {
        made.push(make(&ada, COMMENTS, json!({ "post": id(&post) })).await);
        world.advance(Duration::from_millis(2));
    }
    let mut restricting = Vec::new();
    for comment in &made[..7] {
        restricting.push(make(&ada, LIKES, json!({ "comment": id(comment) })).await);
    }
    ada.delete(&post).await.expect(204);
    world.settle().await;
    let left: Vec<String> =
        all(&ada, COMMENTS).await.iter().map(|comment| comment["id"].as_str().unwrap().into()).collect();
    assert_eq!(left, made[..7].iter().map(|path| id(path)).collect::<Vec<_>>(), "those behind them are gone at once");
    let stuck = jobs(&world).await[0].clone();
    assert_eq!((&stuck["status"], &stuck["progress"]["done"]), (&json!("retrying"), &json!(2)), "{stuck}");
    let reported = stuck["lastError"].as_str().unwrap();
    assert!(reported.contains("could not be updated or deleted: 7. ") && reported.contains(id(&made[0])), "{reported}");

    let mut passes = 1;
    while jobs(&world).await[0]["status"] != "dead" {
        passes += 1;
        assert!(passes <= 20, "it is tried as often as a job may be, and no more");
        world.advance(Duration::from_secs(3_600));
        world.settle().await;
    }
    assert_eq!(passes, 20);
    assert!(jobs(&world).await[0]["lastError"].as_str().unwrap().contains("could not be updated or deleted: 7. "));

    let (admin, ada) = (world.admin().await, world.user("ada").await);
    for like in &restricting {
        ada.delete(like).await.expect(204);
    }
    let job = jobs(&world).await[0]["id"].as_str().unwrap().to_owned();
    admin.post(&format!("/v1/jobs/{job}/redrive"), json!({})).await.expect(200);
    follow(&world).await;
    assert_eq!(all(&world.user("ada").await, COMMENTS).await.len(), 0);
    let done = jobs(&world).await[0].clone();
    assert_eq!((&done["status"], &done["result"]), (&json!("succeeded"), &json!({ "done": 9 })), "{done}");
}
