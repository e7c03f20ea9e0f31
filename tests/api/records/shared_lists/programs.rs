//! Random programs of writes and changes of the definition, over several functions at once: the entries that are left equal
//! those of an index that is built anew.

use super::{DEFINITION, NOTES, entries, notes, path, with};
use crate::records::operators::MEDIA_TYPE;
use crate::world::{Caller, World, rounds};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// Reproducible random numbers: a linear congruential generator.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn members(&mut self) -> Value {
        let count = self.below(4);
        (0..count).map(|_| format!("m{}", self.below(5))).collect()
    }

    fn body(&mut self) -> Value {
        json!({ "text": format!("t{}", self.below(9)), "rank": self.below(3), "members": self.members() })
    }
}

/// Definitions with and without indexes over elements.
fn definitions() -> Vec<Value> {
    let shared = |sort: Value| json!({ "name": "shared", "partition": ["members[]"], "sort": sort });
    [
        json!([]),
        json!([shared(json!(["-createdAt"]))]),
        json!([shared(json!(["-updatedAt"]))]),
        json!([{ "name": "ranked", "partition": ["rank", "members[]"], "sort": ["text"] }]),
    ]
    .map(|indexes| with(json!({ "indexes": indexes, "rules": {}, "counts": true })))
    .into()
}

/// One random write. A refusal is as good as a write.
async fn write(admin: &Caller<'_>, chance: &mut Chance, made: &mut Vec<Value>) {
    let at = chance.below(made.len().max(1) as u64) as usize;
    let note = made.get(at).cloned();
    match (chance.below(7), note) {
        (0 | 1, _) | (_, None) => made.push(admin.post(NOTES, chance.body()).await.expect(201).body),
        (2, Some(note)) => drop(admin.patch(&path(&note), json!({ "members": chance.members() })).await),
        (3, Some(note)) => drop(admin.patch(&path(&note), json!({ "text": "z", "rank": chance.below(3) })).await),
        (4, Some(note)) => {
            let operator = if chance.below(2) == 0 { "append" } else { "remove" };
            let operators = json!({ operator: { "members": chance.members() } });
            let patch = admin.request(Method::PATCH, &path(&note)).header("content-type", MEDIA_TYPE);
            patch.json(operators).send().await;
        }
        (5, Some(note)) => {
            let latest = admin.get(&path(&note)).await;
            if latest.status == 200 {
                let replace = admin.request(Method::PUT, &path(&note)).header("if-match", latest.header("etag"));
                replace.json(chance.body()).send().await.expect(200);
            }
        }
        (_, Some(note)) => {
            if admin.delete(&path(&note)).await.status == 404 {
                admin.post(&format!("{}/undelete", path(&note)), json!({})).await;
            }
        }
    }
}

async fn program(seed: u64) -> usize {
    let (world, mut chance) = (World::of_instances(3).await, Chance(seed));
    let admin = world.admin().await;
    let definitions = definitions();
    let mut made = Vec::new();
    admin.put(DEFINITION, definitions[chance.below(4) as usize].clone()).await.expect(201);
    for _ in 0..40 {
        match chance.below(10) {
            0 => drop(admin.put(DEFINITION, definitions[chance.below(4) as usize].clone()).await),
            1 | 2 => world.advance(Duration::from_millis(500 + chance.below(9_000))),
            3 => world.settle().await,
            _ => write(&admin, &mut chance, &mut made).await,
        }
    }
    // Long enough for an index to begin, be built, and its predecessor to end.
    for _ in 0..7 {
        world.settle().await;
        world.advance(Duration::from_secs(20));
    }
    world.settle().await;
    let admin = world.admin().await;
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!(ready["status"], "ready", "{ready}");
    let left = entries::hold(&world, "notes").await;
    // A member's list holds what its records say.
    if ready["indexes"][0]["name"] == "shared" {
        let filter = crate::records::pages::encoded("'m1' in members");
        let page = admin.get(&format!("{NOTES}?limit=100&filter={filter}")).await.expect(200).body;
        let all = admin.get(&format!("{NOTES}?limit=100")).await.expect(200).body;
        let is_in = |note: &&Value| note["members"].as_array().is_some_and(|members| members.contains(&json!("m1")));
        let mut expected: Vec<&Value> = all["items"].as_array().unwrap().iter().filter(is_in).collect();
        let mut found: Vec<&Value> = page["items"].as_array().unwrap().iter().collect();
        expected.sort_by_key(|note| note["id"].as_str());
        found.sort_by_key(|note| note["id"].as_str());
        assert_eq!(found, expected, "seed {seed}");
        let counted = admin.get(&format!("{NOTES}?limit=0&count=true&filter={filter}")).await.expect(200).body;
        assert_eq!(counted["count"]["records"], json!(expected.len()), "seed {seed}");
    }
    left
}

#[tokio::test]
async fn the_entries_of_a_random_program_are_those_of_an_index_built_anew() {
    let mut left = 0;
    for seed in 0..u64::from(rounds(8)) {
        left += program(seed).await;
    }
    assert!(left > 10, "{left} entries");
}

#[tokio::test]
async fn a_purge_removes_the_entries_of_a_deleted_collection() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put(DEFINITION, notes()).await.expect(201);
    let mut chance = Chance(7);
    for _ in 0..9 {
        admin.post(NOTES, chance.body()).await.expect(201);
    }
    assert!(entries::hold(&world, "notes").await > 5);
    admin.delete(&format!("{DEFINITION}?records=delete")).await.expect(202);
    for _ in 0..2 {
        world.settle().await;
        world.advance(Duration::from_secs(20));
    }
    world.settle().await;
    assert!(entries::all(&world).await.is_empty());
}
