//! Injection: operators in place of values, DynamoDB's special characters, hidden or read-only fields, foreign cursors.

use crate::cross_cutting::bad_input::{THINGS, encoded, refused, refused_for_nothing, send, things, with_things};
use crate::world::{World, tasks};
use axum::http::Method;
use serde_json::{Value, json};

/// Operators of other databases, DynamoDB's JSON, and values of the wrong type.
fn smuggled() -> Vec<Value> {
    vec![
        json!({ "$ne": "" }),
        json!({ "$gt": 0 }),
        json!({ "$where": "true" }),
        json!({ "S": "x" }),
        json!({ "N": "1" }),
        json!({ "BOOL": true }),
        json!({ "NULL": true }),
        json!({}),
        json!(["x"]),
        json!([]),
        json!({ "toString": "x", "__proto__": { "admin": true } }),
    ]
}

#[expect(clippy::too_many_lines, reason = "one table of cases, read from top to bottom")]
#[tokio::test]
async fn no_object_is_accepted_for_a_scalar() {
    let world = World::new().await;
    let (ada, record) = with_things(&world).await;
    let (admin, stranger) = (world.admin().await, world.stranger());
    for operator in smuggled() {
        for field in ["text", "count", "flag", "state", "due", "owner"] {
            let body = json!({ field: operator });
            for answer in [
                ada.post(THINGS, body.clone()).await,
                ada.patch(&record, body.clone()).await,
                ada.request(Method::PUT, &record).header("if-match", "*").json(body.clone()).send().await,
            ] {
                let answer = refused(answer);
                let errors = answer.body["errors"].as_array().unwrap();
                assert_eq!(answer.status, 400);
                assert!(
                    errors.iter().any(|error| error["pointer"].as_str().unwrap().starts_with(&format!("/{field}")))
                );
            }
        }
        for (path, field, good) in [
            ("/v1/auth/signin", "email", json!({ "password": "x" })),
            ("/v1/auth/signin", "password", json!({ "email": "ada@example.org" })),
            ("/v1/auth/signup", "email", json!({ "password": "correct horse battery staple" })),
            ("/v1/auth/signup", "password", json!({ "email": "eve@example.org" })),
            ("/v1/auth/verify", "code", json!({ "email": "ada@example.org" })),
            ("/v1/auth/verify", "signupToken", json!({ "email": "ada@example.org", "code": "0A1B2" })),
            ("/v1/auth/verify", "password", json!({ "email": "ada@example.org", "code": "0A1B2" })),
            ("/v1/auth/refresh", "refreshToken", json!({})),
            ("/v1/auth/signout", "refreshToken", json!({})),
            ("/v1/jobs", "type", json!({ "payload": {} })),
            ("/v1/jobs", "delaySeconds", json!({ "type": "email.send" })),
            ("/v1/jobs", "maxAttempts", json!({ "type": "email.send" })),
            ("/v1/jobs", "group", json!({ "type": "email.send" })),
            ("/v1/jobs/uploads", "format", json!({ "bytes": 1 })),
            ("/v1/jobs/uploads", "bytes", json!({ "format": "csv" })),
            ("/v1/batch", "operations", json!({})),
        ] {
            let mut body = good;
            body[field] = operator.clone();
            let caller = if path.starts_with("/v1/auth") { &stranger } else { &admin };
            let answer = refused(caller.post(path, body).await);
            assert_eq!(answer.status, 400, "{path} {field} {operator}: {}", answer.text);
        }
        for member in ["method", "path", "body", "ifMatch", "ifNoneMatch"] {
            // An empty object is a patch, of nothing.
            if member == "body" && operator == json!({}) {
                continue;
            }
            let mut write = json!({ "method": "PATCH", "path": record, "body": { "text": 1 } });
            write[member] = operator.clone();
            let answer = refused(ada.post("/v1/batch", json!({ "operations": [write] })).await);
            // An operation in a batch gets the same error as the single request.
            let reported = &answer.body["operations"][0]["errors"][0];
            let at = answer.body["errors"][0]["pointer"].as_str().or(reported["pointer"].as_str()).unwrap();
            let is_there =
                at.starts_with(&format!("/operations/0/{member}")) || (member == "body" && reported != &Value::Null);
            assert!(is_there, "{member} {operator}: {}", answer.text);
        }
        for field in ["text", "count", "flag", "state", "due", "owner"] {
            for (method, path) in [("POST", THINGS), ("PATCH", record.as_str()), ("PUT", record.as_str())] {
                let mut write = json!({ "method": method, "path": path, "body": { field: operator } });
                if method == "PUT" {
                    write["ifMatch"] = json!("*");
                }
                let answer = refused(ada.post("/v1/batch", json!({ "operations": [write] })).await);
                let error = &answer.body["operations"][0]["errors"][0];
                assert!(error["pointer"].as_str().unwrap().starts_with(&format!("/{field}")), "{}", answer.text);
            }
        }
        let mut definition = tasks();
        for pointer in
            ["/name", "/rules/read", "/indexes/0/name", "/indexes/0/partition/0", "/indexes/0/sort/0", "/unique/0/0"]
        {
            *definition.pointer_mut(pointer).unwrap() = operator.clone();
            refused(admin.put("/v1/collections/tasks", definition.clone()).await);
            definition = tasks();
        }
        definition["shards"] = operator.clone();
        refused(admin.put("/v1/collections/tasks", definition).await);
        let text = encoded(&operator.to_string());
        for parameter in ["filter", "sort", "limit", "cursor", "fields", "scan", "explain"] {
            refused_for_nothing(ada.get(&format!("{THINGS}?{parameter}={text}")).await);
            refused_for_nothing(ada.get(&format!("{THINGS}?{parameter}[$ne]=x")).await);
            refused_for_nothing(ada.get(&format!("{THINGS}?{parameter}[]=x")).await);
        }
    }
    assert_eq!(ada.get(&record).await.expect(200).body["version"], 1);
    world.settle().await;
}

/// A parser of objects might also accept an array of member values, or null for an absent member.
#[tokio::test]
async fn no_array_is_accepted_for_an_object_and_no_null_for_an_absent_member() {
    let world = World::new().await;
    let (ada, record) = with_things(&world).await;
    let (admin, stranger) = (world.admin().await, world.stranger());
    let patch = json!(["PATCH", record, { "count": 2 }, null, null]);
    let password = crate::world::PASSWORD;
    let code = "0A1B2-C3D4E-5F6G7-H8J9K-0M1N2-P3Q4R";
    for (caller, path, body) in [
        (&stranger, "/v1/auth/signin", json!(["ada@example.org", password])),
        (&stranger, "/v1/auth/signup", json!(["eve@example.org", password])),
        (&stranger, "/v1/auth/verify", json!(["eve@example.org", code, null, password])),
        (&stranger, "/v1/auth/verify", json!({ "email": "eve@example.org", "code": code, "password": null })),
        (&stranger, "/v1/auth/refresh", json!([ada.refresh_token])),
        (&stranger, "/v1/auth/signout", json!([ada.refresh_token])),
        (&ada, "/v1/auth/signout", json!([null])),
        (&ada, "/v1/auth/signout", json!({ "refreshToken": null })),
        (&admin, "/v1/jobs", json!({ "type": "no.such_job", "group": null })),
        (&ada, "/v1/batch", json!([[{ "method": "PATCH", "path": record, "body": { "count": 2 } }]])),
        (&ada, "/v1/batch", json!({ "operations": [patch] })),
        (&ada, THINGS, json!(["text"])),
        (&admin, "/v1/jobs", json!(["no.such_job", {}, null, null, null])),
        (&admin, "/v1/jobs/uploads", json!(["csv", 7])),
    ] {
        let answer = refused(caller.post(path, body.clone()).await);
        assert_eq!((answer.status, answer.code()), (400, "invalid"), "{path} {body}: {}", answer.text);
    }
    for (pointer, array) in [
        ("/indexes/0", json!(["mine", ["owner"], ["status"], false])),
        ("/schema/properties/owner/relation", json!(["users", "cascade"])),
        ("/rules", json!(["true", "true", "true", "true", "true"])),
        ("", json!([tasks()["schema"]])),
    ] {
        let mut definition = tasks();
        *definition.pointer_mut(pointer).unwrap() = array;
        let answer = refused(admin.put("/v1/collections/tasks", definition).await);
        let at = answer.body["errors"][0]["pointer"].as_str().unwrap();
        assert!(at == pointer, "{pointer}: {}", answer.text);
    }
    ada.get("/v1/auth/me").await.expect(200);
    assert_eq!(ada.get(&record).await.expect(200).body["version"], 1);
    world.settle().await;
}

#[tokio::test]
async fn characters_special_to_dynamodb_are_plain_text_in_names_and_values() {
    let world = World::new().await;
    let (ada, _) = with_things(&world).await;
    for text in [
        "#pk",
        ":v",
        "a#b:c%23",
        "c#things#1",
        "attribute_exists(pk)",
        "' OR '1'='1",
        "\u{0}\u{1f}",
        "\u{202e}abc",
        "é e\u{301} 👩‍👩‍👧 ﷽",
    ] {
        let made =
            ada.post(THINGS, json!({ "text": text, "inner": { "a": text, "#k": text, ":v": text } })).await.expect(201);
        assert_eq!(made.body["text"], text);
        let path = made.header("location").to_owned();
        let patched = ada.patch(&path, json!({ "more": text, "tags": [text] })).await.expect(200).body;
        let read = ada.get(&path).await.expect(200).body;
        assert_eq!(
            (&read, &read["inner"]["#k"], &read["more"]),
            (&patched, &json!(text), &json!(text)),
            "kept as sent"
        );
        let escaped: String = text.chars().map(|char| format!("\\U{:08x}", u32::from(char))).collect();
        let found = ada.get(&format!("{THINGS}?filter={}", encoded(&format!("text == '{escaped}'")))).await.expect(200);
        assert_eq!(found.body["items"].as_array().unwrap().len(), 1, "{text:?}");
    }
    for name in ["#pk", ":v", "d.text", "text.a", "pk", "sk", "__proto__", "$set", "text ", "Text", "secret.x"] {
        let answer = refused(ada.post(THINGS, json!({ name: "x" })).await);
        assert_eq!(answer.body["errors"][0]["code"], "unknown_field", "{name}");
        assert_eq!(answer.body["errors"][0]["pointer"], format!("/{name}"));
    }
    let made = ada.post(THINGS, json!({ "text": "plain" })).await.expect(201).header("location").to_owned();
    for name in ["#pk", "d.text", "ghost"] {
        for value in [json!("x"), json!(null)] {
            let answer = refused(ada.patch(&made, json!({ name: value })).await);
            assert_eq!(answer.body["errors"][0]["code"], "unknown_field", "{name}: {}", answer.text);
        }
    }
    let empty = refused(ada.post(THINGS, json!({ "inner": { "": 1 } })).await);
    assert_eq!(
        (&empty.body["errors"][0]["pointer"], &empty.body["errors"][0]["code"]),
        (&json!("/inner/"), &json!("bad_name"))
    );
}

#[tokio::test]
async fn a_hidden_field_behaves_as_if_it_did_not_exist() {
    let world = World::new().await;
    let (ada, record) = with_things(&world).await;
    let admin = world.admin().await;
    admin.patch(&record, json!({ "secret": "1x1z" })).await.expect(200);
    for index in [json!({ "partition": ["secret"] }), json!({ "partition": ["text"], "sort": ["-secret"] })] {
        let mut definition = things();
        definition["indexes"] = json!([index]);
        definition["indexes"][0]["name"] = json!("by_secret");
        let answer = refused(admin.put("/v1/collections/things", definition).await);
        assert_eq!(answer.body["errors"][0]["code"], "bad_index_field", "{}", answer.text);
    }
    let asked = |name: &str| {
        [
            format!("filter={}", encoded(&format!("{name} == '1x1z'"))),
            format!("filter={}", encoded(&format!("text == 'first' && {name}.startsWith('1')"))),
            format!("filter={}", encoded(&format!("text == 'first' || {name} > '1'"))),
            format!("filter={}", encoded(&format!("has({name})"))),
            format!("filter={}", encoded(&format!("text == {name}"))),
            format!("filter={}&scan=100", encoded(&format!("!({name} in ['1x1z'])"))),
            format!("filter={}", encoded(&format!("inner.{name} == 'x'"))),
            format!("filter={}", encoded(&format!("{name}.length == 4"))),
            format!("sort={name}"),
            format!("sort=-{name}"),
            format!("sort=text,{name}"),
            format!("sort=inner.{name}"),
            format!("fields={name}"),
            format!("fields=text,{name}"),
            format!("fields=inner.{name}"),
        ]
    };
    for (hidden, ghost) in asked("secret").into_iter().zip(asked("spectr")) {
        let mut answers = Vec::new();
        for query in [&hidden, &ghost] {
            let answer = refused_for_nothing(ada.get(&format!("{THINGS}?{query}")).await);
            assert!(!answer.text.contains("1x1z"), "{query}: {}", answer.text);
            answers.push((answer.status, answer.body["detail"].as_str().unwrap().replace("spectr", "secret")));
        }
        assert_eq!(answers[0], answers[1], "{hidden}");
    }
    for answer in [
        ada.get(&record).await.expect(200),
        ada.get(THINGS).await.expect(200),
        ada.patch(&record, json!({ "count": 2 })).await.expect(200),
    ] {
        assert!(!answer.text.contains("secret") && !answer.text.contains("1x1z"), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_replacement_keeps_fields_its_writer_cannot_see_or_write() {
    let world = World::new().await;
    let (ada, record) = with_things(&world).await;
    let admin = world.admin().await;
    admin.patch(&record, json!({ "secret": "1x1z", "kept": "k", "more": "m" })).await.expect(200);
    let body = json!({ "text": "replaced" });
    ada.request(Method::PUT, &record).header("if-match", "*").json(body.clone()).send().await.expect(200);
    let operation = json!({ "method": "PUT", "path": record, "body": body, "ifMatch": "*" });
    ada.post("/v1/batch", json!({ "operations": [operation] })).await.expect(200);
    let whole = admin.get(&record).await.expect(200).body;
    assert_eq!((&whole["secret"], &whole["kept"], &whole["more"]), (&json!("1x1z"), &json!("k"), &Value::Null));
    // A caller who sees all fields replaces all fields.
    admin.request(Method::PUT, &record).header("if-match", "*").json(body).send().await.expect(200);
    let whole = admin.get(&record).await.expect(200).body;
    assert_eq!((&whole["secret"], &whole["kept"]), (&Value::Null, &Value::Null));
}

#[expect(clippy::too_many_lines, reason = "one table of cases, read from top to bottom")]
#[tokio::test]
async fn nobody_writes_a_field_they_may_not_write() {
    let world = World::new().await;
    let (ada, record) = with_things(&world).await;
    let put = |path: &str, body: Value| ada.request(Method::PUT, path).header("if-match", "*").json(body);
    let batched = async |method: &str, path: &str, body: &Value| {
        let mut operation = json!({ "method": method, "path": path, "body": body });
        if method == "PUT" {
            operation["ifMatch"] = json!("*");
        }
        let mut answer = refused(ada.post("/v1/batch", json!({ "operations": [operation] })).await);
        answer.body["errors"] = answer.body["operations"][0]["errors"].take();
        answer
    };
    for name in ["id", "version", "createdAt", "updatedAt", "kept"] {
        for value in [json!("x"), json!(7), json!(null), json!({}), json!(["x"])] {
            let body = json!({ "text": "t", name: value });
            for answer in [
                ada.post(THINGS, body.clone()).await,
                ada.patch(&record, body.clone()).await,
                put(&record, body.clone()).send().await,
                batched("POST", THINGS, &body).await,
                batched("PATCH", &record, &body).await,
                batched("PUT", &record, &body).await,
            ] {
                assert_eq!(refused(answer).body["errors"][0]["pointer"], format!("/{name}"), "{body}");
            }
        }
        for body in
            [json!({ format!("d.{name}"): 1 }), json!({ format!("{name}.x"): 1 }), json!({ "auth": { name: 1 } })]
        {
            for answer in [
                ada.post(THINGS, body.clone()).await,
                ada.patch(&record, body.clone()).await,
                batched("POST", THINGS, &body).await,
                batched("PATCH", &record, &body).await,
            ] {
                assert_eq!(refused(answer).body["errors"][0]["code"], "unknown_field", "{body}");
            }
        }
        let body = json!({ "text": "t", name: "x" });
        for write in [
            json!({ "method": "POST", "path": THINGS, "body": body }),
            json!({ "method": "PATCH", "path": record, "body": body }),
            json!({ "method": "PUT", "path": record, "body": body, "ifMatch": "*" }),
        ] {
            let answer = refused(ada.post("/v1/batch", json!({ "operations": [write] })).await);
            assert_eq!(answer.body["operations"][0]["errors"][0]["pointer"], format!("/{name}"), "{}", answer.text);
        }
        let twice = format!("{{\"text\":\"t\",\"{name}\":1,\"{name}\":1}}");
        let in_batch = json!({ "operations": [{ "method": "PATCH", "path": record, "body": "twice" }] }).to_string();
        let in_batch = refused(send(&ada, "POST", "/v1/batch", in_batch.replace("\"twice\"", &twice)).await);
        assert_eq!(in_batch.body["errors"][0]["code"], "duplicate_name");
        assert_eq!(refused(send(&ada, "PATCH", &record, twice).await).body["errors"][0]["code"], "duplicate_name");
    }
    let profile = format!("/v1/collections/users/records/{}", ada.id());
    for name in ["email", "verified", "roles", "role", "admin", "tenant", "password", "passwordHash", "sub", "owner"] {
        for value in [json!("admin"), json!(["admin"]), json!(true), json!(null), json!({ "x": 1 })] {
            let body = json!({ name: value });
            assert_eq!(refused(ada.patch(&profile, body.clone()).await).status, 400, "{body}");
            assert_eq!(refused(put(&profile, body.clone()).send().await).status, 400, "{body}");
            assert_eq!(batched("PATCH", &profile, &body).await.status, 400, "{body}");
            assert_eq!(batched("PUT", &profile, &body).await.status, 400, "{body}");
            let mut signup = json!({ "email": "eve@example.org", "password": "correct horse battery staple" });
            if name != "email" && name != "password" {
                signup[name] = value;
                assert_eq!(refused(world.stranger().post("/v1/auth/signup", signup).await).status, 400, "{name}");
            }
        }
    }
    let after = ada.get(&profile).await.expect(200).body;
    assert_eq!((&after["version"], &after["email"]), (&json!(1), &json!("ada@example.org")));
    assert_eq!(ada.get(&record).await.expect(200).body["version"], 1);
    world.settle().await;
}

#[tokio::test]
async fn a_cursor_is_valid_only_for_the_list_it_came_from() {
    let world = World::new().await;
    let (ada, _) = with_things(&world).await;
    let bob = world.user("bob").await;
    let mut twin = things();
    twin["name"] = json!("twins");
    world.admin().await.put("/v1/collections/twins", twin).await.expect(201);
    let twins = "/v1/collections/twins/records";
    for count in 2..5 {
        for path in [THINGS, twins] {
            ada.post(path, json!({ "text": "first", "count": count })).await.expect(201);
        }
    }
    let list = format!("limit=1&filter={}", encoded("text == 'first'"));
    let cursor = ada.get(&format!("{THINGS}?{list}")).await.expect(200).body["nextCursor"].as_str().unwrap().to_owned();
    ada.get(&format!("{THINGS}?{list}&cursor={cursor}")).await.expect(200);
    let elsewhere = [
        (&bob, format!("{THINGS}?{list}&cursor={cursor}")),
        (&ada, format!("{twins}?{list}&cursor={cursor}")),
        (&ada, format!("{THINGS}?limit=1&cursor={cursor}")),
        (&ada, format!("{THINGS}?{list}&sort=-count&cursor={cursor}")),
        (&ada, format!("{THINGS}?{list}&scan=10&cursor={cursor}")),
        (&ada, format!("{THINGS}?limit=1&filter={}&cursor={cursor}", encoded("text == 'first' "))),
        (&ada, format!("{THINGS}?{list}&cursor={cursor}A")),
        (&ada, format!("{THINGS}?{list}&cursor={cursor},{cursor}")),
        (&ada, format!("{THINGS}?{list}&cursor={}", ada.refresh_token)),
        (&ada, format!("{THINGS}?{list}&cursor={}", ada.token.clone().unwrap())),
    ];
    for (caller, query) in elsewhere {
        let answer = refused_for_nothing(caller.get(&query).await);
        assert_eq!((answer.status, answer.code()), (400, "cursor"), "{query}");
    }
    refused(world.stranger().post("/v1/auth/refresh", json!({ "refreshToken": cursor })).await);
}
