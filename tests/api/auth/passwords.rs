//! Passwords in non-Latin scripts: counted in code points (R1, R2) and compared as sent (R3).

use crate::world::World;
use serde_json::{Value, json};

async fn sign_up(world: &World, email: &str, password: &str) -> u16 {
    world.stranger().post("/v1/auth/signup", json!({ "email": email, "password": password })).await.status
}

async fn sign_in(world: &World, email: &str, password: &str) -> u16 {
    world.stranger().post("/v1/auth/signin", json!({ "email": email, "password": password })).await.status
}

/// Creates an account with this password and signs in.
async fn account(world: &World, email: &str, password: &str) {
    assert_eq!(sign_up(world, email, password).await, 202, "{password}");
    world.settle().await;
    let verify: Value = json!({ "email": email, "code": world.code_for(email), "password": password });
    world.stranger().post("/v1/auth/verify", verify).await.expect(200);
    assert_eq!(sign_in(world, email, password).await, 200, "{password}");
}

#[tokio::test]
async fn the_length_of_a_password_is_counted_in_code_points_whatever_bytes_they_take() {
    let world = World::new().await;
    for (nth, character) in ["x", "é", "語", "🦀"].into_iter().enumerate() {
        for (count, status) in [(1, 400), (14, 400), (15, 202), (64, 202), (65, 202), (256, 202), (257, 400)] {
            let email = format!("a{nth}-{count}@example.org");
            assert_eq!(sign_up(&world, &email, &character.repeat(count)).await, status, "{count} of {character}");
        }
    }
    world.settle().await;
}

#[tokio::test]
async fn passwords_that_look_alike_are_different() {
    let world = World::new().await;
    for (nth, (password, alike)) in [
        ("caf\u{e9} au lait, merci", "cafe\u{301} au lait, merci"),
        ("du lait, s'il vous pla\u{ee}t", "du lait, s'il vous plai\u{302}t"),
        ("\u{ff46}\u{ff55}\u{ff4c}\u{ff4c}width letters", "fullwidth letters"),
        ("the \u{fb01}rst of the ligatures", "the first of the ligatures"),
        ("stra\u{df}enbahnhaltestelle", "strassenbahnhaltestelle"),
        ("a space\u{a0}that does not break", "a space that does not break"),
        ("an invisible\u{200b} space in it", "an invisible space in it"),
        ("tabs\tand spaces differ", "tabs and spaces differ"),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("a{nth}@example.org");
        account(&world, &email, password).await;
        assert_eq!(sign_in(&world, &email, alike).await, 401, "{alike:?} for {password:?}");
        assert_eq!(sign_in(&world, &email, &password.to_uppercase()).await, 401, "{password:?}");
    }
}

/// Passwords with only one kind of character.
const PASSWORDS: [&str; 5] =
    ["onlylowercaseletters", "ONLYUPPERCASELETTERS", "123456789012345", "               ", "аллесмаленькие буквы"];

#[tokio::test]
async fn no_composition_is_required() {
    let world = World::new().await;
    for (nth, password) in PASSWORDS.into_iter().enumerate() {
        assert_eq!(sign_up(&world, &format!("a{nth}@example.org"), password).await, 202, "{password:?}");
    }
    world.settle().await;
}
