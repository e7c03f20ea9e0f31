//! A field that a definition drops: a job removes it from every record, and clients that still know it can write until then.

use super::{DEFINITION, HEARD, SETTLED, filtered, ids, job_of, tasks_with, work};
use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::{World, tasks};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use undercroft_local::Fault;

/// Tasks without their slug, and without what depends on it.
pub fn without_slug() -> Value {
    let mut body = tasks_with(json!({ "unique": [], "dropped": ["slug"] }));
    body["schema"]["properties"].as_object_mut().unwrap().remove("slug");
    body
}

#[tokio::test]
async fn a_dropped_field_is_removed_from_every_record_and_from_tombstones() {
    let mut world = World::new().await;
    world.work_in_slices_of(2);
    let mut before = tasks();
    before["indexes"] = json!([tasks()["indexes"][0], { "name": "by_slug", "partition": ["slug"] }]);
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    admin.put(DEFINITION, before).await.expect(201);
    let mut made = Vec::new();
    for nth in 0..5 {
        let body = json!({ "title": "t", "owner": ada.id(), "slug": format!("s{nth}") });
        made.push(ada.post(TASKS, body).await.expect(201).body);
    }
    let without = task(&ada, "without").await;
    let gone = made.pop().unwrap();
    ada.delete(&path(&gone)).await.expect(204);
    let dry = admin.put(&format!("{DEFINITION}?dryRun=true"), without_slug()).await.expect(200).body;
    assert_eq!((&dry["effect"], &dry["changed"]), (&json!("job"), &json!({ "count": 4, "complete": true })), "{dry}");
    let dropped = json!({ "change": "field", "name": "slug", "effect": "dropped" });
    assert!(dry["changes"].as_array().unwrap().contains(&dropped), "{dry}");
    let waiting = admin.put(DEFINITION, without_slug()).await.expect(202).body;
    assert_eq!((&waiting["status"], waiting.get("dropped")), (&json!("migrating"), None));
    assert_eq!((&waiting["next"]["dropped"], &waiting["unique"]), (&json!(["slug"]), &json!([])));
    assert_eq!(admin.put(DEFINITION, without_slug()).await.expect(202).body, waiting, "the same again starts nothing");
    world.advance(HEARD);
    // A client that knows the field may write what it has read, but not put in more.
    let whole = json!({ "title": "replaced", "owner": ada.id(), "slug": made[0]["slug"] });
    let replaced = ada.request(Method::PUT, &path(&made[0])).header("if-match", "\"1-v\"").json(whole).send().await;
    assert_eq!(replaced.expect(200).body["slug"], made[0]["slug"]);
    ada.patch(&path(&made[1]), json!({ "title": "patched" })).await.expect(200);
    for refused in [json!({ "slug": "new" }), json!({ "title": "t", "owner": ada.id(), "slug": "new" })] {
        let refused = match refused.get("title") {
            Some(_) => ada.post(TASKS, refused).await,
            None => ada.patch(&path(&without), refused).await,
        };
        assert_eq!(refused.expect(400).body["errors"][0]["pointer"], "/slug");
    }
    work(&world).await;
    world.advance(SETTLED);
    world.settle().await;
    let job = job_of(&admin, &waiting).await;
    assert_eq!((&job["status"], &job["result"]["changed"]), (&json!("succeeded"), &json!(4)), "{job}");
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&ready["status"], &ready["dropped"]), (&json!("ready"), &json!(["slug"])), "{ready}");
    assert_eq!(ready["schema"], without_slug()["schema"]);
    world.advance(HEARD);
    let listed = admin.get(&format!("{TASKS}?limit=100")).await.expect(200).body;
    assert_eq!(ids(&listed).len(), 5);
    assert!(listed["items"].as_array().unwrap().iter().all(|record| record.get("slug").is_none()), "{listed}");
    let untouched = ada.get(&path(&without)).await.expect(200).body;
    assert_eq!(untouched, without, "a record without the field stays as it is");
    assert_eq!(filtered(&ada, "slug == 's1'").await.expect(400).code(), "filter");
    let dump = world.dump("RecordsTable").await;
    let stored =
        dump.as_array().unwrap().iter().filter(|item| item["pk"]["S"].as_str().unwrap().starts_with("c#tasks#"));
    assert!(stored.clone().all(|item| item["d"]["M"].get("slug").is_none()), "also none that is deleted");
    let back = ada.post(&format!("{}/undelete", path(&gone)), json!({})).await.expect(200).body;
    assert_eq!(back.get("slug"), None);
    // The field may come back, empty.
    admin.put(DEFINITION, tasks_with(json!({ "dropped": ["slug"] }))).await.expect(400);
    admin.put(DEFINITION, tasks()).await.expect(202);
    work(&world).await;
    assert_eq!(admin.get(DEFINITION).await.expect(200).body["status"], "ready");
}

#[tokio::test]
async fn a_field_that_is_removed_without_being_dropped_keeps_its_values() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let made = ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "slug": "s" })).await.expect(201).body;
    let mut removed = without_slug();
    removed.as_object_mut().unwrap().remove("dropped");
    let waiting = admin.put(DEFINITION, removed).await.expect(202).body;
    work(&world).await;
    let job = job_of(&admin, &waiting).await;
    assert_eq!((&job["status"], &job["progress"]["disagree"]["count"]), (&json!("dead"), &json!(1)), "{job}");
    assert_eq!(ada.get(&path(&made)).await.expect(200).body["slug"], "s");
    let dropped = admin.put(DEFINITION, without_slug()).await.expect(202).body;
    work(&world).await;
    assert_eq!(job_of(&admin, &dropped).await["result"]["changed"], 1);
    world.advance(HEARD);
    assert_eq!(ada.get(&path(&made)).await.expect(200).body.get("slug"), None);
}

#[tokio::test]
async fn a_field_is_dropped_where_another_is_filled_although_calls_fail() {
    for fault in [Fault::FailedAfter, Fault::LostAnswer] {
        let mut world = World::new().await;
        world.work_in_slices_of(2);
        with_tasks(&world).await;
        let (admin, ada) = (world.admin().await, world.user("ada").await);
        let mut made = Vec::new();
        for nth in 0..5 {
            let body = json!({ "title": "t", "owner": ada.id(), "slug": format!("s{nth}") });
            made.push(ada.post(TASKS, body).await.expect(201).body);
        }
        ada.delete(&path(&made[4])).await.expect(204);
        let mut body = without_slug();
        body["schema"]["properties"]["code"] = json!({ "type": "integer", "default": 7 });
        body["schema"]["required"] = json!(["title", "code"]);
        let waiting = admin.put(DEFINITION, body).await.expect(202).body;
        world.settle().await;
        world.advance(SETTLED);
        for (operation, nth) in [("PutItem", 1), ("PutItem", 3), ("UpdateItem", 2), ("UpdateItem", 5)] {
            world.cloud.faults().on(operation, nth, fault);
        }
        for _ in 0..6 {
            world.settle().await;
            world.advance(Duration::from_secs(61));
        }
        world.cloud.faults().clear();
        world.settle().await;
        let job = job_of(&admin, &waiting).await;
        assert_eq!((&job["status"], &job["result"]["changed"]), (&json!("succeeded"), &json!(4)), "{fault:?} {job}");
        let back = ada.post(&format!("{}/undelete", path(&made[4])), json!({})).await.expect(200).body;
        assert_eq!((back.get("slug"), &back["code"]), (None, &json!(7)));
        for record in &made[..4] {
            let now = ada.get(&path(record)).await.expect(200).body;
            assert_eq!((now.get("slug"), &now["code"], &now["version"]), (None, &json!(7), &json!(2)));
        }
    }
}
