//! A cached definition is a lease: after `inForceAt` nothing that was withdrawn is accepted, and no acknowledged write is lost.

use super::{DEFINITION, HEARD, SETTLED, job_of, tasks_with, with_title_of, work};
use crate::imports::files;
use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::{Answer, Caller, World, rounds, tasks};
use serde_json::{Value, json};
use std::time::Duration;
use undercroft::clock::rfc3339;

/// How many execution environments each function has.
const INSTANCES: usize = 6;

/// Makes a request while time advances in steps of a tenth of a second.
pub async fn while_time_goes_by(world: &World, request: impl Future<Output = Answer>) -> Answer {
    let ticking = async {
        loop {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            world.advance(Duration::from_millis(100));
        }
    };
    tokio::select! {
        answer = request => answer,
        () = ticking => unreachable!("time does not end"),
    }
}

fn in_force_at(body: &Value) -> &str {
    body["inForceAt"].as_str().unwrap_or_else(|| panic!("no inForceAt in {body}"))
}

async fn create(ada: &Caller<'_>) -> Answer {
    ada.post(TASKS, json!({ "title": "t", "owner": ada.id() })).await
}

#[tokio::test]
async fn purging_a_deleted_collection_keeps_the_records_of_its_successor() {
    let world = World::of_instances(INSTANCES).await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    for _ in 0..INSTANCES {
        create(&ada).await.expect(201);
    }
    let deleted = admin.delete(&format!("{DEFINITION}?records=delete")).await.expect(202).body;
    let shown = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&shown["status"], in_force_at(&shown)), (&json!("deleting"), in_force_at(&deleted)));
    while_time_goes_by(&world, admin.put(DEFINITION, tasks())).await.expect(201);
    assert!(rfc3339(world.now()).as_str() >= in_force_at(&deleted), "it waited until the old one accepts no write");
    let mut made = Vec::new();
    for _ in 0..2 * INSTANCES {
        made.push(create(&ada).await.expect(201).body);
    }
    work(&world).await;
    for record in &made {
        assert_eq!(ada.get(&path(record)).await.expect(200).body, *record);
    }
    made.sort_by_key(|record| record["id"].as_str().map(str::to_owned));
    assert_eq!(ada.get(&format!("{TASKS}?limit=100")).await.expect(200).body["items"], json!(made));
}

#[tokio::test]
async fn records_imported_into_a_recreated_collection_are_kept() {
    let world = World::of_instances(INSTANCES).await;
    let admin = files::with_things(&world, &["things"]).await;
    let rows = "{\"title\":\"one\"}\n{\"title\":\"two\"}\n";
    let first = files::import(&admin, "things", "ndjson", rows).await;
    world.settle().await;
    assert_eq!(files::result(&admin, &first).await["imported"], 2);
    let path = "/v1/collections/things";
    let definition = admin.get(path).await.expect(200).body;
    let body = json!({ "name": "things", "schema": definition["schema"], "unique": definition["unique"] });
    admin.delete(&format!("{path}?records=delete")).await.expect(202);
    while_time_goes_by(&world, admin.put(path, body)).await.expect(201);
    let second = files::import(&admin, "things", "ndjson", rows).await;
    world.settle().await;
    assert_eq!(files::result(&admin, &second).await["imported"], 2);
    work(&world).await;
    let there = admin.get(&format!("{path}/records")).await.expect(200).body;
    assert_eq!(there["items"].as_array().unwrap().len(), 2, "{there}");
}

#[tokio::test]
async fn records_written_while_an_empty_collection_is_deleted_take_the_deletion_back() {
    for remade in [false, true] {
        let world = World::of_instances(INSTANCES).await;
        with_tasks(&world).await;
        let (admin, ada) = (world.admin().await, world.user("ada").await);
        for _ in 0..INSTANCES {
            ada.get(TASKS).await.expect(200);
        }
        let deleted = admin.delete(DEFINITION).await.expect(202).body;
        let record = create(&ada).await.expect(201).body;
        if remade {
            while_time_goes_by(&world, admin.put(DEFINITION, tasks())).await.expect(200);
        }
        work(&world).await;
        assert_eq!(ada.get(&path(&record)).await.expect(200).body, record, "what was acknowledged is there");
        assert_eq!(admin.get(DEFINITION).await.expect(200).body["status"], "ready");
        let job = job_of(&admin, &deleted).await;
        assert_eq!(job["status"], "dead", "{job}");
        assert!(job["lastError"].as_str().unwrap().contains("Delete it again"), "{job}");
        // It is as it was: relations, unique values, jobs.
        admin.delete(&format!("{DEFINITION}?records=delete")).await.expect(202);
        work(&world).await;
        admin.get(DEFINITION).await.expect(404);
        ada.get(&path(&record)).await.expect(404);
    }
}

#[tokio::test]
async fn a_put_during_a_slow_deletion_answers_503_with_retry_after() {
    let world = World::with_lease("60").await;
    with_tasks(&world).await;
    let admin = world.admin().await;
    admin.delete(DEFINITION).await.expect(202);
    assert_eq!(admin.put(DEFINITION, tasks()).await.expect(503).header("retry-after"), "72");
    work(&world).await;
    world.advance(Duration::from_secs(60));
    world.settle().await;
}

#[tokio::test]
async fn a_withdrawn_rule_allows_nothing_after_in_force_at() {
    let world = World::of_instances(INSTANCES).await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let record = task(&ada, "mine").await;
    for _ in 0..INSTANCES {
        ada.get(&path(&record)).await.expect(200);
    }
    let mut closed = tasks();
    closed["rules"]["update"] = json!("false");
    closed["rules"]["list"] = json!("false");
    for _ in 0..rounds(2) {
        let put = admin.put(DEFINITION, closed.clone()).await.expect(202).body;
        let before = tasks()["rules"].clone();
        assert_eq!(
            (&put["rules"], &put["previous"]),
            (&closed["rules"], &json!({ "rules": before })),
            "both are shown"
        );
        assert_eq!(admin.put(DEFINITION, closed.clone()).await.expect(202).body, put, "the same again says the same");
        let mut accepted_late = 0;
        while rfc3339(world.now()).as_str() < in_force_at(&put) {
            let patched = ada.patch(&path(&record), json!({ "title": "still" })).await;
            assert!([200, 404].contains(&patched.status), "{}", patched.text);
            accepted_late += u32::from(patched.status == 200);
            world.advance(Duration::from_millis(300));
        }
        assert!(accepted_late > 0, "no function had a lease: this shows nothing");
        for _ in 0..5 * INSTANCES {
            ada.patch(&path(&record), json!({ "title": "never" })).await.expect(404);
            ada.get(TASKS).await.expect(404);
        }
        let shown = admin.get(DEFINITION).await.expect(200).body;
        assert_eq!((shown.get("inForceAt"), shown.get("previous")), (None, None), "only what is in force is shown");
        admin.put(DEFINITION, tasks()).await.expect(200);
        // Every function reads the restored definition.
        world.advance(SETTLED);
        for _ in 0..INSTANCES {
            ada.get(&path(&record)).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_request_that_outlives_its_definition_lease_neither_reads_nor_writes() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let record = task(&ada, "mine").await;
    // The definition is read at the beginning of the request, and the record long after.
    for (method, path) in [("PUT", path(&record)), ("GET", format!("{TASKS}?expand=owner"))] {
        world.advance(Duration::from_secs(10));
        let mut request = ada.request(method.parse().unwrap(), &path);
        if method == "PUT" {
            request = request.header("if-match", "\"1-v\"").json(json!({ "title": "late", "owner": ada.id() }));
        }
        let operation = if method == "PUT" { "GetItem" } else { "Query" };
        let nth = if method == "PUT" { 2 } else { 1 };
        let waiting = async { world.advance(Duration::from_secs(8)) };
        crate::records::concurrent_writes::meanwhile(&world, (operation, nth), request.send(), waiting)
            .await
            .expect(503);
    }
    assert_eq!(ada.get(&path(&record)).await.expect(200).body, record);
}

#[tokio::test]
async fn new_rules_and_a_narrower_schema_are_both_enforced_while_the_schema_waits() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let record = task(&ada, "a title of more than ten letters").await;
    let mut narrower = with_title_of(10);
    narrower["rules"]["delete"] = json!("false");
    let put = admin.put(DEFINITION, narrower.clone()).await.expect(202).body;
    assert_eq!(put["rules"]["delete"], "false");
    assert_eq!(put["previous"]["rules"], tasks()["rules"]);
    world.advance(SETTLED);
    ada.delete(&path(&record)).await.expect(404);
    work(&world).await;
    let blocked = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&blocked["status"], &blocked["blocked"]["schema"]), (&json!("blocked"), &json!(true)));
    ada.delete(&path(&record)).await.expect(404);
    ada.patch(&path(&record), json!({ "title": "short" })).await.expect(200);
    admin.post(&format!("/v1/jobs/{}/redrive", put["job"].as_str().unwrap()), json!({})).await.expect(200);
    work(&world).await;
    assert_eq!(job_of(&admin, &put).await["status"], "succeeded");
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&ready["status"], &ready["rules"]["delete"]), (&json!("ready"), &json!("false")));
}

#[tokio::test]
async fn rules_that_need_the_narrower_schema_cannot_be_put_with_it() {
    let world = World::new().await;
    with_tasks(&world).await;
    let admin = world.admin().await;
    let mut narrower = with_title_of(10);
    narrower["schema"]["properties"]["locked"] = json!({ "type": "boolean" });
    narrower["rules"]["update"] = json!("record.locked == false");
    let refused = admin.put(DEFINITION, narrower).await.expect(400).body;
    assert_eq!(refused["errors"][0]["pointer"], "/rules/update");
    let message = refused["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("Put the rules separately"), "{message}");
    assert_eq!(admin.get(DEFINITION).await.expect(200).body["version"], 1);
}

#[tokio::test]
async fn a_change_that_only_adds_is_in_force_at_once() {
    let world = World::new().await;
    with_tasks(&world).await;
    let admin = world.admin().await;
    let mut open = tasks_with(json!({ "counts": true }));
    open["rules"]["read"] = json!("record.owner == auth.id || auth.verified");
    let put = admin.put(DEFINITION, open).await.expect(202).body;
    assert_eq!((put.get("inForceAt"), put.get("previous")), (None, None));
    work(&world).await;
}

#[tokio::test]
async fn functions_that_have_not_heard_of_a_field_neither_show_nor_refuse_nor_lose_it() {
    let world = World::of_instances(6).await;
    with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let made = task(&ada, "one").await;
    world.advance(HEARD);
    // Half of the functions remember the definition.
    for _ in 0..3 {
        ada.get(&path(&made)).await.expect(200);
    }
    let mut wider = tasks();
    wider["schema"]["properties"]["secret"] = json!({ "type": "string", "hidden": true });
    wider["schema"]["properties"]["note"] = json!({ "type": "string" });
    admin.put(DEFINITION, wider).await.expect(200);
    let (mut noted, mut unheard) = (0, 0);
    for nth in 0..24 {
        let written = ada.patch(&path(&made), json!({ "secret": "canary", "note": "kept" })).await;
        assert!([200, 400].contains(&written.status), "{}", written.text);
        noted += u32::from(written.status == 200);
        // In an index, so that the stored record is read.
        let patched = ada.patch(&path(&made), json!({ "priority": nth % 9 })).await.expect(200).body;
        let now = ada.get(&path(&made)).await.expect(200).body;
        assert_eq!((patched.get("secret"), now.get("secret")), (None, None), "{patched} {now}");
        unheard += u32::from(noted > 0 && now.get("note").is_none());
    }
    assert!(noted > 0 && unheard > 0, "{noted} {unheard}");
    world.advance(HEARD);
    assert_eq!(ada.get(&path(&made)).await.expect(200).body["note"], "kept");
    assert_eq!(admin.get(&path(&made)).await.expect(200).body["secret"], "canary");
}
