//! Outcomes of jobs: a permanent failure ends a job at once with its reason, and system jobs cannot be cancelled.

use crate::records::restrict::{COMMENTS, POSTS, comments, define, id, make, posts};
use crate::world::{Caller, World};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use undercroft_local::Fault;

async fn enqueue(admin: &Caller<'_>, body: Value) -> String {
    admin.post("/v1/jobs", body).await.expect(202).header("location").to_owned()
}

async fn job(admin: &Caller<'_>, path: &str) -> Value {
    admin.get(path).await.expect(200).body
}

#[tokio::test]
async fn an_outcome_that_cannot_be_kept_ends_the_job_and_its_work_is_not_done_again() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mail = json!({ "to": "ada@example.org", "subject": "s", "text": "t" });
    let path = enqueue(&admin, json!({ "type": "email.send", "payload": mail })).await;
    // The first update starts the job, the second writes its outcome down.
    world.cloud.faults().on("UpdateItem", 2, Fault::TooLarge);
    world.settle().await;
    assert_eq!(world.cloud.faults().clear(), 0);
    let dead = job(&admin, &path).await;
    assert_eq!((&dead["status"], &dead["attempts"]), (&json!("dead"), &json!(1)), "{dead}");
    assert!(dead["lastError"].as_str().unwrap().starts_with("The outcome of the job could not be stored"), "{dead}");
    assert_eq!(world.mails_to("ada@example.org").len(), 1);
    admin.post(&format!("{path}/redrive"), json!({})).await.expect(200);
    world.settle().await;
    assert_eq!(job(&admin, &path).await["status"], "succeeded");
}

#[tokio::test]
async fn a_permanent_failure_is_tried_once_and_can_be_redriven() {
    let world = World::new().await;
    let admin = world.admin().await;
    let definition = json!({ "name": "things", "schema": { "type": "object", "properties": {} } });
    admin.put("/v1/collections/things", definition).await.expect(201);
    let file = "uploads/017f22e2-79b0-7cc3-98c4-dc0c0c07398f.csv";
    let import = json!({ "collection": "things", "format": "csv", "key": file });
    let mut jobs = Vec::new();
    for (kind, payload, reason) in [
        ("no.such_job", json!({}), "No worker handles"),
        (
            "email.send",
            json!({ "to": "ada@example.org", "subject": "s", "text": 7, "html": "h" }),
            "payload is not valid: ",
        ),
        ("records.import", import, "file does not exist"),
    ] {
        jobs.push((enqueue(&admin, json!({ "type": kind, "payload": payload })).await, reason));
    }
    for redriven in [0, 3] {
        assert_eq!(admin.post("/v1/jobs/redrive", json!({})).await.expect(200).body["redriven"], redriven);
        world.settle().await;
        for (path, reason) in &jobs {
            let dead = job(&admin, path).await;
            let reported = dead["lastError"].as_str().unwrap_or_default();
            assert_eq!((&dead["status"], &dead["attempts"]), (&json!("dead"), &json!(1)), "{dead}");
            assert!(reported.contains(reason), "{dead}");
        }
    }
}

#[tokio::test]
async fn a_job_of_many_slices_takes_no_turn_in_a_group() {
    let world = World::new().await;
    let admin = world.admin().await;
    for kind in ["records.import", "records.export"] {
        let refused = admin.post("/v1/jobs", json!({ "type": kind, "group": "a", "payload": {} })).await.expect(400);
        let reported = &refused.body["errors"][0];
        assert_eq!(
            (&reported["pointer"], &reported["code"]),
            (&json!("/group"), &json!("excluded")),
            "{}",
            refused.text
        );
    }
    world.settle().await;
}

/// The system jobs that wait or have ended, by type.
async fn system_jobs(admin: &Caller<'_>) -> Vec<(String, Value)> {
    let jobs = admin.get("/v1/jobs").await.expect(200).body;
    let of = |job: &Value| (job["type"].as_str().unwrap().to_owned(), job.clone());
    jobs["items"].as_array().unwrap().iter().map(of).filter(|(kind, _)| kind != "email.send").collect()
}

#[tokio::test]
async fn system_jobs_cannot_be_cancelled() {
    let world = World::new().await;
    let mut commented = comments("cascade");
    define(&world, &[posts(), commented.clone()]).await;
    let admin = world.admin().await;
    let post = make(&admin, POSTS, json!({})).await;
    let comment = make(&admin, COMMENTS, json!({ "post": id(&post) })).await;
    commented["indexes"].as_array_mut().unwrap().push(json!({ "name": "by_text", "partition": ["text"] }));
    admin.put("/v1/collections/comments", commented).await.expect(202);
    let mut titled = posts();
    titled["schema"]["properties"]["title"]["maxLength"] = json!(5);
    admin.put("/v1/collections/posts", titled).await.expect(202);
    define(&world, &[json!({ "name": "things", "schema": { "type": "object", "properties": {} } })]).await;
    admin.delete("/v1/collections/things?records=delete").await.expect(202);
    admin.delete(&post).await.expect(204);
    // The relay enqueues a job for the deletion, but no worker runs.
    world.relay_only().await;
    let admin = world.admin().await;
    let owed = system_jobs(&admin).await;
    let kinds: BTreeSet<&str> = owed.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["index.build", "records.cascade", "records.check", "records.purge"]));
    for (kind, job) in &owed {
        assert_eq!(job["status"], "queued", "{job}");
        let cancel = format!("/v1/jobs/{}/cancel", job["id"].as_str().unwrap());
        let keyed =
            admin.request(Method::POST, &cancel).header("idempotency-key", &format!("\"{kind}\"")).json(json!({}));
        for refused in [admin.post(&cancel, json!({})).await, keyed.send().await] {
            assert_eq!(refused.expect(409).code(), "system_job");
        }
    }
    for _ in 0..4 {
        world.settle().await;
        world.advance(Duration::from_secs(20));
    }
    let admin = world.admin().await;
    assert!(system_jobs(&admin).await.iter().all(|(_, job)| job["status"] == "succeeded"));
    assert_eq!(admin.get("/v1/collections/comments").await.expect(200).body["status"], "ready");
    admin.get(&comment).await.expect(404);
}

#[tokio::test]
async fn a_page_of_large_jobs_ends_early_and_goes_on() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut made = BTreeSet::new();
    for _ in 0..25 {
        let large = json!({ "type": "no.such_job", "payload": { "text": "x".repeat(99_000) } });
        made.insert(id(&enqueue(&admin, large).await).to_owned());
    }
    world.settle().await;
    let first = admin.get("/v1/jobs?dead=true&limit=100").await.expect(200);
    assert!((1_900_000..2_100_000).contains(&first.text.len()), "{}", first.text.len());
    let cursor = first.body["nextCursor"].as_str().unwrap();
    let second = admin.get(&format!("/v1/jobs?dead=true&limit=100&cursor={cursor}")).await.expect(200);
    assert_eq!(second.body.get("nextCursor"), None);
    let pages = [first.body["items"].as_array().unwrap(), second.body["items"].as_array().unwrap()];
    let listed: Vec<String> = pages.into_iter().flatten().map(|job| job["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!((listed.len(), listed.into_iter().collect::<BTreeSet<_>>()), (25, made));
}
