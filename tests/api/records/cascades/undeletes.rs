//! An undelete brings back what the cascade deleted: all of it, once, and nothing else, whatever goes wrong meanwhile.

use super::{LIKES, all, follow, jobs, likes, many, undelete};
use crate::records::restrict::{COMMENTS, POSTS, comments, define, id, make, open, posts};
use crate::world::{Caller, World};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use undercroft::cost::{Cost, counted};
use undercroft_local::Fault;

/// Longer than a cascade that began before an undelete can run.
const NO_CASCADE_LEFT: Duration = Duration::from_secs(92);

/// The jobs that bring records back, newest first; then the dead ones.
async fn restores(world: &World) -> Vec<Value> {
    let admin = world.admin().await;
    let mut found = all(&admin, "/v1/jobs").await;
    found.extend(admin.get("/v1/jobs?dead=true").await.expect(200).body["items"].as_array().unwrap().clone());
    found.into_iter().filter(|job| job["type"] == "records.restore").collect()
}

/// Runs what follows an undelete, level by level.
pub async fn come_back(world: &World) {
    for _ in 0..4 {
        world.settle().await;
        world.advance(NO_CASCADE_LEFT);
    }
    world.settle().await;
}

/// The living ids of a collection.
async fn living(caller: &Caller<'_>, records: &str) -> Vec<String> {
    let mut ids: Vec<String> =
        all(caller, records).await.iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn an_undelete_brings_back_the_tree_that_its_cascade_deleted_and_nothing_else() {
    let mut world = World::new().await;
    world.work_in_slices_of(70);
    define(&world, &[posts(), comments("cascade"), likes("cascade")]).await;
    let ada = world.user("ada").await;
    let (post, other) = (make(&ada, POSTS, json!({})).await, make(&ada, POSTS, json!({})).await);
    let made = many(&ada, COMMENTS, &vec![json!({ "post": id(&post), "text": "t" }); 230]).await;
    let apart = make(&ada, COMMENTS, json!({ "post": id(&other) })).await;
    let liked = make(&ada, LIKES, json!({ "comment": id(&made[3]) })).await;
    // One was deleted by somebody before, one with another post, and one like before its comment.
    ada.delete(&made[0]).await.expect(204);
    ada.delete(&other).await.expect(204);
    let unliked = make(&ada, LIKES, json!({ "comment": id(&made[4]) })).await;
    ada.delete(&unliked).await.expect(204);
    let before = ada.get(&made[9]).await.expect(200).body;
    let (kept, likes_kept) = (living(&ada, COMMENTS).await, living(&ada, LIKES).await);
    ada.delete(&post).await.expect(204);
    follow(&world).await;
    let ada = world.user("ada").await;
    assert_eq!((living(&ada, COMMENTS).await.len(), living(&ada, LIKES).await.len()), (0, 0));

    undelete(&ada, &post).await.expect(200);
    world.settle().await;
    let ada = world.user("ada").await;
    let expected: Vec<String> = kept.into_iter().filter(|kept| kept != id(&apart)).collect();
    assert_eq!(living(&ada, COMMENTS).await, expected, "at once, not when the job ends");
    assert_eq!(living(&ada, LIKES).await, likes_kept);
    ada.get(&liked).await.expect(200);
    for gone in [&made[0], &apart, &unliked] {
        ada.get(gone).await.expect(404);
    }
    let after = ada.get(&made[9]).await.expect(200).body;
    assert_eq!((&after["text"], &after["post"], &after["version"]), (&before["text"], &before["post"], &json!(3)));
    let page = ada.get(&format!("{COMMENTS}?filter=post%3D%3D%22{}%22&limit=100", id(&post))).await.expect(200);
    assert_eq!(page.body["items"].as_array().unwrap().len(), 100, "they are in their indexes");
    come_back(&world).await;
    let done: Vec<Value> = restores(&world).await;
    assert!(done.iter().all(|job| job["status"] == "succeeded"), "{done:?}");
    let of_post = done.iter().find(|job| job["payload"]["id"] == id(&post)).unwrap();
    assert_eq!(of_post["result"], json!({ "done": 229 }));
}

#[tokio::test]
async fn a_tree_can_be_deleted_and_brought_back_again_and_again() {
    let world = World::new().await;
    define(&world, &[posts(), comments("cascade"), likes("cascade")]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    let made = many(&ada, COMMENTS, &vec![json!({ "post": id(&post) }); 3]).await;
    make(&ada, LIKES, json!({ "comment": id(&made[0]) })).await;
    for round in 0..3 {
        let ada = world.user("ada").await;
        ada.delete(&post).await.expect(204);
        // Also when it is brought back before its cascade is through, or before it began.
        match round {
            0 => follow(&world).await,
            1 => world.settle().await,
            _ => {}
        }
        let ada = world.user("ada").await;
        undelete(&ada, &post).await.expect(200);
        come_back(&world).await;
        let ada = world.user("ada").await;
        assert_eq!((living(&ada, COMMENTS).await.len(), living(&ada, LIKES).await.len()), (3, 1), "round {round}");
    }
    // Deleted, brought back and deleted again before anything followed: it stays deleted.
    let ada = world.user("ada").await;
    ada.delete(&post).await.expect(204);
    undelete(&ada, &post).await.expect(200);
    ada.delete(&post).await.expect(204);
    follow(&world).await;
    come_back(&world).await;
    let ada = world.user("ada").await;
    assert_eq!((living(&ada, COMMENTS).await.len(), living(&ada, LIKES).await.len()), (0, 0));
    undelete(&ada, &post).await.expect(200);
    come_back(&world).await;
    let ada = world.user("ada").await;
    assert_eq!((living(&ada, COMMENTS).await.len(), living(&ada, LIKES).await.len()), (3, 1));
}

#[tokio::test]
async fn an_undelete_whose_worker_is_killed_at_every_step_ends_correctly() {
    let mut world = World::new().await;
    world.work_in_slices_of(3);
    define(&world, &[posts(), comments("cascade"), likes("cascade")]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    let made = many(&ada, COMMENTS, &vec![json!({ "post": id(&post) }); 8]).await;
    many(&ada, LIKES, &made.iter().map(|path| json!({ "comment": id(path) })).collect::<Vec<_>>()).await;
    ada.delete(&made[0]).await.expect(204);
    ada.delete(&post).await.expect(204);
    follow(&world).await;
    undelete(&world.user("ada").await, &post).await.expect(200);
    let mut kills = 0;
    for wakes in 0.. {
        let killed = world.settle_killing_worker_after(wakes).await;
        let jobs = restores(&world).await;
        assert!(jobs.iter().all(|job| job["status"] != "dead"), "{jobs:?}");
        if !killed && jobs.len() == 8 && jobs.iter().all(|job| job["status"] == "succeeded") {
            break;
        }
        kills += usize::from(killed);
        world.advance(Duration::from_secs(361));
    }
    assert!(kills > 5, "{kills}");
    let ada = world.user("ada").await;
    assert_eq!((living(&ada, COMMENTS).await.len(), living(&ada, LIKES).await.len()), (7, 7));
    for comment in &made[1..] {
        assert_eq!(ada.get(comment).await.expect(200).body["version"], 3, "each is written once");
    }
}

/// Longer than a message of a job whose worker failed is away.
const MESSAGE_AWAY: Duration = Duration::from_secs(361);

/// Runs everything that follows, also after a failed call.
async fn end(world: &World) {
    for _ in 0..5 {
        world.settle().await;
        world.advance(MESSAGE_AWAY);
    }
    world.settle().await;
}

/// A post with a comment that has a like is deleted, and brought back. A call of the relay or the worker goes wrong after one of
/// the two. Whether it did, or there were fewer calls.
async fn deleted_and_back(world: &World, after: Step, (call, nth, fault): (&str, usize, Fault)) -> bool {
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    let comment = make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    let like = make(&ada, LIKES, json!({ "comment": id(&comment) })).await;
    let follow = async |step: Step| {
        if step == after {
            world.cloud.faults().on(call, nth, fault);
        }
        end(world).await;
        world.cloud.faults().clear() == 0
    };
    ada.delete(&post).await.expect(204);
    let in_deletion = follow(Step::Deletion).await;
    let ada = world.user("ada").await;
    for gone in [&comment, &like] {
        ada.get(gone).await.expect(404);
    }
    undelete(&ada, &post).await.expect(200);
    let in_undelete = follow(Step::Undelete).await;
    let ada = world.user("ada").await;
    for back in [&comment, &like] {
        let version = ada.get(back).await.expect(200).body["version"].clone();
        assert_eq!(version, 3, "{fault:?} at {call} {nth} after the {after:?}: each is written once");
    }
    in_deletion && in_undelete
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Deletion,
    Undelete,
}

#[tokio::test]
async fn a_deletion_and_its_undelete_survive_whatever_goes_wrong_with_any_call() {
    let calls = ["GetItem", "PutItem", "UpdateItem", "Query", "BatchGetItem", "TransactWriteItems"];
    let one_world = async |fault: Fault| {
        let world = World::that_tries_once().await;
        define(&world, &[posts(), comments("cascade"), likes("cascade")]).await;
        for after in [Step::Deletion, Step::Undelete] {
            let mut times = 0;
            for call in calls {
                for nth in 1.. {
                    if !deleted_and_back(&world, after, (call, nth, fault)).await {
                        break;
                    }
                    times += 1;
                }
            }
            assert!(times > 10, "{fault:?} happened {times} times after the {after:?}");
        }
        let all = jobs(&world).await.into_iter().chain(restores(&world).await);
        let unfinished: Vec<Value> = all.filter(|job| job["status"] != "succeeded").collect();
        assert!(unfinished.is_empty(), "{unfinished:?}");
    };
    join_all([Fault::FailedBefore, Fault::FailedAfter].map(one_world)).await;
}

#[tokio::test]
async fn a_record_that_cannot_come_back_stops_no_other_and_is_named_until_it_can() {
    let world = World::new().await;
    let mut commented = comments("cascade");
    commented["unique"] = json!([["text"]]);
    let up = json!({ "type": "string", "relation": { "collection": "posts", "onDelete": "setNull" } });
    commented["schema"]["properties"]["second"] = up;
    commented["indexes"].as_array_mut().unwrap().push(json!({ "name": "by_second", "partition": ["second"] }));
    define(&world, &[posts(), commented]).await;
    let ada = world.user("ada").await;
    let (post, second) = (make(&ada, POSTS, json!({})).await, make(&ada, POSTS, json!({})).await);
    let mut made = Vec::new();
    for nth in 0..25 {
        made.push(make(&ada, COMMENTS, json!({ "post": id(&post), "text": format!("t{nth}") })).await);
    }
    let torn = make(&ada, COMMENTS, json!({ "post": id(&post), "second": id(&second) })).await;
    ada.delete(&post).await.expect(204);
    follow(&world).await;
    let ada = world.user("ada").await;
    ada.delete(&second).await.expect(204);
    let taker = make(&ada, COMMENTS, json!({ "text": "t7" })).await;
    undelete(&ada, &post).await.expect(200);
    come_back(&world).await;
    let ada = world.user("ada").await;
    assert_eq!(living(&ada, COMMENTS).await.len(), 25, "24 came back, and the one that took the text");
    ada.get(&made[7]).await.expect(404);
    ada.get(&torn).await.expect(404);
    let job = restores(&world).await[0].clone();
    let reported = job["lastError"].as_str().unwrap();
    let is_named = [&made[7], &torn].iter().any(|path| reported.contains(id(path)));
    assert!(reported.contains("could not be undeleted: 2. ") && is_named, "{job}");
    while restores(&world).await[0]["status"] != "dead" {
        world.advance(Duration::from_secs(3_600));
        world.settle().await;
    }

    // What stood in the way goes, and the job is redriven.
    let ada = world.user("ada").await;
    ada.delete(&taker).await.expect(204);
    undelete(&ada, &second).await.expect(200);
    let admin = world.admin().await;
    let path = format!("/v1/jobs/{}/redrive", job["id"].as_str().unwrap());
    admin.post(&path, json!({})).await.expect(200);
    come_back(&world).await;
    let ada = world.user("ada").await;
    assert_eq!(living(&ada, COMMENTS).await.len(), 26);
    let redriven = restores(&world).await.into_iter().find(|it| it["id"] == job["id"]).unwrap();
    assert_eq!((&redriven["status"], &redriven["result"]["done"]), (&json!("succeeded"), &json!(26)), "{redriven}");
}

/// Records of one cascade that point at each other: each waits for the one that it points at.
#[tokio::test]
async fn records_that_point_at_each_other_come_back_in_any_order() {
    let world = World::new().await;
    let mut commented = comments("cascade");
    commented["schema"]["properties"]["up"] =
        json!({ "type": "string", "relation": { "collection": "comments", "onDelete": "cascade" } });
    commented["indexes"].as_array_mut().unwrap().push(json!({ "name": "by_up", "partition": ["up"], "sort": [] }));
    define(&world, &[posts(), commented]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    let made = many(&ada, COMMENTS, &vec![json!({ "post": id(&post) }); 35]).await;
    let mut made: Vec<String> = made;
    made.sort_by_key(|path| id(path).to_owned());
    // Each points at the next one, which is restored after it.
    for pair in made.windows(2) {
        ada.patch(&pair[0], json!({ "up": id(&pair[1]) })).await.expect(200);
    }
    ada.delete(&post).await.expect(204);
    follow(&world).await;
    undelete(&world.user("ada").await, &post).await.expect(200);
    come_back(&world).await;
    assert_eq!(living(&world.user("ada").await, COMMENTS).await.len(), 35);
    let dead: Vec<Value> = jobs(&world).await.into_iter().filter(|job| job["status"] == "dead").collect();
    assert!(dead.is_empty(), "{dead:?}");
}

/// `setNull` took the field out of records that went on living; an undelete does not write them.
#[tokio::test]
async fn an_undelete_does_not_put_back_what_set_null_took_out() {
    let world = World::new().await;
    define(&world, &[posts(), comments("setNull")]).await;
    let ada = world.user("ada").await;
    let post = make(&ada, POSTS, json!({})).await;
    let comment = make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    ada.delete(&post).await.expect(204);
    follow(&world).await;
    let ada = world.user("ada").await;
    undelete(&ada, &post).await.expect(200);
    come_back(&world).await;
    let ada = world.user("ada").await;
    let after = ada.get(&comment).await.expect(200).body;
    assert_eq!((after.get("post"), &after["version"]), (None, &json!(2)));
    assert!(restores(&world).await.is_empty());
    assert_eq!(ada.patch(&comment, json!({ "post": id(&post) })).await.expect(200).body["post"], id(&post));
    world.settle().await;
}

/// Whoever may undelete the parent needs no right on its children, as whoever deletes it needs none; records that its caller
/// may not see come back unseen.
#[tokio::test]
async fn hidden_children_come_back_unseen() {
    let world = World::new().await;
    let mut hidden = comments("cascade");
    hidden["rules"] = json!({ "create": "auth.id != ''" });
    define(&world, &[posts(), hidden, open("notes", json!({}), json!({}))]).await;
    let (ada, admin) = (world.user("ada").await, world.admin().await);
    let post = make(&ada, POSTS, json!({})).await;
    let comment = make(&ada, COMMENTS, json!({ "post": id(&post) })).await;
    let bare = make(&ada, POSTS, json!({})).await;
    let answers = async |post: &str| {
        let ada = world.user("ada").await;
        let deleted = ada.delete(post).await.expect(204);
        let back = undelete(&ada, post).await.expect(200);
        [deleted, back].map(|answer| answer.headers.get("undercroft-cost").cloned())
    };
    assert_eq!(answers(&post).await, answers(&bare).await, "the cost does not say whether there are any");
    world.settle().await;
    admin.get(&comment).await.expect(200);
    ada.get(&comment).await.expect(404);
    come_back(&world).await;
}

/// Units per record in one index, as decision 45 has them.
#[tokio::test]
async fn what_follows_a_deletion_and_an_undelete_costs_so_much_a_record() {
    let world = World::new().await;
    define(&world, &[posts(), comments("cascade")]).await;
    let mut costs = Vec::new();
    for count in [100, 200] {
        let ada = world.user("ada").await;
        let post = make(&ada, POSTS, json!({})).await;
        many(&ada, COMMENTS, &vec![json!({ "post": id(&post) }); count]).await;
        ada.delete(&post).await.expect(204);
        let ((), deletion) = counted(follow(&world)).await;
        let ada = world.user("ada").await;
        undelete(&ada, &post).await.expect(200);
        let ((), undelete) = counted(come_back(&world)).await;
        costs.push([deletion, undelete]);
    }
    let [fewer, more] = costs.as_slice() else { unreachable!() };
    let a_record = |step: usize| {
        let a_record = |units: fn(&Cost) -> f64| (units(&more[step]) - units(&fewer[step])) / 100.0;
        [a_record(|cost| cost.wru), a_record(|cost| cost.rru)]
    };
    assert_eq!([a_record(0), a_record(1)], [[3.0, 0.055], [3.2, 3.12]]);
}
