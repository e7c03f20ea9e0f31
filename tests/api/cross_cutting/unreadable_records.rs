//! Records that a caller may change but not read: no rule, schema or cost reveals their content (R64, R66).

mod limits;

use crate::world::{Answer, Caller, World};
use serde_json::{Value, json};

const BIDS: &str = "/v1/collections/bids/records";

/// Bids that only their owner reads, and that others may change by the rule `update`.
async fn bids<'a>(world: &'a World, update: &str) -> (Caller<'a>, Caller<'a>) {
    let admin = world.admin().await;
    let bag = json!({ "type": "object", "maxProperties": 2, "additionalProperties": { "type": "integer" } });
    let definition = json!({ "name": "bids", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "amount": { "type": "integer" }, "code": { "type": "string" },
        "tags": { "type": "array", "items": { "type": "string" } }, "name": { "type": "string" }, "bag": bag } },
        "indexes": [{ "name": "coded", "partition": ["owner"], "sort": ["code"] }],
        "rules": { "read": "record.owner == auth.id", "list": "record.owner == auth.id", "update": update } });
    admin.put("/v1/collections/bids", definition).await.expect(201);
    (admin, world.user("eve").await)
}

/// Waits until a changed definition is in force and its job is done.
async fn in_force(world: &World) {
    for _ in 0..3 {
        world.settle().await;
        world.advance(std::time::Duration::from_secs(20));
    }
    world.settle().await;
}

fn reported(answer: &Answer) -> (u16, Value, Option<String>) {
    let mut body = answer.body.clone();
    if let Some(members) = body.as_object_mut() {
        ["id", "version", "requestId"].iter().for_each(|name| drop(members.remove(*name)));
    }
    let cost = answer.headers.get("undercroft-cost").map(|cost| cost.to_str().unwrap().to_owned());
    (answer.status, body, cost)
}

#[tokio::test]
async fn a_rule_that_compares_input_with_the_record_reveals_nothing_of_it() {
    let sent = json!({ "amount": 5_000, "code": "key", "tags": ["key"] });
    for update in [
        "!(input.amount < record.amount)",
        "input.amount > record.amount",
        "input.code == record.code",
        "!(input.code != record.code)",
        "input.code in record.tags",
        "!(input.code in record.tags)",
        "record.code.startsWith(input.code)",
        "!record.code.startsWith(input.code)",
        "input.name == 'x' || input.code == record.code",
    ] {
        let world = World::new().await;
        let (admin, eve) = bids(&world, &format!("auth.id != '' && ({update})")).await;
        let ada = world.user("ada").await;
        let mut answers = Vec::new();
        let mut of_owner = Vec::new();
        for (amount, code, tags) in [(10, "key", json!(["key"])), (9_000, "other", json!([]))] {
            let body = json!({ "owner": ada.id(), "amount": amount, "code": code, "tags": tags });
            let bid = admin.post(BIDS, body).await.expect(201).header("location").to_owned();
            eve.get(&bid).await.expect(404);
            for version in ["*", "\"99-v\"", "\"1\""] {
                let knock = eve.request(axum::http::Method::PATCH, &bid).header("if-match", version);
                answers.push(reported(&knock.json(sent.clone()).send().await));
            }
            let operation = json!({ "method": "PATCH", "path": bid, "body": sent });
            let batch = eve.post("/v1/batch", json!({ "operations": [operation] })).await;
            answers.push((batch.status, Value::Null, reported(&batch).2));
            of_owner.push(ada.patch(&bid, sent.clone()).await.status);
        }
        let (one, other) = answers.split_at(answers.len() / 2);
        assert_eq!(one, other, "{update}");
        assert_ne!(of_owner[0], of_owner[1], "{update}: to who reads the record the rule says which is which");
        world.settle().await;
    }
}

#[tokio::test]
async fn an_object_is_not_merged_into_a_record_the_caller_may_not_read() {
    let world = World::new().await;
    let (admin, eve) = bids(&world, "auth.id != ''").await;
    let ada = world.user("ada").await;
    let body = json!({ "owner": ada.id(), "bag": { "alice": 1, "carol": 2 } });
    let bid = admin.post(BIDS, body).await.expect(201).header("location").to_owned();
    for guess in ["alice", "bobby"] {
        let refused = eve.patch(&bid, json!({ "bag": { guess: 9 } })).await.expect(400).body;
        assert_eq!(
            (&refused["errors"][0]["pointer"], &refused["errors"][0]["code"]),
            (&json!("/bag"), &json!("unreadable"))
        );
    }
    assert_eq!(admin.get(&bid).await.expect(200).body["bag"], json!({ "alice": 1, "carol": 2 }), "nothing is lost");
    ada.patch(&bid, json!({ "bag": { "alice": 3 } })).await.expect(200);
}

#[tokio::test]
async fn a_write_shows_no_cost_to_callers_who_may_not_read_the_record() {
    let world = World::new().await;
    let (admin, eve) = bids(&world, "auth.id != ''").await;
    let ada = world.user("ada").await;
    for (name, code) in [("x".to_owned(), "4711"), ("x".repeat(9_000), "0815")] {
        let body = json!({ "owner": ada.id(), "name": name, "code": code });
        let bid = admin.post(BIDS, body).await.expect(201).header("location").to_owned();
        for patch in [json!({}), json!({ "amount": 1 }), json!({ "code": "4711" })] {
            let answer = eve.patch(&bid, patch.clone()).await.expect(200);
            assert_eq!(answer.headers.get("undercroft-cost"), None, "{patch}");
        }
        let knock = eve.request(axum::http::Method::PATCH, &bid).header("if-match", "\"99-v\"");
        let answer = knock.json(json!({ "amount": 2 })).send().await.expect(412);
        assert_eq!(answer.headers.get("undercroft-cost"), None);
        ada.patch(&bid, json!({ "amount": 3 })).await.expect(200).cost();
    }
}

#[tokio::test]
async fn only_admins_see_the_cost_of_records_with_hidden_fields() {
    let world = World::new().await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let own = "record.owner == auth.id";
    let flags = json!({ "name": "flags", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "name": { "type": "string" }, "vip": { "type": "boolean", "hidden": true } } },
        "indexes": [{ "name": "mine", "partition": ["owner"] }],
        "rules": { "read": own, "list": own, "update": own, "delete": own, "create": "true" } });
    admin.put("/v1/collections/flags", flags).await.expect(201);
    let records = "/v1/collections/flags/records";
    let flag = admin.post(records, json!({ "owner": ada.id(), "vip": true })).await.expect(201);
    flag.cost();
    let flag = flag.header("location").to_owned();
    for answer in [
        ada.get(&flag).await.expect(200),
        ada.get(records).await.expect(200),
        ada.patch(&flag, json!({ "name": "x" })).await.expect(200),
        ada.post(records, json!({ "owner": ada.id() })).await.expect(201),
        ada.delete(&flag).await.expect(204),
    ] {
        assert_eq!(answer.headers.get("undercroft-cost"), None, "{}", answer.asked);
    }
}

#[tokio::test]
async fn a_schema_keyword_that_would_reveal_a_hidden_field_is_refused() {
    let world = World::new().await;
    let admin = world.admin().await;
    let definition = |more: Value| {
        let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": {
            "pin": { "type": "string", "hidden": true }, "x": { "type": "integer" }, "y": { "type": "integer" } } });
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "name": "pins", "schema": schema })
    };
    for keyword in [
        json!({ "dependentRequired": { "x": ["pin"] } }),
        json!({ "maxProperties": 3 }),
        json!({ "if": { "properties": { "pin": { "const": "gold" } } }, "then": { "properties": { "x": { "maximum": 5 } } } }),
        json!({ "anyOf": [{ "required": ["pin"] }, { "required": ["x"] }] }),
    ] {
        let refused = admin.put("/v1/collections/pins", definition(keyword.clone())).await.expect(400).body;
        assert_eq!(refused["errors"][0]["code"], "tells_hidden", "{keyword}: {refused}");
    }
    admin.put("/v1/collections/pins", definition(json!({ "dependentRequired": { "x": ["y"] } }))).await.expect(201);
}

#[tokio::test]
async fn pointing_at_a_record_shows_no_cost_to_callers_who_may_not_read_it() {
    let world = World::new().await;
    let (admin, ada) = bids(&world, "auth.id != ''").await;
    let mut links = json!({ "name": "links", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "to": { "type": "string", "relation": { "collection": "bids" } } } },
        "rules": { "read": "true", "create": "auth.id != ''" } });
    let mut bids = admin.get("/v1/collections/bids").await.expect(200).body["rules"].clone();
    bids["refer"] = json!("auth.id != ''");
    let mut definition = json!({ "name": "bids", "rules": bids });
    for member in ["schema", "indexes"] {
        definition[member] = admin.get("/v1/collections/bids").await.expect(200).body[member].clone();
    }
    admin.put("/v1/collections/bids", definition).await.expect(200);
    admin.put("/v1/collections/links", links.take()).await.expect(201);
    let pointed = "/v1/collections/links/records";
    for (owner, name) in [("somebody", "x".to_owned()), ("somebody", "x".repeat(9_000)), (ada.id(), "x".to_owned())] {
        let bid = admin.post(BIDS, json!({ "owner": owner, "name": name })).await.expect(201).body["id"].clone();
        let answer = ada.post(pointed, json!({ "to": bid })).await.expect(201);
        assert_eq!(answer.headers.get("undercroft-cost"), None, "{owner}");
        admin.post(pointed, json!({ "to": bid })).await.expect(201).cost();
    }
}

#[tokio::test]
async fn a_replacement_that_leaves_a_field_out_changes_it() {
    for update in
        ["record.owner == auth.id && !changed('owner') && !changed('amount')", "auth.id != '' && !changed('amount')"]
    {
        let world = World::new().await;
        let (admin, eve) = bids(&world, update).await;
        let ada = world.user("ada").await;
        for amount in [json!(7), Value::Null] {
            let mut body = json!({ "owner": ada.id(), "name": "a", "amount": amount });
            if amount.is_null() {
                body.as_object_mut().unwrap().remove("amount");
            }
            let bid = admin.post(BIDS, body.clone()).await.expect(201).header("location").to_owned();
            let replace = async |caller: &Caller<'_>, body: Value| {
                let knock = caller.request(axum::http::Method::PUT, &bid).header("if-match", "*");
                knock.json(body).send().await.status
            };
            assert_eq!(replace(&eve, json!({ "name": "b" })).await, 404, "{update}: who may not read it hears nothing");
            let left_out = json!({ "name": "b", "owner": ada.id() });
            let expected = if amount.is_null() { 200 } else { 403 };
            assert_eq!(replace(&ada, left_out).await, expected, "{update}: {amount}");
            body["name"] = json!("c");
            assert_eq!(replace(&ada, body).await, 200, "{update}");
        }
        world.settle().await;
    }
}

#[tokio::test]
async fn a_sent_field_is_compared_with_no_other_stored_field() {
    let world = World::new().await;
    let (admin, eve) = bids(&world, "auth.id != '' && !(input.code in input.tags) && !changed('tags')").await;
    let ada = world.user("ada").await;
    let body = json!({ "owner": ada.id(), "code": "x", "tags": ["red"] });
    let bid = admin.post(BIDS, body).await.expect(201).header("location").to_owned();
    for guess in ["red", "green"] {
        let knock = eve.request(axum::http::Method::PATCH, &bid).header("if-match", "\"99-v\"");
        knock.json(json!({ "code": guess })).send().await.expect(404);
    }
    // Fields that she does not send are stored ones, and she must not learn how they compare.
    eve.patch(&bid, json!({ "name": "new" })).await.expect(404);
    ada.patch(&bid, json!({ "name": "new" })).await.expect(200);
    ada.patch(&bid, json!({ "code": "red" })).await.expect(403);
    ada.patch(&bid, json!({ "code": "green" })).await.expect(200);
}

#[tokio::test]
async fn fields_of_one_record_are_compared_only_for_callers_who_may_read_it() {
    for rule in ["update", "delete"] {
        for compared in [
            "record.name <= record.code",
            "record.name == record.code",
            "!(record.name in record.tags)",
            "record.code >= auth.email",
        ] {
            let world = World::new().await;
            let (admin, eve) = bids(&world, "auth.id != ''").await;
            let mut definition = admin.get("/v1/collections/bids").await.expect(200).body;
            definition["rules"][rule] = json!(format!("auth.id != '' && {compared}"));
            let definition = json!({ "name": "bids", "schema": definition["schema"], "indexes": definition["indexes"],
                "rules": definition["rules"] });
            admin.put("/v1/collections/bids", definition).await;
            in_force(&world).await;
            let ada = world.user("ada").await;
            let (mut answers, mut of_owner) = (Vec::new(), Vec::new());
            for (code, tags) in [("aaa", json!(["mmm"])), ("zzz", json!([])), ("mmm", json!(["x"]))] {
                let body = json!({ "owner": ada.id(), "name": "mmm", "code": code, "tags": tags });
                let bid = admin.post(BIDS, body).await.expect(201).header("location").to_owned();
                let method = if rule == "update" { axum::http::Method::PATCH } else { axum::http::Method::DELETE };
                let knock = async |caller: &Caller<'_>| {
                    let knock = caller.request(method.clone(), &bid).header("if-match", "\"99-v\"");
                    let knock = if rule == "update" { knock.json(json!({ "amount": 1 })) } else { knock };
                    knock.send().await
                };
                answers.push(reported(&knock(&eve).await));
                of_owner.push(knock(&ada).await.status);
            }
            assert!(of_owner.contains(&412) && of_owner.contains(&404), "{rule} {compared}: {of_owner:?}");
            assert!(
                answers.iter().all(|answer| answer.0 == 404 && *answer == answers[0]),
                "{rule} {compared}: {answers:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_patch_that_depends_on_unreadable_fields_is_refused_whatever_they_hold() {
    let world = World::new().await;
    let admin = world.admin().await;
    let own = "record.owner == auth.id";
    let pairs = json!({ "name": "pairs", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "a": { "type": "string" }, "b": { "type": "string" }, "c": { "type": "string" } } },
        "unique": [["a", "b"]], "rules": { "read": own, "update": "auth.id != ''" } });
    admin.put("/v1/collections/pairs", pairs).await.expect(201);
    let joined = json!({ "name": "joined", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "a": { "type": "string" }, "b": { "type": "string" } },
        "dependentRequired": { "b": ["a"] } }, "rules": { "read": own, "update": "auth.id != ''" } });
    admin.put("/v1/collections/joined", joined).await.expect(201);
    let (ada, eve) = (world.user("ada").await, world.user("eve").await);
    let (pairs, joined) = ("/v1/collections/pairs/records", "/v1/collections/joined/records");
    admin.post(pairs, json!({ "owner": "x", "a": "gold", "b": "1" })).await.expect(201);
    for a in ["gold", "tin"] {
        let body = json!({ "owner": ada.id(), "a": a, "b": "2" });
        let pair = admin.post(pairs, body).await.expect(201).header("location").to_owned();
        let refused = eve.patch(&pair, json!({ "b": "1" })).await.expect(400).body;
        assert_eq!(refused["errors"][0]["code"], "unreadable", "{a}: {refused}");
        eve.patch(&pair, json!({ "c": "x" })).await.expect(200);
        eve.patch(&pair, json!({ "a": "new", "b": a })).await.expect(200);
        ada.patch(&pair, json!({ "a": "gold", "b": "1" })).await.expect(409);
    }
    for body in [json!({ "owner": ada.id(), "a": "x" }), json!({ "owner": ada.id() })] {
        let record = admin.post(joined, body).await.expect(201).header("location").to_owned();
        let refused = eve.patch(&record, json!({ "b": "1" })).await.expect(400).body;
        assert_eq!(refused["errors"][0]["code"], "unreadable", "{refused}");
        let put = eve.request(axum::http::Method::PUT, &record).header("if-match", "*");
        put.json(json!({ "owner": ada.id(), "a": "y", "b": "2" })).send().await.expect(200);
        ada.patch(&record, json!({ "b": "3" })).await.expect(200);
    }
}

/// `input.f` is the stored value if the client does not send `f`.
#[tokio::test]
async fn fields_not_sent_are_compared_only_for_callers_who_may_read_the_record() {
    for (compared, sent) in [
        ("(input.name == 'free' || input.amount <= record.limit)", json!({ "name": "y" })),
        ("input.amount <= input.limit", json!({ "name": "y" })),
        ("input.code in record.tags", json!({ "name": "y" })),
        ("input.code >= auth.email", json!({ "name": "y" })),
    ] {
        let world = World::new().await;
        let admin = world.admin().await;
        let definition = json!({ "name": "bids", "schema": { "type": "object", "additionalProperties": false, "properties": {
            "owner": { "type": "string" }, "amount": { "type": "integer" }, "limit": { "type": "integer" },
            "code": { "type": "string" }, "tags": { "type": "array", "items": { "type": "string" } },
            "name": { "type": "string" } } },
            "rules": { "read": "record.owner == auth.id", "update": format!("auth.id != '' && {compared}") } });
        admin.put("/v1/collections/bids", definition).await.expect(201);
        let (ada, eve) = (world.user("ada").await, world.user("eve").await);
        let (mut answers, mut of_owner) = (Vec::new(), Vec::new());
        for (limit, code) in [(9_000, "zzz"), (100, "aaa")] {
            let body = json!({ "owner": ada.id(), "amount": 5_000, "limit": limit, "code": code, "tags": ["zzz"] });
            let bid = admin.post(BIDS, body).await.expect(201).header("location").to_owned();
            let knock = async |caller: &Caller<'_>| {
                let knock = caller.request(axum::http::Method::PATCH, &bid).header("if-match", "\"99-v\"");
                knock.json(sent.clone()).send().await
            };
            answers.push(reported(&knock(&eve).await));
            of_owner.push(knock(&ada).await.status);
        }
        assert_eq!(answers[0], answers[1], "{compared}");
        assert_eq!(of_owner, [412, 403], "{compared}: to who reads the record the rule says which is which");
    }
}
