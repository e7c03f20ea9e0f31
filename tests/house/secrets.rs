//! Secrets at doors: each kind opens its own and no other, and none travels in a URL.

use crate::tokens::status;
use crate::world::{PASSWORD, World};
use serde_json::json;

/// Each kind of secret at each place that takes one: only its own takes it (R46).
#[tokio::test]
async fn a_secret_opens_the_one_door_it_is_for() {
    let world = World::new().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    for _ in 0..2 {
        let job = json!({ "type": "email.send", "payload": { "to": "a@example.org", "subject": "s", "text": "t" } });
        admin.post("/v1/jobs", job).await.expect(202);
    }
    world
        .stranger()
        .post("/v1/auth/signup", json!({ "email": "new@example.org", "password": PASSWORD }))
        .await
        .expect(202);
    world.settle().await;
    let (access, refresh) = (admin.token.clone().unwrap(), ada.refresh_token.clone());
    let code = world.code_for("new@example.org");
    let page = admin.get("/v1/jobs?limit=1").await.expect(200).body;
    let cursor = page["nextCursor"].as_str().unwrap().to_owned();
    let stranger = world.stranger();
    let doors = ["bearer", "refresh", "verify", "cursor"];
    let open = async |door: &str, secret: &str| match door {
        "bearer" => status(&world, secret).await,
        "refresh" => stranger.post("/v1/auth/refresh", json!({ "refreshToken": secret })).await.status,
        "verify" => {
            stranger.post("/v1/auth/verify", json!({ "email": "new@example.org", "code": secret })).await.status
        }
        _ => admin.get(&format!("/v1/jobs?limit=1&cursor={secret}")).await.status,
    };
    for (own, secret) in doors.iter().zip([&access, &refresh, &code, &cursor]) {
        for door in doors.iter().filter(|door| *door != own) {
            assert!([400, 401].contains(&open(door, secret).await), "{own}'s at {door}");
        }
        let refused = stranger.post("/v1/auth/signin", json!({ "email": "ada@example.org", "password": secret })).await;
        assert_eq!(refused.status, 401, "{own}'s as a password");
    }
    for (own, secret) in doors.iter().zip([&access, &refresh, &code, &cursor]) {
        assert_eq!(open(own, secret).await, 200, "{own}'s at its own door, after all that");
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
            // Where no parameter is taken at all it is refused as one, by its name alone.
            assert!([400, 401].contains(&refused.status), "{path}?{name}: {}", refused.text);
            assert!(!refused.text.contains(&token) && !format!("{:?}", refused.headers).contains(&token));
        }
    }
    let body = json!({});
    let refused = stranger.post(&format!("/v1/auth/refresh?refreshToken={}", ada.refresh_token), body).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    stranger.post("/v1/auth/refresh", json!({ "refreshToken": ada.refresh_token })).await.expect(200);
}
