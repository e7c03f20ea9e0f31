//! Idempotency keys of job requests: enqueue, cancel, redrive.

use crate::world::{Answer, Caller, World};
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;
use undercroft_local::Fault;

const JOBS: &str = "/v1/jobs";

fn mail(to: &str) -> Value {
    json!({ "type": "email.send", "payload": { "to": to, "subject": "s", "text": "t" } })
}

/// A job of an unknown type: dead after its first attempt.
fn doomed() -> Value {
    json!({ "type": "no.such_job", "maxAttempts": 1 })
}

async fn keyed(caller: &Caller<'_>, path: &str, key: &str, body: Value) -> Answer {
    caller.request(Method::POST, path).header("idempotency-key", &format!("\"{key}\"")).json(body).send().await
}

async fn enqueue(admin: &Caller<'_>, body: Value) -> String {
    admin.post(JOBS, body).await.expect(202).header("location").to_owned()
}

async fn runs(world: &World, path: &str) -> Value {
    let id = path.rsplit('/').next().unwrap();
    let jobs = world.dump("JobsTable").await;
    let job = jobs.as_array().unwrap().iter().find(|job| job["id"]["S"] == id).unwrap().clone();
    job["run"]["N"].clone()
}

#[tokio::test]
async fn a_job_is_enqueued_once_for_a_key_however_many_ask_at_once() {
    for instances in [1, 6] {
        a_job_is_enqueued_once_for_a_key(&World::of_instances(instances).await).await;
    }
}

async fn a_job_is_enqueued_once_for_a_key(world: &World) {
    let admin = world.admin().await;
    let first = keyed(&admin, JOBS, "a", mail("ada@example.org")).await.expect(202);
    let again = keyed(&admin, JOBS, "a", mail("ada@example.org")).await.expect(202);
    assert_eq!((&first.text, first.header("location")), (&again.text, again.header("location")));
    assert_eq!(keyed(&admin, JOBS, "a", mail("bob@example.org")).await.expect(422).code(), "key_reused");
    keyed(&admin, JOBS, "b", json!({ "type": "x" })).await.expect(400);
    keyed(&admin, JOBS, "b", mail("bob@example.org")).await.expect(202);
    keyed(&admin, JOBS, "not quoted\" ", mail("bob@example.org")).await.expect(400);

    let answers = join_all((0..64).map(|_| keyed(&admin, JOBS, "c", mail("eve@example.org")))).await;
    assert!(answers.iter().all(|answer| answer.status == 202 || answer.code() == "in_progress"));
    let ids: HashSet<String> =
        answers.iter().filter(|answer| answer.status == 202).map(|answer| answer.body["id"].to_string()).collect();
    assert_eq!(ids.len(), 1);
    world.settle().await;
    for to in ["ada@example.org", "bob@example.org", "eve@example.org"] {
        assert_eq!(world.mails_to(to).len(), 1, "{to}");
    }
}

#[tokio::test]
async fn cancel_and_redrive_with_a_key_happen_once_and_repeat_their_answer() {
    let world = World::new().await;
    let admin = world.admin().await;
    let later = json!({ "type": "no.such_job", "maxAttempts": 1, "delaySeconds": 300 });
    let job = enqueue(&admin, later).await;
    let (cancel, redrive) = (format!("{job}/cancel"), format!("{job}/redrive"));
    let refused = keyed(&admin, &redrive, "k", json!({})).await.expect(409);
    assert!(refused.body["detail"].as_str().unwrap().contains("this one is queued"), "{}", refused.text);
    for path in [&cancel, &redrive] {
        let first = keyed(&admin, path, "k", json!({})).await.expect(200);
        let stored = admin.get(&job).await.expect(200);
        assert_eq!(first.body, stored.body, "what was answered before it was written is what was written");
        world.settle().await;
        let again = keyed(&admin, path, "k", json!({})).await.expect(200);
        assert_eq!(first.text, again.text);
    }
    assert_eq!(runs(&world, &job).await, "2", "redriven once");
    world.advance(Duration::from_secs(301));
    world.settle().await;
    assert_eq!(admin.get(&job).await.expect(200).body["status"], "dead", "it has run since, and the answer stays");
    keyed(&admin, "/v1/jobs/017f22e2-79b0-7cc3-98c4-dc0c0c07398f/cancel", "k", json!({})).await.expect(404);
    keyed(&admin, "/v1/jobs/nothing/cancel", "k", json!({})).await.expect(404);
    world.settle().await;
}

#[tokio::test]
async fn dead_jobs_are_redriven_together_with_the_answer_that_is_kept() {
    let world = World::new().await;
    let admin = world.admin().await;
    let jobs = join_all((0..27).map(|_| enqueue(&admin, doomed()))).await;
    world.settle().await;
    let redrive = "/v1/jobs/redrive";
    let first = keyed(&admin, redrive, "k", json!({})).await.expect(200);
    assert_eq!(first.body, json!({ "redriven": 25, "more": true }));
    assert_eq!(keyed(&admin, redrive, "k", json!({})).await.expect(200).body, first.body);
    let second = keyed(&admin, redrive, "l", json!({})).await.expect(200);
    assert_eq!(second.body, json!({ "redriven": 2, "more": false }));
    for job in &jobs {
        assert_eq!(runs(&world, job).await, "2", "each was redriven once");
    }
    let none = keyed(&admin, redrive, "m", json!({})).await.expect(200);
    assert_eq!(none.body, json!({ "redriven": 0, "more": false }));
    world.settle().await;
}

/// Without a key the SDK may still send a write twice, after an answer that was lost.
#[tokio::test]
async fn cancel_and_redrive_with_a_lost_answer_do_not_conflict_with_themselves() {
    let world = World::new().await;
    let admin = world.admin().await;
    let job = enqueue(&admin, json!({ "type": "no.such_job", "delaySeconds": 300 })).await;
    for (step, status) in [("cancel", "cancelled"), ("redrive", "queued")] {
        world.cloud.faults().on("UpdateItem", 1, Fault::LostAnswer);
        let answer = admin.post(&format!("{job}/{step}"), json!({})).await.expect(200);
        assert_eq!(answer.body["status"], status);
        assert_eq!(world.cloud.faults().clear(), 0, "{step}");
        let other = admin.post(&format!("{job}/{step}"), json!({})).await.expect(409);
        assert_eq!(other.code(), "wrong_status", "another request gets the error");
    }
    assert_eq!(runs(&world, &job).await, "2");
    admin.post(&format!("{job}/cancel"), json!({})).await.expect(200);
    world.settle().await;
    world.advance(Duration::from_secs(301));
    world.settle().await;
}

#[tokio::test]
async fn routes_without_stored_answers_are_safe_to_repeat() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stranger = world.stranger();
    let refresh = json!({ "refreshToken": ada.refresh_token });
    let first = stranger.post("/v1/auth/refresh", refresh.clone()).await.expect(200);
    let again = stranger.post("/v1/auth/refresh", refresh).await.expect(200);
    assert_eq!(first.body["refreshToken"], again.body["refreshToken"]);
    ada.post("/v1/auth/signout", json!({})).await.expect(204);
    ada.post("/v1/auth/signout", json!({})).await.expect(204);
    world.settle().await;
}
