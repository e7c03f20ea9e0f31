//! A renamed field: clients of the old and the new name write one value, before, while and after records are copied, until the old
//! name is dropped.

use super::{DEFINITION, HEARD, SETTLED, filtered, ids, job_of, work};
use crate::imports::files;
use crate::records::crud::path;
use crate::records::operators::MEDIA_TYPE;
use crate::world::{Caller, World, tasks};
use axum::http::Method;
use serde_json::{Value, json};

const TASKS: &str = "/v1/collections/tasks/records";

/// Tasks under the old name, under both, or under the new one.
fn named(names: &[&str]) -> Value {
    let rule = format!("record.{} == auth.id", names[names.len() - 1]);
    let field = |name: &&str| {
        let mut field = json!({ "type": "string", "maxLength": 100 });
        if *name == "keeper" {
            field["renamedFrom"] = json!("owner");
        }
        ((*name).to_owned(), field)
    };
    let mut properties: serde_json::Map<String, Value> = names.iter().map(field).collect();
    properties.insert("nr".into(), json!({ "type": "integer" }));
    let indexes = names.iter().map(|name| json!({ "name": format!("by_{name}"), "partition": [name], "sort": ["nr"] }));
    let unique = names.iter().map(|name| json!([name, "nr"]));
    json!({ "name": "tasks", "unique": unique.collect::<Vec<_>>(), "indexes": indexes.collect::<Vec<_>>(),
        "schema": { "type": "object", "required": [names[0]], "additionalProperties": false, "properties": properties },
        "rules": { "list": rule, "read": rule, "update": rule, "delete": rule, "create": "true" } })
}

/// Both names, with the rules of the old one: they read a field that every record has.
fn both() -> Value {
    let mut body = named(&["owner", "keeper"]);
    body["rules"] = named(&["owner"])["rules"].clone();
    body
}

fn dropped() -> Value {
    let mut body = named(&["keeper"]);
    body["dropped"] = json!(["owner"]);
    body
}

async fn with_owner(caller: &Caller<'_>, nr: u64) -> Value {
    caller.post(TASKS, json!({ "owner": caller.id(), "nr": nr })).await.expect(201).body
}

/// A record has one value, whichever name is read.
async fn assert_one(caller: &Caller<'_>, record: &Value, value: &str) {
    let now = caller.get(&path(record)).await.expect(200).body;
    assert_eq!((&now["owner"], &now["keeper"]), (&json!(value), &json!(value)), "{now}");
}

#[tokio::test]
async fn clients_of_both_names_write_one_value_until_the_old_name_is_dropped() {
    let mut world = World::new().await;
    world.work_in_slices_of(3);
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    admin.put(DEFINITION, named(&["owner"])).await.expect(201);
    let mut made = Vec::new();
    for nr in 0..8 {
        made.push(with_owner(&ada, nr).await);
    }
    let gone = made.pop().unwrap();
    ada.delete(&path(&gone)).await.expect(204);
    let export = files::export(&admin, "tasks", "ndjson").await;
    world.settle().await;
    let exported = files::file(&files::result(&admin, &export).await).await;
    let at_once = admin.put(DEFINITION, dropped()).await.expect(400).body;
    assert_eq!(at_once["errors"][0]["pointer"], "/dropped/0");
    let dry = admin.put(&format!("{DEFINITION}?dryRun=true"), both()).await.expect(200).body;
    assert_eq!((&dry["effect"], &dry["changed"]), (&json!("job"), &json!({ "count": 7, "complete": true })), "{dry}");

    let copying = admin.put(DEFINITION, both()).await.expect(202).body;
    assert_eq!(copying["status"], "migrating");
    assert_eq!(admin.put(DEFINITION, dropped()).await.expect(400).body["errors"][0]["pointer"], "/dropped/0");
    let unheard = ada.patch(&path(&made[0]), json!({ "nr": 100 })).await.expect(200).body;
    world.advance(HEARD);
    written_by_both(&world, &made).await;
    work(&world).await;
    let job = job_of(&admin, &copying).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    assert_eq!(admin.get(DEFINITION).await.expect(200).body["status"], "ready");
    world.advance(HEARD);
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    put(&ada, &unheard, json!({ "owner": "bob" })).await.expect(412);
    for record in &made {
        assert_one(&ada, record, ada.id()).await;
    }
    written_by_both(&world, &made).await;
    for name in ["owner", "keeper"] {
        let found = filtered(&admin, &format!("{name} == '{}'", ada.id())).await.expect(200).body;
        assert_eq!(ids(&found).len(), 7, "{name}");
        let taken = json!({ name: ada.id(), "nr": 1 });
        assert_eq!(ada.post(TASKS, taken).await.expect(409).code(), "not_unique");
    }
    let back = ada.post(&format!("{}/undelete", path(&gone)), json!({})).await.expect(200).body;
    assert_eq!((&back["owner"], &back["keeper"]), (&json!(ada.id()), &json!(ada.id())));
    contracted(&world, &made, &exported).await;
}

#[tokio::test]
async fn what_functions_write_that_know_only_the_old_name_is_not_lost() {
    let world = World::of_instances(6).await;
    let admin = world.admin().await;
    admin.put(DEFINITION, named(&["owner"])).await.expect(201);
    let mut made = Vec::new();
    for nr in 0..6 {
        made.push(with_owner(&admin, nr).await);
    }
    world.advance(HEARD);
    // Half of the functions remember the definition.
    for _ in 0..3 {
        admin.get(&path(&made[0])).await.expect(200);
    }
    let copying = admin.put(DEFINITION, both()).await.expect(202).body;
    let (mut mirrored, mut alone) = (0, 0);
    for round in 0..8 {
        for (nth, record) in made.iter().enumerate().cycle().skip(round).take(5) {
            let owner = format!("{nth}-{round}");
            admin.patch(&path(record), json!({ "owner": owner })).await.expect(200);
            let now = admin.get(&path(record)).await.expect(200).body;
            assert_eq!(now["owner"], json!(owner));
            *if now["keeper"] == now["owner"] { &mut mirrored } else { &mut alone } += 1;
        }
    }
    assert!(mirrored > 0 && alone > 0, "{mirrored} {alone}");
    let mut owners = Vec::new();
    for record in &made {
        owners.push(admin.get(&path(record)).await.expect(200).body["owner"].clone());
    }
    work(&world).await;
    assert_eq!(job_of(&admin, &copying).await["status"], "succeeded");
    for (record, owner) in made.iter().zip(owners) {
        assert_one(&admin, record, owner.as_str().unwrap()).await;
    }
}

/// The example with a second name for its title.
pub fn with_label() -> Value {
    let mut body = tasks();
    let properties = body["schema"]["properties"].as_object_mut().unwrap();
    let mut label = properties["title"].clone();
    label["renamedFrom"] = json!("title");
    properties.insert("label".into(), label);
    body
}

async fn put(caller: &Caller<'_>, record: &Value, body: Value) -> crate::world::Answer {
    let tag = format!("\"{}-v\"", record["version"]);
    caller.request(Method::PUT, &path(record)).header("if-match", &tag).json(body).send().await
}

/// Whatever is written under one name is there under both.
async fn written_by_both(world: &World, made: &[Value]) {
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let mut nr = 1_000 + world.now() % 1_000_000;
    for sent in ["owner", "keeper"] {
        nr += 1;
        let new = admin.post(TASKS, json!({ sent: "somebody", "nr": nr })).await.expect(201).body;
        assert_one(&admin, &new, "somebody").await;
        admin.patch(&path(&new), json!({ sent: "bob" })).await.expect(200);
        assert_one(&admin, &new, "bob").await;
        let now = admin.get(&path(&new)).await.expect(200).body;
        put(&admin, &now, json!({ sent: "eve", "nr": nr })).await.expect(200);
        assert_one(&admin, &new, "eve").await;
        admin.patch(&path(&new), json!({ sent: null })).await.expect(400);
        let by_value = format!("{TASKS}?unique=owner,nr");
        let (there, other) = (json!({ sent: "eve", "nr": nr }), json!({ sent: "mallory", "nr": nr }));
        assert_eq!(admin.put(&by_value, there).await.expect(200).body["id"], new["id"]);
        let other = admin.put(&by_value, other).await.expect(201).body;
        assert_one(&admin, &other, "mallory").await;
        admin.delete(&path(&other)).await.expect(204);
        let appended = format!("{{\"append\":{{\"{sent}\":[\"x\"]}}}}");
        let operated = admin.request(Method::PATCH, &path(&new)).header("content-type", MEDIA_TYPE).raw(appended);
        assert_eq!(operated.send().await.expect(400).body["errors"][0]["code"], "conflict");
        admin.delete(&path(&new)).await.expect(204);
        // Also in a record that the job may not have reached.
        ada.patch(&path(&made[1]), json!({ sent: ada.id() })).await.expect(200);
        assert_one(&ada, &made[1], ada.id()).await;
        // Rules read what every record has.
        ada.patch(&path(&made[2]), json!({ "nr": nr })).await.expect(200);
    }
    let different = json!({ "owner": "a", "keeper": "b" });
    let now = admin.get(&path(&made[3])).await.expect(200).body;
    for refused in [
        admin.post(TASKS, different.clone()).await,
        admin.patch(&path(&made[3]), different.clone()).await,
        put(&admin, &now, different).await,
    ] {
        let error = refused.expect(400).body["errors"][0].clone();
        assert_eq!((&error["pointer"], &error["code"]), (&json!("/keeper"), &json!("conflict")));
    }
    admin.patch(&path(&made[3]), json!({ "owner": ada.id(), "keeper": ada.id() })).await.expect(200);
}

/// The old name is dropped.
async fn contracted(world: &World, made: &[Value], exported: &str) {
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let dropping = admin.put(DEFINITION, dropped()).await.expect(202).body;
    assert_eq!(dropping["status"], "migrating");
    world.advance(HEARD);
    let renamed = ada.patch(&path(&made[0]), json!({ "owner": "bob" })).await.expect(400).body["errors"][0].clone();
    assert_eq!(renamed["pointer"], "/owner");
    assert!(renamed["message"].as_str().unwrap().contains("`keeper` now"), "{renamed}");
    ada.patch(&path(&made[0]), json!({ "keeper": ada.id(), "nr": 200 })).await.expect(200);
    work(world).await;
    world.advance(SETTLED);
    world.settle().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    assert_eq!(job_of(&admin, &dropping).await["status"], "succeeded");
    let ready = admin.get(DEFINITION).await.expect(200).body;
    assert_eq!((&ready["status"], &ready["schema"]), (&json!("ready"), &dropped()["schema"]));
    for record in made {
        let now = ada.get(&path(record)).await.expect(200).body;
        assert_eq!((now.get("owner"), &now["keeper"]), (None, &json!(ada.id())));
        let refused = ada.patch(&path(record), json!({ "owner": "bob" })).await.expect(400).body;
        assert!(refused["errors"][0]["message"].as_str().unwrap().contains("`keeper` now"), "{refused}");
    }
    let schema = admin.get("/v1/collections/tasks/schema").await.expect(200);
    assert!(!schema.text.contains("renamedFrom"), "{}", schema.text);
    // An export from before, in a collection that has both names, and in one that has the new name.
    let mut copies = both();
    copies["name"] = json!("copies");
    admin.put("/v1/collections/copies", copies).await.expect(201);
    let import = files::import(&admin, "copies", "ndjson", exported).await;
    world.settle().await;
    assert_eq!(files::result(&admin, &import).await["imported"], 7);
    let copies = admin.get("/v1/collections/copies/records").await.expect(200).body;
    assert!(copies["items"].as_array().unwrap().iter().all(|record| record["keeper"] == ada.id()), "{copies}");
    let import = files::import(&admin, "tasks", "ndjson", exported).await;
    world.settle().await;
    let refused = admin.get(&import).await.expect(200).body;
    assert!(refused.to_string().contains("`keeper` now"), "{refused}");
}
