//! Limits of sizes and counts, deletions taken back and definitions that wait: none of them reveals an unreadable field.

use super::{BIDS, bids, in_force};
use crate::world::World;
use serde_json::{Value, json};

/// Neither the length limit of a key field nor the space left in a record reveals hidden fields.
#[tokio::test]
async fn hidden_fields_take_no_space_from_visible_ones() {
    let world = World::new().await;
    let (admin, eve) = bids(&world, "auth.id != ''").await;
    let mut definition = admin.get("/v1/collections/bids").await.expect(200).body;
    definition["indexes"][0]["sort"] = json!(["code", "name"]);
    let definition = json!({ "name": "bids", "schema": definition["schema"], "indexes": definition["indexes"],
        "rules": definition["rules"] });
    admin.put("/v1/collections/bids", definition).await;
    in_force(&world).await;
    for name in ["x".to_owned(), "x".repeat(450)] {
        let bid = admin.post(BIDS, json!({ "owner": "somebody", "name": name })).await.expect(201);
        let bid = bid.header("location").to_owned();
        eve.patch(&bid, json!({ "code": "y".repeat(450) })).await.expect(200);
        let refused = eve.patch(&bid, json!({ "code": "y".repeat(600) })).await.expect(400).body;
        assert_eq!(refused["errors"][0]["code"], "index_key_too_long");
    }
    let own = "record.owner == auth.id";
    let flags = json!({ "name": "flags", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "name": { "type": "string" }, "more": { "type": "string" },
        "notes": { "type": "string", "hidden": true } } },
        "rules": { "read": own, "update": own } });
    admin.put("/v1/collections/flags", flags).await.expect(201);
    let records = "/v1/collections/flags/records";
    let refused = admin.post(records, json!({ "notes": "n".repeat(25_000) })).await.expect(400);
    assert_eq!(refused.code(), "item_too_large");
    for notes in ["", &"n".repeat(23_900)] {
        let body = json!({ "owner": eve.id(), "notes": notes });
        let flag = admin.post(records, body).await.expect(201).header("location").to_owned();
        eve.patch(&flag, json!({ "name": "x".repeat(331_000) })).await.expect(200);
        eve.patch(&flag, json!({ "more": "x".repeat(230) })).await.expect(200);
        assert_eq!(eve.patch(&flag, json!({ "more": "x".repeat(2_000) })).await.expect(400).code(), "item_too_large");
        eve.patch(&flag, json!({ "name": null })).await.expect(200);
    }
    world.settle().await;
}

#[tokio::test]
async fn the_size_of_a_transaction_reveals_no_unique_value() {
    let world = World::new().await;
    let admin = world.admin().await;
    let own = "record.owner == auth.id";
    let coded = json!({ "name": "coded", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "code": { "type": "string" } } }, "unique": [["code"]],
        "rules": { "read": own, "update": "auth.id != ''", "delete": "auth.id != ''" } });
    admin.put("/v1/collections/coded", coded).await.expect(201);
    let junk = json!({ "name": "junk", "schema": { "type": "object", "additionalProperties": false, "properties": {} },
        "rules": { "create": "auth.id != ''" } });
    admin.put("/v1/collections/junk", junk).await.expect(201);
    let (ada, eve) = (world.user("ada").await, world.user("eve").await);
    let records = "/v1/collections/coded/records";
    let coded = admin.post(records, json!({ "owner": ada.id(), "code": "c1" })).await.expect(201);
    let coded = coded.header("location").to_owned();
    let plain = admin.post(records, json!({ "owner": ada.id() })).await.expect(201).header("location").to_owned();
    let full = async |operation: Value| {
        let create = json!({ "method": "POST", "path": "/v1/collections/junk/records", "body": {} });
        let operations: Vec<Value> = std::iter::once(operation).chain(std::iter::repeat_n(create, 99)).collect();
        eve.post("/v1/batch", json!({ "operations": operations })).await.expect(400).code().to_owned()
    };
    for guess in ["c1", "c2"] {
        let guess = json!({ "method": "PATCH", "path": coded, "body": { "code": guess } });
        assert_eq!(full(guess).await, "too_many_writes");
    }
    for record in [coded, plain] {
        eve.delete(&record).await.expect(204);
        assert_eq!(full(json!({ "method": "POST", "path": format!("{record}/undelete") })).await, "too_many_writes");
    }
    world.settle().await;
}

#[tokio::test]
async fn a_hidden_field_takes_no_space_from_another_and_an_oversized_one_is_kept() {
    let world = World::new().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let own = "record.owner == auth.id";
    let mut fields = json!({ "owner": { "type": "string" }, "name": { "type": "string" },
        "pin": { "type": "string", "hidden": true }, "notes": { "type": "string", "hidden": true } });
    (0..4).for_each(|nth| fields[format!("more{nth}")] = json!({ "type": "string" }));
    let flags = json!({ "name": "flags", "schema": { "type": "object", "additionalProperties": false, "properties": fields },
        "rules": { "read": own, "update": own, "delete": own } });
    admin.put("/v1/collections/flags", flags).await.expect(201);
    for pin in [10, 11_900] {
        let body = json!({ "owner": ada.id(), "pin": "p".repeat(pin) });
        let flag = admin.post("/v1/collections/flags/records", body).await.expect(201).header("location").to_owned();
        ada.patch(&flag, json!({ "notes": "n".repeat(11_950) })).await.expect(200);
        assert_eq!(ada.patch(&flag, json!({ "notes": "n".repeat(12_050) })).await.expect(400).code(), "item_too_large");
        ada.patch(&flag, json!({ "name": "x".repeat(331_900) })).await.expect(200);
        for nth in 0..4 {
            ada.patch(&flag, json!({ format!("more{nth}"): "x".repeat(200) })).await.expect(200);
        }
        ada.delete(&flag).await.expect(204);
        ada.post(&format!("{flag}/undelete"), json!({})).await.expect(200);
        ada.patch(&flag, json!({ "name": "x".repeat(331_000) })).await.expect(200);
    }
    world.settle().await;
}

#[tokio::test]
async fn undelete_reveals_no_hidden_field() {
    let world = World::new().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let own = "record.owner == auth.id";
    let place =
        json!({ "name": "places", "schema": { "type": "object", "additionalProperties": false, "properties": {} } });
    admin.put("/v1/collections/places", place).await.expect(201);
    let notes = json!({ "name": "notes", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" },
        "h": { "type": "string", "hidden": true, "relation": { "collection": "places", "onDelete": "setNull" } } } },
        "indexes": [], "rules": { "read": own, "update": own, "delete": own } });
    let put = admin.put("/v1/collections/notes", notes).await;
    if put.status != 201 {
        // A hidden relation cannot be indexed, and setNull needs an index: then it points without following.
        let mut body = json!({ "name": "notes", "schema": { "type": "object", "additionalProperties": false, "properties": {
            "owner": { "type": "string" }, "h": { "type": "string", "hidden": true, "relation": { "collection": "places" } } } },
            "rules": { "read": own, "update": own, "delete": own } });
        admin.put("/v1/collections/notes", body.take()).await.expect(201);
    }
    let place = admin.post("/v1/collections/places/records", json!({})).await.expect(201);
    let (place, at) = (place.body["id"].clone(), place.header("location").to_owned());
    let note = async |body: Value| {
        admin.post("/v1/collections/notes/records", body).await.expect(201).header("location").to_owned()
    };
    let note = note(json!({ "owner": ada.id(), "h": place })).await;
    ada.delete(&note).await.expect(204);
    ada.post(&format!("{note}/undelete"), json!({})).await.expect(200);
    ada.delete(&note).await.expect(204);
    admin.delete(&at).await.expect(204);
    let refused = ada.post(&format!("{note}/undelete"), json!({})).await.expect(409);
    assert_eq!((refused.code(), refused.text.contains("/h")), ("no_longer_valid", false), "{}", refused.text);
    world.settle().await;
}

#[tokio::test]
async fn a_waiting_definition_reveals_nothing_of_fields_that_are_not_sent() {
    let world = World::new().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let eve = world.user("eve").await;
    let own = "record.owner == auth.id";
    let definition = |most: Value, unique: Value| {
        let mut amount = json!({ "type": "integer" });
        amount.as_object_mut().unwrap().extend(most.as_object().unwrap().clone());
        let mut pin = amount.clone();
        pin["hidden"] = json!(true);
        json!({ "name": "bids", "schema": { "type": "object", "additionalProperties": false, "properties": {
            "owner": { "type": "string" }, "amount": amount, "pin": pin, "code": { "type": "string" },
            "name": { "type": "string" } } }, "unique": unique,
            "indexes": [{ "name": "named", "partition": ["name"] }], "rules": { "read": own, "update": "auth.id != ''" } })
    };
    admin.put("/v1/collections/bids", definition(json!({}), json!([]))).await.expect(201);
    let mut bids = Vec::new();
    for (amount, code) in [(5, "same"), (500, "same"), (5, "other")] {
        let body = json!({ "owner": ada.id(), "amount": amount, "pin": amount, "code": code });
        bids.push(admin.post(BIDS, body).await.expect(201).header("location").to_owned());
    }
    admin.put("/v1/collections/bids", definition(json!({ "maximum": 100 }), json!([["code"]]))).await.expect(202);
    for round in 0..2 {
        for bid in &bids {
            eve.patch(bid, json!({ "name": format!("e{round}") })).await.expect(200);
            ada.patch(bid, json!({ "name": format!("a{round}") })).await.expect(200);
        }
        in_force(&world).await;
        let refused = ada.patch(&bids[0], json!({ "amount": 101 })).await.expect(400).body;
        assert_eq!(refused["errors"][0]["pointer"], "/amount", "the sent field is checked by both");
    }
    assert_eq!(admin.get("/v1/collections/bids").await.expect(200).body["status"], "blocked");
}
