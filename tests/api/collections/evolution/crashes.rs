//! Jobs of changed definitions end correctly although workers are killed and the database processes requests only partly.

use super::{DEFINITION, SETTLED, tasks_with, with_by_status, with_title_of, work};
use crate::records::crud::TASKS;
use crate::world::{World, tasks};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use undercroft_local::Fault;

/// A change of a collection that holds records, and its job.
struct Case {
    before: Value,
    /// The new definition; `None` deletes the collection.
    after: Option<Value>,
    job: &'static str,
}

/// Tasks with an index over the words of each.
fn with_words() -> Value {
    let mut body = tasks();
    body["schema"]["properties"]["words"] = json!({ "type": "array", "items": { "type": "string" }, "maxItems": 5 });
    body["indexes"]
        .as_array_mut()
        .unwrap()
        .push(json!({ "name": "saying", "partition": ["words[]"], "sort": ["-updatedAt"] }));
    body
}

fn without_words() -> Value {
    let mut body = with_words();
    body["indexes"].as_array_mut().unwrap().pop();
    body
}

fn cases() -> [Case; 11] {
    let case = |before, after, job| Case { before, after, job };
    [
        case(tasks(), Some(with_by_status()), "index.build"),
        case(with_by_status(), Some(tasks()), "index.build"),
        case(tasks(), Some(with_title_of(10)), "records.check"),
        case(tasks_with(json!({ "unique": [] })), Some(tasks()), "records.check"),
        case(tasks(), Some(super::filling::filled()), "records.check"),
        case(tasks(), Some(super::dropping::without_slug()), "records.check"),
        case(tasks(), Some(super::renaming::with_label()), "index.build"),
        case(tasks(), None, "records.purge"),
        case(without_words(), Some(with_words()), "index.build"),
        case(with_words(), Some(without_words()), "index.build"),
        case(with_words(), None, "records.purge"),
    ]
}

/// Twelve tasks, and a change of their collection whose job has not started.
async fn changed(world: &World, case: &Case) {
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    admin.put(DEFINITION, case.before.clone()).await.expect(201);
    for nth in 0..12 {
        let mut body = json!({ "title": format!("{nth}"), "owner": ada.id(), "slug": format!("s{nth}") });
        if case.before["schema"]["properties"]["words"].is_object() {
            body["words"] = json!(["a", format!("w{nth}"), "a"]);
        }
        ada.post(TASKS, body).await.expect(201);
    }
    match &case.after {
        Some(after) => assert!(admin.put(DEFINITION, after.clone()).await.status < 300),
        None => drop(admin.delete(&format!("{DEFINITION}?records=delete")).await.expect(202)),
    }
    world.settle().await;
    world.advance(SETTLED);
}

/// The job of this type, as it is stored.
async fn stored(world: &World, kind: &str) -> Value {
    let jobs = world.dump("JobsTable").await;
    jobs.as_array().unwrap().iter().find(|job| job["type"]["S"] == kind).unwrap().clone()
}

/// The internal attributes, version and fields of each task, by title, and the number of unique values and entries.
async fn left(world: &World) -> (BTreeMap<String, Vec<String>>, usize) {
    let items = world.dump("RecordsTable").await;
    let of = |prefix: &'static str| {
        items.as_array().unwrap().iter().filter(move |item| item["pk"]["S"].as_str().unwrap().starts_with(prefix))
    };
    let names = |item: &Value| {
        let fields = item["d"]["M"].as_object().unwrap().keys().map(|field| format!("d.{field}"));
        let version = format!("v = {}", item["v"]["N"]);
        item.as_object().unwrap().keys().cloned().chain(fields).chain([version]).collect()
    };
    let tasks = of("c#tasks#").map(|item| (item["d"]["M"]["title"]["S"].to_string(), names(item)));
    (tasks.collect(), of("u#tasks#").count() + of("e#tasks#").count())
}

/// The state after the job has ended: the stored items, what the job found, and the definition.
async fn stated(world: &World, case: &Case) -> (BTreeMap<String, Vec<String>>, usize, Value, Value) {
    let (records, values) = left(world).await;
    let definition = world.admin().await.get(DEFINITION).await.body;
    let definition = ["status", "schema", "indexes", "unique", "next"].map(|name| definition[name].clone());
    let mut result = stored(world, case.job).await["result"]["M"].clone();
    // What a killed worker has removed is gone, and cannot be counted again.
    result.as_object_mut().unwrap().remove("purged");
    (records, values, result, json!(definition))
}

/// Kills the worker after more and more steps until the job has ended. Returns the number of kills.
async fn end_by_killing(world: &World, kind: &str) -> usize {
    let (mut kills, mut wakes) = (0, 0);
    loop {
        let killed = world.settle_killing_worker_after(wakes).await;
        let job = stored(world, kind).await;
        assert_ne!(job["status"]["S"], "dead", "{job}");
        if !killed && job["status"]["S"] == "succeeded" {
            return kills;
        }
        kills += usize::from(killed);
        wakes += 1;
        world.advance(Duration::from_secs(361));
    }
}

#[tokio::test]
async fn a_definition_job_whose_worker_is_killed_at_every_step_ends_correctly() {
    for case in cases() {
        let mut undisturbed = World::new().await;
        undisturbed.work_in_slices_of(5);
        changed(&undisturbed, &case).await;
        work(&undisturbed).await;
        let mut world = World::new().await;
        world.work_in_slices_of(5);
        changed(&world, &case).await;
        let kills = end_by_killing(&world, case.job).await;
        assert!(kills > 5, "{}: {kills}", case.job);
        let (stated, expected) = (stated(&world, &case).await, stated(&undisturbed, &case).await);
        assert_eq!(stored(&undisturbed, case.job).await["status"]["S"], "succeeded");
        assert_eq!(stated, expected, "{}", case.job);
        assert_eq!(stated.0.len(), if case.after.is_some() { 12 } else { 0 });
    }
}

#[tokio::test]
async fn a_collection_of_which_only_a_few_items_go_at_once_is_cleared_in_several_attempts() {
    let world = World::new().await;
    let case = Case { before: tasks(), after: None, job: "records.purge" };
    changed(&world, &case).await;
    // Of each call one item is removed, and after eight calls that is reported.
    (1..9).for_each(|nth| world.cloud.faults().on("BatchWriteItem", nth, Fault::Partial));
    world.cloud.pump(world.functions()).await.unwrap();
    assert_eq!(world.cloud.faults().clear(), 0);
    assert_eq!(stored(&world, case.job).await["status"]["S"], "retrying");
    let (records, values) = left(&world).await;
    assert_eq!(
        (records.len(), values),
        (12, 4),
        "values go first, and none of a record that is still there is forgotten"
    );
    work(&world).await;
    assert_eq!(stored(&world, case.job).await["status"]["S"], "succeeded");
    let (records, values) = left(&world).await;
    assert_eq!((records.len(), values), (0, 0));
}
