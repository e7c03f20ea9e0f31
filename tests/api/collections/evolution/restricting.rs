//! Fields that begin to restrict deletions: at once if they are new, otherwise after a job has processed all records.

use super::{HEARD, job_of, work};
use crate::world::{Caller, World};
use serde_json::{Value, json};

const POSTS: &str = "/v1/collections/posts";
const NOTES: &str = "/v1/collections/notes";

fn text() -> Value {
    json!({ "type": "string" })
}

fn to_posts(on_delete: &str) -> Value {
    json!({ "type": "string", "relation": { "collection": "posts", "onDelete": on_delete } })
}

fn notes(properties: Value) -> Value {
    json!({ "name": "notes", "schema": { "type": "object", "additionalProperties": false, "properties": properties } })
}

async fn with_notes<'a>(world: &'a World, notes: Value) -> Caller<'a> {
    let admin = world.admin().await;
    let nothing = json!({ "type": "object", "additionalProperties": false, "properties": {} });
    admin.put(POSTS, json!({ "name": "posts", "schema": nothing })).await.expect(201);
    admin.put(NOTES, notes).await.expect(201);
    admin
}

/// Creates a post. Returns its id and path.
async fn post(admin: &Caller<'_>) -> (String, String) {
    let made = admin.post(&format!("{POSTS}/records"), json!({})).await.expect(201);
    (made.body["id"].as_str().unwrap().to_owned(), made.header("location").to_owned())
}

/// Creates a note. Returns its path.
async fn note(admin: &Caller<'_>, body: Value) -> String {
    admin.post(&format!("{NOTES}/records"), body).await.expect(201).header("location").to_owned()
}

#[tokio::test]
async fn a_new_restricting_field_takes_effect_at_once() {
    let world = World::new().await;
    let admin = with_notes(&world, notes(json!({ "post": text() }))).await;
    let put = admin.put(NOTES, notes(json!({ "post": text(), "new": to_posts("restrict") }))).await.expect(200).body;
    assert_eq!((&put["status"], &put["job"]), (&json!("ready"), &Value::Null), "no record holds it: {put}");
    world.advance(HEARD);
    let (id, at) = post(&admin).await;
    note(&admin, json!({ "new": id })).await;
    assert_eq!(admin.delete(&at).await.expect(409).code(), "referenced");
    world.settle().await;
}

#[tokio::test]
async fn an_existing_field_restricts_once_its_job_is_done_even_if_the_worker_dies() {
    let mut world = World::new().await;
    world.work_in_slices_of(3);
    let admin = with_notes(&world, notes(json!({ "post": text() }))).await;
    let (held, at_held) = post(&admin).await;
    let (left, at_left) = post(&admin).await;
    let (_, at_free) = post(&admin).await;
    for _ in 0..5 {
        note(&admin, json!({ "post": held })).await;
    }
    let leaves = note(&admin, json!({ "post": left })).await;

    let dry = admin.put(&format!("{NOTES}?dryRun=true"), notes(json!({ "post": to_posts("restrict") }))).await;
    let dry = dry.expect(200).body;
    assert_eq!((&dry["effect"], &dry["changes"][1]["effect"]), (&json!("job"), &json!("restricts")), "{dry}");
    let put = admin.put(NOTES, notes(json!({ "post": to_posts("restrict") }))).await.expect(202).body;
    assert_eq!(put["status"], "narrowing", "{put}");
    let mut kills = 0;
    for wakes in 0.. {
        world.advance(HEARD * 3);
        kills += usize::from(world.settle_killing_worker_after(wakes).await);
        let job = job_of(&world.admin().await, &put).await;
        assert_ne!(job["status"], "dead", "{job}");
        if job["status"] == "succeeded" {
            break;
        }
        world.advance(HEARD * 61);
    }
    assert!(kills > 3, "killed {kills} times");
    let admin = world.admin().await;
    assert_eq!(admin.get(NOTES).await.expect(200).body["status"], "ready");

    assert_eq!(admin.delete(&at_held).await.expect(409).code(), "referenced");
    admin.delete(&at_free).await.expect(204);
    assert_eq!(admin.delete(&at_left).await.expect(409).code(), "referenced");
    admin.delete(&leaves).await.expect(204);
    admin.delete(&at_left).await.expect(204);
    world.settle().await;
}

#[tokio::test]
async fn until_the_job_is_done_on_delete_works_as_before() {
    let world = World::new().await;
    let notes = |on_delete: &str| {
        let mut notes = notes(json!({ "post": to_posts(on_delete) }));
        notes["indexes"] = json!([{ "name": "by_post", "partition": ["post"], "sort": [] }]);
        notes
    };
    let admin = with_notes(&world, notes("cascade")).await;
    let (id, at) = post(&admin).await;
    let old = note(&admin, json!({ "post": id })).await;
    let put = admin.put(NOTES, notes("restrict")).await.expect(202).body;
    world.advance(HEARD);
    // The reference of the note is not stored yet.
    admin.delete(&at).await.expect(204);
    work(&world).await;
    work(&world).await;
    let admin = world.admin().await;
    admin.get(&old).await.expect(404);
    assert_eq!(job_of(&admin, &put).await["status"], "succeeded");

    let (id, at) = post(&admin).await;
    note(&admin, json!({ "post": id })).await;
    assert_eq!(admin.delete(&at).await.expect(409).code(), "referenced");
}
