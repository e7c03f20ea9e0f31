//! A field that becomes required: a job fills old records with its default, and every record can be read and written all the time.

use super::{DEFINITION, HEARD, SETTLED, filtered, job_of, tasks_with, work};
use crate::imports::files;
use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::{Answer, Caller, World, tasks};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;
use undercroft_local::Fault;

const DUE: &str = "2026-12-31T00:00:00.000Z";

/// Tasks with a required field, its index, and other members.
fn with_due(due: Value) -> Value {
    let mut body = tasks_with(json!({
        "indexes": [tasks()["indexes"][0], { "name": "by_due", "partition": ["due"], "sort": ["title"] }],
        "counts": true }));
    body["schema"]["required"] = json!(["title", "due"]);
    body["schema"]["properties"]["due"] = due;
    body
}

pub fn filled() -> Value {
    with_due(json!({ "type": "string", "format": "date-time", "default": "2026-12-31T00:00:00Z" }))
}

async fn put(caller: &Caller<'_>, record: &Value, body: Value) -> Answer {
    let tag = format!("\"{}-v\"", record["version"]);
    caller.request(Method::PUT, &path(record)).header("if-match", &tag).json(body).send().await
}

fn ids_of(records: &[Value]) -> Vec<&Value> {
    let mut ids: Vec<&Value> = records.iter().map(|record| &record["id"]).collect();
    ids.sort_by_key(|id| id.as_str());
    ids
}

/// Every record, by list or by filter.
async fn all(caller: &Caller<'_>, query: &str) -> Vec<Value> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("{TASKS}?limit=100{query}{cursor}")).await.expect(200).body;
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { return seen };
        cursor = format!("&cursor={next}");
    }
}

const BY_DUE: &str = "&filter=due%20%3D%3D%20%272026-12-31T00%3A00%3A00Z%27";

/// A thousand tasks, ten of them ada's. Returns ada's.
async fn thousand(world: &World) -> Vec<Value> {
    with_tasks(world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let rows: String = (0..990).map(|nth| format!("{{\"title\":\"{nth}\"}}\n")).collect();
    let job = files::import(&admin, "tasks", "ndjson", &rows).await;
    world.settle().await;
    assert_eq!(files::result(&admin, &job).await["imported"], 990);
    let mut made = Vec::new();
    for nth in 0..10 {
        made.push(task(&ada, &format!("of ada {nth}")).await);
    }
    made
}

#[tokio::test]
async fn a_thousand_records_get_the_default_of_a_required_field_and_none_is_missed() {
    let mut world = World::new().await;
    world.work_in_slices_of(300);
    let made = thousand(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let dry = admin.put(&format!("{DEFINITION}?dryRun=true"), filled()).await.expect(200).body;
    assert_eq!((&dry["effect"], &dry["changed"]["count"]), (&json!("job"), &json!(1000)), "{dry}");
    assert!(
        dry["changes"].as_array().unwrap().contains(&json!({ "change": "field", "name": "due", "effect": "filled" }))
    );
    assert_eq!(all(&admin, "").await.iter().filter(|record| record.get("due").is_some()).count(), 0);

    let waiting = admin.put(DEFINITION, filled()).await.expect(202).body;
    assert_eq!((&waiting["status"], &waiting["schema"]["required"]), (&json!("migrating"), &json!(["title"])));
    assert_eq!(waiting["next"]["schema"]["required"], json!(["title", "due"]));
    assert_eq!(admin.put(DEFINITION, filled()).await.expect(202).body, waiting, "the same again starts nothing");
    world.settle().await;
    world.advance(SETTLED);
    let (admin, ada_now) = (world.admin().await, world.user("ada").await);
    // Not yet reached: absent, and everything works.
    assert_eq!(ada_now.get(&path(&made[0])).await.expect(200).body, made[0]);
    let patched = ada_now.patch(&path(&made[1]), json!({ "title": "patched before" })).await.expect(200).body;
    assert_eq!(patched.get("due"), None);
    let replaced = put(&ada_now, &made[2], json!({ "title": "replaced", "owner": ada.id() })).await.expect(200).body;
    assert_eq!(replaced["due"], DUE, "a replacement is complete");
    assert_eq!(task(&ada_now, "new").await["due"], DUE);
    ada_now.patch(&path(&replaced), json!({ "due": null })).await.expect(400);
    assert_eq!(admin.get(&format!("{TASKS}?limit=100{BY_DUE}")).await.expect(422).code(), "index_building");
    // Half way.
    while job_of(&admin, &waiting).await["progress"]["changed"].as_u64().is_none_or(|changed| changed == 0) {
        world.cloud.pump(world.functions()).await.unwrap();
    }
    let reached = all(&admin, "").await;
    let with = reached.iter().filter(|record| record.get("due").is_some()).count();
    assert!((3..1001).contains(&with), "{with}");
    for record in reached.iter().step_by(100) {
        admin.patch(&path(record), json!({ "title": "patched meanwhile" })).await.expect(200);
    }
    world.settle().await;
    let job = job_of(&admin, &waiting).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    assert_eq!((&job["result"]["checked"], &job["result"]["disagree"]["count"]), (&json!(1001), &json!(0)), "{job}");
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&ready["status"], &ready["schema"], ready.get("next")), (&json!("ready"), &filled()["schema"], None));
    world.advance(HEARD);
    after_the_end(&world, &made).await;
}

/// One rule for lists, indexes and counts; old versions never overwrite.
async fn after_the_end(world: &World, made: &[Value]) {
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let (listed, found) = (all(&admin, "").await, all(&admin, BY_DUE).await);
    assert_eq!((listed.len(), found.len()), (1001, 1001));
    assert!(listed.iter().all(|record| record["due"] == DUE));
    let counted = admin.get(&format!("{TASKS}?limit=1&count=true{BY_DUE}")).await.expect(200).body;
    assert_eq!(counted["count"]["records"], 1001, "{counted}");
    let now = ada.get(&path(&made[0])).await.expect(200).body;
    assert_eq!((&now["version"], &now["title"]), (&json!(2), &made[0]["title"]));
    assert!(now["updatedAt"].as_str() > made[0]["updatedAt"].as_str());
    put(&ada, &made[0], json!({ "title": "by an old reader", "owner": ada.id() })).await.expect(412);
    ada.patch(&path(&made[0]), json!({ "title": "patched after" })).await.expect(200);
    ada.patch(&path(&made[0]), json!({ "due": null })).await.expect(400);
    let now = ada.get(&path(&made[0])).await.expect(200).body;
    let replaced = put(&ada, &now, json!({ "title": "t", "owner": ada.id() })).await.expect(200).body;
    assert_eq!(replaced["due"], DUE);
    for record in made {
        ada.patch(&path(record), json!({ "priority": 1 })).await.expect(200);
    }
}

#[tokio::test]
async fn the_feed_shows_filled_records_and_an_old_export_can_be_imported() {
    let world = World::new().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    admin.put(DEFINITION, tasks_with(json!({ "counts": true, "changes": true }))).await.expect(201);
    let made = [task(&ada, "one").await, task(&ada, "two").await];
    let gone = task(&ada, "deleted before").await;
    ada.delete(&path(&gone)).await.expect(204);
    let export = files::export(&admin, "tasks", "ndjson").await;
    world.settle().await;
    let exported = files::file(&files::result(&admin, &export).await).await;
    let feed = ada.get("/v1/changes?collection=tasks&after=now").await.expect(200).body;
    let mut put = filled();
    (put["indexes"], put["changes"]) = (tasks()["indexes"].clone(), json!(true));
    admin.put(DEFINITION, put.clone()).await.expect(202);
    work(&world).await;
    world.advance(HEARD);
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let changes = format!("/v1/changes?collection=tasks&after={}", feed["nextCursor"].as_str().unwrap());
    let changes = ada.get(&changes).await.expect(200).body;
    let mut seen: Vec<&Value> = changes["items"].as_array().unwrap().iter().map(|item| &item["record"]).collect();
    seen.sort_by_key(|record| record["id"].as_str());
    assert_eq!(seen.iter().map(|record| &record["id"]).collect::<Vec<_>>(), ids_of(&made), "{changes}");
    assert!(seen.iter().all(|record| record["due"] == DUE && record["version"] == 2), "{changes}");
    let back = ada.post(&format!("{}/undelete", path(&gone)), json!({})).await.expect(200).body;
    assert_eq!((&back["title"], &back["due"]), (&gone["title"], &json!(DUE)), "a tombstone was filled too");
    put["name"] = json!("copies");
    admin.put("/v1/collections/copies", put).await.expect(201);
    let import = files::import(&admin, "copies", "ndjson", &exported).await;
    world.settle().await;
    assert_eq!(files::result(&admin, &import).await["imported"], 2);
    let copies = admin.get("/v1/collections/copies/records").await.expect(200).body;
    assert!(copies["items"].as_array().unwrap().iter().all(|record| record["due"] == DUE), "{copies}");
}

#[tokio::test]
async fn without_a_default_the_records_without_the_field_are_named_and_can_be_mended() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let made = [task(&ada, "one").await, task(&ada, "two").await];
    let required = with_due(json!({ "type": "string", "format": "date-time" }));
    let waiting = admin.put(DEFINITION, required.clone()).await.expect(202).body;
    work(&world).await;
    let job = job_of(&admin, &waiting).await;
    assert_eq!((&job["status"], &job["progress"]["disagree"]["count"]), (&json!("dead"), &json!(2)), "{job}");
    let first: Vec<&Value> =
        job["progress"]["disagree"]["first"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(first, ids_of(&made));
    // Nothing is unsaveable: records keep what they lack, get it, and new ones have it.
    ada.patch(&path(&made[0]), json!({ "title": "patched" })).await.expect(200);
    let without = json!({ "title": "t", "owner": ada.id() });
    let again = ada.get(&path(&made[0])).await.expect(200).body;
    put(&ada, &again, without.clone()).await.expect(200);
    ada.post(TASKS, without).await.expect(400);
    ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "due": DUE })).await.expect(201);
    for record in &made {
        ada.patch(&path(record), json!({ "due": DUE })).await.expect(200);
    }
    admin.post(&format!("/v1/jobs/{}/redrive", waiting["job"].as_str().unwrap()), json!({})).await.expect(200);
    work(&world).await;
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&ready["status"], &ready["schema"]), (&json!("ready"), &required["schema"]));
    assert_eq!(
        filtered(&admin, &format!("due == '{DUE}'")).await.expect(200).body["items"].as_array().unwrap().len(),
        3
    );
}

#[tokio::test]
async fn a_field_is_filled_while_another_becomes_narrower() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let made = task(&ada, "short").await;
    let mut body = filled();
    body["schema"]["properties"]["title"]["maxLength"] = json!(10);
    body["schema"]["required"] = json!(["title", "due", "status"]);
    let waiting = admin.put(DEFINITION, body.clone()).await.expect(202).body;
    world.advance(HEARD);
    let new = task(&ada, "new").await;
    assert_eq!((&new["due"], &new["status"]), (&json!(DUE), &json!("open")), "both definitions can be satisfied");
    ada.post(TASKS, json!({ "title": "x".repeat(11), "owner": ada.id() })).await.expect(400);
    work(&world).await;
    world.advance(SETTLED);
    world.settle().await;
    assert_eq!(job_of(&admin, &waiting).await["status"], "succeeded");
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&ready["status"], &ready["schema"]), (&json!("ready"), &body["schema"]));
    assert_eq!(ada.get(&path(&made)).await.expect(200).body["due"], DUE);
}

#[tokio::test]
async fn what_cannot_be_filled_is_named_and_the_rest_is_filled() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let made = [task(&ada, "one").await, task(&ada, "two").await];
    let mut body = filled();
    body["unique"] = json!([["slug"], ["due"]]);
    let dry = admin.put(&format!("{DEFINITION}?dryRun=true"), body.clone()).await.expect(200).body;
    assert_eq!((&dry["effect"], &dry["disagree"]["count"]), (&json!("refused"), &json!(1)), "{dry}");
    let waiting = admin.put(DEFINITION, body).await.expect(202).body;
    work(&world).await;
    let job = job_of(&admin, &waiting).await;
    assert_eq!((&job["status"], &job["progress"]["disagree"]["count"]), (&json!("dead"), &json!(1)), "{job}");
    assert_eq!(job["progress"]["disagree"]["first"][0]["errors"][0]["code"], "not_unique", "{job}");
    let blocked = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&blocked["status"], &blocked["next"]), (&json!("blocked"), &waiting["next"]));
    let other = job["progress"]["disagree"]["first"][0]["id"].as_str().unwrap();
    ada.patch(&format!("{TASKS}/{other}"), json!({ "due": "2027-01-01T00:00:00Z" })).await.expect(200);
    admin.post(&format!("/v1/jobs/{}/redrive", waiting["job"].as_str().unwrap()), json!({})).await.expect(200);
    work(&world).await;
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!(ready["status"], "ready", "{ready}");
    for record in &made {
        assert!(ada.get(&path(record)).await.expect(200).body["due"].is_string());
    }
}

#[tokio::test]
async fn calls_that_fail_or_whose_answers_are_lost_fill_each_record_once() {
    for fault in [Fault::FailedBefore, Fault::FailedAfter, Fault::LostAnswer] {
        for operation in ["PutItem", "GetItem", "Query"] {
            let mut world = World::new().await;
            world.work_in_slices_of(3);
            with_tasks(&world).await;
            let (admin, ada) = (world.admin().await, world.user("ada").await);
            let mut made = Vec::new();
            for nth in 0..5 {
                made.push(task(&ada, &format!("{nth}")).await);
            }
            let waiting = admin.put(DEFINITION, filled()).await.expect(202).body;
            world.settle().await;
            world.advance(SETTLED);
            (1..12).step_by(3).for_each(|nth| world.cloud.faults().on(operation, nth, fault));
            for _ in 0..6 {
                world.settle().await;
                world.advance(Duration::from_secs(61));
            }
            world.cloud.faults().clear();
            world.settle().await;
            let job = job_of(&admin, &waiting).await;
            assert_eq!(
                (&job["status"], &job["result"]["changed"]),
                (&json!("succeeded"), &json!(5)),
                "{operation} {fault:?} {job}"
            );
            for record in &made {
                let now = ada.get(&path(record)).await.expect(200).body;
                assert_eq!((&now["due"], &now["version"]), (&json!(DUE), &json!(2)), "{operation} {fault:?}");
            }
        }
    }
}
