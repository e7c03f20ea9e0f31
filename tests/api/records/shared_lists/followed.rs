//! Counts and changes of lists shared by membership.

use super::{DEFINITION, NOTES, made, path, with};
use crate::changes::change_log::{Follower, listed};
use crate::world::{Caller, World};
use serde_json::{Value, json};
use std::time::Duration;

async fn count(caller: &Caller<'_>) -> Value {
    caller.get(&format!("{NOTES}?count=true&limit=0")).await.expect(200).body["count"]["records"].clone()
}

#[tokio::test]
async fn a_member_follows_and_counts_the_notes_shared_with_them() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put(DEFINITION, with(json!({ "counts": true, "changes": true }))).await.expect(201);
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let first = made(&ada, "first", &[ada.id(), bob.id(), bob.id()]).await;
    let second = made(&ada, "second", &[ada.id()]).await;
    let id = |note: &Value| note["id"].as_str().unwrap().to_owned();
    world.settle().await;
    assert_eq!((count(&ada).await, count(&bob).await), (json!(2), json!(1)));
    let mut follower = Follower::default();
    assert_eq!(follower.read(&bob, 9).await, [format!("put {}", id(&first))]);

    // A change that moves no entry is followed too.
    ada.patch(&path(&first), json!({ "text": "changed" })).await.expect(200);
    ada.patch(&path(&second), json!({ "members": [ada.id(), bob.id()] })).await.expect(200);
    world.settle().await;
    assert_eq!(follower.read(&bob, 1).await, [format!("put {}", id(&first)), format!("put {}", id(&second))]);
    assert_eq!(follower.held, listed(&bob, "").await);
    ada.patch(&path(&first), json!({ "members": [ada.id()] })).await.expect(200);
    ada.delete(&path(&second)).await.expect(204);
    world.settle().await;
    assert_eq!(follower.read(&bob, 9).await, [format!("left {}", id(&first)), format!("deleted {}", id(&second))]);
    assert_eq!((count(&ada).await, count(&bob).await), (json!(1), json!(0)));
    assert!(follower.held.is_empty());
}

#[tokio::test]
async fn a_record_in_more_partitions_than_one_transaction_takes_is_counted_once_in_each() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut definition = with(json!({ "counts": true, "changes": true }));
    definition["schema"]["properties"]["members"]["maxItems"] = json!(50);
    admin.put(DEFINITION, definition).await.expect(201);
    let ada = world.user("ada").await;
    let others: Vec<String> = (0..49).map(|nth| format!("m{nth}")).collect();
    let members: Vec<&str> = others.iter().map(String::as_str).chain([ada.id()]).collect();
    let note = made(&ada, "x", &members).await;
    ada.patch(&path(&note), json!({ "text": "y" })).await.expect(200);
    world.settle().await;
    let of = async |member: &str| {
        let filter = crate::records::pages::encoded(&format!("'{member}' in members"));
        let page = admin.get(&format!("{NOTES}?count=true&limit=0&filter={filter}")).await.expect(200).body;
        page["count"]["records"].clone()
    };
    for member in ["m0", "m48", "m7"] {
        assert_eq!(of(member).await, 1);
    }
    assert_eq!((count(&ada).await, of("nobody").await), (json!(1), json!(0)));
    let overlapping = crate::records::pages::encoded("'m0' in members || 'm1' in members");
    let refused = admin.get(&format!("{NOTES}?count=true&limit=0&filter={overlapping}")).await.expect(422);
    assert_eq!(refused.code(), "count_needs_partition", "a record may be in both");
    let mut follower = Follower::default();
    assert_eq!(follower.read(&ada, 9).await.len(), 1);
    assert_eq!(follower.held, listed(&ada, "").await);
}

#[tokio::test]
async fn an_index_over_elements_is_built_counted_and_removed_while_reads_and_writes_go_on() {
    let world = World::new().await;
    let admin = world.admin().await;
    let without = with(json!({ "indexes": [], "counts": true, "rules": {} }));
    let indexed = with(json!({ "counts": true }));
    admin.put(DEFINITION, without.clone()).await.expect(201);
    let ada = world.user("ada").await;
    let member = |text: &str| json!({ "text": text, "members": [ada.id()] });
    let old = admin.post(NOTES, member("old")).await.expect(201).body;
    let dry = admin.put(&format!("{DEFINITION}?dryRun=true"), indexed.clone()).await.expect(200).body;
    assert_eq!((&dry["effect"], &dry["job"]), (&json!("job"), &json!("index.build")), "{dry}");
    let building = admin.put(DEFINITION, indexed.clone()).await.expect(202).body;
    assert_eq!((&building["status"], &building["indexes"][0]["ready"]), (&json!("building"), &json!(false)));
    world.advance(Duration::from_secs(6));
    assert_eq!(ada.get(NOTES).await.expect(422).code(), "index_building");
    let meanwhile = ada.post(NOTES, member("meanwhile")).await.expect(201).body;
    for _ in 0..2 {
        world.settle().await;
        world.advance(Duration::from_secs(18));
    }
    world.settle().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    assert_eq!(admin.get(DEFINITION).await.expect(200).body["status"], "ready");
    let job = admin.get(&format!("/v1/jobs/{}", building["job"].as_str().unwrap())).await.expect(200).body;
    assert_eq!((&job["status"], &job["result"]["checked"]), (&json!("succeeded"), &json!(2)), "{job}");
    assert_eq!(super::listed(&ada, "").await, ["meanwhile", "old"]);
    assert_eq!((super::entries::hold(&world, "notes").await, count(&ada).await), (2, json!(2)));
    for note in [&old, &meanwhile] {
        assert_eq!(ada.get(&path(note)).await.expect(200).body["version"], 1, "a build changes no record");
    }

    let dropped = admin.put(DEFINITION, without).await.expect(202).body;
    assert_eq!((&dropped["status"], &dropped["indexes"]), (&json!("ready"), &json!([])));
    // First nobody reads it any more, then nobody writes to it any more.
    for left in [2, 2, 0] {
        world.settle().await;
        assert_eq!(super::entries::all(&world).await.len(), left);
        world.advance(Duration::from_secs(18));
    }
    assert!(super::entries::all(&world).await.is_empty());
    let dump = world.dump("RecordsTable").await;
    assert!(dump.as_array().unwrap().iter().all(|item| item.get("ei").is_none()), "nothing counts in it any more");
}
