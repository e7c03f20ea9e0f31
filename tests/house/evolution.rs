//! Definitions that change while records are read and written: what is in force when, and what no change loses.

use crate::data::{TASKS, path, task, with_tasks};
use crate::world::{Answer, Caller, World, tasks};
use serde_json::{Value, json};
use std::time::Duration;

const DEFINITION: &str = "/v1/collections/tasks";
/// Longer than a definition may be acted upon after it was read.
const HEARD: Duration = Duration::from_secs(6);
/// Longer than any function may still write by the definition of before.
const SETTLED: Duration = Duration::from_secs(14);

/// The design's example with members of the definition replaced.
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

/// Relays what was asked for, waits until no function writes the old way, and lets the job work until it is done.
async fn work(world: &World) {
    world.settle().await;
    world.advance(SETTLED);
    world.settle().await;
}

async fn job_of(admin: &Caller<'_>, definition: &Value) -> Value {
    admin.get(&format!("/v1/jobs/{}", definition["job"].as_str().unwrap())).await.expect(200).body
}

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
    let building = admin.put(DEFINITION, with_by_status()).await.expect(200).body;
    assert_eq!(
        (&building["status"], &building["indexes"][1]["ready"]),
        (&json!("building"), &json!(false)),
        "{building}"
    );
    assert_eq!(
        admin.put(DEFINITION, with_by_status()).await.expect(200).body,
        building,
        "the same again starts nothing"
    );

    // This writer has not heard: it leaves the record out of the index.
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
    assert_eq!(job["progress"]["disagree"]["count"], 0);
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
async fn a_build_whose_worker_is_killed_at_every_turn_ends_as_if_nothing_had_happened() {
    let mut world = World::new().await;
    world.work_in_slices_of(5);
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    for nth in 0..12 {
        task(&ada, &format!("{nth}")).await;
    }
    let building = world.admin().await.put(DEFINITION, with_by_status()).await.expect(200).body;
    world.settle().await;
    world.advance(SETTLED);
    let mut kills = 0;
    for wakes in 0.. {
        let killed = world.settle_killing_worker_after(wakes).await;
        let job = job_of(&world.admin().await, &building).await;
        if !killed && job["status"] == "succeeded" {
            assert_eq!(job["result"]["checked"], 12, "none twice, none left out: {job}");
            break;
        }
        assert_ne!(job["status"], "dead", "{job}");
        kills += usize::from(killed);
        world.advance(Duration::from_secs(361));
    }
    assert!(kills > 5, "{kills}");
    let admin = world.admin().await;
    assert_eq!(admin.get(DEFINITION).await.expect(200).body["status"], "ready");
    assert_eq!(ids(&filtered(&admin, "status == 'open'").await.expect(200).body).len(), 12);
}

#[tokio::test]
async fn a_dropped_index_is_gone_at_once_and_its_entries_soon() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let record = task(&ada, "kept").await;
    admin.put(DEFINITION, with_by_status()).await.expect(200);
    work(&world).await;
    let slots = async || {
        let dump = world.dump("RecordsTable").await;
        let item = dump.as_array().unwrap().iter().find(|item| item["sk"]["S"] == record["id"]).unwrap().clone();
        ["ix1p", "ix1s", "ix2p", "ix2s"].map(|name| item.get(name).is_some())
    };
    assert_eq!(slots().await, [true; 4]);
    let dropped = admin.put(DEFINITION, tasks()).await.expect(200).body;
    assert_eq!((&dropped["status"], dropped["indexes"].as_array().unwrap().len()), (&json!("ready"), 1));
    world.advance(HEARD);
    assert_eq!(filtered(&admin, "status == 'open'").await.expect(422).code(), "index_required");
    work(&world).await;
    assert_eq!(slots().await, [true, true, false, false]);
    assert_eq!(ada.get(TASKS).await.expect(200).body["items"], json!([record]));
}

#[tokio::test]
async fn a_later_change_overtakes_a_build_and_a_change_of_rules_does_not() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    task(&ada, "one").await;
    let first = admin.put(DEFINITION, with_by_status()).await.expect(200).body;
    let mut ruled = with_by_status();
    ruled["rules"]["delete"] = json!("false");
    let second = admin.put(DEFINITION, ruled.clone()).await.expect(200).body;
    assert_eq!((&second["job"], &second["status"]), (&first["job"], &json!("building")));
    let mut sorted = ruled;
    sorted["indexes"][1]["sort"] = json!(["title"]);
    let third = admin.put(DEFINITION, sorted).await.expect(200).body;
    assert_ne!(third["job"], first["job"]);
    work(&world).await;
    assert_eq!(job_of(&admin, &first).await["result"], json!({ "superseded": true }));
    assert_eq!(job_of(&admin, &third).await["result"]["checked"], 1);
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&ready["status"], &ready["indexes"][1]["sort"]), (&json!("ready"), &json!(["title"])));
}

#[tokio::test]
async fn an_index_whose_key_a_record_is_too_long_for_is_taken_back_and_the_record_named() {
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
    let short = admin.post("/v1/collections/notes/records", json!({ "text": "x", "kind": "k" })).await.expect(201).body;
    notes["indexes"] =
        json!([{ "name": "by_text", "partition": [], "sort": ["text"] }, { "name": "by_kind", "partition": ["kind"] }]);
    let building = admin.put("/v1/collections/notes", notes).await.expect(200).body;
    work(&world).await;
    let result = job_of(&admin, &building).await["result"].clone();
    assert_eq!(result["refused"]["indexes"], json!(["by_text"]), "{result}");
    assert_eq!(
        (&result["disagree"]["count"], &result["disagree"]["first"][0]["id"]),
        (&json!(1), &long["id"]),
        "{result}"
    );
    let ready = admin.get("/v1/collections/notes").await.expect(200).body;
    assert_eq!(ready["indexes"], json!([{ "name": "by_kind", "partition": ["kind"], "sort": [], "ready": true }]));
    world.advance(HEARD);
    let listed = admin.get("/v1/collections/notes/records?filter=kind%20==%20'k'").await.expect(200).body;
    assert_eq!(listed["items"], json!([long, short]), "the other index has both");
}

#[tokio::test]
async fn what_only_allows_more_is_in_force_at_once() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    task(&ada, "one").await;
    let mut wider = with_title_of(300);
    wider["schema"]["properties"]["status"]["enum"] = json!(["open", "done", "late"]);
    wider["schema"]["properties"]["note"] = json!({ "type": "string" });
    let put = admin.put(DEFINITION, wider).await.expect(200).body;
    assert_eq!((&put["status"], put.get("job")), (&json!("ready"), None));
    world.advance(HEARD);
    ada.post(TASKS, json!({ "title": "x".repeat(300), "owner": ada.id(), "status": "late", "note": "n" }))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_narrower_schema_waits_until_every_record_fits_it() {
    let mut world = World::new().await;
    world.work_in_slices_of(2);
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let record = task(&ada, "short").await;
    for nth in 0..4 {
        task(&ada, &format!("{nth}")).await;
    }
    let mut narrower = with_title_of(10);
    narrower["schema"]["properties"]["note"] = json!({ "type": "string" });
    narrower["indexes"] = json!([tasks()["indexes"][0], { "name": "by_note", "partition": ["note"] }]);
    let waiting = admin.put(DEFINITION, narrower.clone()).await.expect(202).body;
    assert_eq!((&waiting["status"], &waiting["schema"]), (&json!("narrowing"), &tasks()["schema"]), "{waiting}");
    assert_eq!(waiting["next"]["schema"], narrower["schema"]);
    assert_eq!(
        admin.put(DEFINITION, narrower.clone()).await.expect(200).body,
        waiting,
        "the same again starts nothing"
    );
    world.advance(HEARD);
    // Until then both hold.
    let eleven = json!({ "title": "x".repeat(11), "owner": ada.id() });
    let refused = ada.post(TASKS, eleven.clone()).await.expect(400);
    assert!(
        refused.body["errors"][0]["message"].as_str().unwrap().contains("about to come into force"),
        "{}",
        refused.text
    );
    ada.patch(&path(&record), json!({ "title": "x".repeat(11) })).await.expect(400);
    ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "note": "n" })).await.expect(400);
    ada.patch(&path(&record), json!({ "title": "shorter" })).await.expect(200);

    work(&world).await;
    let taken = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!(
        (&taken["schema"], taken.get("next"), &taken["status"]),
        (&narrower["schema"], None, &json!("building"))
    );
    assert_eq!(taken["job"], waiting["job"], "the same job builds the index that came with it");
    world.advance(SETTLED);
    world.settle().await;
    assert_eq!(admin.get(DEFINITION).await.expect(200).body["status"], "ready");
    assert_eq!(job_of(&admin, &waiting).await["status"], "succeeded");
    world.advance(HEARD);
    ada.post(TASKS, eleven).await.expect(400);
    let noted = ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "note": "n" })).await.expect(201).body;
    assert_eq!(filtered(&admin, "note == 'n'").await.expect(200).body["items"], json!([noted]));
}

#[tokio::test]
async fn a_narrower_schema_that_records_disagree_with_is_refused_and_names_them() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let mut long = Vec::new();
    for nth in 0..25 {
        long.push(task(&ada, &format!("a title of some length {nth}")).await["id"].clone());
        task(&ada, "short").await;
    }
    long.sort_by_key(|id| id.as_str().map(str::to_owned));
    let before = admin.get(DEFINITION).await.expect(200).body;
    let dry = admin.put(&format!("{DEFINITION}?dryRun=true"), with_title_of(10)).await.expect(200).body;
    let waiting = admin.put(DEFINITION, with_title_of(10)).await.expect(202).body;
    work(&world).await;
    let after = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&after["schema"], &after["status"], after.get("next")), (&before["schema"], &json!("ready"), None));
    let job = job_of(&admin, &waiting).await;
    assert_eq!(job["type"], "records.check");
    let disagree = &job["result"]["disagree"];
    assert_eq!((&disagree["count"], &job["result"]["checked"]), (&json!(25), &json!(50)), "{job}");
    let first: Vec<&Value> = disagree["first"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(first, long.iter().take(20).collect::<Vec<_>>());
    assert_eq!(disagree["first"][0]["errors"][0]["pointer"], "/title");
    assert_eq!(dry["disagree"]["first"], disagree["first"], "a dry run says the same beforehand");
    world.advance(HEARD);
    task(&ada, "as long as ever").await;
}

#[tokio::test]
async fn a_narrower_schema_can_be_withdrawn_while_it_waits() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let waiting = admin.put(DEFINITION, with_title_of(10)).await.expect(202).body;
    let back = admin.put(DEFINITION, tasks()).await.expect(200).body;
    assert_eq!((&back["status"], back.get("next")), (&json!("ready"), None));
    world.advance(HEARD);
    task(&ada, "a title of some length").await;
    work(&world).await;
    assert_eq!(job_of(&admin, &waiting).await["result"], json!({ "superseded": true }));
    assert_eq!(admin.get(DEFINITION).await.expect(200).body["schema"], tasks()["schema"]);
}

#[tokio::test]
async fn a_time_that_was_text_must_be_in_the_form_in_which_times_compare() {
    let world = World::new().await;
    let admin = world.admin().await;
    let body = |property: Value| json!({ "name": "events", "schema": { "type": "object", "additionalProperties": false, "properties": { "at": property } } });
    admin.put("/v1/collections/events", body(json!({ "type": "string" }))).await.expect(201);
    let made =
        admin.post("/v1/collections/events/records", json!({ "at": "2026-03-01T12:00:00+01:00" })).await.expect(201);
    let times = body(json!({ "type": "string", "format": "date-time" }));
    let waiting = admin.put("/v1/collections/events", times.clone()).await.expect(202).body;
    world.advance(HEARD);
    work(&world).await;
    assert_eq!(job_of(&admin, &waiting).await["result"]["disagree"]["count"], 1);
    // Written anew while the times are to come, it is brought into their form.
    admin.put("/v1/collections/events", times).await.expect(202);
    world.advance(HEARD);
    let written =
        admin.patch(made.header("location"), json!({ "at": "2026-03-01T12:00:00+01:00" })).await.expect(200).body;
    assert_eq!(written["at"], "2026-03-01T11:00:00.000Z");
    work(&world).await;
    assert_eq!(
        admin.get("/v1/collections/events").await.expect(200).body["schema"]["properties"]["at"]["format"],
        "date-time"
    );
}

#[tokio::test]
async fn a_unique_constraint_on_a_filled_collection_holds_or_is_taken_back() {
    let world = World::new().await;
    let free = tasks_with(json!({ "unique": [] }));
    let admin = world.admin().await;
    admin.put(DEFINITION, free.clone()).await.expect(201);
    let ada = world.user("ada").await;
    let slugged = async |slug: &str| ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "slug": slug })).await;
    let (one, _two) = (slugged("one").await.expect(201).body, slugged("two").await.expect(201));
    world.advance(Duration::from_secs(1));
    let again = slugged("one").await.expect(201).body;
    let dry = admin.put(&format!("{DEFINITION}?dryRun=true"), tasks()).await.expect(200).body;
    assert_eq!((&dry["effect"], &dry["disagree"]["first"][0]["id"]), (&json!("refused"), &again["id"]), "{dry}");
    let claiming = admin.put(DEFINITION, tasks()).await.expect(200).body;
    assert_eq!(claiming["status"], "narrowing");
    world.advance(HEARD);
    slugged("three").await.expect(201);
    assert_eq!(slugged("three").await.expect(409).code(), "not_unique", "writers keep it already");
    work(&world).await;
    let result = job_of(&admin, &claiming).await["result"].clone();
    assert_eq!(
        (&result["disagree"]["count"], &result["refused"]["unique"]),
        (&json!(1), &json!([["slug"]])),
        "{result}"
    );
    assert_eq!(result["disagree"]["first"][0]["errors"][0]["code"], "not_unique");
    assert_eq!(admin.get(DEFINITION).await.expect(200).body["unique"], json!([]));
    world.advance(HEARD);
    let third = slugged("one").await.expect(201).body;

    // Without the doubles it holds, for what was there before as well.
    let admin = world.admin().await;
    ada.delete(&path(&again)).await.expect(204);
    ada.patch(&path(&third), json!({ "slug": "four" })).await.expect(200);
    admin.put(DEFINITION, tasks()).await.expect(200);
    work(&world).await;
    let taken = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&taken["unique"], &taken["status"]), (&json!([["slug"]]), &json!("ready")));
    world.advance(HEARD);
    for slug in ["one", "two", "three", "four"] {
        slugged(slug).await.expect(409);
    }
    ada.delete(&path(&one)).await.expect(204);
    slugged("one").await.expect(201);
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
async fn a_dry_run_says_what_a_put_would_do_and_writes_nothing() {
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
async fn a_collection_that_holds_records_goes_with_them_only_when_told_to() {
    let mut world = World::new().await;
    world.work_in_slices_of(2);
    admin_makes_sharded(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    for nth in 0..5 {
        ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "slug": format!("s{nth}") })).await.expect(201);
    }
    assert_eq!(admin.delete(DEFINITION).await.expect(409).code(), "not_empty");
    admin.delete(&format!("{DEFINITION}?records=keep")).await.expect(400);
    admin.delete(&format!("{DEFINITION}?records=delete")).await.expect(204);
    admin.get(DEFINITION).await.expect(404);
    admin.put(DEFINITION, tasks()).await.expect(201);
    world.advance(HEARD);
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
async fn the_jobs_of_the_house_cannot_be_asked_for_by_hand() {
    let world = World::new().await;
    let admin = world.admin().await;
    for own in ["index.build", "records.check", "records.purge"] {
        let refused =
            admin.post("/v1/jobs", json!({ "type": own, "payload": { "collection": "users", "generation": 1 } })).await;
        assert_eq!(refused.expect(400).body["errors"][0]["code"], "reserved");
    }
    world.settle().await;
}
