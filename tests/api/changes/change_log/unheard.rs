//! A feed and the length of its cursors do not reveal records that were never visible.

use super::{Follower, NOTES};
use crate::world::{Caller, World};
use serde_json::{Value, json};
use std::time::Duration;
use undercroft::clock::rfc3339;

/// Notes on a board. Its list rule uses the current time.
fn timed(rule: &str) -> Value {
    let moment = json!({ "type": "string", "format": "date-time" });
    json!({
        "name": "notes",
        "schema": { "type": "object", "additionalProperties": false, "properties": {
            "board": { "type": "string" }, "at": moment, "text": { "type": "string" } } },
        "indexes": [{ "name": "on", "partition": ["board"], "sort": ["at"] }],
        "changes": true, "rules": { "list": format!("record.board == 'b' && {rule}") }
    })
}

fn path(id: &str) -> String {
    format!("{NOTES}/{id}")
}

fn in_seconds(world: &World, seconds: u64) -> String {
    rfc3339(world.now() + seconds * 1000)
}

async fn note(admin: &Caller<'_>, at: &str) -> String {
    let made = admin.post(NOTES, json!({ "board": "b", "at": at })).await.expect(201);
    made.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_record_deleted_before_it_becomes_visible_is_not_in_the_feed() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/notes", timed("record.at <= request.time")).await.expect(201);
    let ada = world.user("ada").await;
    let due = in_seconds(&world, 4);
    let (x, y, late) = (note(&admin, &due).await, note(&admin, &due).await, note(&admin, &due).await);
    let (seen, moved) = (note(&admin, &due).await, note(&admin, &due).await);
    world.settle().await;
    let mut follower = Follower::default();
    assert_eq!(follower.read(&ada, 10).await, [""; 0]);

    admin.patch(&path(&x), json!({ "at": in_seconds(&world, 86_400) })).await.expect(200);
    admin.delete(&path(&y)).await.expect(204);
    world.settle().await;
    // It is deleted before it is due, and the relay receives the deletion after that time.
    admin.delete(&path(&late)).await.expect(204);
    world.advance(Duration::from_secs(10));
    world.settle().await;
    assert_eq!(follower.read(&ada, 10).await, [""; 0], "these were never visible");
    assert_eq!(
        Follower::default().read(&ada, 1).await.len(),
        2,
        "records that are due are in the feed from the beginning"
    );

    // Visible records are in the feed even without a change.
    admin.delete(&path(&seen)).await.expect(204);
    admin.patch(&path(&moved), json!({ "at": in_seconds(&world, 60) })).await.expect(200);
    admin.delete(&path(&moved)).await.expect(204);
    world.settle().await;
    assert_eq!(follower.read(&ada, 10).await, [format!("deleted {seen}"), format!("left {moved}")]);
    world.advance(Duration::from_secs(100));
    assert_eq!(follower.read(&ada, 10).await, [""; 0]);
}

#[tokio::test]
async fn a_record_that_stops_being_visible_by_time_leaves_the_feed() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/notes", timed("record.at > request.time")).await.expect(201);
    let ada = world.user("ada").await;
    let shown = [note(&admin, &in_seconds(&world, 4)).await, note(&admin, &in_seconds(&world, 4)).await];
    let never = note(&admin, "2020-01-01T00:00:00Z").await;
    world.settle().await;
    let mut follower = Follower::default();
    assert_eq!(follower.read(&ada, 1).await, shown.clone().map(|id| format!("put {id}")));
    world.advance(Duration::from_secs(10));
    admin.delete(&path(&shown[0])).await.expect(204);
    admin.patch(&path(&shown[1]), json!({ "text": "late" })).await.expect(200);
    admin.patch(&path(&never), json!({ "text": "never" })).await.expect(200);
    admin.delete(&path(&never)).await.expect(204);
    world.settle().await;
    assert_eq!(follower.read(&ada, 10).await, shown.clone().map(|id| format!("left {id}")));
    assert!(follower.held.is_empty());
    // It has not been visible since its last write.
    admin.delete(&path(&shown[1])).await.expect(204);
    world.settle().await;
    assert_eq!(follower.read(&ada, 10).await, [""; 0]);
}

#[tokio::test]
async fn the_length_of_a_feed_cursor_does_not_depend_on_the_changes() {
    let world = World::new().await;
    let admin = world.admin().await;
    let collection = |name: &str, teams: &str| {
        json!({ "name": name, "schema": { "type": "object", "properties": {
            "team": { "type": "string" }, "state": { "type": "string" } } },
            "indexes": [{ "name": "shown", "partition": ["team"], "sort": ["state"] }], "changes": true,
            "rules": { "list": format!("{teams} && record.state == 'pub'") } })
    };
    let (one, more) = ("record.team == 'a'", "record.team in ['a', 'b', 'c', 'd', 'e', 'f', 'g']");
    for (name, teams) in [("fa", one), ("fb", one), ("ga", more), ("gb", more)] {
        admin.put(&format!("/v1/collections/{name}"), collection(name, teams)).await.expect(201);
    }
    let ada = world.user("ada").await;
    let page = async |name: &str, after: &str| {
        let page = ada.get(&format!("/v1/changes?collection={name}{after}")).await.expect(200).body;
        page["nextCursor"].as_str().unwrap().to_owned()
    };
    for (quiet, busy) in [("fa", "fb"), ("ga", "gb")] {
        let since = (page(quiet, "").await, page(busy, "").await);
        let since = (format!("&after={}", since.0), format!("&after={}", since.1));
        for team in ["a", "b", "c", "d", "e"] {
            let draft = json!({ "team": team, "state": "draft" });
            admin.post(&format!("/v1/collections/{busy}/records"), draft).await.expect(201);
            world.settle().await;
            for (after, after_busy) in [("", ""), ("&after=now", "&after=now"), (since.0.as_str(), since.1.as_str())] {
                let (without, with) = (page(quiet, after).await, page(busy, after_busy).await);
                assert_eq!(without.len(), with.len(), "one more in {team} of {busy} {after_busy}");
                assert_eq!(page(busy, &format!("&after={with}")).await.len(), with.len(), "and on from there");
            }
        }
    }
}
