//! `onDelete: cascade` and `setNull`: referrers are eventually updated, whatever else happens meanwhile.

mod stuck;
mod undeletes;

use crate::records::restrict::{COMMENTS, POSTS, comments, define, id, make, open, posts};
use crate::world::{Answer, Caller, World};
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use undercroft_local::{FunctionError, Invoke};

const LIKES: &str = "/v1/collections/likes/records";
/// Longer than a job waits for an index, and before it queries an empty index again.
const LOOKED_AGAIN: Duration = Duration::from_secs(16);

/// Likes, which point at comments.
fn likes(on_delete: &str) -> Value {
    let comment = json!({ "type": "string", "relation": { "collection": "comments", "onDelete": on_delete } });
    let indexes = json!({ "indexes": [{ "name": "by_comment", "partition": ["comment"], "sort": [] }] });
    open("likes", json!({ "comment": comment }), indexes)
}

/// Relays deletions and runs their cascades, level by level.
async fn follow(world: &World) {
    for _ in 0..4 {
        world.settle().await;
        world.advance(LOOKED_AGAIN);
    }
    world.settle().await;
}

/// All items of a list.
async fn all(caller: &Caller<'_>, records: &str) -> Vec<Value> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("{records}?limit=100{cursor}")).await.expect(200).body;
        found.extend(page["items"].as_array().unwrap().clone());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

async fn many(caller: &Caller<'_>, records: &str, bodies: &[Value]) -> Vec<String> {
    let mut made = Vec::new();
    for some in bodies.chunks(45) {
        let operation = |body: &Value| json!({ "method": "POST", "path": records, "body": body });
        let operations: Vec<Value> = some.iter().map(operation).collect();
        let answer = caller.post("/v1/batch", json!({ "operations": operations })).await.expect(200);
        let results = answer.body["results"].as_array().unwrap();
        made.extend(results.iter().map(|result| result["location"].as_str().unwrap().to_owned()));
    }
    made
}

/// The cascade jobs, newest first; then the dead ones.
async fn jobs(world: &World) -> Vec<Value> {
    let admin = world.admin().await;
    let mut found = all(&admin, "/v1/jobs").await;
    found.extend(admin.get("/v1/jobs?dead=true").await.expect(200).body["items"].as_array().unwrap().clone());
    found.into_iter().filter(|job| job["type"] == "records.cascade").collect()
}

async fn undelete(caller: &Caller<'_>, path: &str) -> Answer {
    caller.request(Method::POST, &format!("{path}/undelete")).send().await
}

#[tokio::test]
async fn a_cascade_deletes_three_hundred_records_in_slices_and_no_others() {
    let mut world = World::new().await;
    world.work_in_slices_of(70);
    define(&world, &[posts(), comments("cascade")]).await;
    let ada = world.user("ada").await;
    let (post, other) = (make(&ada, POSTS, json!({})).await, make(&ada, POSTS, json!({})).await);
    let made = many(&ada, COMMENTS, &vec![json!({ "post": id(&post) }); 300]).await;
    many(&ada, COMMENTS, &vec![json!({ "post": id(&other) }); 20]).await;
    // One record is changed before the deletion, and one after it.
    ada.patch(&made[0], json!({ "post": id(&other) })).await.expect(200);
    ada.delete(&post).await.expect(204);
    ada.patch(&made[1], json!({ "post": id(&other) })).await.expect(200);
    ada.post(COMMENTS, json!({ "post": id(&post) })).await.expect(400);
    follow(&world).await;
    let ada = world.user("ada").await;
    let left = all(&ada, COMMENTS).await;
    assert_eq!(left.len(), 22);
    assert!(left.iter().all(|comment| comment["post"] == id(&other)));
    let jobs = jobs(&world).await;
    assert_eq!(jobs.len(), 1);
    assert_eq!((&jobs[0]["status"], &jobs[0]["result"]["done"]), (&json!("succeeded"), &json!(298)), "{jobs:?}");
}

#[tokio::test]
async fn a_cascade_whose_worker_is_killed_at_every_step_ends_correctly() {
    let mut world = World::new().await;
    world.work_in_slices_of(3);
    define(&world, &[posts(), comments("cascade"), likes("setNull")]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    let made = many(&ada, COMMENTS, &vec![json!({ "post": id(&post) }); 8]).await;
    let likes = many(&ada, LIKES, &made.iter().map(|path| json!({ "comment": id(path) })).collect::<Vec<_>>()).await;
    ada.delete(&post).await.expect(204);
    let mut kills = 0;
    for wakes in 0.. {
        let killed = world.settle_killing_worker_after(wakes).await;
        let jobs = jobs(&world).await;
        assert!(jobs.iter().all(|job| job["status"] != "dead"), "{jobs:?}");
        if !killed && jobs.len() == 9 && jobs.iter().all(|job| job["status"] == "succeeded") {
            break;
        }
        kills += usize::from(killed);
        world.advance(Duration::from_secs(361));
    }
    assert!(kills > 5, "{kills}");
    let ada = world.user("ada").await;
    assert_eq!(all(&ada, COMMENTS).await.len(), 0);
    for like in &likes {
        let like = ada.get(like).await.expect(200).body;
        assert_eq!((like.get("comment"), &like["version"]), (None, &json!(2)), "each is written once");
    }
}

/// Delivers every batch of the stream three times.
struct Repeating<'a, I>(&'a I);

impl<I: Invoke> Invoke for Repeating<'_, I> {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        if function == "relay" {
            self.0.invoke(function, event.clone()).await?;
            self.0.invoke(function, event.clone()).await?;
        }
        self.0.invoke(function, event).await
    }
}

#[tokio::test]
async fn a_deletion_that_is_relayed_again_makes_no_second_job() {
    let world = World::new().await;
    define(&world, &[posts(), comments("cascade")]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    ada.delete(&post).await.expect(204);
    let repeating = Repeating(world.functions());
    world.settle_through(&repeating).await;
    follow(&world).await;
    let jobs = jobs(&world).await;
    assert_eq!((jobs.len(), &jobs[0]["result"]["done"]), (1, &json!(1)), "{jobs:?}");
    assert_eq!(all(&ada, COMMENTS).await.len(), 0);
}

#[tokio::test]
async fn a_deletion_undone_in_time_cascades_nothing() {
    let mut world = World::new().await;
    world.work_in_slices_of(1);
    define(&world, &[posts(), comments("cascade")]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    for _ in 0..3 {
        make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    }
    ada.delete(&post).await.expect(204);
    undelete(&ada, &post).await.expect(200);
    follow(&world).await;
    assert_eq!(all(&ada, COMMENTS).await.len(), 3);
    assert_eq!(jobs(&world).await[0]["result"], json!({ "done": 0, "undeleted": true }));

    // A second deletion is independent.
    let ada = world.user("ada").await;
    ada.delete(&post).await.expect(204);
    follow(&world).await;
    let ada = world.user("ada").await;
    assert_eq!(all(&ada, COMMENTS).await.len(), 0);
    assert_eq!(jobs(&world).await.len(), 2);
    undelete(&ada, &post).await.expect(200);
    make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    follow(&world).await;
    assert_eq!(all(&world.user("ada").await, COMMENTS).await.len(), 4);
    undeletes::come_back(&world).await;
}

/// Undeletes a record after the first slice of its cascade.
struct TakingBack<'a, 'w, I>(&'a I, &'a Caller<'w>, &'a str, AtomicUsize);

impl<I: Invoke> Invoke for TakingBack<'_, '_, I> {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        let answer = self.0.invoke(function, event).await;
        if function == "worker" && self.3.fetch_add(1, Ordering::Relaxed) == 0 {
            undelete(self.1, self.2).await.expect(200);
            make(self.1, COMMENTS, json!({ "post": id(self.2), "text": "new" })).await;
        }
        answer
    }
}

#[tokio::test]
async fn a_deletion_undone_half_way_loses_no_later_write() {
    let mut world = World::new().await;
    world.work_in_slices_of(2);
    define(&world, &[posts(), comments("cascade")]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    many(&ada, COMMENTS, &vec![json!({ "post": id(&post) }); 150]).await;
    ada.delete(&post).await.expect(204);
    let taking_back = TakingBack(world.functions(), &ada, &post, AtomicUsize::new(0));
    world.settle_through(&taking_back).await;
    follow(&world).await;
    let ada = world.user("ada").await;
    let left = all(&ada, COMMENTS).await;
    assert_eq!(left.len(), 151, "what the cascade had deleted by then is back");
    assert_eq!(left.iter().filter(|comment| comment["text"] == "new").count(), 1);
    assert_eq!(jobs(&world).await[0]["result"]["undeleted"], true);
    undeletes::come_back(&world).await;
}

#[tokio::test]
async fn set_null_takes_the_field_out_of_each_record_and_out_of_its_indexes() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut commented = comments("setNull");
    commented["schema"]["properties"]["post"]["writeOnce"] = json!(true);
    commented["unique"] = json!([["post", "text"]]);
    define(&world, &[posts(), commented.clone()]).await;
    let ada = world.user("ada").await;
    let (post, other) = (make(&ada, POSTS, json!({})).await, make(&ada, POSTS, json!({})).await);
    let one = make(&ada, COMMENTS, json!({ "post": id(&post), "text": "one" })).await;
    let two = make(&ada, COMMENTS, json!({ "post": id(&other), "text": "two" })).await;
    let before = ada.get(&two).await.expect(200).text;
    ada.delete(&post).await.expect(204);
    follow(&world).await;
    let after = ada.get(&one).await.expect(200).body;
    assert_eq!((after.get("post"), &after["text"], &after["version"]), (None, &json!("one"), &json!(2)));
    assert_eq!(ada.get(&two).await.expect(200).text, before);
    for (of, count) in [(&post, 0), (&other, 1)] {
        let page = ada.get(&format!("{COMMENTS}?filter=post%3D%3D%22{}%22", id(of))).await.expect(200);
        assert_eq!(page.body["items"].as_array().unwrap().len(), count);
    }
    assert_eq!(jobs(&world).await.len(), 1);
    // setNull cannot remove a required field, and a cascade needs its index.
    commented["schema"]["required"] = json!(["post"]);
    let refused = admin.put("/v1/collections/comments", commented.clone()).await.expect(400);
    assert_eq!(refused.body["errors"][0]["code"], "required");
    commented["schema"]["required"] = json!([]);
    commented["indexes"] = json!([]);
    let refused = admin.put("/v1/collections/comments", commented).await.expect(400);
    assert_eq!(refused.body["errors"][0]["code"], "index_required");
}

#[tokio::test]
async fn a_tree_is_deleted_with_its_root_even_with_cycles() {
    let world = World::new().await;
    let up = json!({ "type": "string", "relation": { "collection": "trees", "onDelete": "cascade" } });
    let more = json!({ "shards": 2, "indexes": [{ "name": "by_up", "partition": ["up"], "sort": ["createdAt"] }] });
    define(&world, &[open("trees", json!({ "up": up }), more)]).await;
    let ada = world.user("ada").await;
    let trees = "/v1/collections/trees/records";
    let (root, apart) = (make(&ada, trees, json!({})).await, make(&ada, trees, json!({})).await);
    let mut top = root.clone();
    for _ in 0..3 {
        make(&ada, trees, json!({ "up": id(&top) })).await;
        top = make(&ada, trees, json!({ "up": id(&top) })).await;
    }
    ada.patch(&root, json!({ "up": id(&top) })).await.expect(200);
    ada.delete(&root).await.expect(204);
    follow(&world).await;
    let left = all(&world.user("ada").await, trees).await;
    assert_eq!(left.iter().map(|tree| tree["id"].as_str().unwrap()).collect::<Vec<_>>(), [id(&apart)]);
}

#[tokio::test]
async fn a_record_that_cannot_follow_blocks_no_other_and_is_named_until_it_can() {
    let world = World::new().await;
    define(&world, &[posts(), stuck::demanding()]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    let made = many(&ada, COMMENTS, &vec![json!({ "post": id(&post) }); 40]).await;
    ada.patch(&made[7], json!({ "text": "needs its post" })).await.expect(200);
    ada.delete(&post).await.expect(204);
    follow(&world).await;
    let pointing = async || {
        let all = all(&world.user("ada").await, COMMENTS).await;
        all.into_iter().filter(|comment| comment.get("post").is_some()).collect::<Vec<_>>()
    };
    let left = pointing().await;
    assert_eq!(left.iter().map(|comment| comment["id"].as_str().unwrap()).collect::<Vec<_>>(), [id(&made[7])]);
    let stuck = jobs(&world).await[0].clone();
    let reported = stuck["lastError"].as_str().unwrap();
    assert!(reported.contains("could not be updated or deleted: 1. ") && reported.contains(id(&made[7])), "{stuck}");
    let ada = world.user("ada").await;
    ada.patch(&made[7], json!({ "text": null })).await.expect(200);
    for _ in 0..4 {
        world.advance(Duration::from_secs(900));
        follow(&world).await;
    }
    assert!(pointing().await.is_empty());
    assert_eq!(jobs(&world).await[0]["status"], "succeeded");
}

/// Reproducible random numbers.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }
}

#[expect(clippy::too_many_lines, reason = "one table of cases, read from top to bottom")]
#[tokio::test]
async fn no_living_record_points_at_a_deleted_one_after_concurrent_writes() {
    for seed in 0..crate::world::rounds(3) {
        let world = World::new().await;
        let mut commented = comments("cascade");
        let up = json!({ "type": "string", "relation": { "collection": "comments", "onDelete": "setNull" } });
        commented["schema"]["properties"]["up"] = up;
        commented["indexes"].as_array_mut().unwrap().push(json!({ "name": "by_up", "partition": ["up"], "sort": [] }));
        let stars = open("stars", json!({ "post": comments("restrict")["schema"]["properties"]["post"] }), json!({}));
        define(&world, &[posts(), commented, stars]).await;
        let mut dice = Dice(u64::from(seed) + 1);
        let mut known: HashMap<&str, Vec<String>> = HashMap::new();
        let collections = [POSTS, COMMENTS, "/v1/collections/stars/records"];
        for _ in 0..12 {
            let ada = world.user("ada").await;
            let mut steps = Vec::new();
            for _ in 0..8 {
                let collection = collections[dice.below(3)];
                let mut pick = |from: &str| known.get(from).map(|all| all[dice.below(all.len())].clone());
                let (it, post, up) = (pick(collection), pick(POSTS), pick(COMMENTS));
                let body = match collection {
                    POSTS => json!({}),
                    COMMENTS => json!({ "post": post.as_deref().map(id), "up": up.as_deref().map(id) }),
                    _ => json!({ "post": post.as_deref().map(id) }),
                };
                steps.push((dice.below(6), collection, it, body));
            }
            let answers = join_all(steps.iter().map(async |(verb, collection, it, body)| match (verb, it) {
                (2, Some(it)) => ada.patch(it, body.clone()).await,
                (3, Some(it)) => undelete(&ada, it).await,
                (4 | 5, Some(it)) => ada.delete(it).await,
                _ => {
                    let present = body.as_object().unwrap().iter().filter(|(_, value)| !value.is_null());
                    ada.post(collection, present.map(|(name, value)| (name.clone(), value.clone())).collect()).await
                }
            }));
            for ((_, collection, ..), answer) in steps.iter().zip(answers.await) {
                assert!(matches!(answer.status, 200 | 201 | 204 | 400 | 404 | 409 | 503), "{}", answer.text);
                if answer.status == 201 {
                    known.entry(collection).or_default().push(answer.header("location").to_owned());
                }
            }
            if dice.below(3) == 0 {
                world.settle().await;
            }
        }
        for _ in 0..4 {
            follow(&world).await;
        }
        let admin = world.admin().await;
        let mut alive = HashMap::new();
        for collection in collections {
            alive.insert(collection, all(&admin, collection).await);
        }
        let is_alive =
            |collection: &str, id: &Value| id.is_null() || alive[collection].iter().any(|it| it["id"] == *id);
        for record in alive[COMMENTS].iter().chain(&alive[collections[2]]) {
            assert!(is_alive(POSTS, &record["post"]) && is_alive(COMMENTS, &record["up"]), "seed {seed}: {record}");
        }
        let jobs = jobs(&world).await;
        assert!(jobs.iter().all(|job| job["status"] == "succeeded"), "seed {seed}: {jobs:?}");
        assert!(!jobs.is_empty(), "seed {seed}: nothing followed");
    }
}
