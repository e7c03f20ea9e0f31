//! Secrets: each kind is accepted only for its own purpose, and none is in a URL.

use crate::auth::tokens::status;
use crate::world::{PASSWORD, World, tasks};
use serde_json::json;
use std::time::Duration;
use undercroft_local::Fault;

/// Sends each kind of secret to each route that takes one: only its own route accepts it (R46).
#[tokio::test]
async fn a_secret_works_only_for_its_own_purpose() {
    let world = World::new().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    for _ in 0..2 {
        let job = json!({ "type": "email.send", "payload": { "to": "a@example.org", "subject": "s", "text": "t" } });
        admin.post("/v1/jobs", job).await.expect(202);
    }
    let token = world.sign_up("new@example.org", PASSWORD).await;
    world.settle().await;
    let (access, refresh) = (admin.token.clone().unwrap(), ada.refresh_token.clone());
    let code = world.code_for("new@example.org");
    let page = admin.get("/v1/jobs?limit=1").await.expect(200).body;
    let cursor = page["nextCursor"].as_str().unwrap().to_owned();
    let stranger = world.stranger();
    let places = ["bearer", "refresh", "verify", "cursor", "sign-up"];
    // A code is sent with the token of the sign-up, and the token with a code.
    let verify = async |code: &str, token: &str| world.verify("new@example.org", code, token).await.status;
    let open = async |place: &str, secret: &str| match place {
        "bearer" => status(&world, secret).await,
        "refresh" => stranger.post("/v1/auth/refresh", json!({ "refreshToken": secret })).await.status,
        "verify" => verify(secret, &token).await,
        "sign-up" => verify(&code, secret).await,
        _ => admin.get(&format!("/v1/jobs?limit=1&cursor={secret}")).await.status,
    };
    for (own, secret) in places.iter().zip([&access, &refresh, &code, &cursor, &token]) {
        for place in places.iter().filter(|place| *place != own) {
            assert!([400, 401].contains(&open(place, secret).await), "a secret of {own} sent to {place}");
        }
        let refused = stranger.post("/v1/auth/signin", json!({ "email": "ada@example.org", "password": secret })).await;
        assert_eq!(refused.status, 401, "{own}'s as a password");
    }
    // The fifth opens with the third, which is spent once.
    for (own, secret) in places.iter().zip([&access, &refresh, &code, &cursor]) {
        assert_eq!(open(own, secret).await, 200, "{own}: its own route still accepts it");
    }
}

#[tokio::test]
async fn no_secret_is_taken_from_or_put_into_a_url() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stranger = world.stranger();
    let token = ada.token.clone().unwrap();
    for name in ["access_token", "accessToken", "token", "authorization", "jwt"] {
        for path in ["/v1/auth/me", "/v1/auth/sessions", "/v1/collections", "/v1/jobs"] {
            let refused = stranger.get(&format!("{path}?{name}={token}")).await;
            // A route without parameters refuses it by its name alone.
            assert!([400, 401].contains(&refused.status), "{path}?{name}: {}", refused.text);
            assert!(!refused.text.contains(&token) && !format!("{:?}", refused.headers).contains(&token));
        }
    }
    let body = json!({});
    let refused = stranger.post(&format!("/v1/auth/refresh?refreshToken={}", ada.refresh_token), body).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    stranger.post("/v1/auth/refresh", json!({ "refreshToken": ada.refresh_token })).await.expect(200);
}

/// Every world checks logs and answers for the secrets that a test sends and receives (`world/canaries.rs`). This test makes
/// every function log successes and failures.
#[tokio::test]
async fn no_function_logs_a_secret_or_an_address_whatever_happens_to_it() {
    let world = World::new().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    let task = json!({ "title": PASSWORD, "owner": ada.id(), "slug": "canary" });
    ada.post("/v1/collections/tasks/records", task.clone()).await.expect(201);
    ada.post("/v1/collections/tasks/records", task).await.expect(409);
    ada.post("/v1/collections/tasks/records", json!({ "title": 1, "note": PASSWORD })).await.expect(400);
    // A mail that SES refuses, naming the recipient, until the job is dead; a code of a sign-up; a wrong code.
    let mail = json!({ "to": "bob@example.invalid", "subject": "s", "text": PASSWORD });
    let job = json!({ "type": "email.send", "maxAttempts": 1, "payload": mail });
    let job = admin.post("/v1/jobs", job).await.expect(202).header("location").to_owned();
    let token = world.sign_up("new@example.org", PASSWORD).await;
    world.settle().await;
    let dead = admin.get(&job).await.expect(200).body;
    assert!(dead["lastError"].as_str().unwrap().contains("bob@example.invalid"), "an admin may know: {dead}");
    world.verify("new@example.org", "00000-00000-00000-00000-00000-00000", &token).await.expect(400);
    world.verify("new@example.org", &world.code_for("new@example.org"), &token).await.expect(200);
    // A stolen refresh token, and calls that fail in the middle.
    let stranger = world.stranger();
    let refresh = json!({ "refreshToken": ada.refresh_token });
    stranger.post("/v1/auth/refresh", refresh.clone()).await.expect(200);
    world.advance(Duration::from_secs(31));
    stranger.post("/v1/auth/refresh", refresh).await.expect(401);
    for fault in [Fault::FailedBefore, Fault::TornAnswer, Fault::Throttled] {
        for body in [json!({ "email": "ada@example.org", "password": PASSWORD })] {
            for path in ["/v1/auth/signin", "/v1/auth/signup"] {
                world.cloud.faults().on_call(1, fault);
                stranger.post(path, body.clone()).await;
                world.cloud.faults().clear();
            }
        }
    }
    world.settle().await;
    let logged = world.logged();
    for function in ["auth", "collections", "records", "jobs", "relay", "worker"] {
        assert!(logged.contains(&format!("\"function\":\"{function}\"")), "{function} logs nothing: {logged}");
    }
    for line in ["An old refresh token was used again", "SES refused with 400 MessageRejected", "\"status\":401"] {
        assert!(logged.contains(line), "no line says {line}: {logged}");
    }
}
