//! Expired sessions whose item still exists (R38), on every route that reads a session. DynamoDB removes expired items up to two
//! days late.

use crate::world::{Caller, PASSWORD, World};
use serde_json::{Value, json};
use std::time::Duration;

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

async fn refreshed<'a>(world: &'a World, token: &str) -> Caller<'a> {
    let tokens = world.stranger().post("/v1/auth/refresh", json!({ "refreshToken": token })).await.expect(200);
    world.signed_in(&tokens.body)
}

/// A caller whose session ends in this many seconds, and who has just refreshed it.
async fn about_to_end(world: &World, seconds: u64) -> Caller<'_> {
    let mut caller = world.user("ada").await;
    for _ in 0..4 {
        world.advance(Duration::from_secs(20 * DAY));
        caller = refreshed(world, &caller.refresh_token).await;
    }
    world.advance(Duration::from_secs(10 * DAY - seconds));
    refreshed(world, &caller.refresh_token).await
}

async fn sessions(caller: &Caller<'_>) -> Vec<Value> {
    caller.get("/v1/auth/sessions").await.expect(200).body["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_access_token_does_not_outlive_its_session_on_routes_that_read_the_session() {
    let world = World::new().await;
    let ada = about_to_end(&world, 5 * MINUTE).await;
    ada.get("/v1/auth/me").await.expect(200);
    world.advance(Duration::from_secs(5 * MINUTE - 1));
    ada.get("/v1/auth/me").await.expect(200);
    assert_eq!(sessions(&ada).await.len(), 1);
    world.advance(Duration::from_secs(1));
    // The access token is valid for five more minutes, and a list does not read the session.
    ada.get("/v1/collections/users/records?limit=1").await.expect(404);
    for path in ["/v1/auth/me", "/v1/auth/sessions"] {
        ada.get(path).await.expect(401);
    }
    assert!(world.dump("IdentityTable").await.to_string().contains("s#"), "nothing has removed the item");
}

#[tokio::test]
async fn a_token_that_was_just_exchanged_is_refused_after_its_session_ends() {
    let world = World::new().await;
    let before = about_to_end(&world, 10).await;
    refreshed(&world, &before.refresh_token).await;
    world.advance(Duration::from_secs(9));
    // Within its session's time the old token still yields its successor, as after an answer that was lost.
    refreshed(&world, &before.refresh_token).await;
    world.advance(Duration::from_secs(1));
    let again = json!({ "refreshToken": before.refresh_token });
    world.stranger().post("/v1/auth/refresh", again).await.expect(401);
}

#[tokio::test]
async fn a_session_that_was_not_used_for_thirty_days_is_in_no_list() {
    let world = World::new().await;
    world.user("ada").await;
    world.advance(Duration::from_secs(20 * DAY));
    let sign_in = json!({ "email": "ada@example.org", "password": PASSWORD });
    let other = world.stranger().post("/v1/auth/signin", sign_in).await.expect(200);
    let other = world.signed_in(&other.body);
    assert_eq!(sessions(&other).await.len(), 2);
    world.advance(Duration::from_secs(10 * DAY));
    let other = refreshed(&world, &other.refresh_token).await;
    let left = sessions(&other).await;
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(left[0]["current"], true);
}

/// The item `bootstrap` outlives the first admin's account (R13).
#[tokio::test]
async fn signing_up_again_under_the_admins_address_makes_no_admin() {
    let world = World::new().await;
    let admin = world.admin().await;
    assert_eq!(admin.user["roles"], json!(["admin"]));
    let table = world.cloud.tables().iter().find(|name| name.ends_with("IdentityTable")).unwrap();
    let address = format!("a#{}", crate::world::ADMIN);
    let key = json!({ "TableName": table, "Key": { "pk": { "S": address }, "sk": { "S": "account" } } });
    world.cloud.call("DynamoDB_20120810.DeleteItem", &key).await.unwrap();
    world.cloud.clear_mails().unwrap();
    let second = world.admin().await;
    assert_ne!(second.id(), admin.id());
    assert_eq!(second.user["roles"], json!([]), "the first admin is made once, ever");
    second.get("/v1/jobs").await.expect(403);
}
