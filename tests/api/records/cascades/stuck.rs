//! Records that a cascade cannot write: they do not block others, and the job ends.

use super::{all, follow, jobs};
use crate::records::restrict::{COMMENTS, POSTS, comments, define, id, make, posts};
use crate::world::World;
use serde_json::{Value, json};
use std::time::Duration;

/// Comments that lose their post when it is deleted, which one with a text may not.
pub fn demanding() -> Value {
    let mut comments = comments("setNull");
    comments["schema"]["dependentRequired"] = json!({ "text": ["post"] });
    comments
}

#[tokio::test]
async fn more_stuck_records_than_fit_a_slice_block_no_other_and_the_job_ends() {
    let mut world = World::new().await;
    world.work_in_slices_of(3);
    define(&world, &[posts(), demanding()]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    let mut made = Vec::new();
    for nth in 0..9 {
        let text = if nth < 7 { json!("stuck") } else { Value::Null };
        let mut body = json!({ "post": id(&post), "text": text });
        body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        made.push(make(&ada, COMMENTS, body).await);
        world.advance(Duration::from_millis(2));
    }
    ada.delete(&post).await.expect(204);
    world.settle().await;
    let left: Vec<String> = all(&ada, COMMENTS)
        .await
        .iter()
        .filter(|comment| comment.get("post").is_some())
        .map(|comment| comment["id"].as_str().unwrap().into())
        .collect();
    assert_eq!(
        left,
        made[..7].iter().map(|path| id(path)).collect::<Vec<_>>(),
        "those behind them are written at once"
    );
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
    for comment in &made[..7] {
        ada.patch(comment, json!({ "text": null })).await.expect(200);
    }
    let job = jobs(&world).await[0]["id"].as_str().unwrap().to_owned();
    admin.post(&format!("/v1/jobs/{job}/redrive"), json!({})).await.expect(200);
    follow(&world).await;
    let left = all(&world.user("ada").await, COMMENTS).await;
    assert!(left.len() == 9 && left.iter().all(|comment| comment.get("post").is_none()), "{left:?}");
    let done = jobs(&world).await[0].clone();
    assert_eq!((&done["status"], &done["result"]), (&json!("succeeded"), &json!({ "done": 9 })), "{done}");
}
