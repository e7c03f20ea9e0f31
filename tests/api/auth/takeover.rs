//! An attacker signs up another person's address. The account never gets the attacker's password, the owner's code stays valid,
//! and the owner is neither flooded with mail nor locked out (R6, R9).

use crate::world::{ADMIN, PASSWORD, World, code_in};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

const THEIRS: &str = "the attacker's own passphrase";
const ADA: &str = "ada@example.org";
const WRONG: &str = "00000-00000-00000-00000-00000-0000";

async fn sign_in(world: &World, email: &str, password: &str) -> u16 {
    world.stranger().post("/v1/auth/signin", json!({ "email": email, "password": password })).await.status
}

/// Ten minutes and a second: every mailed code has expired.
fn lapse(world: &World) {
    world.advance(Duration::from_secs(601));
}

#[tokio::test]
async fn a_sign_up_after_an_expired_code_does_not_set_the_password() {
    let world = World::new().await;
    for email in [ADA, ADMIN] {
        let hers = world.sign_up(email, PASSWORD).await;
        lapse(&world);
        let theirs = world.sign_up(email, THEIRS).await;
        assert_ne!(hers, theirs);
        world.settle().await;
        // The newest mail is of the attacker's sign-up; each of the two has only their own token.
        let code = world.code_for(email);
        assert_eq!(world.verify(email, &code, &hers).await.expect(400).code(), "code_refused");
        assert_eq!(sign_in(&world, email, THEIRS).await, 401, "{email}: the attacker signs in");
        // With a new password she needs only the code.
        world.verify_with(email, &code, PASSWORD).await.expect(200);
        assert_eq!((sign_in(&world, email, PASSWORD).await, sign_in(&world, email, THEIRS).await), (200, 401));
        world.verify(email, &code, &theirs).await.expect(400);
    }
}

#[tokio::test]
async fn a_sign_up_by_somebody_else_does_not_invalidate_a_code() {
    let world = World::new().await;
    for email in [ADA, ADMIN] {
        let hers = world.sign_up(email, PASSWORD).await;
        world.settle().await;
        let code = world.code_for(email);
        for _ in 0..10 {
            let theirs = world.sign_up(email, THEIRS).await;
            // The attacker knows her address and has a token, and guesses codes.
            for _ in 0..6 {
                world.verify(email, WRONG, &theirs).await.expect(400);
            }
            assert_eq!(world.verify(email, &code, &theirs).await.status, 400, "her code with their token");
        }
        for _ in 0..10 {
            world.verify_with(email, WRONG, THEIRS).await.expect(400);
            world.verify(email, WRONG, "no token of anybody's, but as long as one....").await.expect(400);
        }
        world.settle().await;
        world.verify(email, &code, &hers).await.expect(200);
        assert_eq!((sign_in(&world, email, PASSWORD).await, sign_in(&world, email, THEIRS).await), (200, 401));
    }
}

/// A link in a mail may open in another browser, which has no signupToken. There the user chooses a new password.
#[tokio::test]
async fn a_password_sent_with_the_code_replaces_the_one_of_the_sign_up() {
    let world = World::new().await;
    let chosen = "chosen where the link was opened";
    let hers = world.sign_up(ADA, PASSWORD).await;
    world.settle().await;
    let code = world.code_for(ADA);
    let short = world.verify_with(ADA, &code, "fourteen chars").await.expect(400);
    assert_eq!(short.body["errors"][0]["pointer"], "/password", "{}", short.text);
    let verify = async |body: Value| world.stranger().post("/v1/auth/verify", body).await;
    for neither_or_both in [
        json!({ "email": ADA, "code": code }),
        json!({ "email": ADA, "code": code, "signupToken": hers, "password": chosen }),
    ] {
        let refused = verify(neither_or_both).await.expect(400);
        assert_eq!(refused.code(), "signup_token_or_password");
        assert!(refused.text.contains("signupToken") && refused.text.contains("password"), "{}", refused.text);
    }
    world.verify_with(ADA, &code, chosen).await.expect(200);
    assert_eq!((sign_in(&world, ADA, chosen).await, sign_in(&world, ADA, PASSWORD).await), (200, 401));
    world.verify(ADA, &code, &hers).await.expect(400);
}

#[tokio::test]
async fn a_code_is_valid_for_its_own_address_and_sign_up_for_ten_minutes() {
    let world = World::new().await;
    let bob = "bob@example.org";
    let (ada_token, bob_token) = (world.sign_up(ADA, PASSWORD).await, world.sign_up(bob, PASSWORD).await);
    let later = world.sign_up(ADA, PASSWORD).await;
    world.settle().await;
    let (ada_code, bob_code) = (world.code_for(ADA), world.code_for(bob));
    for token in [&ada_token, &bob_token, &later] {
        assert_eq!(world.verify(ADA, &bob_code, token).await.expect(400).code(), "code_refused", "another account's");
    }
    world.verify(bob, &ada_code, &bob_token).await.expect(400);
    world.verify_with(ADA, &bob_code, PASSWORD).await.expect(400);
    assert_eq!(world.verify(ADA, &ada_code, &ada_token).await.status, 400, "the newest code is the later sign-up's");
    world.verify(ADA, &ada_code.to_lowercase(), &later).await.expect(200);

    // The expired items still exist, because time to live has not removed them yet.
    lapse(&world);
    assert!(world.dump("IdentityTable").await.to_string().contains("signup#"));
    world.verify(bob, &bob_code, &bob_token).await.expect(400);
    world.verify_with(bob, &bob_code, PASSWORD).await.expect(400);
}

#[tokio::test]
async fn no_code_makes_a_second_account_for_an_address() {
    let world = World::new().await;
    let tokens = [world.sign_up(ADA, PASSWORD).await, world.sign_up(ADA, THEIRS).await];
    world.settle().await;
    let codes: Vec<String> = world.mails_to(ADA).iter().rev().map(|mail| code_in(&mail.text).unwrap()).collect();
    world.verify(ADA, &codes[0], &tokens[0]).await.expect(200);
    world.verify(ADA, &codes[1], &tokens[1]).await.expect(400);
    world.verify_with(ADA, &codes[1], THEIRS).await.expect(400);
    assert_eq!((sign_in(&world, ADA, PASSWORD).await, sign_in(&world, ADA, THEIRS).await), (200, 401));
}

/// R9: five codes may be tried with a sign-up's token, however many are tried at once, and in however many environments.
#[tokio::test]
async fn the_sixth_code_fails_even_if_it_is_correct() {
    for instances in [1, 6] {
        let world = World::of_instances(instances).await;
        let token = world.sign_up(ADA, PASSWORD).await;
        world.settle().await;
        let code = world.code_for(ADA);
        let guess = |nth: usize| format!("{WRONG}{nth}");
        // Repeating the same code is not a new try: a lost answer must not use up tries.
        for _ in 0..7 {
            world.verify(ADA, &guess(0), &token).await.expect(400);
        }
        let guesses: Vec<String> = (0..8).map(guess).collect();
        let tried = join_all(guesses.iter().map(|guess| world.verify(ADA, guess, &token))).await;
        assert!(tried.iter().all(|answer| [400, 503].contains(&answer.status)), "{tried:?}");
        for guess in &guesses {
            world.verify(ADA, guess, &token).await.expect(400);
        }
        assert_eq!(world.verify(ADA, &code, &token).await.expect(400).code(), "code_refused");
        // The owner of the mailbox can still sign up with a new password.
        world.verify_with(ADA, &code, "and this is hers, chosen now").await.expect(200);
        assert_eq!(sign_in(&world, ADA, PASSWORD).await, 401);
    }
}

#[tokio::test]
async fn after_four_wrong_codes_the_right_one_is_accepted() {
    let world = World::new().await;
    let token = world.sign_up(ADA, PASSWORD).await;
    world.settle().await;
    for nth in 0..4 {
        world.verify(ADA, &format!("{WRONG}{nth}"), &token).await.expect(400);
    }
    world.verify(ADA, &world.code_for(ADA), &token).await.expect(200);
}

#[tokio::test]
async fn an_address_gets_at_most_five_mails_at_once_and_148_a_day_and_its_owner_can_always_sign_up() {
    let world = World::new().await;
    let mut mails = 0;
    for minutes in (0..24 * 60).step_by(10) {
        for _ in 0..if minutes == 0 { 12 } else { 2 } {
            world.sign_up(ADA, THEIRS).await;
        }
        world.settle().await;
        let new = world.mails_to(ADA).len();
        assert_eq!(new, if minutes == 0 { 5 } else { 1 }, "after {minutes} minutes");
        mails += new;
        // Her own sign-up sends no mail, but an earlier mail has a valid code.
        if minutes % 240 == 0 {
            let hers = world.sign_up(ADA, PASSWORD).await;
            world.settle().await;
            assert_eq!(world.mails_to(ADA).len(), new);
            world.verify(ADA, &world.code_for(ADA), &hers).await.expect(400);
        }
        if minutes == 23 * 60 + 50 {
            world.verify_with(ADA, &world.code_for(ADA), PASSWORD).await.expect(200);
        }
        world.cloud.clear_mails().unwrap();
        world.advance(Duration::from_secs(600));
    }
    assert_eq!(mails, 148);
    assert_eq!((sign_in(&world, ADA, PASSWORD).await, sign_in(&world, ADA, THEIRS).await), (200, 401));
    // The items of the address are bounded, and admins can read the withheld mails.
    let kept = world.dump("IdentityTable").await;
    let under = |item: &&Value| item["pk"]["S"] == format!("a#{ADA}");
    assert!(kept.as_array().unwrap().iter().filter(under).count() <= 7);
    let withheld = world.dump("JobsTable").await.to_string().matches("Withheld").count();
    assert!(withheld > 100, "{withheld}");
}

/// R6: neither the answer nor the cost reveals whether an address has an account, for addresses of any length.
#[tokio::test]
async fn the_cost_of_a_sign_up_or_a_code_does_not_reveal_whether_an_address_has_an_account() {
    let world = World::new().await;
    let long = |name: &str| format!("{name}{}@{}.example.org", "x".repeat(60), vec!["y".repeat(58); 3].join("."));
    assert!(long("abcd").len() <= 254 && long("abcd").len() > 245, "{}", long("abcd").len());
    let wrong = |nth: usize| format!("{WRONG}{nth}");
    let known = long("abcd");
    let token = world.sign_up(&known, PASSWORD).await;
    world.settle().await;
    world.verify(&known, &world.code_for(&known), &token).await.expect(200);
    for email in [known, long("efgh")] {
        for _ in 0..8 {
            let body = json!({ "email": email, "password": PASSWORD });
            let answer = world.stranger().post("/v1/auth/signup", body).await.expect(202);
            assert_eq!(world.logged_cost(), (1.0, 5.0, 2), "{email}");
            let token = answer.body["signupToken"].as_str().unwrap();
            for nth in 0..5 {
                world.verify(&email, &wrong(nth), token).await.expect(400);
                assert_eq!(world.logged_cost(), (1.0, 1.0, 2), "{email}");
            }
            world.verify(&email, &wrong(5), token).await.expect(400);
            assert_eq!(world.logged_cost(), (1.0, 0.0, 2), "{email}");
            world.verify_with(&email, WRONG, PASSWORD).await.expect(400);
            assert_eq!(world.logged_cost(), (1.0, 0.0, 1), "{email}");
        }
    }
    world.settle().await;
}
