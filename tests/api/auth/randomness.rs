//! Keys, salts, codes and tokens come from the random generator, with enough bits.

use crate::world::{PASSWORD, World, code_in};
use serde_json::{Value, json};
use std::collections::HashSet;

/// The keys that a stack generates.
const KEYS: [&str; 4] = ["refresh", "seal", "cursor", "signing"];

async fn key(world: &World, name: &str) -> String {
    let wanted = json!({ "Name": format!("/undercroft/undercroft-local/{name}"), "WithDecryption": true });
    let found = world.cloud.call("AmazonSSM.GetParameter", &wanted).await.unwrap();
    found["Parameter"]["Value"].as_str().unwrap().to_owned()
}

/// A stack that has generated all its keys.
async fn stack() -> World {
    let world = World::new().await;
    let admin = world.admin().await;
    for _ in 0..2 {
        admin.post("/v1/jobs", json!({ "type": "no.such_job", "maxAttempts": 1 })).await.expect(202);
    }
    admin.get("/v1/jobs?limit=1").await.expect(200);
    world.settle().await;
    world
}

/// A constant key would let one stack decrypt and forge the tokens of another (R31, R76).
#[tokio::test]
async fn no_two_stacks_have_a_key_in_common_and_none_is_short_or_regular() {
    let (one, other) = (stack().await, stack().await);
    for name in KEYS {
        let (ours, theirs) = (key(&one, name).await, key(&other, name).await);
        assert_ne!(ours, theirs, "{name}");
        let secret: Value = serde_json::from_str(&ours).unwrap_or_else(|_| json!({ "pkcs8": ours }));
        let bytes = undercroft::id::from_base64url(secret["pkcs8"].as_str().unwrap()).unwrap();
        assert!(bytes.len() >= 32, "{name} has {} bytes", bytes.len());
        let different: HashSet<&u8> = bytes.iter().collect();
        assert!(different.len() >= 16, "{name} repeats itself");
    }
}

/// Stored hashes must not reveal that two accounts have the same password (R5).
#[tokio::test]
async fn the_same_password_is_stored_under_a_salt_of_its_own_each_time() {
    let world = World::new().await;
    for name in ["ada", "bob", "eve"] {
        world.user(name).await;
    }
    let stored = world.dump("IdentityTable").await;
    let accounts = stored.as_array().unwrap().iter().filter(|item| item["sk"]["S"] == "account");
    let hashes: Vec<Vec<&str>> =
        accounts.map(|item| item["hash"]["S"].as_str().unwrap().split('$').collect()).collect();
    assert_eq!(hashes.len(), 3);
    for (part, what) in [(4, "salts"), (5, "hashes")] {
        let different: HashSet<&str> = hashes.iter().map(|hash| hash[part]).collect();
        assert_eq!(different.len(), hashes.len(), "{what} of {PASSWORD:?}");
    }
}

/// Every position of a code takes all 32 symbols (R9), so a code has 150 bits.
#[test]
fn every_place_of_a_code_holds_every_symbol() {
    let mut seen: Vec<HashSet<char>> = vec![HashSet::new(); 30];
    for _ in 0..1_000 {
        let code = undercroft::id::code();
        assert_eq!(code_in(&code).as_ref(), Some(&code), "a mail carries it in one piece");
        code.chars().filter(|char| *char != '-').zip(&mut seen).for_each(|(char, seen)| {
            seen.insert(char);
        });
    }
    // That one of 32 is missing from a place after a thousand draws happens once in 10^11 runs.
    assert!(seen.iter().all(|symbols| symbols.len() == 32), "{:?}", seen.iter().map(HashSet::len).collect::<Vec<_>>());
}
