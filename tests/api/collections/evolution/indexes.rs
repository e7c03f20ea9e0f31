//! Indexes are built, changed and dropped during reads and writes.

use super::{DEFINITION, HEARD, SETTLED, filtered, ids, job_of, tasks_with, with_by_status, work};
use crate::imports::files;
use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::{World, tasks};
use serde_json::{Value, json};
use std::time::Duration;
use undercroft_local::Fault;

#[tokio::test]
async fn an_index_is_built_while_reads_and_writes_go_on() {
    let mut world = World::new().await;
    world.work_in_slices_of(3);
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let mut made = Vec::new();
    for nth in 0..10 {
        made.push(task(&ada, &format!("{nth}")).await);
    }
    assert_eq!(filtered(&admin, "status == 'open'").await.expect(422).code(), "index_required");
    let building = admin.put(DEFINITION, with_by_status()).await.expect(202).body;
    assert_eq!(
        (&building["status"], &building["indexes"][1]["ready"]),
        (&json!("building"), &json!(false)),
        "{building}"
    );
    assert_eq!(
        admin.put(DEFINITION, with_by_status()).await.expect(202).body,
        building,
        "the same again starts nothing"
    );

    // This writer uses the old definition and leaves the record out of the index.
    let unheard = task(&ada, "by a definition of before").await;
    world.advance(HEARD);
    let refused = filtered(&admin, "status == 'open'").await.expect(422);
    assert_eq!(refused.code(), "index_building", "{}", refused.text);
    admin.get(&format!("{TASKS}?scan=100&filter=status%20==%20'open'")).await.expect(200);
    assert_eq!(ids(&ada.get(TASKS).await.expect(200).body).len(), 11, "other lists go on");
    let heard = task(&ada, "by the new one").await;
    let changed = ada.patch(&path(&made[0]), json!({ "status": "done" })).await.expect(200).body;
    ada.delete(&path(&made[1])).await.expect(204);

    work(&world).await;
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!(
        (&ready["status"], &ready["indexes"][1]["ready"], ready.get("job")),
        (&json!("ready"), &json!(true), None)
    );
    let job = job_of(&admin, &building).await;
    assert_eq!((&job["status"], &job["result"]["checked"]), (&json!("succeeded"), &json!(12)), "{job}");
    assert_eq!((&job["result"]["disagree"]["count"], job.get("progress")), (&json!(0), None), "{job}");
    world.advance(HEARD);
    let open = filtered(&admin, "status == 'open'").await.expect(200).body;
    let mut expected: Vec<&Value> = made[2..].iter().chain([&unheard, &heard]).collect();
    expected.sort_by_key(|record| record["id"].as_str());
    assert_eq!(ids(&open), expected.iter().map(|record| record["id"].as_str().unwrap()).collect::<Vec<_>>());
    for record in open["items"].as_array().unwrap() {
        assert!(expected.contains(&record), "a build changes neither version nor time: {record}");
    }
    assert_eq!(filtered(&admin, "status == 'done'").await.expect(200).body["items"], json!([changed]));
}

#[tokio::test]
async fn an_index_build_does_not_skip_a_record_under_constant_writes() {
    for is_first in [true, false] {
        let world = World::new().await;
        with_tasks(&world).await;
        let (admin, ada) = (world.admin().await, world.user("ada").await);
        if !is_first {
            // What is left of a deleted record needs no write.
            ada.delete(&path(&task(&ada, "gone").await)).await.expect(204);
            world.advance(Duration::from_secs(1));
        }
        let hot = task(&ada, "hot").await;
        let building = admin.put(DEFINITION, with_by_status()).await.expect(202).body;
        world.settle().await;
        world.advance(SETTLED);
        // The first update starts the job, and each of the next eight conflicts with another write.
        (2..10).for_each(|nth| world.cloud.faults().on("UpdateItem", nth, Fault::Overtaken));
        world.cloud.pump(world.functions()).await.unwrap();
        assert_eq!(world.cloud.faults().clear(), 0);
        let waiting = job_of(&admin, &building).await;
        let status = if is_first { "retrying" } else { "queued" };
        assert_eq!((&waiting["status"], &waiting["result"]), (&json!(status), &Value::Null), "{waiting}");
        work(&world).await;
        let job = job_of(&admin, &building).await;
        let checked = if is_first { 1 } else { 2 };
        assert_eq!((&job["status"], &job["result"]["checked"]), (&json!("succeeded"), &json!(checked)), "{job}");
        assert_eq!(filtered(&admin, "status == 'open'").await.expect(200).body["items"], json!([hot]));
    }
}

#[tokio::test]
async fn a_dropped_index_serves_no_query_at_once_and_its_entries_are_cleared_later() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let record = task(&ada, "kept").await;
    admin.put(DEFINITION, with_by_status()).await.expect(202);
    work(&world).await;
    let slots = async || {
        let dump = world.dump("RecordsTable").await;
        let item = dump.as_array().unwrap().iter().find(|item| item["sk"]["S"] == record["id"]).unwrap().clone();
        ["ix1p", "ix1s", "ix2p", "ix2s"].map(|name| item.get(name).is_some())
    };
    assert_eq!(slots().await, [true; 4]);
    let dropped = admin.put(DEFINITION, tasks()).await.expect(202).body;
    assert_eq!((&dropped["status"], dropped["indexes"].as_array().unwrap().len()), (&json!("ready"), 1));
    world.advance(HEARD);
    assert_eq!(filtered(&admin, "status == 'open'").await.expect(422).code(), "index_required");
    work(&world).await;
    assert_eq!(slots().await, [true; 4], "until now a function may have read it");
    work(&world).await;
    assert_eq!(slots().await, [true, true, false, false]);
    assert_eq!(job_of(&world.admin().await, &dropped).await["result"]["checked"], 1, "records are read once");
    assert_eq!(ada.get(TASKS).await.expect(200).body["items"], json!([record]));
}

#[tokio::test]
async fn a_list_through_an_index_that_another_function_knows_as_dropped_misses_no_record() {
    let world = World::new().await;
    with_tasks(&world).await;
    let admin = world.admin().await;
    admin.put(DEFINITION, with_by_status()).await.expect(202);
    work(&world).await;
    let admin = world.admin().await;
    let open = async || ids(&filtered(&admin, "status == 'open'").await.expect(200).body).len();
    assert_eq!(open().await, 0);
    let dropped = admin.put(DEFINITION, tasks()).await.expect(202).body;
    // The worker reads the definition anew, and `records` remembers the previous one.
    files::import(&admin, "tasks", "ndjson", r#"{"title":"imported"}"#).await;
    world.settle().await;
    assert_eq!(open().await, 1);
    world.advance(HEARD);
    assert_eq!(filtered(&admin, "status == 'open'").await.expect(422).code(), "index_required");
    work(&world).await;
    work(&world).await;
    assert_eq!(job_of(&world.admin().await, &dropped).await["status"], "succeeded");
}

#[tokio::test]
async fn a_changed_index_serves_its_old_form_until_it_is_rebuilt() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let mut expected = Vec::new();
    for (nth, priority) in [3, 1, 2].into_iter().enumerate() {
        let body = json!({ "title": format!("{nth}"), "owner": ada.id(), "priority": priority });
        expected.push(ada.post(TASKS, body).await.expect(201).body);
    }
    let changed = tasks_with(json!({ "indexes": [{ "name": "mine", "partition": ["owner"], "sort": ["-priority"] }] }));
    let building = admin.put(DEFINITION, changed.clone()).await.expect(202).body;
    assert_eq!(building["indexes"].as_array().unwrap().len(), 1, "{building}");
    world.advance(HEARD);
    let during = ada.post(TASKS, json!({ "title": "during", "owner": ada.id(), "priority": 0 })).await.expect(201).body;
    expected.push(during);
    expected.sort_by_key(|task| std::cmp::Reverse(task["priority"].as_u64()));
    // The rule lists by owner, and the old index still serves it, in its own order.
    let listed = ada.get(&format!("{TASKS}?sort=status,-priority")).await.expect(200).body;
    assert_eq!(listed["items"], json!(expected));
    assert_eq!(ada.get(&format!("{TASKS}?sort=-priority")).await.expect(422).code(), "index_building");
    work(&world).await;
    world.advance(HEARD);
    assert_eq!(ada.get(&format!("{TASKS}?sort=-priority")).await.expect(200).body["items"], json!(expected));
    assert_eq!(ada.get(&format!("{TASKS}?sort=status,-priority")).await.expect(422).code(), "index_required");
    assert_eq!(admin.put(DEFINITION, changed).await.expect(200).body["status"], "ready");
    work(&world).await;
    work(&world).await;
    assert_eq!(job_of(&world.admin().await, &building).await["status"], "succeeded");
    let dump = world.dump("RecordsTable").await;
    let left = dump.as_array().unwrap().iter().filter(|item| item.get("d").is_some() && item.get("ix1p").is_some());
    assert_eq!(left.count(), 0, "the entries of the old index are cleared");
}

#[tokio::test]
async fn a_changed_index_that_records_do_not_fit_serves_its_old_form() {
    let world = World::new().await;
    let admin = world.admin().await;
    let notes = |sort: Value| {
        json!({ "name": "notes", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "text": { "type": "string" }, "kind": { "type": "string" } } },
        "indexes": [{ "name": "by_kind", "partition": ["kind"], "sort": sort }] })
    };
    admin.put("/v1/collections/notes", notes(json!([]))).await.expect(201);
    let long = admin
        .post("/v1/collections/notes/records", json!({ "text": "x".repeat(2_000), "kind": "k" }))
        .await
        .expect(201)
        .body;
    let building = admin.put("/v1/collections/notes", notes(json!(["text"]))).await.expect(202).body;
    work(&world).await;
    let job = job_of(&admin, &building).await;
    assert_eq!((&job["status"], &job["progress"]["refused"]["indexes"]), (&json!("dead"), &json!(["by_kind"])));
    let blocked = admin.get("/v1/collections/notes").await.expect(200).body;
    assert_eq!((&blocked["status"], &blocked["indexes"][0]["ready"]), (&json!("blocked"), &json!(false)));
    world.advance(HEARD);
    let listed = admin.get("/v1/collections/notes/records?filter=kind%20==%20'k'").await.expect(200).body;
    assert_eq!(listed["items"], json!([long]));
}

#[tokio::test]
async fn a_later_change_overtakes_a_build_and_a_change_of_rules_does_not() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    task(&ada, "one").await;
    let first = admin.put(DEFINITION, with_by_status()).await.expect(202).body;
    let mut ruled = with_by_status();
    ruled["rules"]["delete"] = json!("false");
    let second = admin.put(DEFINITION, ruled.clone()).await.expect(202).body;
    assert_eq!((&second["job"], &second["status"]), (&first["job"], &json!("building")));
    let mut sorted = ruled;
    sorted["indexes"][1]["sort"] = json!(["title"]);
    let third = admin.put(DEFINITION, sorted).await.expect(202).body;
    assert_ne!(third["job"], first["job"]);
    work(&world).await;
    assert_eq!(job_of(&admin, &first).await["result"], json!({ "superseded": true }));
    assert_eq!(job_of(&admin, &third).await["result"]["checked"], 1);
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&ready["status"], &ready["indexes"][1]["sort"]), (&json!("ready"), &json!(["title"])));
}

#[tokio::test]
async fn an_index_with_a_too_long_key_waits_and_its_job_names_the_record() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut notes = json!({ "name": "notes", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "text": { "type": "string" }, "kind": { "type": "string" } } } });
    admin.put("/v1/collections/notes", notes.clone()).await.expect(201);
    let long = admin
        .post("/v1/collections/notes/records", json!({ "text": "x".repeat(2_000), "kind": "k" }))
        .await
        .expect(201)
        .body;
    world.advance(Duration::from_secs(1));
    let short = admin.post("/v1/collections/notes/records", json!({ "text": "x", "kind": "k" })).await.expect(201).body;
    notes["indexes"] =
        json!([{ "name": "by_text", "partition": [], "sort": ["text"] }, { "name": "by_kind", "partition": ["kind"] }]);
    let building = admin.put("/v1/collections/notes", notes).await.expect(202).body;
    work(&world).await;
    let result = job_of(&admin, &building).await["progress"].clone();
    assert_eq!(result["refused"]["indexes"], json!(["by_text"]), "{result}");
    assert_eq!(
        (&result["disagree"]["count"], &result["disagree"]["first"][0]["id"]),
        (&json!(1), &long["id"]),
        "{result}"
    );
    let ready = admin.get("/v1/collections/notes").await.expect(200).body;
    let shown: Vec<_> = ready["indexes"].as_array().unwrap().iter().map(|one| (&one["name"], &one["ready"])).collect();
    assert_eq!(shown, [(&json!("by_text"), &json!(false)), (&json!("by_kind"), &json!(true))]);
    world.advance(HEARD);
    let listed = admin.get("/v1/collections/notes/records?filter=kind%20==%20'k'").await.expect(200).body;
    assert_eq!(listed["items"], json!([long, short]), "the other index has both");
}
