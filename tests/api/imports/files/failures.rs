//! Imports and exports with failures: finished work is not repeated, and a permanent failure ends the job.

use super::{all, enqueue, export, file, lines, result, sorted, upload, with_things};
use crate::imports::bucket::files;
use crate::world::{Caller, World};
use serde_json::{Value, json};
use std::time::Duration;
use undercroft_local::Fault;

/// Rows so large that only four are in memory at once.
fn large_rows(count: usize) -> String {
    (0..count).map(|nth| format!("{{\"title\":\"{nth} {}\"}}\n", "x".repeat(300_000))).collect()
}

async fn import_large(admin: &Caller<'_>, count: usize) -> String {
    let key = upload(admin, "ndjson", &large_rows(count)).await;
    enqueue(admin, "records.import", json!({ "collection": "things", "format": "ndjson", "key": key })).await
}

async fn job(world: &World, path: &str) -> Value {
    world.admin().await.get(path).await.expect(200).body
}

/// Makes a row of the third group fail, and each of its three retries.
fn let_a_row_fail(world: &World) {
    for call in [9, 13, 14, 15] {
        world.cloud.faults().on("PutItem", call, Fault::FailedBefore);
    }
}

#[tokio::test]
async fn an_import_does_not_repeat_rows_done_before_a_failure() {
    let world = World::that_tries_once().await;
    let admin = with_things(&world, &["things"]).await;
    let import = import_large(&admin, 12).await;
    let_a_row_fail(&world);
    world.settle().await;
    assert_eq!(world.cloud.faults().clear(), 0);
    let waiting = job(&world, &import).await;
    assert_eq!((&waiting["status"], &waiting["attempts"]), (&json!("queued"), &json!(0)), "{waiting}");
    let made = waiting["progress"]["imported"].as_u64().unwrap();
    assert!((8..12).contains(&made), "{waiting}");

    world.cloud.faults().record();
    world.advance(Duration::from_secs(3));
    world.settle().await;
    let calls = world.cloud.faults().calls();
    let writes = calls.iter().filter(|call| call.function == "worker" && call.operation == "PutItem").count();
    assert!(writes as u64 <= 12 - made, "{writes} writes for {} rows", 12 - made);
    let admin = world.admin().await;
    assert_eq!(result(&admin, &import).await["imported"], 12);
    assert!(all(&admin, "things").await.iter().all(|record| record["version"] == 1));
}

#[tokio::test]
async fn an_import_that_always_fails_at_a_row_is_dead_after_its_attempts_and_goes_on_there_when_redriven() {
    let world = World::that_tries_once().await;
    let admin = with_things(&world, &["things"]).await;
    let import = import_large(&admin, 12).await;
    (9..200).for_each(|call| world.cloud.faults().on("PutItem", call, Fault::FailedBefore));
    for _ in 0..8 {
        world.settle().await;
        world.advance(Duration::from_secs(60));
    }
    assert!(world.cloud.faults().clear() > 0, "it was given up before the failure passed");
    let dead = job(&world, &import).await;
    assert_eq!((&dead["status"], &dead["attempts"]), (&json!("dead"), &json!(5)), "{dead}");
    assert_eq!(dead["progress"]["imported"], 8, "{dead}");
    let admin = world.admin().await;
    admin.post(&format!("{import}/redrive"), json!({})).await.expect(200);
    world.settle().await;
    assert_eq!(result(&admin, &import).await["imported"], 12);
    assert_eq!(all(&admin, "things").await.len(), 12);
}

/// Makes reading a page, uploading a part, and storing an incomplete part fail.
#[tokio::test]
async fn an_export_keeps_what_it_wrote_before_a_failure() {
    let world = World::that_tries_once().await;
    let admin = with_things(&world, &["things"]).await;
    import_large(&admin, 30).await;
    world.settle().await;
    let records = all(&admin, "things").await;
    for (operation, nth) in [("Query", 3), ("UploadPart", 1), ("UploadPart", 2)] {
        let admin = world.admin().await;
        let job_path = export(&admin, "things", "ndjson").await;
        world.cloud.faults().on(operation, nth, Fault::FailedBefore);
        world.settle().await;
        assert_eq!(world.cloud.faults().clear(), 0, "{operation} {nth}");
        let waiting = job(&world, &job_path).await;
        assert_eq!(waiting["status"], "queued", "{operation} {nth}: {waiting}");
        assert!(waiting["progress"]["records"].as_u64().unwrap() > 0, "{operation} {nth}: {waiting}");
        world.advance(Duration::from_secs(3));
        world.settle().await;
        let exported = result(&admin, &job_path).await;
        let text = file(&exported).await;
        assert_eq!(exported["bytes"], text.len());
        assert_eq!(sorted(lines(&text)), records, "{operation} {nth}");
    }
}

#[tokio::test]
async fn an_export_whose_parts_are_gone_says_so() {
    let mut world = World::new().await;
    world.work_in_slices_of(29);
    let admin = with_things(&world, &["things"]).await;
    import_large(&admin, 30).await;
    world.settle().await;
    let path = export(&admin, "things", "ndjson").await;
    let file = loop {
        assert!(world.cloud.pump(world.functions()).await.unwrap() > 0);
        let file = job(&world, &path).await["progress"]["file"].clone();
        if file["parts"].as_array().is_some_and(|parts| parts.len() == 1) {
            break file;
        }
    };
    // The state after a week: the upload has expired.
    let key = format!("exports/{}.ndjson", path.rsplit('/').next().unwrap());
    let part = (1, format!("\"{}\"", file["parts"][0].as_str().unwrap()));
    assert!(files(&world, "worker").complete_upload(&key, file["upload"].as_str().unwrap(), &[part]).await.unwrap());
    for _ in 0..8 {
        world.settle().await;
        world.advance(Duration::from_secs(60));
    }
    let dead = job(&world, &path).await;
    assert_eq!(dead["status"], "dead", "{dead}");
    assert!(dead["lastError"].as_str().unwrap().contains("7 days"), "{dead}");
}
