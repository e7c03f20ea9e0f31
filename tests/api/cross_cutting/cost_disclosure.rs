//! Costs that would reveal hidden data are shown only to admins.

use crate::cross_cutting::hidden_in_queries::learned;
use crate::records::restrict::{COMMENTS, POSTS, comments, define, id, make, open, posts};
use crate::world::{Answer, Caller, PASSWORD, World, tasks};
use axum::http::Method;
use serde_json::{Value, json};

const TASKS: &str = "/v1/collections/tasks/records";

fn is_priced(answer: &Answer) -> bool {
    answer.headers.contains_key("undercroft-cost")
}

async fn with_tasks(world: &World) -> Caller<'_> {
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    admin
}

fn task(owner: &Caller<'_>, slug: &str) -> Value {
    json!({ "title": "t", "owner": owner.id(), "slug": slug })
}

#[tokio::test]
async fn costs_do_not_reveal_who_holds_or_held_a_unique_value() {
    let world = World::new().await;
    let admin = with_tasks(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    assert!(
        !is_priced(&bob.post(TASKS, task(&bob, "free")).await.expect(201)),
        "no record holds it, and the cost does not reveal that"
    );
    let taken = ada.post(TASKS, task(&ada, "free")).await.expect(409);
    assert!(taken.code() == "not_unique" && !is_priced(&taken), "what was read is of Bob's");
    assert!(is_priced(&admin.post(TASKS, task(&admin, "free")).await.expect(409)));
    let batch = json!({ "operations": [{ "method": "POST", "path": TASKS, "body": task(&ada, "free") }] });
    assert!(!is_priced(&ada.post("/v1/batch", batch).await.expect(409)));

    let left = bob.post(TASKS, task(&bob, "left")).await.expect(201).header("location").to_owned();
    bob.delete(&left).await.expect(204);
    assert!(!is_priced(&ada.post(TASKS, task(&ada, "left")).await.expect(201)), "somebody had it before");
    assert!(is_priced(&admin.post(TASKS, task(&admin, "new")).await.expect(201)));
}

#[tokio::test]
async fn whether_a_write_shows_its_cost_depends_only_on_the_request() {
    let world = World::new().await;
    with_tasks(&world).await;
    let bob = world.user("bob").await;
    let plain = bob.post(TASKS, json!({ "title": "t", "owner": bob.id() })).await.expect(201);
    assert!(is_priced(&plain), "it claims nothing");
    let made = bob.post(TASKS, task(&bob, "own")).await.expect(201).header("location").to_owned();
    assert!(is_priced(&bob.patch(&made, json!({ "title": "u" })).await.expect(200)));
    for slug in [json!("own"), json!("other"), Value::Null] {
        let patched = bob.patch(&made, json!({ "slug": slug })).await.expect(200);
        assert!(!is_priced(&patched), "{slug}: a price would tell whether it is what it was");
    }
    for (path, is_told) in [(made.as_str(), false), (plain.header("location"), true)] {
        let mut whole = task(&bob, "whole");
        if is_told {
            whole.as_object_mut().unwrap().remove("slug");
        }
        let version = bob.get(path).await.expect(200).header("etag").to_owned();
        let put = bob.request(Method::PUT, path).header("if-match", &version).json(whole).send().await.expect(200);
        assert_eq!(is_priced(&put), is_told);
    }
    assert!(is_priced(&bob.delete(&made).await.expect(204)), "nothing is claimed by going");
    assert!(
        !is_priced(&bob.post(&format!("{made}/undelete"), json!({})).await.expect(200)),
        "and again by coming back"
    );
}

#[tokio::test]
async fn costs_do_not_reveal_whether_a_record_was_ever_referenced() {
    let world = World::new().await;
    let secret = json!({ "rules": { "create": "auth.id != ''", "list": "record.post == auth.id" } });
    let mut comments = comments("restrict");
    comments.as_object_mut().unwrap().extend(secret.as_object().unwrap().clone());
    define(&world, &[posts(), comments, open("lone", json!({}), json!({}))]).await;
    let (ada, bob, admin) = (world.user("ada").await, world.user("bob").await, world.admin().await);
    let pointed_at = make(&ada, POSTS, json!({})).await;
    let comment = make(&bob, COMMENTS, json!({ "post": id(&pointed_at) })).await;
    admin.delete(&comment).await.expect(204);
    for (path, what) in [(pointed_at, "once pointed at"), (make(&ada, POSTS, json!({})).await, "never")] {
        assert!(!is_priced(&ada.delete(&path).await.expect(204)), "{what}");
        let back = ada.post(&format!("{path}/undelete"), json!({})).await.expect(200);
        assert!(is_priced(&back), "{what}");
        let operations = json!({ "operations": [{ "method": "DELETE", "path": path }] });
        assert!(!is_priced(&ada.post("/v1/batch", operations).await.expect(200)), "{what}");
    }
    let of_admin = make(&admin, POSTS, json!({})).await;
    assert!(is_priced(&admin.delete(&of_admin).await.expect(204)));
    let lone = make(&ada, "/v1/collections/lone/records", json!({})).await;
    assert!(is_priced(&ada.delete(&lone).await.expect(204)), "at these nothing points");
}

#[tokio::test]
async fn the_cost_of_a_list_does_not_reveal_deleted_records() {
    let world = World::new().await;
    define(&world, &[posts()]).await;
    let (ada, admin) = (world.user("ada").await, world.admin().await);
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(make(&ada, POSTS, json!({ "title": "t" })).await);
    }
    let scan = format!("{POSTS}?scan=100&filter=title%3D%3D%22other%22");
    for question in [POSTS, &scan, &format!("{POSTS}?limit=2")] {
        assert!(is_priced(&ada.get(question).await.expect(200)), "{question}: all it read may be seen");
    }
    for gone in &made[1..] {
        ada.delete(gone).await.expect(204);
    }
    for question in [POSTS, &scan, &format!("{POSTS}?limit=2")] {
        let page = ada.get(question).await.expect(200);
        assert!(!is_priced(&page), "{question}: {:?}", page.headers);
        assert!(is_priced(&admin.get(question).await.expect(200)), "{question}");
    }
}

#[tokio::test]
async fn a_batch_with_an_operation_on_a_hidden_record_shows_no_cost() {
    let world = World::new().await;
    let admin = with_tasks(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let of_bob = bob.post(TASKS, task(&bob, "b")).await.expect(201).header("location").to_owned();
    let wrong = json!({ "method": "POST", "path": TASKS, "body": { "owner": ada.id() } });
    let ids = [of_bob.clone(), format!("{TASKS}/01890000-0000-7000-8000-000000000000")];
    for path in ids.iter().chain([&"/v1/collections/nothing/records/x".to_owned()]) {
        let hidden = json!({ "method": "POST", "path": format!("{path}/undelete") });
        let refused = ada.post("/v1/batch", json!({ "operations": [wrong, hidden] })).await.expect(400);
        assert!(!is_priced(&refused), "{path}: {}", refused.text);
        let refused = admin.post("/v1/batch", json!({ "operations": [wrong, hidden] })).await.expect(400);
        assert!(is_priced(&refused));
    }
    let both = json!({ "operations": [wrong, wrong] });
    assert!(!is_priced(&ada.post("/v1/batch", both).await.expect(400)), "nor does what is only wrong");
    let malformed = json!({ "operations": [{ "method": "GET", "path": TASKS }] });
    assert!(is_priced(&ada.post("/v1/batch", malformed).await.expect(400)), "for this, nothing is read");
}

#[tokio::test]
async fn costs_do_not_reveal_to_a_stranger_whether_a_collection_exists() {
    let world = World::new().await;
    let admin = with_tasks(&world).await;
    let rules = json!({ "list": "auth.id != ''", "create": "auth.id != ''" });
    let closed = json!({ "name": "closed", "schema": { "type": "object", "properties": {} }, "rules": rules });
    admin.put("/v1/collections/closed", closed).await.expect(201);
    admin.get("/v1/collections/closed/records").await.expect(200);
    for collection in ["closed", "nothing"] {
        let records = format!("/v1/collections/{collection}/records");
        for refused in [world.stranger().get(&records).await, world.stranger().post(&records, json!({})).await] {
            assert!(!is_priced(&refused.expect(401)), "{collection}");
        }
    }
}

/// What a stranger learns of an address on every route that reads it.
async fn learned_of(world: &World, email: &str) -> Vec<String> {
    let (stranger, code) = (world.stranger(), "AAAAA-BBBBB-CCCCC-DDDDD-EEEEE-FFFFF");
    let with = |name: &str, value: &str| json!({ "email": email, "code": code, name: value });
    let mut reported = Vec::new();
    for (path, body, status) in [
        ("/v1/auth/verify", json!({ "email": email, "code": code }), 400),
        ("/v1/auth/verify", with("signupToken", &"x".repeat(43)), 400),
        ("/v1/auth/verify", with("password", PASSWORD), 400),
        ("/v1/auth/verify", with("password", "short"), 400),
        ("/v1/auth/signin", json!({ "email": email, "password": "not the right passphrase" }), 401),
        ("/v1/auth/signup", json!({ "email": email, "password": "short" }), 400),
        ("/v1/auth/signup", json!({ "email": email, "password": PASSWORD }), 202),
    ] {
        let mut answer = stranger.post(path, body).await.expect(status);
        if let Some(token) = answer.body.get_mut("signupToken") {
            *token = json!(token.as_str().unwrap().len());
        }
        // Of the whole body its length, with the token in it.
        reported.push(format!("{path} {} {}", learned(&answer), answer.text.len()));
        assert!(status != 202 || !is_priced(&answer), "{path}: {:?}", answer.headers);
    }
    reported
}

#[tokio::test]
async fn answers_and_costs_do_not_reveal_what_is_stored_for_an_address() {
    let world = World::new().await;
    world.user("known").await;
    for _ in 0..3 {
        world.sign_up("await@example.org", PASSWORD).await;
    }
    let reported = [
        learned_of(&world, "known@example.org").await,
        learned_of(&world, "await@example.org").await,
        learned_of(&world, "never@example.org").await,
    ];
    assert_eq!(reported[0], reported[2], "it has an account");
    assert_eq!(reported[1], reported[2], "it has sign-ups that wait");
    world.settle().await;
}
