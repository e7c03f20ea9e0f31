//! Schemas and unique constraints that become narrower than stored records.

use super::{DEFINITION, HEARD, SETTLED, filtered, job_of, tasks_with, with_title_of, work};
use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::{World, tasks};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_wider_schema_is_in_force_at_once() {
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
        admin.put(DEFINITION, narrower.clone()).await.expect(202).body,
        waiting,
        "the same again starts nothing"
    );
    world.advance(HEARD);
    // Until then both schemas are enforced.
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
    assert_eq!(
        (&after["schema"], &after["status"], &after["next"]),
        (&before["schema"], &json!("blocked"), &waiting["next"])
    );
    assert_eq!(after["blocked"], json!({ "schema": true, "indexes": [], "unique": [], "relations": [] }));
    let job = job_of(&admin, &waiting).await;
    assert_eq!((&job["type"], &job["status"]), (&json!("records.check"), &json!("dead")));
    assert!(job["lastError"].as_str().unwrap().starts_with("25 stored records do not fit"), "{job}");
    let disagree = &job["progress"]["disagree"];
    assert_eq!((&disagree["count"], &job["progress"]["checked"]), (&json!(25), &json!(50)), "{job}");
    let first: Vec<&Value> = disagree["first"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(first, long.iter().take(20).collect::<Vec<_>>());
    assert_eq!(disagree["first"][0]["errors"][0]["pointer"], "/title");
    assert_eq!(dry["disagree"]["first"], disagree["first"], "a dry run says the same beforehand");
    // It stays until it is withdrawn, and holds for what is written until then.
    world.advance(Duration::from_secs(86_400));
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    assert_eq!(admin.get(DEFINITION).await.expect(200).body["status"], "blocked");
    ada.post(TASKS, json!({ "title": "as long as ever", "owner": ada.id() })).await.expect(400);
    let withdrawn = admin.put(DEFINITION, tasks()).await.expect(200).body;
    assert_eq!((&withdrawn["status"], withdrawn.get("next")), (&json!("ready"), None));
    world.advance(HEARD);
    task(&ada, "as long as ever").await;
    work(&world).await;
}

#[tokio::test]
async fn a_narrower_schema_comes_into_force_once_conflicting_records_are_changed() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let long = task(&ada, "a title of some length").await;
    let waiting = admin.put(DEFINITION, with_title_of(10)).await.expect(202).body;
    work(&world).await;
    let redrive = async || {
        admin.post(&format!("/v1/jobs/{}/redrive", waiting["job"].as_str().unwrap()), json!({})).await.expect(200);
        work(&world).await;
        job_of(&admin, &waiting).await
    };
    let still = redrive().await;
    assert_eq!(
        (&still["status"], &still["progress"]["disagree"]["count"]),
        (&json!("dead"), &json!(1)),
        "counted anew"
    );
    ada.patch(&path(&long), json!({ "title": "short" })).await.expect(200);
    assert_eq!(redrive().await["status"], "succeeded");
    let taken = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&taken["status"], &taken["schema"]), (&json!("ready"), &with_title_of(10)["schema"]));
}

#[tokio::test]
async fn a_record_with_very_long_errors_is_still_named() {
    let world = World::new().await;
    let admin = world.admin().await;
    let body = |more: Value| {
        json!({ "name": "things", "schema": { "type": "object", "properties": {
        "any": { "type": "object", "additionalProperties": more } } } })
    };
    admin.put("/v1/collections/things", body(json!({}))).await.expect(201);
    let mut made = Vec::new();
    for nth in 0..8 {
        let name = format!("{nth}").repeat(60_000);
        let thing = admin.post("/v1/collections/things/records", json!({ "any": { name: 1 } })).await.expect(201);
        made.push(thing.body["id"].clone());
        world.advance(Duration::from_millis(2));
    }
    let waiting = admin.put("/v1/collections/things", body(json!({ "type": "string" }))).await.expect(202).body;
    work(&world).await;
    let job = job_of(&admin, &waiting).await;
    let disagree = &job["progress"]["disagree"];
    assert_eq!((&job["status"], &disagree["count"]), (&json!("dead"), &json!(8)), "{}", job["lastError"]);
    let first: Vec<&Value> = disagree["first"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(first, made.iter().collect::<Vec<_>>());
    assert!(job.to_string().len() < 100_000);
    assert_eq!(admin.get("/v1/collections/things").await.expect(200).body["schema"], body(json!({}))["schema"]);
}

#[tokio::test]
async fn a_dry_run_gets_past_pages_of_tombstones() {
    let world = World::new().await;
    let (admin, path) = (world.admin().await, "/v1/collections/notes");
    let body = |longest: Value| {
        json!({ "name": "notes", "schema": { "type": "object", "additionalProperties": false,
        "properties": { "text": { "type": "string", "maxLength": longest } } } })
    };
    admin.put(path, body(json!(400_000))).await.expect(201);
    // A page of the store ends at 1 MB: four of these do not fit on one.
    for _ in 0..8 {
        let made = admin.post(&format!("{path}/records"), json!({ "text": "x".repeat(300_000) })).await.expect(201);
        admin.delete(made.header("location")).await.expect(204);
    }
    world.advance(Duration::from_millis(5));
    let long = admin.post(&format!("{path}/records"), json!({ "text": "too long" })).await.expect(201).body;
    let dry = admin.put(&format!("{path}?dryRun=true"), body(json!(3))).await.expect(200);
    let disagree = &dry.body["disagree"];
    assert_eq!((&disagree["count"], &disagree["first"][0]["id"]), (&json!(1), &long["id"]), "{}", dry.text);
    assert_eq!((&disagree["checked"], &disagree["complete"]), (&json!(9), &json!(true)));
    world.settle().await;
}

#[tokio::test]
async fn a_put_after_its_job_died_starts_a_new_job() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put(DEFINITION, tasks_with(json!({ "unique": [] }))).await.expect(201);
    let ada = world.user("ada").await;
    ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), "slug": "one" })).await.expect(201);
    let table = world.cloud.tables().iter().find(|name| name.ends_with("JobsTable")).unwrap();
    let bury = async |definition: &Value| {
        let job = definition["job"].as_str().unwrap().to_owned();
        let change = json!({ "TableName": table, "Key": { "id": { "S": job } }, "UpdateExpression": "SET #status = :dead",
            "ExpressionAttributeNames": { "#status": "status" }, "ExpressionAttributeValues": { ":dead": { "S": "dead" } } });
        world.cloud.call("DynamoDB_20120810.UpdateItem", &change).await.unwrap();
        job
    };
    let dry = async |body: Value| admin.put(&format!("{DEFINITION}?dryRun=true"), body).await.expect(200).body;
    // Unique values to be claimed, by the same definition again and by another.
    let mut other = tasks();
    other["rules"]["read"] = json!("true");
    let first = bury(&admin.put(DEFINITION, tasks()).await.expect(202).body).await;
    assert_eq!(dry(tasks()).await["effect"], "job");
    let again = admin.put(DEFINITION, tasks()).await.expect(202).body;
    assert_ne!(again["job"], json!(first), "{again}");
    assert_eq!(dry(tasks()).await["effect"], "none", "while a job is at it");
    let second = bury(&again).await;
    let put = admin.put(DEFINITION, other.clone()).await.expect(202).body;
    assert_ne!(put["job"], json!(second), "{put}");
    work(&world).await;
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&ready["status"], &ready["unique"]), (&json!("ready"), &json!([["slug"]])), "{ready}");
    // A narrower schema.
    other["schema"]["properties"]["title"]["maxLength"] = json!(10);
    let third = bury(&admin.put(DEFINITION, other.clone()).await.expect(202).body).await;
    work(&world).await;
    let waiting = admin.put(DEFINITION, other.clone()).await.expect(202).body;
    assert_ne!(waiting["job"], json!(third), "{waiting}");
    work(&world).await;
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&ready["status"], &ready["schema"]), (&json!("ready"), &other["schema"]), "{ready}");
}

#[tokio::test]
async fn a_narrower_schema_can_be_withdrawn_while_it_waits() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let waiting = admin.put(DEFINITION, with_title_of(10)).await.expect(202).body;
    let back = admin.put(DEFINITION, tasks()).await.expect(202).body;
    assert_eq!((&back["status"], back.get("next")), (&json!("ready"), None));
    world.advance(HEARD);
    task(&ada, "a title of some length").await;
    work(&world).await;
    assert_eq!(job_of(&admin, &waiting).await["result"], json!({ "superseded": true }));
    assert_eq!(admin.get(DEFINITION).await.expect(200).body["schema"], tasks()["schema"]);
}

#[tokio::test]
async fn a_text_field_that_becomes_a_time_must_hold_comparable_times() {
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
    assert_eq!(job_of(&admin, &waiting).await["progress"]["disagree"]["count"], 1);
    // A record written while the definition waits gets the normalised form of times.
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
async fn a_unique_constraint_on_a_filled_collection_holds_once_no_two_records_share_a_value() {
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
    let claiming = admin.put(DEFINITION, tasks()).await.expect(202).body;
    assert_eq!(claiming["status"], "narrowing");
    world.advance(HEARD);
    slugged("three").await.expect(201);
    assert_eq!(slugged("three").await.expect(409).code(), "not_unique", "writers keep it already");
    work(&world).await;
    let job = job_of(&admin, &claiming).await;
    assert_eq!(job["status"], "dead", "{job}");
    let found = &job["progress"];
    assert_eq!((&found["disagree"]["count"], &found["refused"]["unique"]), (&json!(1), &json!([["slug"]])), "{found}");
    assert_eq!(found["disagree"]["first"][0]["errors"][0]["code"], "not_unique");
    let blocked = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&blocked["status"], &blocked["unique"]), (&json!("blocked"), &json!([["slug"]])));
    world.advance(HEARD);
    assert_eq!(slugged("one").await.expect(409).code(), "not_unique", "no further record shares the value");

    // Without the duplicates it is enforced, for older records too.
    let admin = world.admin().await;
    ada.patch(&path(&again), json!({ "slug": "four" })).await.expect(200);
    admin.put(DEFINITION, tasks()).await.expect(202);
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
