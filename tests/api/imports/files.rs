//! Export and import of records: none lost, none twice, and refused rows are reported by line.

mod crashes;
mod failures;
mod modes;
mod rows;
mod trees;

use crate::imports::bucket::{files, follow};
use crate::world::{Caller, World, rounds};
use axum::http::Method;
use serde_json::{Value, json};
use std::time::Duration;

const UPLOADS: &str = "/v1/jobs/uploads";

/// A collection with a field of every kind.
fn things(name: &str) -> Value {
    json!({
        "name": name,
        "schema": { "type": "object", "required": ["title"], "additionalProperties": false, "properties": {
            "title": { "type": "string", "maxLength": 400_000 },
            "note": { "type": ["string", "null"] },
            "amount": { "type": "number" },
            "done": { "type": "boolean", "default": false },
            "at": { "type": "string", "format": "date-time" },
            "tags": { "type": "array", "items": { "type": "string" } },
            "place": { "type": "object", "properties": { "city": { "type": "string" } } },
            "any": {},
            "secret": { "type": "string", "hidden": true } } },
        "unique": [["note"]],
    })
}

fn path(collection: &str) -> String {
    format!("/v1/collections/{collection}/records")
}

pub async fn with_things<'a>(world: &'a World, names: &[&str]) -> Caller<'a> {
    let admin = world.admin().await;
    for name in names {
        admin.put(&format!("/v1/collections/{name}"), things(name)).await.expect(201);
    }
    admin
}

/// Uploads a file for an import, as a browser does. Returns its key.
async fn upload(admin: &Caller<'_>, format: &str, text: impl AsRef<[u8]>) -> String {
    let link = admin.post(UPLOADS, json!({ "format": format, "bytes": text.as_ref().len() })).await.expect(201).body;
    let headers: Vec<(&str, &str)> = link["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap()))
        .collect();
    let (status, _, answer) = follow(Method::PUT, link["url"].as_str().unwrap(), &headers, text).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    link["key"].as_str().unwrap().to_owned()
}

async fn enqueue(admin: &Caller<'_>, kind: &str, payload: Value) -> String {
    admin.post("/v1/jobs", json!({ "type": kind, "payload": payload })).await.expect(202).header("location").to_owned()
}

pub async fn import(admin: &Caller<'_>, collection: &str, format: &str, text: impl AsRef<[u8]>) -> String {
    import_as(admin, collection, format, text, json!({})).await
}

/// With these members of the payload beside the usual ones.
async fn import_as(admin: &Caller<'_>, collection: &str, format: &str, text: impl AsRef<[u8]>, with: Value) -> String {
    let key = upload(admin, format, text).await;
    let mut payload = json!({ "collection": collection, "format": format, "key": key });
    payload.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    enqueue(admin, "records.import", payload).await
}

pub async fn export(admin: &Caller<'_>, collection: &str, format: &str) -> String {
    enqueue(admin, "records.export", json!({ "collection": collection, "format": format })).await
}

/// The result of a finished job.
pub async fn result(admin: &Caller<'_>, job: &str) -> Value {
    let job = admin.get(job).await.expect(200).body;
    assert_eq!(job["status"], "succeeded", "{job}");
    job["result"].clone()
}

/// The file behind a finished job's link.
pub async fn file(result: &Value) -> String {
    let (status, _, bytes) = follow(Method::GET, result["url"].as_str().unwrap(), &[], "").await;
    assert_eq!(status, 200);
    String::from_utf8(bytes).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// All records of a collection, in the order of their ids.
async fn all(admin: &Caller<'_>, collection: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("{}?sort=createdAt&limit=100{cursor}", path(collection))).await.expect(200).body;
        all.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    all.sort_by_key(|record| record["id"].as_str().unwrap().to_owned());
    all
}

/// The same records without the fields that the server sets again.
fn lasting(records: &[Value]) -> Vec<Value> {
    let mut records = records.to_vec();
    for record in &mut records {
        let record = record.as_object_mut().unwrap();
        record.remove("updatedAt");
        record.remove("version");
    }
    records
}

fn sorted(mut records: Vec<Value>) -> Vec<Value> {
    records.sort_by_key(|record| record["id"].as_str().unwrap().to_owned());
    records
}

/// Records with difficult values.
async fn hard_ones(world: &World, admin: &Caller<'_>, collection: &str) -> Vec<Value> {
    let exact: Value = serde_json::from_str("1234567890123456789012345678.9012345678").unwrap();
    for body in [
        json!({ "title": "plain" }),
        json!({ "title": "", "note": "", "tags": [], "place": {}, "any": {} }),
        json!({ "title": "null", "note": null, "any": null }),
        json!({ "title": "a,\"b\"\r\nc\nü😀\u{0}\u{2028}", "note": "null", "amount": exact }),
        json!({ "title": " =1+1 ", "amount": -0.5, "done": true, "at": "2026-03-01T12:00:00+02:00" }),
        json!({ "title": "\u{feff}x", "tags": ["a,b", "\"", "\n"], "place": { "city": "Köln, \"am\" Rhein" }, "any": "text" }),
        json!({ "title": "t", "any": [1, { "a": [true, null] }], "secret": "s" }),
    ] {
        admin.post(&path(collection), body).await.expect(201);
        world.advance(Duration::from_millis(3));
    }
    let gone = admin.post(&path(collection), json!({ "title": "gone" })).await.expect(201).body;
    let gone = format!("{}/{}", path(collection), gone["id"].as_str().unwrap());
    admin.delete(&gone).await.expect(204);
    let changed = all(admin, collection).await;
    let changed = format!("{}/{}", path(collection), changed[0]["id"].as_str().unwrap());
    admin.patch(&changed, json!({ "done": true })).await.expect(200);
    all(admin, collection).await
}

#[tokio::test]
async fn an_export_holds_every_record_and_imports_unchanged() {
    for format in ["ndjson", "csv"] {
        let mut world = World::new().await;
        world.work_in_slices_of(2);
        let admin = with_things(&world, &["things", "copies"]).await;
        let records = hard_ones(&world, &admin, "things").await;
        let job = export(&admin, "things", format).await;
        world.settle().await;
        let exported = result(&admin, &job).await;
        let text = file(&exported).await;
        assert_eq!(exported["records"], records.len());
        assert_eq!(exported["bytes"], text.len());
        if format == "ndjson" {
            assert_eq!(sorted(lines(&text)), records);
        } else {
            assert!(text.starts_with("id,createdAt,updatedAt,version,"), "{text}");
            assert!(text.contains(",1234567890123456789012345678.9012345678,"), "{text}");
            assert!(text.contains("\"a,\"\"b\"\"\r\nc\n"), "{text}");
        }

        let job = import(&admin, "copies", format, &text).await;
        world.settle().await;
        let imported = result(&admin, &job).await;
        assert_eq!(imported, json!({ "imported": records.len(), "refused": 0, "passes": 1, "errors": [] }));
        assert_eq!(lasting(&all(&admin, "copies").await), lasting(&records));
    }
}

#[tokio::test]
async fn an_export_for_spreadsheets_holds_no_formula() {
    let world = World::new().await;
    let admin = with_things(&world, &["things"]).await;
    admin.post(&path("things"), json!({ "title": "=1+1", "amount": -1 })).await.expect(201);
    let ask =
        async |payload: Value| admin.post("/v1/jobs", json!({ "type": "records.export", "payload": payload })).await;
    ask(json!({ "collection": "things", "format": "ndjson", "escapeFormulas": true })).await.expect(400);
    ask(json!({ "collection": "things", "format": "csv", "escapeFormulas": "yes" })).await.expect(400);
    let asked = ask(json!({ "collection": "things", "format": "csv", "escapeFormulas": true })).await.expect(202);
    world.settle().await;
    let text = file(&result(&admin, asked.header("location")).await).await;
    assert!(text.contains(",'=1+1") && text.contains(",-1,"), "{text}");
}

#[tokio::test]
async fn an_export_of_nothing_is_an_empty_file() {
    let world = World::new().await;
    let admin = with_things(&world, &["things"]).await;
    let job = export(&admin, "things", "ndjson").await;
    world.settle().await;
    let exported = result(&admin, &job).await;
    assert_eq!((&exported["records"], file(&exported).await.as_str()), (&json!(0), ""));
    world.advance(Duration::from_secs(16 * 60));
    let (status, ..) = follow(Method::GET, exported["url"].as_str().unwrap(), &[], "").await;
    assert_eq!(status, 403, "a link is good for a quarter of an hour");
    file(&result(&world.admin().await, &job).await).await;
}

#[tokio::test]
async fn a_file_larger_than_memory_would_hold_goes_in_and_out_in_pieces() {
    let mut world = World::new().await;
    world.work_in_slices_of(5);
    let admin = with_things(&world, &["things"]).await;
    let row = |nth: usize| format!("{{\"title\":\"{nth} {}\"}}\n", "ü".repeat(140_000 + nth));
    let mut text: String = (0..20).map(row).collect();
    text.push_str(&format!("{{\"title\":\"{}\"}}\n", "x".repeat(5_000_000)));
    text.extend((20..40).map(row));
    let job = import(&admin, "things", "ndjson", &text).await;
    world.settle().await;
    let imported = result(&admin, &job).await;
    assert_eq!((&imported["imported"], &imported["errors"][0]["line"]), (&json!(40), &json!(21)), "{imported}");
    assert_eq!(imported["refused"], 1);
    let records = all(&admin, "things").await;

    let job = export(&admin, "things", "ndjson").await;
    world.settle().await;
    let exported = result(&admin, &job).await;
    assert!(exported["bytes"].as_u64().unwrap() > 10_000_000, "it has more than one part");
    assert_eq!(sorted(lines(&file(&exported).await)), records);
    let objects = files(&world, "worker");
    assert!(objects.head(exported["key"].as_str().unwrap()).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_that_is_replaced_while_it_is_imported_is_not_mixed() {
    let mut world = World::new().await;
    world.work_in_slices_of(2);
    let admin = with_things(&world, &["things"]).await;
    let row = |nth: usize| format!("{{\"title\":\"{nth}\"}}\n");
    let key = upload(&admin, "ndjson", &(0..6).map(row).collect::<String>()).await;
    let payload = json!({ "collection": "things", "format": "ndjson", "key": key });
    let job = enqueue(&admin, "records.import", payload).await;
    world.cloud.pump(world.functions()).await.unwrap();
    assert!(admin.get(&job).await.expect(200).body["progress"]["offset"].as_u64().is_some_and(|offset| offset > 0));
    // As any holder of the link may do.
    let objects = files(&world, "jobs");
    objects.put(&key, "application/x-ndjson", (10..16).map(row).collect::<String>().into_bytes()).await.unwrap();
    for _ in 0..6 {
        world.settle().await;
        world.advance(Duration::from_secs(600));
    }
    let dead = world.admin().await.get(&job).await.expect(200).body;
    assert_eq!(dead["status"], "dead");
    assert!(dead["lastError"].as_str().unwrap().contains("replaced"), "{dead}");
    let admin = world.admin().await;
    assert!(all(&admin, "things").await.iter().all(|record| record["title"].as_str().unwrap().len() == 1));
}

#[tokio::test]
async fn a_row_may_point_only_at_an_existing_record() {
    let world = World::new().await;
    let admin = with_things(&world, &["things"]).await;
    for on_delete in ["restrict", "cascade"] {
        let name = format!("parts_{on_delete}");
        let definition = json!({ "name": name, "schema": { "type": "object", "additionalProperties": false, "properties": {
            "of": { "type": "string", "relation": { "collection": "things", "onDelete": on_delete } } } },
            "indexes": [{ "name": "of", "partition": ["of"] }] });
        admin.put(&format!("/v1/collections/{name}"), definition).await.expect(201);
        let thing = admin.post(&path("things"), json!({ "title": "whole" })).await.expect(201).body;
        let id = thing["id"].as_str().unwrap();
        // All of them point at one record, side by side.
        let mut text: String = format!("{{\"of\":\"{id}\"}}\n").repeat(20);
        text.push_str("{\"of\":\"017f22e2-79b0-7cc3-98c4-dc0c0c07398f\"}\n{\"of\":\"nobody\"}\n");
        let job = import(&admin, &name, "ndjson", &text).await;
        world.settle().await;
        let imported = result(&admin, &job).await;
        assert_eq!(imported["imported"], 20, "{imported}");
        let reported: Vec<(&Value, &Value)> = imported["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (&it["line"], &it["errors"][0]["pointer"]))
            .collect();
        assert_eq!(reported, [(&json!(21), &json!("/of")), (&json!(22), &json!("/of"))]);
        let delete = admin.delete(&format!("{}/{id}", path("things"))).await;
        delete.expect(if on_delete == "restrict" { 409 } else { 204 });
    }
    for _ in 0..4 {
        world.settle().await;
        world.advance(Duration::from_secs(60));
    }
    world.settle().await;
}

#[tokio::test]
async fn an_import_or_export_that_cannot_succeed_is_refused_at_once() {
    let world = World::new().await;
    let admin = with_things(&world, &["things"]).await;
    let key = "uploads/017f22e2-79b0-7cc3-98c4-dc0c0c07398f.csv";
    for (kind, payload, pointer) in [
        ("records.export", json!({}), "/payload/collection"),
        ("records.export", json!({ "collection": "nothing", "format": "csv" }), "/payload/collection"),
        ("records.export", json!({ "collection": "things", "format": "xml" }), "/payload/format"),
        ("records.export", json!({ "collection": "things", "format": "csv", "key": key }), "/payload/key"),
        ("records.import", json!({ "collection": "things", "format": "csv" }), "/payload/key"),
        ("records.import", json!({ "collection": "things", "format": "ndjson", "key": key }), "/payload/key"),
        (
            "records.import",
            json!({ "collection": "things", "format": "csv", "key": "unfinished/x.csv" }),
            "/payload/key",
        ),
        ("records.import", json!({ "collection": "users", "format": "csv", "key": key }), "/payload/collection"),
    ] {
        let refused = admin.post("/v1/jobs", json!({ "type": kind, "payload": payload })).await.expect(400);
        let errors = refused.body["errors"].as_array().unwrap();
        assert!(errors.iter().any(|error| error["pointer"] == pointer), "{pointer}: {}", refused.text);
    }
    for (body, pointer) in [
        (json!({ "format": "xml", "bytes": 1 }), "/format"),
        (json!({ "format": "csv", "bytes": 0 }), "/bytes"),
        (json!({ "format": "csv", "bytes": 6_000_000_000_u64 }), "/bytes"),
    ] {
        let refused = admin.post(UPLOADS, body).await.expect(400);
        assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{}", refused.text);
    }
    // An error that only the worker can detect ends the job, with its reason.
    let absent =
        enqueue(&admin, "records.import", json!({ "collection": "things", "format": "csv", "key": key })).await;
    let header = import(&admin, "things", "csv", "title,nothing\n1,2\n").await;
    for _ in 0..6 {
        world.settle().await;
        world.advance(Duration::from_secs(600));
    }
    let admin = world.admin().await;
    for (job, reason) in [(absent, "file does not exist"), (header, "`nothing`")] {
        let job = admin.get(&job).await.expect(200).body;
        assert_eq!(job["status"], "dead");
        assert!(job["lastError"].as_str().unwrap().contains(reason), "{job}");
    }
}

/// With `ROUNDS=20` twenty thousand rows.
#[tokio::test]
async fn thousands_of_rows_become_as_many_records() {
    let world = World::new().await;
    let admin = with_things(&world, &["things", "copies"]).await;
    let rows = 1_000 * rounds(1);
    let text: String = (0..rows).map(|nth| format!("{nth},{}\r\n", nth * 3)).collect();
    let job = import(&admin, "things", "csv", &format!("title,amount\r\n{text}")).await;
    world.settle().await;
    assert_eq!(result(&admin, &job).await["imported"], rows);
    let job = export(&admin, "things", "csv").await;
    world.settle().await;
    let exported = result(&admin, &job).await;
    assert_eq!(exported["records"], rows);
    let payload = json!({ "collection": "copies", "format": "csv", "key": exported["key"] });
    let job = enqueue(&admin, "records.import", payload).await;
    world.settle().await;
    assert_eq!(result(&admin, &job).await["imported"], rows);
}
