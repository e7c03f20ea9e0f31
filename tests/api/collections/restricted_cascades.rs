//! No definition lets a cascade meet a restriction: it would stop when part of a tree is deleted.

use crate::records::restrict::{COMMENTS, POSTS, comments, define, id, make, open, posts};
use crate::world::{Caller, World};
use futures_util::future::join;
use serde_json::{Value, json};
use std::time::Duration;

fn likes(on_delete: &str) -> Value {
    let comment = json!({ "type": "string", "relation": { "collection": "comments", "onDelete": on_delete } });
    let indexes = json!({ "indexes": [{ "name": "by_comment", "partition": ["comment"], "sort": [] }] });
    open("likes", json!({ "comment": comment }), indexes)
}

async fn put(admin: &Caller<'_>, body: &Value, dry: bool) -> crate::world::Answer {
    let dry = if dry { "?dryRun=true" } else { "" };
    admin.put(&format!("/v1/collections/{}{dry}", body["name"].as_str().unwrap()), body.clone()).await
}

/// Puts a definition and waits until it is in force.
async fn settled(world: &World, body: &Value) {
    let answer = put(&world.admin().await, body, false).await;
    assert!(answer.status < 300, "{}", answer.text);
    for _ in 0..3 {
        world.settle().await;
        world.advance(Duration::from_secs(18));
    }
    world.settle().await;
}

#[tokio::test]
async fn a_restriction_below_a_cascade_is_refused_from_either_side() {
    let world = World::new().await;
    define(&world, &[posts(), comments("cascade")]).await;
    let admin = world.admin().await;
    for dry in [true, false] {
        let refused = put(&admin, &likes("restrict"), dry).await.expect(400);
        let error = &refused.body["errors"][0];
        assert_eq!(error["pointer"], "/schema/properties/comment/relation/onDelete");
        assert_eq!(error["code"], "restricted_cascade");
        assert!(error["message"].as_str().unwrap().contains("`comments.post`"), "{error}");
    }
    // The default of onDelete is restrict.
    let mut default = likes("restrict");
    default["schema"]["properties"]["comment"]["relation"].as_object_mut().unwrap().remove("onDelete");
    put(&admin, &default, false).await.expect(400);
    settled(&world, &likes("cascade")).await;
    put(&world.admin().await, &likes("restrict"), false).await.expect(400);

    // From the other side: the restriction is there first.
    settled(&world, &likes("setNull")).await;
    settled(&world, &comments("restrict")).await;
    settled(&world, &likes("restrict")).await;
    let admin = world.admin().await;
    for dry in [true, false] {
        let refused = put(&admin, &comments("cascade"), dry).await.expect(400);
        let error = &refused.body["errors"][0];
        assert_eq!(
            (&error["code"], &error["pointer"]),
            (&json!("restricted_cascade"), &json!("/schema/properties/post/relation/onDelete"),)
        );
        assert!(error["message"].as_str().unwrap().contains("`likes.comment`"), "{error}");
    }
    put(&admin, &comments("setNull"), true).await.expect(200);
    // A referrer that no longer restricts is no obstacle, although the definition may still list it.
    settled(&world, &likes("cascade")).await;
    settled(&world, &comments("cascade")).await;
}

#[tokio::test]
async fn a_collection_that_restricts_itself_cannot_cascade() {
    let world = World::new().await;
    define(&world, &[posts()]).await;
    let admin = world.admin().await;
    let own = |on_delete: &str| {
        let mut body = comments("cascade");
        body["schema"]["properties"]["up"] =
            json!({ "type": "string", "relation": { "collection": "comments", "onDelete": on_delete } });
        body["indexes"].as_array_mut().unwrap().push(json!({ "name": "by_up", "partition": ["up"], "sort": [] }));
        body
    };
    let refused = put(&admin, &own("restrict"), false).await.expect(400);
    assert_eq!(refused.body["errors"].as_array().unwrap().len(), 1, "{}", refused.text);
    assert_eq!(refused.body["errors"][0]["pointer"], "/schema/properties/up/relation/onDelete");
    put(&admin, &own("cascade"), false).await.expect(201);
}

/// A definition that waits for its job may come into force at any moment, so it counts already.
#[tokio::test]
async fn a_waiting_definition_counts_on_either_side() {
    let world = World::new().await;
    define(&world, &[posts(), comments("restrict"), likes("setNull")]).await;
    let mut narrower = comments("cascade");
    narrower["schema"]["properties"]["text"]["maxLength"] = json!(9);
    let admin = world.admin().await;
    put(&admin, &narrower, false).await.expect(202);
    assert_eq!(
        put(&admin, &likes("restrict"), false).await.expect(400).body["errors"][0]["code"],
        "restricted_cascade"
    );
    settled(&world, &comments("restrict")).await;
    let mut narrower = likes("restrict");
    narrower["schema"]["properties"]["comment"]["maxLength"] = json!(99);
    let admin = world.admin().await;
    put(&admin, &narrower, false).await.expect(202);
    assert_eq!(
        put(&admin, &comments("cascade"), false).await.expect(400).body["errors"][0]["code"],
        "restricted_cascade"
    );
    settled(&world, &likes("setNull")).await;
}

#[tokio::test]
async fn two_puts_at_once_cannot_make_it_together() {
    for round in 0..crate::world::rounds(4) {
        let world = World::of_instances(2).await;
        define(&world, &[posts(), comments("setNull"), likes("setNull")]).await;
        let admin = world.admin().await;
        // One begins to cascade, one begins to restrict. Once it was so before, so that the listed referrers are outdated.
        if round % 2 == 1 {
            settled(&world, &likes("restrict")).await;
            settled(&world, &likes("setNull")).await;
        }
        let admin = if round % 2 == 1 { world.admin().await } else { admin };
        let (cascade, restrict) = (comments("cascade"), likes("restrict"));
        let (one, other) = join(put(&admin, &cascade, false), put(&admin, &restrict, false)).await;
        let done = [&one, &other].iter().filter(|answer| answer.status < 300).count();
        assert!(done <= 1, "{} {}", one.text, other.text);
        assert!([&one, &other].iter().all(|answer| matches!(answer.status, 200 | 202 | 400 | 409)), "{}", one.text);
        for _ in 0..3 {
            world.settle().await;
            world.advance(Duration::from_secs(18));
        }
        world.settle().await;
    }
}

/// What users need instead: a restriction on the root, which is asked before anything is deleted.
#[tokio::test]
async fn a_restriction_on_the_root_is_asked_before_the_cascade() {
    let world = World::new().await;
    let stars = open("stars", json!({ "post": comments("restrict")["schema"]["properties"]["post"] }), json!({}));
    define(&world, &[posts(), comments("cascade"), stars]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    let comment = make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    make(&ada, "/v1/collections/stars/records", json!({ "post": id(&post) })).await;
    assert_eq!(ada.delete(&post).await.expect(409).code(), "referenced");
    world.settle().await;
    ada.get(&comment).await.expect(200);
}
