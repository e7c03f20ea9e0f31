//! Tokens with unknown key ids (R45): many of them cause one read of the keys, not one each.

use super::{parts, token};
use crate::world::World;
use axum::http::Method;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_flood_of_unknown_key_ids_reads_the_keys_once_in_five_seconds() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.get("/v1/collections/users/records").await.expect(200);
    let super::Parts { mut header, claims, signature } = parts(admin.token.as_ref().unwrap());
    let mut flood = async |from: u32| {
        let mut trips = 0;
        for nth in from..from + 50 {
            header["kid"] = json!(format!("key{nth}"));
            let forged = token(&header.to_string(), &claims.to_string(), &signature);
            let knock = world.stranger().request(Method::GET, "/v1/collections/users/records");
            let answer = knock.header("authorization", &format!("Bearer {forged}")).send().await.expect(401);
            trips += answer.cost().2;
        }
        trips
    };
    world.advance(Duration::from_secs(5));
    assert_eq!(flood(0).await, 1);
    assert_eq!(flood(100).await, 0);
    world.advance(Duration::from_secs(5));
    assert_eq!(flood(200).await, 1, "a key that is new by now would be found");
    admin.get("/v1/collections/users/records").await.expect(200);
}
