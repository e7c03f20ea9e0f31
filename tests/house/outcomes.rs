//! How jobs end: what another attempt would only repeat ends at once, and says why.

use crate::world::{Caller, World};
use serde_json::{Value, json};
use undercroft_local::Mishap;

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
    world.cloud.faults().on("UpdateItem", 2, Mishap::TooLarge);
    world.settle().await;
    assert_eq!(world.cloud.faults().clear(), 0);
    let dead = job(&admin, &path).await;
    assert_eq!((&dead["status"], &dead["attempts"]), (&json!("dead"), &json!(1)), "{dead}");
    assert!(dead["lastError"].as_str().unwrap().starts_with("its outcome could not be kept"), "{dead}");
    assert_eq!(world.mails_to("ada@example.org").len(), 1);
    admin.post(&format!("{path}/redrive"), json!({})).await.expect(200);
    world.settle().await;
    assert_eq!(job(&admin, &path).await["status"], "succeeded");
}

#[tokio::test]
async fn what_every_attempt_would_repeat_is_tried_once_and_can_be_redriven() {
    let world = World::new().await;
    let admin = world.admin().await;
    let definition = json!({ "name": "things", "schema": { "type": "object", "properties": {} } });
    admin.put("/v1/collections/things", definition).await.expect(201);
    let file = "uploads/017f22e2-79b0-7cc3-98c4-dc0c0c07398f.csv";
    let import = json!({ "collection": "things", "format": "csv", "key": file });
    let mut jobs = Vec::new();
    for (kind, payload, reason) in [
        ("no.such_job", json!({}), "no worker knows"),
        ("email.send", json!({ "to": "ada@example.org", "subject": "s", "text": 7, "html": "h" }), "payload: "),
        ("records.import", import, "no such file"),
    ] {
        jobs.push((enqueue(&admin, json!({ "type": kind, "payload": payload })).await, reason));
    }
    for redriven in [0, 3] {
        assert_eq!(admin.post("/v1/jobs/redrive", json!({})).await.expect(200).body["redriven"], redriven);
        world.settle().await;
        for (path, reason) in &jobs {
            let dead = job(&admin, path).await;
            let told = dead["lastError"].as_str().unwrap_or_default();
            assert_eq!((&dead["status"], &dead["attempts"]), (&json!("dead"), &json!(1)), "{dead}");
            assert!(told.contains(reason), "{dead}");
        }
    }
}
