//! Relations between definitions: allowed targets, the list of referrers, and one put for one Idempotency-Key.

use crate::records::restrict::{COMMENTS, POSTS, comments, define, id, make, open, posts};
use crate::world::World;
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

/// Longer than the lease of a definition.
const HEARD: Duration = Duration::from_secs(6);

#[tokio::test]
async fn a_definition_lists_its_referrers() {
    let world = World::new().await;
    let admin = world.admin().await;
    let put = async |body: Value| admin.put(&format!("/v1/collections/{}", body["name"].as_str().unwrap()), body).await;
    let refused = put(comments("restrict")).await.expect(400);
    assert_eq!(refused.body["errors"][0]["pointer"], "/schema/properties/post/relation/collection");
    assert_eq!(refused.body["errors"][0]["code"], "no_collection");
    define(&world, &[posts(), comments("restrict")]).await;
    let gone = async |name: &str| admin.delete(&format!("/v1/collections/{name}")).await;
    let referenced = gone("posts").await.expect(409);
    assert_eq!(referenced.code(), "referenced");
    assert!(referenced.body["detail"].as_str().unwrap().contains("`comments`"), "{}", referenced.text);

    // A repeated put keeps the referrers and does not show them.
    let shown = admin.get("/v1/collections/posts").await.expect(200);
    assert!(!shown.text.contains("referrers"));
    let mut longer = posts();
    longer["schema"]["properties"]["body"] = json!({ "type": "string" });
    put(longer).await.expect(200);
    gone("posts").await.expect(409);
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    world.advance(HEARD);
    ada.delete(&post).await.expect(409);

    // Without the relation the target is free.
    let free = open("comments", json!({ "post": { "type": "string" }, "text": { "type": "string" } }), json!({}));
    put(free).await.expect(202);
    world.advance(HEARD);
    ada.delete(&post).await.expect(204);
    gone("posts").await.expect(202);
    world.settle().await;
    world.advance(Duration::from_secs(18));
    put(posts()).await.expect(201);
    // The index of the comments is maintained, then cleared.
    for _ in 0..2 {
        world.settle().await;
        world.advance(Duration::from_secs(18));
    }
    world.settle().await;
}

#[tokio::test]
async fn removing_a_relation_lets_its_target_be_deleted() {
    let world = World::new().await;
    let admin = world.admin().await;
    define(&world, &[posts(), comments("cascade")]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    make(&ada, COMMENTS, json!({ "post": id(&post), "text": "short" })).await;
    let narrower = open(
        "comments",
        json!({ "post": { "type": "string" }, "text": { "type": "string", "maxLength": 9 } }),
        json!({}),
    );
    admin.put("/v1/collections/comments", narrower).await.expect(202);
    assert_eq!(admin.delete("/v1/collections/posts?records=delete").await.expect(409).code(), "referenced");
    world.settle().await;
    world.advance(Duration::from_secs(18));
    world.settle().await;
    admin.delete("/v1/collections/posts?records=delete").await.expect(202);
    // The index of the comments is maintained, then cleared.
    for _ in 0..3 {
        world.settle().await;
        world.advance(Duration::from_secs(18));
    }
    world.settle().await;
}

#[tokio::test]
async fn a_collection_is_put_and_deleted_once_for_a_key() {
    let world = World::new().await;
    let admin = world.admin().await;
    let keyed = async |method: Method, key: &str, body: Value| {
        admin.request(method, "/v1/collections/posts").header("idempotency-key", key).json(body).send().await
    };
    let first = keyed(Method::PUT, "\"one\"", posts()).await.expect(201);
    let again = keyed(Method::PUT, "\"one\"", posts()).await.expect(201);
    assert_eq!((&first.text, first.header("etag")), (&again.text, again.header("etag")));
    let mut other = posts();
    other["shards"] = json!(4);
    assert_eq!(keyed(Method::PUT, "\"one\"", other.clone()).await.expect(422).code(), "key_reused");
    assert_eq!(admin.get("/v1/collections/posts").await.expect(200).text, first.text, "it had no effect");
    // A put that changes nothing has its key as well.
    keyed(Method::PUT, "\"two\"", posts()).await.expect(200);
    keyed(Method::PUT, "\"two\"", other.clone()).await.expect(422);
    keyed(Method::PUT, "\"three\"", other).await.expect(200);
    assert_eq!(keyed(Method::PUT, "\"one\"", posts()).await.expect(201).text, first.text);
    let at_once = join_all((0..16).map(|_| keyed(Method::DELETE, "\"gone\"", json!(null)))).await;
    assert!(
        at_once.iter().all(|answer| matches!(answer.status, 202 | 409 | 503))
            && at_once.iter().any(|answer| answer.status == 202)
    );
    world.settle().await;
    world.advance(Duration::from_secs(18));
    keyed(Method::PUT, "\"four\"", posts()).await.expect(201);
    keyed(Method::DELETE, "\"gone\"", json!(null)).await.expect(202);
    admin.get("/v1/collections/posts").await.expect(200);
    world.settle().await;
    world.advance(Duration::from_secs(18));
    world.settle().await;
}
