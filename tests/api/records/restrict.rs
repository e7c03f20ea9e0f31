//! `onDelete: restrict`: a referenced record cannot be deleted, and no record ever points at a deleted one.

use crate::world::{Answer, Caller, World};
use axum::http::Method;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use std::task::Poll;
use std::time::Duration;

pub const POSTS: &str = "/v1/collections/posts/records";
pub const COMMENTS: &str = "/v1/collections/comments/records";
/// Longer than a lock on a record that is to be deleted holds.
const UNLOCKED: Duration = Duration::from_secs(61);

/// A collection that anybody with an account may write, with these properties.
pub fn open(name: &str, properties: Value, more: Value) -> Value {
    let anyone = "auth.id != ''";
    let mut body = json!({
        "name": name,
        "schema": { "type": "object", "additionalProperties": false, "properties": properties },
        "rules": { "list": anyone, "read": anyone, "create": anyone, "update": anyone, "delete": anyone }
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

pub fn posts() -> Value {
    open("posts", json!({ "title": { "type": "string" } }), json!({}))
}

/// Comments, which point at posts, and are found by the post they are on.
pub fn comments(on_delete: &str) -> Value {
    let post = json!({ "type": "string", "relation": { "collection": "posts", "onDelete": on_delete } });
    let indexes = json!({ "indexes": [{ "name": "by_post", "partition": ["post"], "sort": [] }] });
    open("comments", json!({ "post": post, "text": { "type": "string" } }), indexes)
}

pub async fn define(world: &World, definitions: &[Value]) {
    let admin = world.admin().await;
    for definition in definitions {
        let name = definition["name"].as_str().unwrap();
        admin.put(&format!("/v1/collections/{name}"), definition.clone()).await.expect(201);
    }
}

/// A new record's path.
pub async fn make(caller: &Caller<'_>, records: &str, body: Value) -> String {
    caller.post(records, body).await.expect(201).header("location").to_owned()
}

/// The id at the end of a record's path.
pub fn id(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

async fn batch(caller: &Caller<'_>, operations: Value) -> Answer {
    caller.post("/v1/batch", json!({ "operations": operations })).await
}

async fn references(world: &World) -> usize {
    let items = world.dump("RecordsTable").await;
    items.as_array().unwrap().iter().filter(|item| item["pk"]["S"].as_str().unwrap().starts_with("r#")).count()
}

/// Polls a request until the database has answered `trips` times, then drops it, as a killed environment does.
async fn killed_after(trips: usize, request: impl Future<Output = Answer>) -> Option<Answer> {
    let mut request = Box::pin(request);
    let mut left = trips;
    std::future::poll_fn(|context| match (left, request.as_mut().poll(context)) {
        (_, Poll::Ready(answer)) => Poll::Ready(Some(answer)),
        (0, Poll::Pending) => Poll::Ready(None),
        (_, Poll::Pending) => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

#[tokio::test]
async fn a_restricted_record_cannot_be_deleted_until_no_record_points_at_it() {
    let world = World::new().await;
    define(&world, &[posts(), comments("restrict")]).await;
    let ada = world.user("ada").await;
    let (one, two) = (make(&ada, POSTS, json!({})).await, make(&ada, POSTS, json!({})).await);
    let comment = make(&ada, COMMENTS, json!({ "post": id(&one) })).await;
    let before = ada.get(&one).await.expect(200);
    let refused = ada.delete(&one).await.expect(409);
    assert_eq!(refused.code(), "referenced");
    assert!(!refused.text.contains(id(&comment)) && !refused.text.contains("comments"), "{}", refused.text);
    assert_eq!(ada.get(&one).await.expect(200).text, before.text, "a refused deletion changes nothing");
    let second = make(&ada, COMMENTS, json!({ "post": id(&one) })).await;
    ada.delete(&one).await.expect(409);

    // Changing or removing the reference releases the target.
    ada.patch(&comment, json!({ "post": id(&two) })).await.expect(200);
    ada.delete(&one).await.expect(409);
    ada.patch(&second, json!({ "post": null })).await.expect(200);
    ada.delete(&one).await.expect(204);
    assert_eq!(references(&world).await, 1, "what is no longer true was forgotten");
    ada.delete(&two).await.expect(409);
    ada.delete(&comment).await.expect(204);
    ada.delete(&two).await.expect(204);
    assert_eq!(references(&world).await, 0);

    // No write can point at a deleted record.
    let post = make(&ada, POSTS, json!({})).await;
    let comment = make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    for gone in [id(&one), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "nonsense"] {
        let to_nowhere = json!({ "post": gone });
        let refused = ada.post(COMMENTS, to_nowhere.clone()).await.expect(400);
        assert_eq!(refused.body["errors"][0]["pointer"], "/post");
        ada.patch(&comment, to_nowhere.clone()).await.expect(400);
        let put = ada.request(Method::PUT, &comment).header("if-match", "\"1\"").json(to_nowhere).send().await;
        put.expect(400);
    }
    world.settle().await;
}

#[tokio::test]
async fn a_reference_written_while_its_target_is_deleted_makes_one_of_the_two_fail() {
    let world = World::new().await;
    define(&world, &[posts(), comments("restrict")]).await;
    let ada = world.user("ada").await;
    for round in 0..crate::world::rounds(6) {
        let elsewhere = make(&ada, POSTS, json!({})).await;
        let moved = make(&ada, COMMENTS, json!({ "post": id(&elsewhere) })).await;
        let post = make(&ada, POSTS, json!({})).await;
        // Some clients edit the post meanwhile: its references must not be lost.
        let writes = (0..32).map(async |nth| match (nth + round) % 8 {
            0 => ada.delete(&post).await,
            1 => ada.patch(&moved, json!({ "post": id(&post) })).await,
            2 => ada.patch(&post, json!({ "title": format!("{nth}") })).await,
            3 => ada.patch(&moved, json!({ "post": id(&elsewhere) })).await,
            _ => ada.post(COMMENTS, json!({ "post": id(&post) })).await,
        });
        for answer in join_all(writes).await {
            assert!(matches!(answer.status, 200 | 201 | 204 | 400 | 404 | 409 | 503), "{}", answer.text);
        }
        let is_gone = ada.get(&post).await.status == 404;
        let pointing = format!("{COMMENTS}?filter=post%3D%3D%22{}%22", id(&post));
        let alive = ada.get(&pointing).await.expect(200).body["items"].as_array().unwrap().len();
        assert!(!is_gone || alive == 0, "round {round}: {alive} point at a record that is gone");
        let again = ada.delete(&post).await.status;
        assert_eq!(
            again,
            if is_gone {
                404
            } else if alive > 0 {
                409
            } else {
                204
            },
            "round {round}: {alive} point at it"
        );
    }
    world.settle().await;
}

#[tokio::test]
async fn a_batch_may_delete_a_record_together_with_its_referrers() {
    let world = World::new().await;
    define(&world, &[posts(), comments("restrict")]).await;
    let ada = world.user("ada").await;
    let delete = |path: &str| json!({ "method": "DELETE", "path": path });
    let post = make(&ada, POSTS, json!({})).await;
    let (one, two) = (
        make(&ada, COMMENTS, json!({ "post": id(&post) })).await,
        make(&ada, COMMENTS, json!({ "post": id(&post) })).await,
    );
    let refused = batch(&ada, json!([delete(&one), delete(&post)])).await.expect(409);
    assert_eq!(refused.body["operations"][0]["pointer"], "/operations/1");
    assert_eq!(refused.body["operations"][0]["code"], "referenced");
    batch(&ada, json!([delete(&post), delete(&one), delete(&two)])).await.expect(200);
    for gone in [&post, &one, &two] {
        ada.get(gone).await.expect(404);
    }

    // A batch that fails for another reason leaves no lock and keeps all references.
    let (post, other) = (make(&ada, POSTS, json!({})).await, make(&ada, POSTS, json!({})).await);
    let comment = make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    let nowhere =
        json!({ "method": "POST", "path": COMMENTS, "body": { "post": "017f22e2-79b0-7cc3-98c4-dc0c0c07398f" } });
    let stale = json!({ "method": "PATCH", "path": other, "body": { "title": "t" }, "ifMatch": "\"7\"" });
    let elsewhere = json!({ "method": "PATCH", "path": comment, "body": { "post": id(&other) } });
    batch(&ada, json!([delete(&post), delete(&comment), nowhere])).await.expect(400);
    batch(&ada, json!([delete(&post), elsewhere, nowhere])).await.expect(400);
    batch(&ada, json!([delete(&post), delete(&comment), stale])).await.expect(412);
    batch(&ada, json!([delete(&other), delete(&post)])).await.expect(409);
    ada.delete(&post).await.expect(409);
    make(&ada, COMMENTS, json!({ "post": id(&other) })).await;
    make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    let alone = make(&ada, POSTS, json!({})).await;
    let late = json!({ "method": "POST", "path": COMMENTS, "body": { "post": id(&alone) } });
    batch(&ada, json!([delete(&alone), late])).await.expect(400);
    make(&ada, COMMENTS, json!({ "post": id(&alone) })).await;

    // If-Match still applies, and records created together may point at each other.
    let post = make(&ada, POSTS, json!({})).await;
    let comment = make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    let versioned = |tag: &str| json!([{ "method": "DELETE", "path": post, "ifMatch": tag }, delete(&comment)]);
    batch(&ada, versioned("\"2\"")).await.expect(412);
    batch(&ada, versioned("\"1-v\"")).await.expect(200);
    let new = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
    let both = json!([
        { "method": "PUT", "path": format!("{POSTS}/{new}"), "body": {}, "ifNoneMatch": "*" },
        { "method": "POST", "path": COMMENTS, "body": { "post": new } } ]);
    batch(&ada, both).await.expect(200);
    ada.delete(&format!("{POSTS}/{new}")).await.expect(409);
    world.settle().await;
}

#[tokio::test]
async fn a_deletion_that_crashes_at_any_step_leaves_a_lock_that_expires() {
    let world = World::new().await;
    define(&world, &[posts(), comments("restrict")]).await;
    let mut locked = 0;
    for turn in 0.. {
        let ada = world.user("ada").await;
        let post = make(&ada, POSTS, json!({})).await;
        let gone = make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
        ada.delete(&gone).await.expect(204);
        let ended = killed_after(turn, ada.delete(&post)).await;
        let comment = ada.post(COMMENTS, json!({ "post": id(&post) })).await;
        let is_gone = ada.get(&post).await.status == 404;
        if comment.status == 503 {
            locked += 1;
            assert!(!is_gone);
            assert_eq!(comment.header("retry-after"), "1");
            assert_eq!(ada.delete(&post).await.status, 503, "the lock is another request's");
            ada.patch(&post, json!({ "title": "a lock keeps nobody from writing" })).await.expect(200);
            ada.delete(&gone).await.expect(404);
            world.advance(UNLOCKED);
            let ada = world.user("ada").await;
            make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
            ada.delete(&post).await.expect(409);
        } else {
            comment.expect(if is_gone { 400 } else { 201 });
        }
        if let Some(ended) = ended {
            ended.expect(204);
            break;
        }
    }
    assert!(locked > 0, "it was never ended between lock and deletion");
    world.settle().await;
}

#[tokio::test]
async fn a_restored_record_points_only_at_existing_records() {
    let world = World::new().await;
    define(&world, &[posts(), comments("restrict")]).await;
    let ada = world.user("ada").await;
    let undelete = async |path: &str| ada.request(Method::POST, &format!("{path}/undelete")).send().await;
    let post = make(&ada, POSTS, json!({})).await;
    let comment = make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    ada.delete(&comment).await.expect(204);
    undelete(&comment).await.expect(200);
    ada.delete(&post).await.expect(409);
    ada.delete(&comment).await.expect(204);
    ada.delete(&post).await.expect(204);
    assert_eq!(undelete(&comment).await.expect(400).body["errors"][0]["pointer"], "/post");
    undelete(&post).await.expect(200);
    undelete(&comment).await.expect(200);
    assert_eq!(ada.delete(&post).await.expect(409).code(), "referenced", "the reference is back with the record");
    let (both, alone) = (ada.delete(&comment), ada.delete(&post));
    let (both, alone) = join(both, alone).await;
    both.expect(204);
    assert!(matches!(alone.status, 204 | 409), "{}", alone.text);
    world.settle().await;
}

#[tokio::test]
async fn a_caller_learns_only_that_hidden_referrers_exist() {
    let world = World::new().await;
    let mut hidden = comments("restrict");
    let own = json!({ "create": "auth.id != ''" });
    hidden["rules"] = own;
    let mut owned = posts();
    owned["schema"]["properties"]["owner"] = json!({ "type": "string" });
    owned["rules"]["delete"] = json!("record.owner == auth.id");
    owned["rules"]["read"] = json!("record.owner == auth.id");
    // Callers who may not read a post may comment on it.
    owned["rules"]["refer"] = json!("auth.id != ''");
    define(&world, &[owned, hidden]).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let free = make(&ada, POSTS, json!({ "owner": ada.id() })).await;
    let post = make(&ada, POSTS, json!({ "owner": ada.id() })).await;
    let comment = make(&bob, COMMENTS, json!({ "post": id(&post), "text": "secret" })).await;
    ada.get(&comment).await.expect(404);
    let one = ada.delete(&post).await.expect(409);
    make(&bob, COMMENTS, json!({ "post": id(&post), "text": "long".repeat(5_000) })).await;
    let two = ada.delete(&post).await.expect(409);
    assert_eq!(
        (one.body["detail"].as_str(), one.headers.get("undercroft-cost")),
        (two.body["detail"].as_str(), two.headers.get("undercroft-cost"))
    );
    // Callers who may not see the post get 404, with or without references, and their deletion takes no lock.
    let missing = format!("{POSTS}/017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    let [pointed, unpointed, missing] = [
        bob.delete(&post).await.expect(404),
        bob.delete(&free).await.expect(404),
        bob.delete(&missing).await.expect(404),
    ];
    let seen = |answer: &Answer| (answer.body["detail"].clone(), answer.headers.get("undercroft-cost").cloned());
    assert_eq!((seen(&pointed), seen(&unpointed)), (seen(&missing), seen(&missing)));
    world.settle().await;
}

#[tokio::test]
async fn a_restricting_tree_is_deleted_from_its_leaves() {
    let world = World::new().await;
    let up = json!({ "type": "string", "relation": { "collection": "trees", "onDelete": "restrict" } });
    define(
        &world,
        &[open(
            "trees",
            json!({ "up": up, "slug": { "type": "string" } }),
            json!({ "shards": 4, "unique": [["slug"]] }),
        )],
    )
    .await;
    let ada = world.user("ada").await;
    let trees = "/v1/collections/trees/records";
    let mut path = vec![make(&ada, trees, json!({})).await];
    for _ in 0..6 {
        let up = id(path.last().unwrap()).to_owned();
        path.push(make(&ada, trees, json!({ "up": up })).await);
    }
    for inner in &path[..6] {
        assert_eq!(ada.delete(inner).await.expect(409).code(), "referenced");
    }
    for leaf in path[1..].iter().rev() {
        ada.delete(leaf).await.expect(204);
    }
    // A record that points at itself does not block its deletion.
    let root = &path[0];
    ada.patch(root, json!({ "up": id(root) })).await.expect(200);
    ada.delete(root).await.expect(204);
    // A child may take a unique value that its parent has released.
    let parent = make(&ada, trees, json!({ "slug": "a" })).await;
    ada.patch(&parent, json!({ "slug": "b" })).await.expect(200);
    let child = make(&ada, trees, json!({ "up": id(&parent), "slug": "a" })).await;
    ada.delete(&parent).await.expect(409);
    ada.delete(&child).await.expect(204);
    ada.delete(&parent).await.expect(204);
    world.settle().await;
}

#[tokio::test]
async fn references_in_every_shard_are_checked() {
    let world = World::new().await;
    let mut posts = posts();
    posts["shards"] = json!(8);
    let mut comments = comments("restrict");
    comments["shards"] = json!(4);
    define(&world, &[posts, comments]).await;
    let ada = world.user("ada").await;
    let (post, other) = (make(&ada, POSTS, json!({})).await, make(&ada, POSTS, json!({})).await);
    let mut made = Vec::new();
    for _ in 0..130 {
        made.push(make(&ada, COMMENTS, json!({ "post": id(&post) })).await);
    }
    let last = made.pop().unwrap();
    for comment in &made {
        ada.patch(comment, json!({ "post": id(&other) })).await.expect(200);
    }
    ada.delete(&post).await.expect(409);
    ada.delete(&last).await.expect(204);
    ada.delete(&post).await.expect(204);
    assert_eq!(references(&world).await, 129, "those to the other post are all there are");
    ada.delete(&other).await.expect(409);
    world.settle().await;
}

#[tokio::test]
async fn restrict_adds_two_writes_to_a_reference_and_a_lock_and_a_query_to_a_deletion() {
    let world = World::new().await;
    define(
        &world,
        &[posts(), open("notes", json!({ "post": comments("restrict")["schema"]["properties"]["post"] }), json!({}))],
    )
    .await;
    let (ada, admin) = (world.user("ada").await, world.admin().await);
    let notes = "/v1/collections/notes/records";
    let post = make(&ada, POSTS, json!({})).await;
    make(&ada, notes, json!({ "post": id(&post) })).await;
    let made = ada.post(notes, json!({ "post": id(&post) })).await.expect(201);
    assert_eq!(made.cost(), (0.0, 6.0, 1), "create: twice the record, the look at its target and the reference");
    let alone = make(&ada, POSTS, json!({})).await;
    let deleted = admin.delete(&alone).await.expect(204);
    assert_eq!(deleted.cost(), (2.0, 2.0, 4), "delete: read it, lock it, look for references, bury it");
    let refused = admin.delete(&post).await.expect(409);
    assert_eq!(refused.cost(), (4.0, 2.0, 5), "refused: read it, lock it, the references, their records, unlock it");
    world.settle().await;
}
