//! Formats that are not asserted: refused, or annotations where the definition says so.

use super::evolution::work;
use crate::world::World;
use serde_json::{Value, json};
use std::time::Duration;

const KEYS: &str = "/v1/collections/keys";

fn keys(formats: &str) -> Value {
    let code = json!({ "type": "string", "format": "ulid" });
    let properties = json!({ "code": code, "all": { "type": "array", "items": code }, "size": { "type": "integer", "format": "int64" },
        "mail": { "type": "string", "format": "email" } });
    json!({ "formats": formats, "schema": { "type": "object", "properties": properties } })
}

#[tokio::test]
async fn unknown_formats_are_annotations_where_the_definition_says_so() {
    let world = World::new().await;
    let admin = world.admin().await;
    let refused = admin.put(KEYS, keys("assert")).await.expect(400);
    let errors = refused.body["errors"].as_array().unwrap();
    let places: Vec<_> = errors.iter().map(|error| (error["code"].as_str(), error["pointer"].as_str())).collect();
    let at = |place: &'static str| (Some("unknown_format"), Some(place));
    assert_eq!(
        places,
        [
            at("/schema/properties/all/items/format"),
            at("/schema/properties/code/format"),
            at("/schema/properties/size/format")
        ]
    );
    admin.put(KEYS, keys("annotate")).await.expect(201);
    world.advance(Duration::from_secs(6));
    let shown = admin.get(KEYS).await.expect(200).body;
    assert_eq!(shown["formats"], "annotate");
    assert_eq!(admin.put(KEYS, shown.clone()).await.expect(200).body["schema"], shown["schema"]);

    let records = format!("{KEYS}/records");
    let body = json!({ "code": "no ulid", "all": ["x"], "size": 5, "mail": "a@example.com" });
    let made = admin.post(&records, body).await.expect(201).body;
    admin.patch(&format!("{records}/{}", made["id"].as_str().unwrap()), json!({ "code": "other" })).await.expect(200);
    let wrong = admin.post(&records, json!({ "code": "x", "mail": "no" })).await.expect(400);
    assert_eq!(
        (&wrong.body["errors"][0]["code"], &wrong.body["errors"][0]["pointer"]),
        (&json!("format"), &json!("/mail"))
    );

    // OpenAPI's tools read any format; strict JSON Schema validators refuse unknown ones.
    let document = admin.get("/openapi.json").await.expect(200).body;
    assert_eq!(document["components"]["schemas"]["keys_input"]["properties"]["code"]["format"], "ulid");
    let schema = admin.get(&format!("{KEYS}/schema")).await.expect(200).body;
    assert_eq!(schema["properties"]["code"], json!({ "type": "string", "$comment": "{\"format\":\"ulid\"}" }));
    assert_eq!(schema["properties"]["mail"]["format"], "email");
}

#[tokio::test]
async fn a_definition_that_no_longer_annotates_must_lose_such_formats() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put(KEYS, keys("annotate")).await.expect(201);
    admin.put(KEYS, keys("assert")).await.expect(400);
    let mut asserted = keys("annotate");
    asserted["schema"]["properties"]["code"]["format"] = json!("uuid");
    let answer = admin.put(KEYS, asserted).await.expect(202);
    assert_eq!(answer.body["status"], "narrowing", "stored codes must be checked");
    work(&world).await;
    assert_eq!(admin.get(KEYS).await.expect(200).body["status"], "ready");
    let mut plain = keys("assert");
    let properties = plain["schema"]["properties"].as_object_mut().unwrap();
    properties.retain(|name, _| name == "mail");
    properties.insert("code".into(), json!({ "type": "string" }));
    admin.put(KEYS, plain).await.expect(202);
}
