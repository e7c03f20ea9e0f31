//! Sessions: sign-in, rotation of refresh tokens, sign-out.

use crate::world::{PASSWORD, World, rounds};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::HashSet;
use std::time::Duration;

fn refresh(token: &str) -> serde_json::Value {
    json!({ "refreshToken": token })
}

#[tokio::test]
async fn signing_in_begins_a_new_session_each_time() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let sign_in = json!({ "email": "ada@example.org", "password": PASSWORD });
    let again = world.stranger().post("/v1/auth/signin", sign_in).await.expect(200);
    let again = world.signed_in(&again.body);
    assert_ne!(again.refresh_token, ada.refresh_token);
    let sessions = again.get("/v1/auth/sessions").await.expect(200).body["items"].clone();
    let sessions = sessions.as_array().unwrap();
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions.iter().filter(|session| session["current"] == true).count(), 1);
}

#[tokio::test]
async fn of_many_refreshes_at_once_all_get_the_one_successor() {
    // One execution environment, and six that share only the tables.
    for instances in [1, 6] {
        let world = World::of_instances(instances).await;
        let mut current = world.user("ada").await.refresh_token;
        for _ in 0..rounds(20) {
            let stranger = world.stranger();
            let answers = join_all((0..64).map(|_| stranger.post("/v1/auth/refresh", refresh(&current)))).await;
            assert!(answers.iter().all(|answer| answer.status == 200), "no session is ended by a race");
            let successors: HashSet<String> =
                answers.iter().map(|answer| answer.body["refreshToken"].as_str().unwrap().to_owned()).collect();
            assert_eq!(successors.len(), 1, "one successor a generation");
            current = successors.into_iter().next().unwrap();
        }
    }
}

#[tokio::test]
async fn a_lost_answer_can_be_repeated_and_an_old_token_ends_the_session() {
    let world = World::new().await;
    let first = world.user("ada").await.refresh_token;
    let stranger = world.stranger();
    let second = stranger.post("/v1/auth/refresh", refresh(&first)).await.expect(200).body["refreshToken"].clone();
    let retried = stranger.post("/v1/auth/refresh", refresh(&first)).await.expect(200).body["refreshToken"].clone();
    assert_eq!(second, retried);

    world.advance(Duration::from_secs(31));
    stranger.post("/v1/auth/refresh", refresh(&first)).await.expect(401);
    stranger.post("/v1/auth/refresh", refresh(second.as_str().unwrap())).await.expect(401);
}

#[tokio::test]
async fn rotated_tokens_and_ended_sessions_stay_invalid_after_every_function_restarts() {
    let mut world = World::new().await;
    let (first, second, bob) = {
        let ada = world.user("ada").await;
        let second = world.stranger().post("/v1/auth/refresh", refresh(&ada.refresh_token)).await.expect(200);
        let bob = world.user("bob").await;
        bob.post("/v1/auth/signout", json!({})).await.expect(204);
        (ada.refresh_token.clone(), second.body["refreshToken"].as_str().unwrap().to_owned(), bob.refresh_token.clone())
    };
    world.advance(Duration::from_secs(31));
    world.restart_functions();
    let stranger = world.stranger();
    stranger.post("/v1/auth/refresh", refresh(&bob)).await.expect(401);
    let third = stranger.post("/v1/auth/refresh", refresh(&second)).await.expect(200);
    assert_ne!(third.body["refreshToken"], second.as_str());
    stranger.post("/v1/auth/refresh", refresh(&first)).await.expect(401);
}

#[tokio::test]
async fn a_session_ends_by_the_clock_even_while_its_item_is_still_there() {
    let world = World::new().await;
    let idle = world.user("ada").await.refresh_token;
    world.advance(Duration::from_secs(30 * 86_400 + 1));
    assert!(world.dump("IdentityTable").await.to_string().contains("s#"), "nothing has removed the item");
    world.stranger().post("/v1/auth/refresh", refresh(&idle)).await.expect(401);

    let mut used = world.user("bob").await.refresh_token;
    for day in (0..90).step_by(20) {
        let answer = world.stranger().post("/v1/auth/refresh", refresh(&used)).await;
        used = answer.expect(200).body["refreshToken"].as_str().unwrap().to_owned();
        world.advance(Duration::from_secs(20 * 86_400));
        assert!(day < 90);
    }
    world.stranger().post("/v1/auth/refresh", refresh(&used)).await.expect(401);
}

#[tokio::test]
async fn a_stored_hash_does_not_authenticate_and_forged_tokens_change_nothing() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stored = world.dump("IdentityTable").await;
    let session =
        stored.as_array().unwrap().iter().find(|item| item["sk"]["S"].as_str().unwrap().starts_with("s#")).unwrap();
    let hash = session["hash"]["S"].as_str().unwrap();
    let stranger = world.stranger();
    let claim = ada.refresh_token.rsplit_once('.').unwrap().0.to_owned();
    for forged in
        [hash.to_owned(), format!("{claim}.{hash}"), claim, String::new(), "a.b.c.d".into(), "x".repeat(10_000)]
    {
        stranger.post("/v1/auth/refresh", refresh(&forged)).await.expect(401);
    }
    stranger.post("/v1/auth/refresh", refresh(&ada.refresh_token)).await.expect(200);
}

#[tokio::test]
async fn signing_out_works_with_the_refresh_token_alone() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stranger = world.stranger();
    stranger.post("/v1/auth/signout", refresh("nonsense")).await.expect(401);
    stranger.post("/v1/auth/signout", refresh(&ada.refresh_token)).await.expect(204);
    stranger.post("/v1/auth/refresh", refresh(&ada.refresh_token)).await.expect(401);
    ada.get("/v1/auth/me").await.expect(401);
}
