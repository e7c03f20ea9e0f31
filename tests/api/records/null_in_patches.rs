//! `null` in a merge patch (RFC 7396): it removes a member, and a required one is refused with the way to store `null`.

use crate::world::{Answer, World};
use axum::http::Method;
use serde_json::{Value, json};

const NOTES: &str = "/v1/collections/notes";

/// With `joined`, the schema validates several fields together, so a patch is validated as a part of the whole record.
fn notes(joined: bool) -> Value {
    let nullable = json!({ "type": ["string", "null"] });
    let place = json!({ "type": "object", "required": ["city"], "properties": { "city": nullable, "zip": nullable } });
    let mut schema = json!({ "type": "object", "required": ["v", "plain"], "properties": {
        "v": nullable, "plain": { "type": "string" }, "optional": nullable, "place": place } });
    if joined {
        schema["minProperties"] = json!(2);
    }
    json!({ "schema": schema, "rules": { "read": "true", "create": "true", "update": "true" } })
}

fn refused(answer: &Answer, pointer: &str) {
    let errors = if answer.body["operations"].is_null() {
        &answer.body["errors"]
    } else {
        &answer.body["operations"][0]["errors"]
    };
    let error = &errors[0];
    assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!("required")), "{}", answer.text);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("`null` removes") && message.contains("store it with `PUT`"), "{message}");
}

#[tokio::test]
async fn null_removes_and_put_stores_it() {
    for joined in [false, true] {
        let world = World::new().await;
        let admin = world.admin().await;
        admin.put(NOTES, notes(joined)).await.expect(201);
        let records = format!("{NOTES}/records");
        let body = json!({ "v": "x", "plain": "y", "optional": "z", "place": { "city": "Ur", "zip": "1" } });
        let made = admin.post(&records, body.clone()).await.expect(201);
        let path = made.header("location").to_owned();
        for (patch, pointer) in [
            (json!({ "v": null }), "/v"),
            (json!({ "plain": null, "optional": "other" }), "/plain"),
            (json!({ "place": { "city": null } }), "/place/city"),
        ] {
            refused(&admin.patch(&path, patch.clone()).await.expect(400), pointer);
            let operation = json!({ "method": "PATCH", "path": path, "body": patch });
            refused(&admin.post("/v1/batch", json!({ "operations": [operation] })).await.expect(400), pointer);
        }
        assert_eq!(admin.get(&path).await.expect(200).body["version"], 1, "nothing was written");
        let changed = admin.patch(&path, json!({ "optional": null, "place": { "zip": null } })).await.expect(200).body;
        assert_eq!((changed.get("optional"), &changed["place"]), (None, &json!({ "city": "Ur" })));

        // A missing member that the patch does not name is another error.
        let absent = admin.patch(&path, json!({ "place": null })).await.expect(200).body;
        assert_eq!(absent.get("place"), None);
        let error = admin.patch(&path, json!({ "place": { "zip": "2" } })).await.expect(400).body["errors"][0].clone();
        assert_eq!(
            (&error["pointer"], &error["message"]),
            (&json!("/place/city"), &json!("This field is required. Send a value."))
        );

        let tag = admin.get(&path).await.expect(200).header("etag").to_owned();
        let mut nulls = body.clone();
        (nulls["v"], nulls["optional"], nulls["place"]) = (Value::Null, Value::Null, json!({ "city": null }));
        let put = admin
            .request(Method::PUT, &path)
            .header("if-match", &tag)
            .json(nulls.clone())
            .send()
            .await
            .expect(200)
            .body;
        for member in ["v", "optional", "place"] {
            assert_eq!(put.get(member), Some(&nulls[member]), "PUT stores null");
        }

        let document = admin.get("/openapi.json").await.expect(200).body;
        let patch = &document["components"]["schemas"]["notes_patch"]["properties"];
        assert_eq!(patch["v"], json!({ "type": "string" }), "null is not offered");
    }
}
