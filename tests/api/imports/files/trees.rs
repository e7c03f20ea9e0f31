//! Rows that point at rows of the same file are imported in any order.

use super::crashes::end_by_killing;
use super::{all, export, file, import, lasting, lines, path, result, sorted};
use crate::world::{Caller, World};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use undercroft::id;

/// Folders in folders, spread over so many shards.
async fn with_folders<'a>(world: &'a World, name: &str, shards: u8) -> Caller<'a> {
    let admin = world.admin().await;
    let parent = json!({ "type": "string", "relation": { "collection": name, "onDelete": "restrict" } });
    let properties = json!({ "title": { "type": "string" }, "parent": parent });
    let definition = json!({ "name": name, "shards": shards,
        "schema": { "type": "object", "additionalProperties": false, "properties": properties } });
    admin.put(&format!("/v1/collections/{name}"), definition).await.expect(201);
    admin
}

/// So many folders, each with up to three subfolders; every folder is after its parent in the file.
fn tree(world: &World, count: u32) -> Vec<Value> {
    let id = |nth: u32| id::numbered(world.now() - 1_000, "tree", nth);
    let folder = |nth: u32| match nth.checked_sub(1) {
        None => json!({ "id": id(nth), "title": "root" }),
        Some(before) => json!({ "id": id(nth), "title": nth.to_string(), "parent": id(before / 3) }),
    };
    (0..count).map(folder).collect()
}

fn text(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

#[tokio::test]
async fn children_are_imported_before_and_behind_their_parents() {
    let mut world = World::new().await;
    world.work_in_slices_of(50);
    let forwards = tree(&world, 200);
    let backwards: Vec<Value> = forwards.iter().rev().cloned().collect();
    let mixed: Vec<Value> = (0..200).map(|nth| forwards[nth * 77 % 200].clone()).collect();
    for (name, rows, most_passes) in [("forwards", forwards, 1), ("backwards", backwards, 2), ("mixed", mixed, 5)] {
        let admin = with_folders(&world, name, 1).await;
        let job = import(&admin, name, "ndjson", &text(&rows)).await;
        world.settle().await;
        let imported = result(&world.admin().await, &job).await;
        assert_eq!((&imported["imported"], &imported["refused"]), (&json!(200), &json!(0)), "{name}: {imported}");
        assert!(imported["passes"].as_u64().unwrap() <= most_passes, "{name}: {imported}");
        assert_eq!(all(&admin, name).await.len(), 200);
    }
}

#[tokio::test]
async fn rows_that_point_nowhere_or_at_each_other_are_refused_when_all_the_others_are_records() {
    let mut world = World::new().await;
    world.work_in_slices_of(4);
    let admin = with_folders(&world, "folders", 1).await;
    let mut rows: Vec<Value> = tree(&world, 12).into_iter().rev().collect();
    let ids: Vec<String> = (100..104).map(|nth| id::numbered(world.now() - 1_000, "tree", nth)).collect();
    // Line 13 points at nothing, 14 and 15 at each other, 16 at itself, 17 at what is no id.
    rows.extend([
        json!({ "id": ids[0], "parent": id::numbered(world.now(), "nobody", 1) }),
        json!({ "id": ids[1], "parent": ids[2] }),
        json!({ "id": ids[2], "parent": ids[1] }),
        json!({ "id": ids[3], "parent": ids[3] }),
        json!({ "parent": "nobody" }),
        json!({ "title": 1 }),
    ]);
    let job = import(&admin, "folders", "ndjson", &text(&rows)).await;
    world.settle().await;
    let imported = result(&admin, &job).await;
    assert_eq!((&imported["imported"], &imported["refused"]), (&json!(13), &json!(5)), "{imported}");
    let refused = lines(&file(&imported).await);
    let reported: BTreeSet<(u64, &str, &str)> = refused
        .iter()
        .map(|it| {
            let error = &it["errors"][0];
            (it["line"].as_u64().unwrap(), error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap())
        })
        .collect();
    let relation = [13, 14, 15, 17].map(|line| (line, "/parent", "relation"));
    assert_eq!(reported, relation.into_iter().chain([(18, "/title", "type")]).collect());
    assert_eq!(refused.len(), 5, "each once");
}

#[tokio::test]
async fn an_exported_tree_comes_back_whole_though_the_worker_is_killed_at_every_turn() {
    for format in ["ndjson", "csv"] {
        let mut world = World::new().await;
        world.work_in_slices_of(9);
        let admin = with_folders(&world, "folders", 4).await;
        let mut rows = tree(&world, 30);
        for row in &mut rows {
            let (path, row) =
                (format!("{}/{}", path("folders"), row["id"].as_str().unwrap()), row.as_object_mut().unwrap());
            row.remove("id");
            let put = admin.request(axum::http::Method::PUT, &path).header("if-none-match", "*");
            put.json(json!(row)).send().await.expect(201);
        }
        let job = export(&admin, "folders", format).await;
        world.settle().await;
        let text = file(&result(&admin, &job).await).await;
        let records = all(&admin, "folders").await;
        if format == "ndjson" {
            let order = lines(&text);
            assert_ne!(order, sorted(order.clone()), "by its shards, the file has parents behind children");
        }

        let admin = with_folders(&world, "copies", 1).await;
        let job = import(&admin, "copies", format, &text).await;
        let kills = end_by_killing(&world, &job, 2).await;
        assert!(kills > 5, "{kills}");
        let admin = world.admin().await;
        let imported = result(&admin, &job).await;
        assert_eq!((&imported["imported"], &imported["refused"]), (&json!(30), &json!(0)), "{imported}");
        let copies = all(&admin, "copies").await;
        assert_eq!(lasting(&copies), lasting(&records));
        assert!(copies.iter().all(|copy| copy["version"] == 1));
    }
}
