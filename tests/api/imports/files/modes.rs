//! Imports that replace or merge: into which record a row goes, and that the last of several rows stays.

use super::crashes::end_by_killing;
use super::{all, export, file, import_as, lasting, lines, path, result, with_things};
use crate::world::World;
use serde_json::{Value, json};

fn rows(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

#[tokio::test]
async fn an_export_is_restored_after_changes_and_deletions() {
    let world = World::new().await;
    let admin = with_things(&world, &["things"]).await;
    let mut ids = Vec::new();
    for title in ["kept", "changed", "deleted"] {
        let body = json!({ "title": title, "note": title, "secret": title });
        ids.push(admin.post(&path("things"), body).await.expect(201).body["id"].as_str().unwrap().to_owned());
    }
    let job = export(&admin, "things", "ndjson").await;
    world.settle().await;
    let (before, text) = (all(&admin, "things").await, file(&result(&admin, &job).await).await);
    let at = |nth: usize| format!("{}/{}", path("things"), ids[nth]);
    admin.patch(&at(1), json!({ "title": "other", "note": "free", "amount": 1 })).await.expect(200);
    admin.delete(&at(2)).await.expect(204);
    let added = admin.post(&path("things"), json!({ "title": "added" })).await.expect(201).body;
    for format in ["first", "again"] {
        let job = import_as(&admin, "things", "ndjson", &text, json!({ "mode": "replace" })).await;
        world.settle().await;
        let done = result(&admin, &job).await;
        assert_eq!((&done["imported"], &done["refused"]), (&json!(3), &json!(0)), "{format}: {done}");
        let mut after = all(&admin, "things").await;
        after.retain(|record| record["id"] != added["id"]);
        assert_eq!(lasting(&after), lasting(&before), "{format}");
    }
    let back = admin.get(&at(2)).await.expect(200).body;
    assert_eq!(back["version"], 4, "made, deleted, brought back, replaced");
    assert_eq!(all(&admin, "things").await.len(), 4, "a record that is not in the file stays");
    // In the mode of a create they are there already.
    let job = import_as(&admin, "things", "ndjson", &text, json!({})).await;
    world.settle().await;
    assert_eq!(result(&admin, &job).await["refused"], 3);
}

#[tokio::test]
async fn a_merged_row_changes_what_it_names() {
    let world = World::new().await;
    let admin = with_things(&world, &["things"]).await;
    let there = json!({ "title": "t", "note": "n", "amount": 1, "tags": ["a"], "place": { "city": "x" } });
    let at = admin.post(&path("things"), there).await.expect(201).header("location").to_owned();
    let foreign = undercroft::id::new(&undercroft::clock::Clock::default());
    let text = rows(&[
        json!({ "note": "n", "amount": 2, "tags": null, "id": foreign, "version": 9 }),
        json!({ "note": "new", "title": "made", "tags": null }),
        json!({ "note": "lacks a title" }),
        json!({ "title": "lacks a note" }),
        json!({ "note": "n", "amount": "2" }),
    ]);
    let with = json!({ "mode": "merge", "unique": "note" });
    let job = import_as(&admin, "things", "ndjson", &text, with.clone()).await;
    world.settle().await;
    let done = result(&admin, &job).await;
    assert_eq!(done["imported"], 2, "{done}");
    let refused: Vec<(u64, &str, &str)> = done["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let error = &row["errors"][0];
            (row["line"].as_u64().unwrap(), error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap())
        })
        .collect();
    assert_eq!(refused, [(3, "/title", "required"), (4, "/note", "required"), (5, "/amount", "type")]);
    let merged = admin.get(&at).await.expect(200).body;
    assert_eq!(
        (&merged["title"], &merged["amount"], &merged["place"]),
        (&json!("t"), &json!(2), &json!({ "city": "x" }))
    );
    assert_eq!((merged.get("tags"), &merged["version"]), (None, &json!(2)));
    assert_eq!(all(&admin, "things").await.len(), 2);
    // The same by CSV, where an empty cell is an absent field.
    let job = import_as(&admin, "things", "csv", "note,amount,title\nn,3,\ncsv,4,new\n", with).await;
    world.settle().await;
    assert_eq!(result(&admin, &job).await["imported"], 2);
    let merged = admin.get(&at).await.expect(200).body;
    assert_eq!((&merged["title"], &merged["amount"]), (&json!("t"), &json!(3)));
}

/// Case A29: the same key on two lines.
#[tokio::test]
async fn of_rows_with_one_key_the_last_stays_in_any_slices() {
    for (slice, mode) in [(7, "replace"), (1_000, "merge")] {
        let mut world = World::new().await;
        world.work_in_slices_of(slice);
        let admin = with_things(&world, &["things"]).await;
        let key = |nth: usize| if [2, 3, 4, 90].contains(&nth) { "same".to_owned() } else { format!("n{nth}") };
        let row = |nth: usize| json!({ "title": nth.to_string(), "note": key(nth), "amount": nth });
        let text = rows(&(0..100).map(row).collect::<Vec<_>>());
        let job = import_as(&admin, "things", "ndjson", &text, json!({ "mode": mode, "unique": "note" })).await;
        world.settle().await;
        let done = result(&admin, &job).await;
        assert_eq!((&done["imported"], &done["refused"]), (&json!(100), &json!(0)), "{slice}: {done}");
        let records = all(&admin, "things").await;
        assert_eq!(records.len(), 97, "{slice}");
        let same: Vec<&Value> = records.iter().filter(|record| record["note"] == "same").collect();
        assert_eq!((same.len(), &same[0]["amount"]), (1, &json!(90)), "{slice}");
    }
}

/// Each row of a merge counts, in the order of the lines.
#[tokio::test]
async fn rows_for_one_record_are_merged_in_order_or_refused_by_line() {
    let mut world = World::new().await;
    let admin = with_things(&world, &["things"]).await;
    let row = |nth: usize| match nth % 2 {
        0 => json!({ "note": "same", "amount": nth, "title": "even" }),
        _ => json!({ "note": "same", "title": nth.to_string(), "tags": [nth.to_string()] }),
    };
    let text = rows(&(0..30).map(row).collect::<Vec<_>>());
    let job = import_as(&admin, "things", "ndjson", &text, json!({ "mode": "merge", "unique": "note" })).await;
    world.settle().await;
    assert_eq!(result(&admin, &job).await["imported"], 30);
    let merged = all(&admin, "things").await;
    assert_eq!((merged.len(), &merged[0]["title"], &merged[0]["amount"]), (1, &json!("29"), &json!(28)));
    assert_eq!(merged[0]["version"], 30, "none was left out");
    // A row that waits for the record of a much later one is overtaken by another row for its own record.
    world.work_in_slices_of(2);
    let admin = world.admin().await;
    let text = json!({ "type": "string" });
    let parts = json!({ "name": "parts", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "name": text, "note": text, "parent": { "type": "string", "relation": { "collection": "parts" } } } } });
    admin.put("/v1/collections/parts", parts).await.expect(201);
    let [part, parent] = [0, 1].map(|_| undercroft::id::new(&undercroft::clock::Clock::default()));
    let text = rows(&[
        json!({ "id": part, "name": "first", "parent": parent }),
        json!({ "id": part, "note": "second" }),
        json!({ "id": parent }),
    ]);
    for (mode, refused) in [("merge", 1), ("replace", 0)] {
        let job = import_as(&admin, "parts", "ndjson", &text, json!({ "mode": mode })).await;
        world.settle().await;
        let done = result(&admin, &job).await;
        assert_eq!(done["refused"], refused, "{mode}: {done}");
        let stored = admin.get(&format!("{}/{part}", path("parts"))).await.expect(200).body;
        assert_eq!((stored.get("name"), &stored["note"]), (None, &json!("second")), "{mode}");
        if mode == "merge" {
            let error = &done["errors"][0];
            assert_eq!((&error["line"], &error["errors"][0]["code"]), (&json!(1), &json!("overtaken")), "{done}");
            admin.delete(&format!("{}/{part}", path("parts"))).await.expect(204);
            admin.delete(&format!("{}/{parent}", path("parts"))).await.expect(204);
        }
    }
}

#[tokio::test]
async fn an_import_that_is_killed_at_every_step_ends_as_one_that_is_not() {
    let mut world = World::new().await;
    world.work_in_slices_of(5);
    let admin = with_things(&world, &["things"]).await;
    admin.post(&path("things"), json!({ "title": "there", "note": "same", "done": true })).await.expect(201);
    let key = |nth: usize| if nth.is_multiple_of(4) { "same".to_owned() } else { format!("n{nth}") };
    let row = |nth: usize| json!({ "title": nth.to_string(), "note": key(nth) });
    let text = rows(&(0..14).map(row).collect::<Vec<_>>());
    let job = import_as(&admin, "things", "ndjson", &text, json!({ "mode": "merge", "unique": "note" })).await;
    let kills = end_by_killing(&world, &job, 1).await;
    assert!(kills > 5, "{kills}");
    let admin = world.admin().await;
    let done = result(&admin, &job).await;
    assert_eq!((&done["imported"], &done["refused"]), (&json!(14), &json!(0)), "{done}");
    let records = all(&admin, "things").await;
    assert_eq!(records.len(), 11);
    let same = records.iter().find(|record| record["note"] == "same").unwrap();
    assert_eq!((&same["title"], &same["done"]), (&json!("12"), &json!(true)));
    assert!(records.iter().filter(|record| record["note"] != "same").all(|record| record["version"] == 1));
}

#[tokio::test]
async fn a_mode_that_cannot_work_is_refused() {
    let world = World::new().await;
    let admin = with_things(&world, &["things"]).await;
    for (with, pointer, code) in [
        (json!({ "mode": "upsert" }), "/payload/mode", "enum"),
        (json!({ "mode": null }), "/payload/mode", "enum"),
        (json!({ "unique": "note" }), "/payload/unique", "unexpected"),
        (json!({ "mode": "create", "unique": "note" }), "/payload/unique", "unexpected"),
        (json!({ "mode": "merge", "unique": ["note"] }), "/payload/unique", "type"),
        (json!({ "mode": "merge", "unique": "" }), "/payload/unique", "type"),
    ] {
        let mut payload = json!({ "collection": "things", "format": "csv", "key": "uploads/01900000-0000-7000-8000-000000000001.csv" });
        payload.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        let job = json!({ "type": "records.import", "payload": payload });
        let refused = admin.post("/v1/jobs", job).await.expect(400);
        assert_eq!(
            (&refused.body["errors"][0]["pointer"], &refused.body["errors"][0]["code"]),
            (&json!(pointer), &json!(code)),
            "{with}"
        );
    }
    let job = import_as(&admin, "things", "ndjson", "{}\n", json!({ "mode": "merge", "unique": "title" })).await;
    world.settle().await;
    let dead = admin.get(&job).await.expect(200).body;
    assert_eq!(dead["status"], "dead");
    assert!(dead["lastError"].to_string().contains("no unique constraint over `title`"), "{dead}");
    // An id that is none is refused by its line.
    let job = import_as(
        &admin,
        "things",
        "ndjson",
        "{\"id\":1,\"title\":\"t\"}\n{\"title\":\"t\"}\n",
        json!({ "mode": "replace" }),
    )
    .await;
    world.settle().await;
    let done = result(&admin, &job).await;
    assert_eq!((&done["imported"], &lines(&file(&done).await)[0]["errors"][0]["code"]), (&json!(1), &json!("id")));
}
