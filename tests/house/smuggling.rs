//! What must not slip through: operators in the place of values, the store's own signs, fields that are hidden or not the
//! caller's to write, cursors from elsewhere.

use crate::bad_input::{THINGS, encoded, refused, refused_for_nothing, send, things, with_things};
use crate::world::{World, tasks};
use axum::http::Method;
use serde_json::{Value, json};

/// Operators of other databases, DynamoDB's own notation, and values of the wrong kind.
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

#[tokio::test]
async fn no_object_passes_for_a_scalar_anywhere() {
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
            ("/v1/auth/refresh", "refreshToken", json!({})),
            ("/v1/auth/signout", "refreshToken", json!({})),
            ("/v1/jobs", "type", json!({ "payload": {} })),
            ("/v1/jobs", "delaySeconds", json!({ "type": "email.send" })),
            ("/v1/jobs", "maxAttempts", json!({ "type": "email.send" })),
            ("/v1/jobs", "group", json!({ "type": "email.send" })),
        ] {
            let mut body = good;
            body[field] = operator.clone();
            let caller = if path.starts_with("/v1/auth") { &stranger } else { &admin };
            let answer = refused(caller.post(path, body).await);
            assert_eq!(answer.status, 400, "{path} {field} {operator}: {}", answer.text);
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

#[tokio::test]
async fn the_store_s_own_signs_are_letters_like_any_other() {
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
async fn what_is_hidden_is_as_if_it_were_not_there() {
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
async fn a_replacement_leaves_as_it_is_what_its_writer_does_not_see_or_write() {
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
    // Who sees it all replaces it all.
    admin.request(Method::PUT, &record).header("if-match", "*").json(body).send().await.expect(200);
    let whole = admin.get(&record).await.expect(200).body;
    assert_eq!((&whole["secret"], &whole["kept"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn nobody_writes_what_is_not_theirs_to_write() {
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
async fn a_cursor_is_good_for_the_list_it_came_from_and_nothing_else() {
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
