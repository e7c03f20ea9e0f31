//! Jobs: none is lost, none runs twice, and a failing one does not affect others.

use crate::world::{Caller, World};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use undercroft::aws::Aws;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::store::Table;
use undercroft::store::jobs::{Job, Jobs, Start};

async fn enqueue(admin: &Caller<'_>, body: Value) -> String {
    admin.post("/v1/jobs", body).await.expect(202).header("location").to_owned()
}

fn mail(to: &str) -> Value {
    json!({ "type": "email.send", "payload": { "to": to, "subject": "s", "text": "t" } })
}

fn grouped(to: &str, group: &str) -> Value {
    let mut body = mail(to);
    body["group"] = json!(group);
    body
}

async fn status(admin: &Caller<'_>, path: &str) -> String {
    admin.get(path).await.expect(200).body["status"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn bad_jobs_are_refused_by_what_is_wrong_with_them() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut wrong = vec![
        (json!({}), "/?"),
        (json!({ "type": "Email Send" }), "/type"),
        (json!({ "type": "email.send", "payload": { "to": "nobody", "subject": "s", "text": "t" } }), "/payload/to"),
        (
            json!({ "type": "email.send", "payload": { "to": "a@example.org", "subject": "s\r\nBcc: x", "text": "t" } }),
            "/payload/subject",
        ),
        (
            json!({ "type": "email.send", "payload": { "to": "a@example.org", "subject": "s", "sealedText": "x" } }),
            "/payload/sealedText",
        ),
        (json!({ "type": "custom.job", "maxAttempts": 21 }), "/maxAttempts"),
        (json!({ "type": "custom.job", "delaySeconds": 901 }), "/delaySeconds"),
        (json!({ "type": "custom.job", "group": "a b" }), "/group"),
        (json!({ "type": "custom.job", "status": "succeeded" }), "/status"),
        (json!({ "type": "custom.job", "payload": { "a": [{ "": null }] } }), "/payload/a/0/"),
    ];
    wrong.push((json!({ "type": "custom.job", "payload": { "x": "y".repeat(100_001) } }), "/payload"));
    for (body, pointer) in wrong {
        let refused = admin.post("/v1/jobs", body).await.expect(400);
        let errors = refused.body["errors"].as_array().unwrap();
        assert!(
            pointer == "/?" || errors.iter().any(|error| error["pointer"] == pointer),
            "{pointer}: {}",
            refused.text
        );
    }
    for (planned, feature) in [
        (json!({ "type": "webhook.deliver" }), "webhooks"),
        (json!({ "type": "webhook.send", "payload": { "url": "https://example.org" } }), "webhooks"),
        (json!({ "type": "cron.add" }), "schedules"),
        (json!({ "type": "schedule.run" }), "schedules"),
        (json!({ "type": "topic.publish" }), "topics"),
        (json!({ "type": "user.erase" }), "erasing a user"),
        (json!({ "type": "email.send", "cron": "0 9 * * *" }), "schedules"),
        (json!({ "type": "email.send", "rate": "1 day", "timeZone": "Europe/Berlin" }), "schedules"),
        (json!({ "type": "records.export", "schedule": { "cron": "0 9 * * *" } }), "schedules"),
    ] {
        let answer = admin.post("/v1/jobs", planned).await.expect(501);
        assert!(
            answer.code() == "not_built" && answer.body["detail"].as_str().unwrap().contains(feature),
            "{}",
            answer.text
        );
    }
    assert_eq!(
        admin.get("/v1/jobs").await.expect(200).body["items"].as_array().unwrap().len(),
        1,
        "only the admin's own mail"
    );
    world.settle().await;
}

#[tokio::test]
async fn one_poisoned_job_in_a_batch_fails_alone() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut good = Vec::new();
    for nth in 0..5 {
        good.push(enqueue(&admin, mail(&format!("u{nth}@example.org"))).await);
    }
    let unknown = enqueue(&admin, json!({ "type": "no.such_job", "maxAttempts": 1 })).await;
    let poison = enqueue(&admin, {
        let mut body = mail("x@example.invalid");
        body["maxAttempts"] = json!(1);
        body
    })
    .await;
    for nth in 5..9 {
        good.push(enqueue(&admin, mail(&format!("u{nth}@example.org"))).await);
    }
    world.settle().await;
    for path in &good {
        assert_eq!(status(&admin, path).await, "succeeded");
    }
    for (path, error) in [(&unknown, "No worker handles"), (&poison, "SES refused")] {
        let dead = admin.get(path).await.expect(200).body;
        assert_eq!(dead["status"], "dead");
        assert!(dead["lastError"].as_str().unwrap().contains(error), "{dead}");
    }
    for nth in 0..9 {
        assert_eq!(world.mails_to(&format!("u{nth}@example.org")).len(), 1);
    }
    let dead = admin.get("/v1/jobs?dead=true").await.expect(200).body;
    assert_eq!(dead["items"].as_array().unwrap().len(), 2);
    assert_eq!(
        admin.post("/v1/jobs/redrive", json!({})).await.expect(200).body,
        json!({ "redriven": 2, "more": false })
    );
    world.settle().await;
    assert_eq!(status(&admin, &unknown).await, "dead");
}

#[tokio::test]
async fn a_message_that_comes_twice_or_late_does_nothing_twice() {
    let world = World::new().await;
    let admin = world.admin().await;
    let path = enqueue(&admin, mail("ada@example.org")).await;
    let id = path.rsplit('/').next().unwrap();
    let queue = world.env("relay")["JOBS_QUEUE_URL"].clone();
    let send = async |body: String| {
        world.cloud.call("AmazonSQS.SendMessage", &json!({ "QueueUrl": queue, "MessageBody": body })).await.unwrap();
    };
    let message = |run: u64| json!({ "task": "runJob", "job": id, "run": run, "requestId": "r" }).to_string();
    for _ in 0..3 {
        send(message(1)).await;
    }
    send(message(0)).await;
    send(message(7)).await;
    world.settle().await;
    assert_eq!(world.mails_to("ada@example.org").len(), 1);
    send(message(1)).await;
    world.settle().await;
    assert_eq!(world.mails_to("ada@example.org").len(), 1);
    assert_eq!(admin.get(&path).await.expect(200).body["attempts"], 1);
}

/// Repeats a write as the SDK does after a lost answer.
#[tokio::test]
async fn a_job_whose_answer_was_lost_is_enqueued_once() {
    let world = World::new().await;
    let env: undercroft::config::Env = world.env("jobs").into_iter().collect();
    let table = Table::new(Aws::from_env(&env).unwrap().dynamodb(), env.required("JOBS_TABLE").unwrap());
    let jobs = Jobs::new(table, Clock::default());
    let payload = mail("ada@example.org")["payload"].as_object().unwrap().clone();
    let id = undercroft::id::new(&Clock::default());
    let job = |request: &str| Job::new(id.clone(), "email.send", payload.clone(), request);
    for _ in 0..3 {
        jobs.enqueue(&job("asked")).await.unwrap();
    }
    assert!(jobs.enqueue(&job("asked by somebody else")).await.is_err(), "an id is one job's");
    world.settle().await;
    jobs.enqueue(&job("asked")).await.unwrap();
    world.settle().await;
    assert_eq!(world.mails_to("ada@example.org").len(), 1, "a try that comes late does not begin again");
    assert_eq!(jobs.get(&id).await.unwrap().unwrap().attempts, 1);
}

#[tokio::test]
async fn an_unreadable_message_ends_in_the_dead_letter_queue_and_harms_no_job() {
    let world = World::new().await;
    let admin = world.admin().await;
    let queue = world.env("relay")["JOBS_QUEUE_URL"].clone();
    world
        .cloud
        .call("AmazonSQS.SendMessage", &json!({ "QueueUrl": queue, "MessageBody": "{\"task\":\"from the future\"}" }))
        .await
        .unwrap();
    let path = enqueue(&admin, mail("ada@example.org")).await;
    for _ in 0..35 {
        world.settle().await;
        world.advance(Duration::from_secs(3_600));
    }
    let admin = world.admin().await;
    assert_eq!(status(&admin, &path).await, "succeeded");
    let dead = world.cloud.peek("undercroft-local-JobsDeadLetters", 10).unwrap();
    assert_eq!(dead.len(), 1, "{dead:?}");
    world.leave_messages_on("JobsDeadLetters");
}

#[tokio::test]
async fn a_job_whose_message_was_never_handled_ends_dead_and_can_be_redriven() {
    let world = World::new().await;
    let admin = world.admin().await;
    let alone = enqueue(&admin, mail("ada@example.org")).await;
    let in_turn = enqueue(&admin, grouped("bob@example.org", "a")).await;
    let taken_back = enqueue(&admin, mail("eve@example.org")).await;
    admin.post(&format!("{taken_back}/cancel"), json!({})).await.expect(200);
    // For hours there is no worker that answers. SQS counts that against the messages.
    for _ in 0..32 {
        world.relay_only().await;
    }
    for (queue, count) in [("JobsDeadLetters", 2), ("JobsFifoDeadLetters.fifo", 1)] {
        assert_eq!(world.cloud.peek(&format!("undercroft-local-{queue}"), 10).unwrap().len(), count, "{queue}");
    }
    let admin = world.admin().await;
    assert_eq!(status(&admin, &alone).await, "queued", "no worker ran to end it");

    world.settle().await;
    for path in [&alone, &in_turn] {
        let dead = admin.get(path).await.expect(200).body;
        assert_eq!((dead["status"].as_str(), dead["attempts"].as_u64()), (Some("dead"), Some(0)), "{dead}");
        assert!(dead["lastError"].as_str().unwrap().contains("could not be handled"), "{dead}");
    }
    assert_eq!(status(&admin, &taken_back).await, "cancelled", "a message that comes late ends nothing else");
    for queue in ["JobsDeadLetters", "JobsFifoDeadLetters.fifo"] {
        assert!(world.cloud.peek(&format!("undercroft-local-{queue}"), 10).unwrap().is_empty(), "{queue}");
    }
    let redriven = admin.post("/v1/jobs/redrive", json!({})).await.expect(200);
    assert_eq!(redriven.body, json!({ "redriven": 2, "more": false }));
    world.settle().await;
    for (path, to) in [(&alone, "ada@example.org"), (&in_turn, "bob@example.org")] {
        assert_eq!((status(&admin, path).await.as_str(), world.mails_to(to).len()), ("succeeded", 1));
    }
}

#[tokio::test]
async fn a_job_that_was_kept_long_enough_is_gone_even_while_its_item_is_still_there() {
    let world = World::new().await;
    let admin = world.admin().await;
    let done = enqueue(&admin, mail("ada@example.org")).await;
    let dead = enqueue(&admin, json!({ "type": "no.such_job", "maxAttempts": 1 })).await;
    world.settle().await;
    world.advance(Duration::from_secs(7 * 86_400 + 1));
    let admin = world.admin().await;
    admin.get(&done).await.expect(404);
    assert_eq!(status(&admin, &dead).await, "dead", "which is kept for longer");
    let listed = admin.get("/v1/jobs").await.expect(200).body;
    assert_eq!(listed["items"], json!([]), "what is over is not listed");
    world.advance(Duration::from_secs(83 * 86_400));
    let admin = world.admin().await;
    admin.get(&dead).await.expect(404);
    admin.post(&format!("{dead}/redrive"), json!({})).await.expect(404);
    admin.post(&format!("{dead}/cancel"), json!({})).await.expect(404);
    assert_eq!(admin.post("/v1/jobs/redrive", json!({})).await.expect(200).body["redriven"], 0);
    assert_eq!(world.dump("JobsTable").await.as_array().unwrap().len(), 3, "nothing has removed the items");
    world.settle().await;
}

#[tokio::test]
async fn jobs_of_a_group_run_one_at_a_time_and_a_failing_one_holds_up_only_its_own_group() {
    let world = World::new().await;
    let admin = world.admin().await;
    let stuck = enqueue(&admin, {
        let mut body = grouped("x@example.invalid", "a");
        body["maxAttempts"] = json!(2);
        body
    })
    .await;
    // Only jobs relayed earlier are certain to be first.
    world.settle().await;
    let behind = enqueue(&admin, grouped("ada@example.org", "a")).await;
    let beside = enqueue(&admin, grouped("bob@example.org", "b")).await;
    world.settle().await;
    assert_eq!(status(&admin, &stuck).await, "retrying");
    assert_eq!(status(&admin, &behind).await, "queued");
    assert_eq!(status(&admin, &beside).await, "succeeded");
    for _ in 0..3 {
        world.advance(Duration::from_secs(400));
        world.settle().await;
    }
    let admin = world.admin().await;
    assert_eq!(status(&admin, &stuck).await, "dead");
    assert_eq!(status(&admin, &behind).await, "succeeded");
}

#[tokio::test]
async fn a_job_can_be_taken_back_until_it_has_run_and_waits_for_its_time() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut delayed = mail("ada@example.org");
    delayed["delaySeconds"] = json!(300);
    let (kept, cancelled) = (enqueue(&admin, delayed.clone()).await, enqueue(&admin, delayed).await);
    world.settle().await;
    assert_eq!(status(&admin, &kept).await, "queued");
    assert_eq!(admin.post(&format!("{cancelled}/cancel"), json!({})).await.expect(200).body["status"], "cancelled");
    world.advance(Duration::from_secs(301));
    world.settle().await;
    assert_eq!(
        (status(&admin, &kept).await, status(&admin, &cancelled).await),
        ("succeeded".into(), "cancelled".into())
    );
    assert_eq!(world.mails_to("ada@example.org").len(), 1);
    let refused = admin.post(&format!("{kept}/cancel"), json!({})).await.expect(409);
    assert!(refused.body["detail"].as_str().unwrap().contains("this one is succeeded"), "{}", refused.text);
    admin.post(&format!("{kept}/redrive"), json!({})).await.expect(409);
    admin.post("/v1/jobs/017f22e2-79b0-7cc3-98c4-dc0c0c07398f/cancel", json!({})).await.expect(404);
    world.settle().await;
}

#[tokio::test]
async fn a_delayed_job_that_is_cancelled_and_redriven_keeps_its_time() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut delayed = mail("ada@example.org");
    delayed["delaySeconds"] = json!(300);
    let asked = admin.post("/v1/jobs", delayed.clone()).await.expect(202);
    let created = undercroft::expr::moment::milliseconds(asked.body["createdAt"].as_str().unwrap()).unwrap();
    let run_at = undercroft::clock::rfc3339(u64::try_from(created).unwrap() + 300_000);
    assert_eq!((&asked.body["runAt"], &asked.body["delaySeconds"]), (&json!(run_at), &json!(300)));
    let (path, keyed) = (asked.header("location").to_owned(), enqueue(&admin, delayed).await);
    world.settle().await;
    for key in ["\"a\"", "\"b\""] {
        for path in [&path, &keyed] {
            admin.post(&format!("{path}/cancel"), json!({})).await.expect(200);
        }
        world.advance(Duration::from_secs(100));
        let redriven = admin.post(&format!("{path}/redrive"), json!({})).await.expect(200).body;
        assert_eq!((&redriven["runAt"], &redriven["status"]), (&json!(run_at), &json!("queued")));
        let redrive = admin.request(Method::POST, &format!("{keyed}/redrive"));
        let redriven = redrive.header("idempotency-key", key).send().await.expect(200).body;
        assert_eq!((&redriven["runAt"], &redriven["status"]), (&json!(run_at), &json!("queued")));
        assert_eq!(admin.get(&keyed).await.expect(200).body["runAt"], run_at);
        world.settle().await;
        assert_eq!(status(&admin, &path).await, "queued", "its time has not come");
    }
    assert!(world.mails_to("ada@example.org").is_empty());
    world.advance(Duration::from_secs(101));
    world.settle().await;
    assert_eq!(world.mails_to("ada@example.org").len(), 2, "each was sent once");

    // After its time, a redrive starts at once.
    let mut soon = mail("ada@example.org");
    soon["delaySeconds"] = json!(60);
    let path = enqueue(&admin, soon).await;
    admin.post(&format!("{path}/cancel"), json!({})).await.expect(200);
    world.advance(Duration::from_secs(61));
    admin.post(&format!("{path}/redrive"), json!({})).await.expect(200);
    world.settle().await;
    assert_eq!(status(&admin, &path).await, "succeeded");
}

#[tokio::test]
async fn one_request_id_leads_from_the_answer_through_stream_and_queue_to_the_job() {
    let world = World::new().await;
    let admin = world.admin().await;
    let answer = admin.post("/v1/jobs", mail("ada@example.org")).await.expect(202);
    let request_id = answer.header("x-request-id").to_owned();
    assert_eq!(answer.body["requestId"], request_id.as_str());
    let seen = world.relay_only().await;
    assert!(seen.contains(&request_id), "the message carries it: {seen}");
    world.settle().await;
}

#[tokio::test]
async fn a_job_whose_worker_is_killed_every_time_ends_dead_and_can_be_redriven() {
    let world = World::new().await;
    let admin = world.admin().await;
    let path = enqueue(&admin, {
        let mut body = mail("ada@example.org");
        body["maxAttempts"] = json!(1);
        body
    })
    .await;
    let id = path.rsplit('/').next().unwrap().to_owned();
    world.relay_only().await;
    // The state after a killed worker: started, but not finished.
    let table = world.cloud.tables().iter().find(|name| name.ends_with("JobsTable")).unwrap();
    let lease = world.now() / 1000 + 90;
    let killed = json!({
        "TableName": table, "Key": { "id": { "S": id } },
        "UpdateExpression": "SET #s = :running, attempts = :one, lease = :lease", "ExpressionAttributeNames": { "#s": "status" },
        "ExpressionAttributeValues": { ":running": { "S": "running" }, ":one": { "N": "1" }, ":lease": { "N": lease.to_string() } },
    });
    world.cloud.call("DynamoDB_20120810.UpdateItem", &killed).await.unwrap();
    world.settle().await;
    assert_eq!(status(&admin, &path).await, "running", "its lease has not run out");
    admin.post(&format!("{path}/redrive"), json!({})).await.expect(409);
    world.advance(Duration::from_secs(120));
    world.settle().await;
    let dead = admin.get(&path).await.expect(200).body;
    assert_eq!(dead["status"], "dead", "{dead}");
    assert!(dead["lastError"].as_str().unwrap().contains("killed"), "{dead}");
    assert!(world.mails_to("ada@example.org").is_empty());
    admin.post(&format!("{path}/redrive"), json!({})).await.expect(200);
    world.settle().await;
    assert_eq!(status(&admin, &path).await, "succeeded");
}

#[tokio::test]
async fn a_long_job_goes_on_from_its_progress_and_a_slice_counts_once() {
    let world = World::new().await;
    let admin = world.admin().await;
    let long = json!({ "type": "no.such_job", "maxAttempts": 1, "delaySeconds": 300 });
    let path = enqueue(&admin, long).await;
    world.settle().await;
    let id = path.rsplit('/').next().unwrap();
    let env: Env = world.env("jobs").into_iter().collect();
    let table = Table::new(Aws::from_env(&env).unwrap().dynamodb(), env.required("JOBS_TABLE").unwrap());
    let jobs = Jobs::new(table, Clock::default());
    let Start::Ours(first) = jobs.start(id, 1).await.unwrap() else { panic!("the job is not started") };
    jobs.go_on(&first, &json!({ "done": 5 }), 0).await.unwrap();
    jobs.go_on(&first, &json!({ "done": 5 }), 0).await.expect("the same again, as after a lost answer");
    let between = admin.get(&path).await.expect(200).body;
    assert_eq!((&between["status"], &between["progress"]), (&json!("queued"), &json!({ "done": 5 })), "{between}");
    assert_eq!(between["attempts"], 0, "a slice has all attempts");
    assert!(matches!(jobs.start(id, 1).await.unwrap(), Start::Settled), "the first slice is over");
    // The stream delivers the next slice to the worker, which does not know this job type and fails it.
    world.settle().await;
    let after = admin.get(&path).await.expect(200).body;
    assert_eq!((&after["status"], &after["progress"]), (&json!("dead"), &json!({ "done": 5 })), "{after}");
    world.advance(Duration::from_secs(301));
    world.settle().await;
    assert_eq!(admin.get(&path).await.expect(200).body, after, "the message of the first run is stale");
}
