//! What is stored in another form than it was sent in is validated, and compared by rules, as it is stored. So what was read
//! can be sent back.

use crate::imports::files::{import, result};
use crate::world::{Answer, Caller, World};
use serde_json::{Map, Value, json};

const RECORDS: &str = "/v1/collections/meetings/records";
/// One time, spelled in four ways. The first is the stored form.
const SPELLINGS: [&str; 4] =
    ["2026-03-01T12:00:00.000Z", "2026-03-01T12:00:00Z", "2026-03-01T14:00:00.0+02:00", "2026-03-01t12:00:00-00:00"];

/// A field that holds no time in the stored form, and one that holds no other.
fn meetings(keyword: &str, value: Value) -> Value {
    let field = json!({ "type": ["string", "null"], "format": "date-time" });
    let at = |keyword: &str, value: Value| {
        let mut at = field.clone();
        at[keyword] = value;
        at
    };
    json!({ "name": "meetings",
        "schema": { "type": "object", "additionalProperties": false, "properties": {
            "never": at(keyword, value),
            "at": at("pattern", json!("\\.\\d{3}Z$")),
            "start": at("default", json!("2026-03-01T14:00:00+02:00")),
            "n": { "type": "number", "enum": [1, 2.5, 100] },
            "note": { "type": "string" } } },
        "rules": { "list": "true", "read": "true", "create": "input.note != 'late' || input.at > '2026-03-01T11:59:59Z'",
            "update": "!changed('start') && input.at == '2026-03-01T12:00:00Z'" } })
}

/// Every way in which a member reaches a stored record.
async fn sent_on_every_route(world: &World, member: &str, value: &Value) -> Vec<Answer> {
    let admin = world.admin().await;
    let made = admin.post(RECORDS, json!({ "at": SPELLINGS[0], "note": "x" })).await.expect(201);
    let path = made.header("location").to_owned();
    let body = Value::Object(Map::from_iter([(member.to_owned(), value.clone())]));
    let put = async |caller: &Caller<'_>| {
        let tag = caller.get(&path).await.expect(200).header("etag").to_owned();
        caller.request(axum::http::Method::PUT, &path).header("if-match", &tag).json(body.clone()).send().await
    };
    vec![
        admin.post(RECORDS, body.clone()).await,
        admin.patch(&path, body.clone()).await,
        put(&admin).await,
        admin.post("/v1/batch", json!({ "operations": [{ "method": "POST", "path": RECORDS, "body": body }] })).await,
    ]
}

#[tokio::test]
async fn a_time_that_its_schema_refuses_as_it_is_stored_is_refused_on_every_route() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/meetings", meetings("pattern", json!(":00Z$"))).await.expect(201);
    for spelling in SPELLINGS {
        for answer in sent_on_every_route(&world, "never", &json!(spelling)).await {
            let refused = answer.expect(400);
            for part in ["/never\"", "\"pattern\"", "A time is stored, and validated, in the form"] {
                assert!(refused.text.contains(part), "{part}: {}", refused.text);
            }
        }
        let job = import(&admin, "meetings", "ndjson", &format!("{{\"never\":\"{spelling}\"}}\n")).await;
        world.settle().await;
        assert_eq!(result(&admin, &job).await["errors"][0]["errors"][0]["code"], "pattern");
    }
}

#[tokio::test]
async fn what_was_read_can_be_sent_back() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/meetings", meetings("minLength", json!(24))).await.expect(201);
    for (member, spelling) in SPELLINGS.into_iter().map(|spelling| ("at", json!(spelling))).chain(numbers()) {
        for answer in sent_on_every_route(&world, member, &spelling).await {
            assert!((200..300).contains(&answer.status), "{member} {spelling}: {}", answer.text);
        }
    }
    let page = admin.get(&format!("{RECORDS}?limit=100")).await.expect(200).body;
    for record in page["items"].as_array().unwrap() {
        let path = format!("{RECORDS}/{}", record["id"].as_str().unwrap());
        let tag = admin.get(&path).await.expect(200).header("etag").to_owned();
        let mut body = record.clone();
        body.as_object_mut().unwrap().retain(|name, _| !["createdAt", "updatedAt", "version"].contains(&name.as_str()));
        let put = admin.request(axum::http::Method::PUT, &path).header("if-match", &tag).json(body).send().await;
        let again = put.expect(200).body;
        for (name, value) in
            record.as_object().unwrap().iter().filter(|(name, _)| !["version", "updatedAt"].contains(&name.as_str()))
        {
            assert_eq!(&again[name], value, "{name}");
        }
    }
}

/// Spellings of numbers that an `enum` lists.
fn numbers() -> impl Iterator<Item = (&'static str, Value)> {
    ["1", "1.0", "2.50", "1e2", "100.00"].into_iter().map(|text| ("n", serde_json::from_str(text).unwrap()))
}

#[tokio::test]
async fn a_rule_compares_times_as_they_are_stored() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/meetings", meetings("minLength", json!(24))).await.expect(201);
    let ada = world.user("ada").await;
    for spelling in SPELLINGS {
        let made = ada.post(RECORDS, json!({ "at": spelling, "note": "late" })).await.expect(201);
        assert_eq!((&made.body["at"], &made.body["start"]), (&json!(SPELLINGS[0]), &json!(SPELLINGS[0])));
        let path = made.header("location").to_owned();
        ada.patch(&path, json!({ "at": spelling, "start": spelling })).await.expect(200);
        let tag = ada.get(&path).await.expect(200).header("etag").to_owned();
        let body = json!({ "at": spelling, "start": spelling, "note": "same" });
        ada.request(axum::http::Method::PUT, &path).header("if-match", &tag).json(body).send().await.expect(200);
        ada.patch(&path, json!({ "at": spelling, "start": "2026-03-01T12:00:00+01:00" })).await.expect(403);
    }
    // Later as text, earlier as a time.
    ada.post(RECORDS, json!({ "at": "2026-03-01T12:30:00+02:00", "note": "late" })).await.expect(403);
}
