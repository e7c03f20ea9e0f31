//! The ten-minute tour (`docs/guides/tour.md`), step by step.

use crate::world::{PASSWORD, World, tasks};
use serde_json::json;
use std::time::Duration;

#[expect(clippy::too_many_lines, reason = "one table of cases, read from top to bottom")]
#[tokio::test]
async fn the_tour_works_from_sign_up_to_redrive() {
    let world = World::new().await;
    let admin = world.admin().await;
    let ada = world.user("ada").await;
    let bob = world.user("bob").await;

    // Accounts.
    let me = ada.get("/v1/auth/me").await.expect(200);
    assert_eq!(me.body, json!({ "id": ada.id(), "email": "ada@example.org", "verified": true, "roles": [] }));
    let again = world
        .stranger()
        .post("/v1/auth/signin", json!({ "email": "ADA@example.org", "password": PASSWORD }))
        .await
        .expect(200);
    assert_eq!(again.body["tokenType"], "Bearer");
    let refreshed = world
        .stranger()
        .post("/v1/auth/refresh", json!({ "refreshToken": again.body["refreshToken"] }))
        .await
        .expect(200);
    assert_ne!(refreshed.body["refreshToken"], again.body["refreshToken"]);
    world.signed_in(&refreshed.body).post("/v1/auth/signout", json!({})).await.expect(204);
    world.signed_in(&refreshed.body).get("/v1/auth/me").await.expect(401);

    // A collection.
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    ada.put("/v1/collections/tasks", tasks()).await.expect(403);

    // Records.
    let path = "/v1/collections/tasks/records";
    let task = json!({ "title": "write it down", "slug": "write", "priority": 3, "owner": ada.id() });
    let made = ada.post(path, task).await.expect(201);
    assert_eq!(made.body["status"], "open", "the default is applied");
    let one = made.header("location").to_owned();
    assert_eq!(ada.get(&one).await.expect(200).body, made.body);
    let listed = ada.get(&format!("{path}?filter=status%20%3D%3D%20%22open%22&sort=-priority")).await.expect(200);
    assert_eq!(listed.body["items"], json!([made.body]));
    let etag = made.header("etag").to_owned();
    let patch = |caller| -> crate::world::Knock<'_> {
        let caller: &crate::world::Caller<'_> = caller;
        caller.request(axum::http::Method::PATCH, &one).json(json!({ "status": "done" }))
    };
    patch(&ada).header("if-match", &etag).send().await.expect(200);
    patch(&ada).header("if-match", &etag).send().await.expect(412);

    // Somebody else sees none of it.
    assert_eq!(bob.get(path).await.expect(200).body["items"], json!([]));
    bob.get(&one).await.expect(404);
    patch(&bob).send().await.expect(404);
    bob.delete(&one).await.expect(404);

    // What no index serves is refused, naming the index.
    let refused = ada.get(&format!("{path}?filter=title%20%3D%3D%20%22x%22")).await.expect(422);
    assert_eq!(refused.code(), "index_required");
    assert!(refused.body["addIndex"]["partition"].is_array(), "{}", refused.text);

    ada.delete(&one).await.expect(204);
    ada.get(&one).await.expect(404);

    // Jobs.
    let mail =
        json!({ "type": "email.send", "payload": { "to": "carol@example.org", "subject": "Hello", "text": "Hi." } });
    let job = admin.post("/v1/jobs", mail).await.expect(202);
    let job_path = job.header("location").to_owned();
    assert_eq!(job.body["status"], "queued");
    world.settle().await;
    assert_eq!(admin.get(&job_path).await.expect(200).body["status"], "succeeded");
    assert_eq!(world.mails_to("carol@example.org")[0].text, "Hi.");

    let poison = json!({ "type": "email.send", "maxAttempts": 3, "payload": { "to": "nobody@example.invalid", "subject": "x", "text": "x" } });
    let dead_path = admin.post("/v1/jobs", poison).await.expect(202).header("location").to_owned();
    world.settle().await;
    assert_eq!(admin.get(&dead_path).await.expect(200).body["status"], "retrying");
    for _ in 0..2 {
        world.advance(Duration::from_secs(60));
        world.settle().await;
    }
    let dead = admin.get(&dead_path).await.expect(200).body;
    assert_eq!((dead["status"].as_str(), dead["attempts"].as_u64()), (Some("dead"), Some(3)));
    assert!(dead["lastError"].as_str().unwrap().contains("SES refused"), "{dead}");

    let redriven = admin.post(&format!("{dead_path}/redrive"), json!({})).await.expect(200).body;
    assert_eq!((redriven["status"].as_str(), redriven["attempts"].as_u64()), (Some("queued"), Some(0)));
    for _ in 0..3 {
        world.settle().await;
        world.advance(Duration::from_secs(60));
    }
    assert_eq!(
        admin.get(&dead_path).await.expect(200).body["status"],
        "dead",
        "it fails as before, after all its attempts"
    );
}
