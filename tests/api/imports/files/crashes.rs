//! Imports and exports whose worker dies on the way.

use super::{all, export, file, hard_ones, import, lines, path, result, sorted, with_things};
use crate::world::World;
use serde_json::json;
use std::time::Duration;

/// Runs a job to its end, killing the worker after more and more steps, `by` more each time. Returns the number of kills.
pub async fn end_by_killing(world: &World, job: &str, by: usize) -> usize {
    let mut kills = 0;
    for wakes in (0..).step_by(by) {
        let killed = world.settle_killing_worker_after(wakes).await;
        let admin = world.admin().await;
        let status = admin.get(job).await.expect(200).body["status"].clone();
        if !killed && status == "succeeded" {
            break;
        }
        if status == "dead" {
            let why = admin.get(job).await.expect(200).body["lastError"].to_string();
            assert!(killed || why.contains("killed"), "it fails of its own, and would each time: {why}");
            admin.post(&format!("{job}/redrive"), json!({})).await.expect(200);
        }
        kills += usize::from(killed);
        world.advance(Duration::from_secs(361));
    }
    kills
}

#[tokio::test]
async fn an_import_whose_worker_is_killed_at_every_step_creates_each_record_once() {
    let mut world = World::new().await;
    world.work_in_slices_of(5);
    let admin = with_things(&world, &["things", "source"]).await;
    let own = admin.post(&path("source"), json!({ "title": "own", "note": "own" })).await.expect(201).body;
    let mut text: String = (0..12).map(|nth| format!("{{\"title\":\"{nth}\",\"note\":\"n{nth}\"}}\n")).collect();
    text.push_str(&format!("{own}\n{own}\n{{\"title\":1}}\n{{\"title\":\"last\"}}\n"));
    let job = import(&admin, "things", "ndjson", &text).await;
    let kills = end_by_killing(&world, &job, 1).await;
    assert!(kills > 5, "{kills}");
    let admin = world.admin().await;
    let imported = result(&admin, &job).await;
    assert_eq!((&imported["imported"], &imported["refused"]), (&json!(14), &json!(2)), "{imported}");
    let refused = lines(&file(&imported).await);
    assert_eq!(refused.iter().map(|it| it["line"].as_u64().unwrap()).max(), Some(15), "{refused:?}");
    let records = all(&admin, "things").await;
    assert_eq!(records.len(), 14);
    assert!(records.iter().all(|record| record["version"] == 1));
}

#[tokio::test]
async fn an_export_whose_worker_is_killed_at_every_step_has_each_record_once() {
    let mut world = World::new().await;
    world.work_in_slices_of(3);
    let admin = with_things(&world, &["things"]).await;
    let records = hard_ones(&world, &admin, "things").await;
    let job = export(&admin, "things", "ndjson").await;
    let kills = end_by_killing(&world, &job, 1).await;
    assert!(kills > 5, "{kills}");
    let exported = result(&world.admin().await, &job).await;
    assert_eq!(sorted(lines(&file(&exported).await)), records);
}

/// Completing the upload may be interrupted too.
#[tokio::test]
async fn an_export_of_several_parts_is_whole_though_its_worker_is_killed_again_and_again() {
    let mut world = World::new().await;
    world.work_in_slices_of(12);
    let admin = with_things(&world, &["things"]).await;
    let text: String = (0..27).map(|nth| format!("{{\"title\":\"{}\"}}\n", "x".repeat(330_000 + nth))).collect();
    let job = import(&admin, "things", "ndjson", &text).await;
    world.settle().await;
    assert_eq!(result(&admin, &job).await["imported"], 27);
    let records = all(&admin, "things").await;
    let job = export(&admin, "things", "ndjson").await;
    let kills = end_by_killing(&world, &job, 5).await;
    assert!(kills > 5, "{kills}");
    let exported = result(&world.admin().await, &job).await;
    let text = file(&exported).await;
    assert!(text.len() > 8 * 1024 * 1024 && exported["bytes"] == text.len());
    assert_eq!(sorted(lines(&text)), records);
}
