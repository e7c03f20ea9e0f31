//! Changes of definitions during reads and writes: when they take effect, and that no record is lost.

mod crashes;
mod dangling;
mod dropping;
mod filling;
mod indexes;
mod leases;
mod programs;
mod renaming;
mod restricting;
mod schemas;

use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::{Answer, Caller, World, tasks};
use serde_json::{Value, json};
use std::time::Duration;

const DEFINITION: &str = "/v1/collections/tasks";
/// Longer than the lease of a definition.
const HEARD: Duration = Duration::from_secs(6);
/// Longer than any function may still use the previous definition.
const SETTLED: Duration = Duration::from_secs(18);

/// The example definition with replaced members.
fn tasks_with(members: Value) -> Value {
    let mut body = tasks();
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

fn with_by_status() -> Value {
    tasks_with(
        json!({ "indexes": [tasks()["indexes"][0], { "name": "by_status", "partition": ["status"], "sort": ["-priority"] }] }),
    )
}

fn with_title_of(longest: u32) -> Value {
    let mut body = tasks();
    body["schema"]["properties"]["title"]["maxLength"] = json!(longest);
    body
}

async fn filtered(caller: &Caller<'_>, filter: &str) -> Answer {
    let encoded: String = filter.bytes().map(|byte| format!("%{byte:02X}")).collect();
    caller.get(&format!("{TASKS}?limit=100&filter={encoded}")).await
}

fn ids(page: &Value) -> Vec<&str> {
    let mut ids: Vec<&str> =
        page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// Relays the job, waits until no function uses the previous definition, and runs the job to its end.
pub async fn work(world: &World) {
    world.settle().await;
    world.advance(SETTLED);
    world.settle().await;
}

async fn job_of(admin: &Caller<'_>, definition: &Value) -> Value {
    admin.get(&format!("/v1/jobs/{}", definition["job"].as_str().unwrap())).await.expect(200).body
}

#[tokio::test]
async fn more_and_fewer_shards_lose_no_record() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let mut made = Vec::new();
    for shards in [8, 2, 4] {
        for nth in 0..6 {
            made.push(task(&ada, &format!("before {shards}: {nth}")).await);
        }
        let put = admin.put(DEFINITION, tasks_with(json!({ "shards": shards }))).await.expect(200).body;
        assert_eq!((&put["shards"], &put["status"], put.get("job")), (&json!(shards), &json!("ready"), None));
        for _ in 0..6 {
            made.push(task(&ada, "by whoever has not heard").await);
            world.advance(Duration::from_secs(15));
        }
    }
    let partitions: std::collections::BTreeSet<String> = world
        .dump("RecordsTable")
        .await
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| item["pk"]["S"].as_str().filter(|pk| pk.starts_with("c#tasks#")).map(str::to_owned))
        .collect();
    assert!(partitions.len() > 3, "{partitions:?}");
    let admin = world.admin().await;
    let ada = world.user("ada").await;
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin.get(&format!("{TASKS}?limit=7{cursor}")).await.expect(200).body;
        seen.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    made.sort_by_key(|record| record["id"].as_str().map(str::to_owned));
    assert!(seen == made, "every record once, in the order of their ids: {} of {}", seen.len(), made.len());
    for record in &made {
        assert_eq!(ada.get(&path(record)).await.expect(200).body, *record);
        ada.delete(&path(record)).await.expect(204);
    }
}

#[tokio::test]
async fn a_dry_run_reports_what_a_put_would_do_and_writes_nothing() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let record = task(&ada, "a title of some length").await;
    let before = world.dump("RecordsTable").await;
    let dry = async |body: Value| admin.put(&format!("{DEFINITION}?dryRun=true"), body).await.expect(200).body;
    assert_eq!(dry(tasks()).await, json!({ "effect": "none", "changes": [] }));
    let compatible = dry(tasks_with(json!({ "rules": {}, "shards": 4, "unique": [] }))).await;
    assert_eq!(
        compatible,
        json!({ "effect": "compatible", "changes": [
        { "change": "unique", "fields": ["slug"], "effect": "lifted" }, { "change": "shards", "from": 1, "to": 4 },
        { "change": "rules", "effect": "replaced" } ] })
    );
    assert_eq!(
        dry(with_by_status()).await,
        json!({ "effect": "job", "job": "index.build",
        "changes": [{ "change": "index", "name": "by_status", "effect": "built" }],
        "disagree": { "count": 0, "first": [], "checked": 1, "complete": true } })
    );
    let refused = dry(with_title_of(10)).await;
    assert_eq!((&refused["effect"], &refused["job"]), (&json!("refused"), &json!("records.check")));
    assert_eq!(refused["changes"], json!([{ "change": "schema", "effect": "narrowed" }]));
    assert_eq!((&refused["disagree"]["count"], &refused["disagree"]["first"][0]["id"]), (&json!(1), &record["id"]));
    let other =
        admin.put("/v1/collections/other?dryRun=true", json!({ "name": "other", "schema": tasks()["schema"] })).await;
    assert_eq!(other.expect(200).body["changes"], json!([{ "change": "collection", "effect": "made" }]));
    let mut wrong = tasks();
    wrong["indexes"][0]["partition"] = json!(["nothing"]);
    admin.put(&format!("{DEFINITION}?dryRun=true"), wrong).await.expect(400);
    assert_eq!(world.dump("RecordsTable").await, before);
    world.settle().await;
}

#[tokio::test]
async fn a_collection_with_records_is_deleted_only_with_records_delete() {
    let mut world = World::new().await;
    world.work_in_slices_of(2);
    admin_makes_sharded(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    for nth in 0..5 {
        ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "slug": format!("s{nth}") })).await.expect(201);
    }
    assert_eq!(admin.delete(DEFINITION).await.expect(409).code(), "not_empty");
    admin.delete(&format!("{DEFINITION}?records=keep")).await.expect(400);
    admin.delete(&format!("{DEFINITION}?records=delete")).await.expect(202);
    world.advance(SETTLED);
    admin.get(DEFINITION).await.expect(404);
    admin.put(DEFINITION, tasks()).await.expect(201);
    assert_eq!(admin.get(TASKS).await.expect(200).body["items"], json!([]), "nothing of the old one shows in the new");
    let new = ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "slug": "s1" })).await.expect(201).body;
    work(&world).await;
    assert_eq!(ada.get(TASKS).await.expect(200).body["items"], json!([new]));
    let left: Vec<String> = world
        .dump("RecordsTable")
        .await
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|item| {
            item["pk"]["S"].as_str().filter(|pk| pk.starts_with("c#tasks#") || pk.starts_with("u#tasks#"))
        })
        .map(|pk| pk.split('#').take(3).collect::<Vec<_>>().join("#"))
        .collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left.iter().all(|pk| pk.ends_with("#2")), "{left:?}");
}

async fn admin_makes_sharded(world: &World) {
    world.admin().await.put(DEFINITION, tasks_with(json!({ "shards": 4 }))).await.expect(201);
}

#[tokio::test]
async fn system_jobs_cannot_be_enqueued_by_a_client() {
    let world = World::new().await;
    let admin = world.admin().await;
    for own in ["index.build", "records.check", "records.purge"] {
        let refused =
            admin.post("/v1/jobs", json!({ "type": own, "payload": { "collection": "users", "generation": 1 } })).await;
        assert_eq!(refused.expect(400).body["errors"][0]["code"], "reserved");
    }
    world.settle().await;
}
