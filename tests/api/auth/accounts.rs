//! Accounts: sign-up, stored data, and what a stranger can learn.

use crate::world::{ADMIN, PASSWORD, World, rounds};
use futures_util::future::join_all;
use serde_json::{Value, json};

/// Numbers of execution environments for a race: one, with one memory, and several, which share only the tables.
const INSTANCES: [usize; 2] = [1, 6];

fn sign_up(email: &str, password: &str) -> Value {
    json!({ "email": email, "password": password })
}

#[tokio::test]
async fn fourteen_characters_are_too_few_and_fifteen_are_enough() {
    let world = World::new().await;
    let stranger = world.stranger();
    let refused = stranger.post("/v1/auth/signup", sign_up("a@example.org", "fourteen chars")).await.expect(400);
    assert_eq!(refused.body["errors"][0]["pointer"], "/password");
    stranger.post("/v1/auth/signup", sign_up("a@example.org", &"x".repeat(257))).await.expect(400);
    for (nth, password) in ["fifteen letters", "🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀🦀"].iter().enumerate()
    {
        stranger.post("/v1/auth/signup", sign_up(&format!("a{nth}@example.org"), password)).await.expect(202);
    }
    world.settle().await;
}

#[tokio::test]
async fn the_longest_password_is_kept_to_its_last_character() {
    let world = World::new().await;
    let long = "x".repeat(256);
    let stranger = world.stranger();
    let token = world.sign_up("ada@example.org", &long).await;
    world.settle().await;
    world.verify("ada@example.org", &world.code_for("ada@example.org"), &token).await.expect(200);
    for position in [72, 254, 255] {
        let mut other = long.clone();
        other.replace_range(position..=position, "y");
        stranger.post("/v1/auth/signin", sign_up("ada@example.org", &other)).await.expect(401);
    }
    for cut in [&long[..72], &long[..255], &format!("{long}x")] {
        stranger.post("/v1/auth/signin", sign_up("ada@example.org", cut)).await.expect(401);
    }
    stranger.post("/v1/auth/signin", sign_up("ada@example.org", &long)).await.expect(200);
}

#[tokio::test]
async fn a_password_is_verified_exactly_as_it_was_sent() {
    let world = World::new().await;
    world.user("ada").await;
    let sign_in = async |password: &str| {
        world.stranger().post("/v1/auth/signin", sign_up("ada@example.org", password)).await.status
    };
    assert_eq!(sign_in(PASSWORD).await, 200);
    for wrong in [PASSWORD.to_uppercase(), format!(" {PASSWORD}"), format!("{PASSWORD} "), PASSWORD.replace(' ', "")] {
        assert_eq!(sign_in(&wrong).await, 401, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_stranger_cannot_tell_a_known_address_from_an_unknown_one() {
    let world = World::new().await;
    world.user("ada").await;
    let stranger = world.stranger();
    let theirs = "another passphrase of mine";
    let mut answers = Vec::new();
    // A known address, an unknown one, one with a pending sign-up, and one that gets no more mail today.
    for email in ["ada@example.org", "eve@example.org", "eve@example.org"] {
        answers.push(stranger.post("/v1/auth/signup", sign_up(email, theirs)).await.expect(202));
        assert_eq!(world.logged_cost(), (1.0, 5.0, 2), "the same work for all");
    }
    for _ in 0..6 {
        answers.push(stranger.post("/v1/auth/signup", sign_up("often@example.org", theirs)).await.expect(202));
        assert_eq!(world.logged_cost(), (1.0, 5.0, 2), "the same work for all");
    }
    for answer in &answers {
        assert_eq!(answer.body.as_object().unwrap().keys().collect::<Vec<_>>(), ["signupToken"]);
        assert_eq!(answer.body["signupToken"].as_str().unwrap().len(), 43);
        assert!(!answer.headers.contains_key("undercroft-cost"));
    }
    world.settle().await;
    assert!(world.mails_to("ada@example.org")[0].text.contains("already have an account"));

    let wrong = |email: &str| stranger.post("/v1/auth/signin", sign_up(email, "not the right passphrase"));
    let masked = |answer: crate::world::Answer| {
        let mut body = answer.expect(401).body;
        body["requestId"] = Value::Null;
        body
    };
    let known = masked(wrong("ada@example.org").await);
    assert_eq!(known, masked(wrong("nobody@example.org").await));
    assert_eq!(known, masked(wrong("eve@example.org").await), "nor one that waits for its code");
    // The password of the second sign-up did not touch the account.
    stranger.post("/v1/auth/signin", sign_up("ada@example.org", PASSWORD)).await.expect(200);
}

#[tokio::test]
async fn a_code_is_spent_once_however_many_ask_at_once() {
    for instances in INSTANCES {
        let world = World::of_instances(instances).await;
        let stranger = world.stranger();
        for round in 0..rounds(5) {
            let email = format!("ada{round}@example.org");
            let token = world.sign_up(&email, PASSWORD).await;
            world.settle().await;
            let code = world.code_for(&email);
            world.cloud.clear_mails().unwrap();
            // Half of them come from another browser, where a new password is chosen.
            let verify = |nth: usize| match nth % 2 {
                0 => json!({ "email": email, "code": code, "signupToken": token }),
                _ => json!({ "email": email, "code": code, "password": format!("{PASSWORD}, chosen anew") }),
            };
            let answers = join_all((0..64).map(|nth| stranger.post("/v1/auth/verify", verify(nth)))).await;
            assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 1);
            assert!(answers.iter().all(|answer| [200, 400, 503].contains(&answer.status)));
            for nth in 0..2 {
                stranger.post("/v1/auth/verify", verify(nth)).await.expect(400);
            }
        }
    }
}

/// R79: for any codes, used any number of times, the address gets one account and one profile.
#[tokio::test]
async fn of_sixty_four_sign_ups_for_one_address_at_once_there_is_one_account() {
    for instances in INSTANCES {
        let world = World::of_instances(instances).await;
        for round in 0..rounds(1) {
            of_many_sign_ups_there_is_one_account(&world, &format!("ada{round}@example.org")).await;
        }
    }
}

async fn of_many_sign_ups_there_is_one_account(world: &World, email: &str) {
    let stranger = world.stranger();
    let answers = join_all((0..64).map(|_| stranger.post("/v1/auth/signup", sign_up(email, PASSWORD)))).await;
    assert!(answers.iter().all(|answer| [202, 503].contains(&answer.status)), "{answers:?}");
    let tokens: Vec<&str> = answers.iter().filter_map(|answer| answer.body["signupToken"].as_str()).collect();
    assert!(tokens.len() >= 2, "none would have had to meet another");
    world.settle().await;
    let mails = world.mails_to(email);
    let codes: Vec<String> = mails.iter().filter_map(|mail| crate::world::code_in(&mail.text)).collect();
    assert!((2..=5).contains(&codes.len()), "{} mails", codes.len());
    world.cloud.clear_mails().unwrap();
    let verify = |nth: usize| {
        let token = tokens[nth % tokens.len()];
        json!({ "email": email, "code": codes[nth % codes.len()], "signupToken": token })
    };
    let every = tokens.len().max(16) * codes.len();
    let verified = join_all((0..every).map(|nth| stranger.post("/v1/auth/verify", verify(nth)))).await;
    assert!(verified.iter().all(|answer| [200, 400, 503].contains(&answer.status)));
    let mut made = verified.iter().filter(|answer| answer.status == 200).count();
    for code in &codes {
        made += usize::from(world.verify_with(email, code, PASSWORD).await.status == 200);
    }
    assert_eq!(made, 1);
    let count = async |table: &str, is_one: &dyn Fn(&Value) -> bool| {
        world.dump(table).await.as_array().unwrap().iter().filter(|item| is_one(item)).count()
    };
    let is_account = |item: &Value| item["sk"]["S"] == "account" && item["pk"]["S"] == format!("a#{email}");
    let is_profile = |item: &Value| item["d"]["M"]["email"]["S"] == email;
    assert_eq!((count("IdentityTable", &is_account).await, count("RecordsTable", &is_profile).await), (1, 1));
    stranger.post("/v1/auth/signin", sign_up(email, PASSWORD)).await.expect(200);
}

#[tokio::test]
async fn neither_a_code_nor_a_token_nor_a_password_is_stored_or_queued_in_the_clear() {
    let world = World::new().await;
    let token = world.sign_up("ada@example.org", PASSWORD).await;
    let waiting =
        [world.dump("JobsTable").await, world.dump("IdentityTable").await].map(|dump| dump.to_string()).concat();
    world.settle().await;
    let code = world.code_for("ada@example.org");
    let tokens = world.verify("ada@example.org", &code, &token).await.expect(200).body;
    let stored = [world.dump("JobsTable").await, world.dump("IdentityTable").await, world.dump("RecordsTable").await];
    let stored = waiting + &stored.map(|dump| dump.to_string()).concat();
    let given = ["refreshToken", "accessToken"].map(|name| tokens[name].as_str().unwrap());
    for secret in [&code, &token, PASSWORD].into_iter().chain(given) {
        assert!(!stored.contains(secret), "{secret} is stored");
    }
    assert!(stored.contains("$argon2id$v=19$m=19456,t=2,p=1$"));
}

#[tokio::test]
async fn a_hash_made_with_weaker_parameters_is_renewed_by_signing_in() {
    let world = World::new().await;
    world.user("ada").await;
    let table = world.cloud.tables().iter().find(|name| name.ends_with("IdentityTable")).unwrap();
    // "correct horse battery staple" with m=4096,t=1, made by another implementation of RFC 9106.
    let weak = weak_hash(PASSWORD);
    let set = json!({
        "TableName": table, "Key": { "pk": { "S": "a#ada@example.org" }, "sk": { "S": "account" } },
        "UpdateExpression": "SET #h = :h", "ExpressionAttributeNames": { "#h": "hash" },
        "ExpressionAttributeValues": { ":h": { "S": weak } },
    });
    world.cloud.call("DynamoDB_20120810.UpdateItem", &set).await.unwrap();
    world.stranger().post("/v1/auth/signin", sign_up("ada@example.org", PASSWORD)).await.expect(200);
    let stored = world.dump("IdentityTable").await.to_string();
    assert!(!stored.contains("m=4096") && stored.contains("$argon2id$v=19$m=19456,t=2,p=1$"));
    world.stranger().post("/v1/auth/signin", sign_up("ada@example.org", PASSWORD)).await.expect(200);
}

fn weak_hash(password: &str) -> String {
    use argon2::password_hash::PasswordHasher;
    let params = argon2::Params::new(4096, 1, 1, None).unwrap();
    let hasher = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    hasher.hash_password_with_salt(password.as_bytes(), b"sixteen bytes...").unwrap().to_string()
}

#[tokio::test]
async fn there_is_no_admin_until_one_bootstraps_and_then_there_is_one() {
    let world = World::new().await;
    let stranger = world.stranger();
    stranger.post("/v1/auth/signin", sign_up(ADMIN, "admin")).await.expect(401);
    stranger.post("/v1/auth/signin", sign_up(ADMIN, PASSWORD)).await.expect(401);
    assert!(!world.user("ada").await.user["roles"].to_string().contains("admin"));

    bootstrap_by_many(&world).await;
    for instances in INSTANCES {
        for _ in 1..rounds(2) {
            bootstrap_by_many(&World::of_instances(instances).await).await;
        }
    }
}

async fn bootstrap_by_many(world: &World) {
    let stranger = world.stranger();
    let token = world.sign_up(ADMIN, PASSWORD).await;
    world.settle().await;
    let verify = json!({ "email": ADMIN, "code": world.code_for(ADMIN), "signupToken": token });
    let answers = join_all((0..64).map(|_| stranger.post("/v1/auth/verify", verify.clone()))).await;
    let admins: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(admins.len(), 1);
    assert_eq!(admins[0].body["user"]["roles"], json!(["admin"]));
    let stored = world.dump("IdentityTable").await;
    let is_admin = |item: &&Value| item["sk"]["S"] == "account" && item["roles"].to_string().contains("admin");
    assert_eq!(stored.as_array().unwrap().iter().filter(is_admin).count(), 1);
}

#[tokio::test]
async fn spellings_of_one_address_are_one_account_and_confusable_ones_are_refused() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let stranger = world.stranger();
    let same = stranger.post("/v1/auth/signin", sign_up("ADA@EXAMPLE.ORG", PASSWORD)).await.expect(200);
    assert_eq!(same.body["user"]["id"], ada.user["id"]);
    for confusable in [
        "ada@example.org.",
        "\u{ff41}da@example.org",
        "ada@exa\u{131}mple.org",
        "ada@example.org\r\nBcc: eve@example.org",
    ] {
        let refused = stranger.post("/v1/auth/signup", sign_up(confusable, PASSWORD)).await.expect(400);
        assert_eq!(refused.body["errors"][0]["pointer"], "/email", "{confusable:?}");
    }
    world.settle().await;
}

#[tokio::test]
async fn a_profile_is_a_record_that_its_owner_reads_and_partly_writes() {
    let world = World::new().await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let own = format!("/v1/collections/users/records/{}", ada.id());
    assert_eq!(ada.get(&own).await.expect(200).body["email"], "ada@example.org");
    assert_eq!(ada.patch(&own, json!({ "displayName": "Ada" })).await.expect(200).body["displayName"], "Ada");
    ada.patch(&own, json!({ "email": "eve@example.org" })).await.expect(400);
    bob.get(&own).await.expect(404);
    bob.patch(&own, json!({ "displayName": "Eve" })).await.expect(404);
    ada.get("/v1/collections/users/records").await.expect(404);
}
