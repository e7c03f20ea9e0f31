//! A relation put over a field whose ids lead nowhere, and a constraint put over duplicates: accepted with 202, in force for new
//! writes, and `blocked` with the records named until they are changed.

use super::{SETTLED, job_of, work};
use crate::world::{Caller, World};
use serde_json::{Value, json};

const POSTS: &str = "/v1/collections/posts";
const NOTES: &str = "/v1/collections/notes";
const NOWHERE: &str = "01900000-0000-7000-8000-000000000001";

fn notes(post: Value, more: Value) -> Value {
    let mut body = json!({ "name": "notes", "schema": { "type": "object", "additionalProperties": false,
        "properties": { "post": post, "title": { "type": "string" } } } });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn related(on_delete: &str) -> Value {
    let post = json!({ "type": ["string", "null"], "relation": { "collection": "posts", "onDelete": on_delete } });
    notes(post, json!({ "indexes": [{ "name": "by_post", "partition": ["post"] }] }))
}

async fn defined(world: &World) -> Caller<'_> {
    let admin = world.admin().await;
    let nothing = json!({ "type": "object", "additionalProperties": false, "properties": {} });
    admin.put(POSTS, json!({ "name": "posts", "schema": nothing })).await.expect(201);
    admin
        .put(NOTES, notes(json!({ "type": ["string", "null"] }), json!({ "indexes": related("restrict")["indexes"] })))
        .await
        .expect(201);
    admin
}

async fn made(admin: &Caller<'_>, collection: &str, body: Value) -> (String, String) {
    let made = admin.post(&format!("{collection}/records"), body).await.expect(201);
    (made.body["id"].as_str().unwrap().to_owned(), made.header("location").to_owned())
}

/// The ids of the records that a dead job names.
fn named(job: &Value) -> Vec<&str> {
    assert_eq!(job["status"], "dead", "{job}");
    job["progress"]["disagree"]["first"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

/// Changes four notes so that they lead to a post, or nowhere on purpose.
async fn mend(admin: &Caller<'_>, astray: &[(String, String)], post: &str) {
    admin.patch(&astray[0].1, json!({ "post": post })).await.expect(200);
    admin.patch(&astray[1].1, json!({ "post": null })).await.expect(200);
    admin.delete(&astray[2].1).await.expect(204);
    let tag = admin.get(&astray[3].1).await.expect(200).header("etag").to_owned();
    admin
        .request(axum::http::Method::PUT, &astray[3].1)
        .header("if-match", &tag)
        .json(json!({}))
        .send()
        .await
        .expect(200);
}

#[tokio::test]
async fn a_relation_over_ids_that_lead_nowhere_is_blocked_until_they_are_changed() {
    for on_delete in ["restrict", "cascade", "setNull"] {
        let world = World::new().await;
        let admin = defined(&world).await;
        let (post, at_post) = made(&admin, POSTS, json!({})).await;
        let (gone, at_gone) = made(&admin, POSTS, json!({})).await;
        admin.delete(&at_gone).await.expect(204);
        made(&admin, NOTES, json!({ "post": post })).await;
        made(&admin, NOTES, json!({ "post": null })).await;
        made(&admin, NOTES, json!({ "title": "without" })).await;
        let mut astray = Vec::new();
        for id in [NOWHERE, &gone, "no id at all", &"x".repeat(900)] {
            astray.push(made(&admin, NOTES, json!({ "post": id })).await);
        }
        let dry = admin.put(&format!("{NOTES}?dryRun=true"), related(on_delete)).await.expect(200).body;
        assert_eq!((&dry["effect"], &dry["disagree"]["count"]), (&json!("refused"), &json!(4)), "{dry}");
        assert_eq!(dry["job"], "records.check");
        assert!(
            dry["changes"]
                .as_array()
                .unwrap()
                .contains(&json!({ "change": "relation", "field": "post", "effect": "checked" }))
        );

        let put = admin.put(NOTES, related(on_delete)).await.expect(202).body;
        assert_eq!(put["status"], "narrowing", "{put}");
        world.advance(std::time::Duration::from_secs(6));
        let refused = admin.post(&format!("{NOTES}/records"), json!({ "post": NOWHERE })).await.expect(400);
        assert_eq!(refused.body["errors"][0]["code"], "relation", "new writes are checked at once");
        work(&world).await;

        let admin = world.admin().await;
        let job = job_of(&admin, &put).await;
        let (mut found, mut expected) = (named(&job), astray.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>());
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        let error = &job["progress"]["disagree"]["first"][0]["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!("/post"), &json!("relation")));
        let shown = admin.get(NOTES).await.expect(200).body;
        let blocked = json!({ "schema": false, "indexes": [], "unique": [], "relations": ["post"] });
        assert_eq!((&shown["status"], &shown["blocked"], &shown["job"]), (&json!("blocked"), &blocked, &put["job"]));

        mend(&admin, &astray, &post).await;
        admin.post(&format!("/v1/jobs/{}/redrive", put["job"].as_str().unwrap()), json!({})).await.expect(200);
        work(&world).await;
        let admin = world.admin().await;
        assert_eq!(job_of(&admin, &put).await["status"], "succeeded");
        let shown = admin.get(NOTES).await.expect(200).body;
        assert_eq!((&shown["status"], shown.get("blocked")), (&json!("ready"), None), "{shown}");
        admin.put(NOTES, related(on_delete)).await.expect(200);
        if on_delete == "restrict" {
            assert_eq!(admin.delete(&at_post).await.expect(409).code(), "referenced");
        }
        world.settle().await;
    }
}

#[tokio::test]
async fn a_relation_to_users_is_checked_too() {
    let world = World::new().await;
    let admin = defined(&world).await;
    let ada = world.user("ada").await;
    made(&admin, NOTES, json!({ "post": ada.id() })).await;
    let (astray, _) = made(&admin, NOTES, json!({ "post": NOWHERE })).await;
    let post = json!({ "type": ["string", "null"], "relation": { "collection": "users" } });
    let put = admin.put(NOTES, notes(post, json!({}))).await.expect(202).body;
    work(&world).await;
    assert_eq!(named(&job_of(&world.admin().await, &put).await), [astray]);
}

#[tokio::test]
async fn unique_over_duplicates_is_accepted_for_later_and_blocked_with_the_records_named() {
    let world = World::new().await;
    let admin = defined(&world).await;
    let (first, _) = made(&admin, NOTES, json!({ "title": "twice" })).await;
    let (second, _) = made(&admin, NOTES, json!({ "title": "twice" })).await;
    made(&admin, NOTES, json!({ "title": "once" })).await;
    let put = notes(json!({ "type": ["string", "null"] }), json!({ "unique": [["title"]] }));
    let answer = admin.put(NOTES, put).await.expect(202).body;
    work(&world).await;
    world.advance(SETTLED);
    world.settle().await;
    let admin = world.admin().await;
    let shown = admin.get(NOTES).await.expect(200).body;
    assert_eq!((&shown["status"], &shown["unique"]), (&json!("blocked"), &json!([["title"]])));
    assert_eq!(shown["blocked"]["unique"], json!([["title"]]));
    let job = job_of(&admin, &answer).await;
    let named = named(&job);
    assert_eq!(named.len(), 1);
    assert!(named == [first.as_str()] || named == [second.as_str()], "{named:?}");
}
