//! Batches that are all or nothing, idempotency keys, and undelete.

use crate::records::crud::{TASKS, path, task, with_tasks};
use crate::world::{Answer, Caller, World};
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;

async fn batch(caller: &Caller<'_>, operations: Value) -> Answer {
    caller.post("/v1/batch", json!({ "operations": operations })).await
}

async fn keyed(caller: &Caller<'_>, method: Method, path: &str, key: &str, body: Value) -> Answer {
    caller.request(method, path).header("idempotency-key", key).json(body).send().await
}

async fn titles(caller: &Caller<'_>) -> Vec<String> {
    let page = caller.get(&format!("{TASKS}?limit=100")).await.expect(200);
    let mut titles: Vec<String> =
        page.body["items"].as_array().unwrap().iter().map(|item| item["title"].as_str().unwrap().to_owned()).collect();
    titles.sort();
    titles
}

#[tokio::test]
async fn a_batch_writes_all_of_it_and_answers_each() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let (kept, dropped) = (task(&ada, "kept").await, task(&ada, "dropped").await);
    let answer = batch(
        &ada,
        json!([
            { "method": "POST", "path": TASKS, "body": { "title": "new", "owner": ada.id(), "slug": "s" } },
            { "method": "PATCH", "path": path(&kept), "body": { "title": "changed" }, "ifMatch": "\"1-v\"" },
            { "method": "DELETE", "path": path(&dropped) },
            { "method": "PUT", "path": format!("{TASKS}/017f22e2-79b0-7cc3-98c4-dc0c0c07398f"),
              "body": { "title": "mine", "owner": ada.id() }, "ifNoneMatch": "*" },
        ]),
    )
    .await
    .expect(200);
    let results = answer.body["results"].as_array().unwrap();
    let statuses: Vec<_> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 200, 204, 201]);
    assert_eq!(results[1]["body"]["title"], "changed");
    assert_eq!(results[1]["etag"], "\"2-v\"");
    assert_eq!(results[0]["location"], format!("{TASKS}/{}", results[0]["body"]["id"].as_str().unwrap()));
    assert_eq!(titles(&ada).await, ["changed", "mine", "new"]);
}

#[tokio::test]
async fn one_bad_operation_leaves_nothing_written_and_every_bad_one_is_named() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let (mine, theirs) = (task(&ada, "mine").await, task(&bob, "theirs").await);
    ada.post(TASKS, json!({ "title": "holder", "owner": ada.id(), "slug": "taken" })).await.expect(201);
    let good = json!({ "method": "POST", "path": TASKS, "body": { "title": "new", "owner": ada.id() } });
    let with = |bad: Value| json!([good, bad]);
    let cases = [
        (json!({ "method": "POST", "path": TASKS, "body": { "title": "", "owner": ada.id() } }), 400, "invalid"),
        (json!({ "method": "POST", "path": TASKS, "body": { "title": "x", "owner": bob.id() } }), 403, "forbidden"),
        (json!({ "method": "PATCH", "path": path(&theirs), "body": { "title": "x" } }), 404, "not_found"),
        (
            json!({ "method": "PATCH", "path": path(&mine), "body": { "title": "x" }, "ifMatch": "\"7\"" }),
            412,
            "precondition_failed",
        ),
        (json!({ "method": "PUT", "path": path(&mine), "body": { "title": "x" } }), 428, "precondition_required"),
        (
            json!({ "method": "POST", "path": TASKS, "body": { "title": "x", "owner": ada.id(), "slug": "taken" } }),
            409,
            "not_unique",
        ),
        (json!({ "method": "GET", "path": path(&mine) }), 400, "invalid"),
        (json!({ "method": "POST", "path": "/v1/jobs", "body": {} }), 400, "invalid"),
        (json!({ "method": "DELETE", "path": path(&mine), "body": {} }), 400, "invalid"),
        (
            json!({ "method": "PATCH", "path": path(&mine), "body": { "title": "x" }, "ifMatch": "7" }),
            400,
            "entity_tag",
        ),
    ];
    for (bad, status, code) in cases {
        let answer = batch(&ada, with(bad.clone())).await;
        assert_eq!(answer.status, status, "{bad}: {}", answer.text);
        let answer = answer.expect(status);
        assert_eq!(answer.code(), "batch");
        let reported = answer.body["operations"].as_array().unwrap();
        assert_eq!(
            (reported.len(), &reported[0]["pointer"], &reported[0]["code"]),
            (1, &json!("/operations/1"), &json!(code)),
            "{bad}"
        );
    }
    let also_theirs = task(&bob, "also theirs").await;
    let both = json!([
        { "method": "PATCH", "path": path(&theirs), "body": {} },
        good,
        { "method": "DELETE", "path": path(&also_theirs) },
    ]);
    assert_eq!(batch(&ada, both).await.expect(404).body["operations"].as_array().unwrap().len(), 2);
    let twice = json!([{ "method": "PATCH", "path": path(&mine), "body": { "title": "a" } }, { "method": "DELETE", "path": path(&mine) }]);
    batch(&ada, twice).await.expect(400);
    let same_slug =
        json!({ "method": "POST", "path": TASKS, "body": { "title": "new", "owner": ada.id(), "slug": "both" } });
    batch(&ada, json!([same_slug, same_slug])).await.expect(409);
    assert_eq!(titles(&ada).await, ["holder", "mine"]);
    batch(&ada, json!([])).await.expect(400);
    batch(&ada, Value::Array(vec![good.clone(); 101])).await.expect(400);
    batch(&ada, Value::Array(vec![good; 100])).await.expect(200);
    assert_eq!(titles(&ada).await.len(), 100);
}

#[tokio::test]
async fn a_unique_value_can_move_between_records_within_a_batch() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let one = ada.post(TASKS, json!({ "title": "one", "owner": ada.id(), "slug": "s" })).await.expect(201).body;
    let hand_over = json!([
        { "method": "PATCH", "path": path(&one), "body": { "slug": null } },
        { "method": "POST", "path": TASKS, "body": { "title": "two", "owner": ada.id(), "slug": "s" } },
    ]);
    batch(&ada, hand_over).await.expect(200);
    ada.post(TASKS, json!({ "title": "three", "owner": ada.id(), "slug": "s" })).await.expect(409);
}

#[tokio::test]
async fn transfers_in_batches_lose_nothing_while_many_make_them() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let accounts = [task(&ada, "10").await, task(&ada, "10").await, task(&ada, "10").await];
    let transfer = async |from: usize, to: usize| loop {
        let read = async |at: usize| ada.get(&path(&accounts[at])).await.expect(200);
        let now = [read(from).await, read(to).await];
        let [amount_from, amount_to]: [i64; 2] =
            [0, 1].map(|at| now[at].body["title"].as_str().unwrap().parse().unwrap());
        let change = |at: usize, answer: &Answer, amount: i64| json!({ "method": "PATCH", "path": path(&accounts[at]), "body": { "title": amount.to_string() }, "ifMatch": answer.header("etag") });
        let answer =
            batch(&ada, json!([change(from, &now[0], amount_from - 1), change(to, &now[1], amount_to + 1)])).await;
        match answer.status {
            200 => return,
            412 => continue,
            _ => panic!("{}", answer.text),
        }
    };
    join_all((0..30).map(|nth| transfer(nth % 3, (nth + 1) % 3))).await;
    let page = ada.get(TASKS).await.expect(200);
    let sum: i64 = page.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["title"].as_str().unwrap().parse::<i64>().unwrap())
        .sum();
    assert_eq!(sum, 30);
}

#[tokio::test]
async fn the_same_key_gives_the_same_answer_and_one_effect() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let body = json!({ "title": "once", "owner": ada.id(), "slug": "once" });
    let first = keyed(&ada, Method::POST, TASKS, "\"k1\"", body.clone()).await.expect(201);
    let again = keyed(&ada, Method::POST, TASKS, "\"k1\"", body.clone()).await.expect(201);
    assert_eq!(first.text, again.text);
    assert_eq!(first.header("etag"), again.header("etag"));
    assert_eq!(first.header("location"), again.header("location"));
    let at = path(&first.body);
    for (method, to, body) in [
        (Method::PATCH, &at, json!({ "title": "twice" })),
        (Method::DELETE, &at, json!({})),
        (Method::POST, &format!("{at}/undelete"), json!({})),
    ] {
        let first = keyed(&ada, method.clone(), to, "\"k1\"", body.clone()).await;
        let again = keyed(&ada, method.clone(), to, "\"k1\"", body).await;
        assert_eq!((first.status, &first.text), (again.status, &again.text), "{method}");
        assert!(first.status < 300, "{method}: {}", first.text);
    }
    assert_eq!(ada.get(&at).await.expect(200).body["version"], 4, "each happened once");
    assert_eq!(titles(&ada).await, ["twice"]);

    assert_eq!(
        keyed(&ada, Method::POST, TASKS, "\"k1\"", json!({ "title": "other", "owner": ada.id() }))
            .await
            .expect(422)
            .code(),
        "key_reused"
    );
    // The failed request had no effect and may be retried with the same key.
    keyed(&ada, Method::POST, TASKS, "\"k2\"", json!({ "title": "" })).await.expect(400);
    keyed(&ada, Method::POST, TASKS, "\"k2\"", json!({ "title": "fine", "owner": ada.id() })).await.expect(201);
}

#[tokio::test]
async fn a_key_is_its_callers_and_its_routes_own_and_ends_after_a_day() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let body = |caller: &Caller<'_>| json!({ "title": "t", "owner": caller.id() });
    let first = keyed(&ada, Method::POST, TASKS, "\"k\"", body(&ada)).await.expect(201);
    let theirs = keyed(&bob, Method::POST, TASKS, "\"k\"", body(&bob)).await.expect(201);
    assert_ne!(first.body["id"], theirs.body["id"]);
    assert!(!theirs.text.contains(ada.id()));
    keyed(&world.stranger(), Method::POST, TASKS, "\"k\"", body(&ada)).await.expect(400);
    world.advance(Duration::from_secs(86_399));
    let ada = renewed(&world, &ada).await;
    assert_eq!(keyed(&ada, Method::POST, TASKS, "\"k\"", body(&ada)).await.expect(201).body["id"], first.body["id"]);
    world.advance(Duration::from_secs(2));
    let ada = renewed(&world, &ada).await;
    let after = keyed(&ada, Method::POST, TASKS, "\"k\"", body(&ada)).await.expect(201);
    assert_ne!(after.body["id"], first.body["id"], "a day later the key is free, though its item may still be there");
    for wrong in ["k", "\"\"", &format!("\"{}\"", "k".repeat(256)), "\"a\", \"b\""] {
        keyed(&ada, Method::POST, TASKS, wrong, body(&ada)).await.expect(400);
    }
}

/// The same account with a token that is still good.
async fn renewed<'a>(world: &'a World, caller: &Caller<'a>) -> Caller<'a> {
    let tokens =
        world.stranger().post("/v1/auth/refresh", json!({ "refreshToken": caller.refresh_token })).await.expect(200);
    let mut renewed = world.signed_in(&tokens.body);
    renewed.user = caller.user.clone();
    renewed
}

#[tokio::test]
async fn sixty_four_at_once_with_one_key_have_one_effect() {
    for instances in [1, 6] {
        one_key_has_one_effect(&World::of_instances(instances).await).await;
    }
}

async fn one_key_has_one_effect(world: &World) {
    let rounds = usize::try_from(crate::world::rounds(10)).unwrap();
    with_tasks(world).await;
    let ada = world.user("ada").await;
    for round in 0..rounds {
        let (key, body) =
            (format!("\"round-{round}\""), json!({ "title": format!("round {round}"), "owner": ada.id() }));
        let answers = join_all((0..64).map(|_| keyed(&ada, Method::POST, TASKS, &key, body.clone()))).await;
        let ids: HashSet<String> =
            answers.iter().filter(|answer| answer.status == 201).map(|answer| answer.body["id"].to_string()).collect();
        assert_eq!(ids.len(), 1, "round {round}");
        assert!(answers.iter().all(|answer| matches!(answer.status, 201 | 409)), "round {round}");
    }
    let mut count = 0;
    let mut cursor = String::new();
    loop {
        let page = ada.get(&format!("{TASKS}?limit=100{cursor}")).await.expect(200);
        count += page.body["items"].as_array().unwrap().len();
        match page.body["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(count, rounds);
}

#[tokio::test]
async fn a_batch_with_a_key_happens_once() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let body = json!({ "operations": [
        { "method": "POST", "path": TASKS, "body": { "title": "a", "owner": ada.id() } },
        { "method": "POST", "path": TASKS, "body": { "title": "b", "owner": ada.id() } } ] });
    let first = keyed(&ada, Method::POST, "/v1/batch", "\"b\"", body.clone()).await.expect(200);
    let again = keyed(&ada, Method::POST, "/v1/batch", "\"b\"", body).await.expect(200);
    assert_eq!(first.text, again.text);
    assert_eq!(titles(&ada).await, ["a", "b"]);
}

#[tokio::test]
async fn a_deleted_record_is_restored_unchanged_unless_its_unique_value_is_taken() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let body = json!({ "title": "t", "owner": ada.id(), "slug": "s", "priority": 3 });
    let one = ada.post(TASKS, body.clone()).await.expect(201).body;
    let back = format!("{}/undelete", path(&one));
    let undelete = async |caller: &Caller<'_>| caller.request(Method::POST, &back).send().await;
    assert_eq!(undelete(&ada).await.expect(409).code(), "not_deleted");
    undelete(&bob).await.expect(404);
    ada.delete(&path(&one)).await.expect(204);
    undelete(&bob).await.expect(404);
    undelete(&world.stranger()).await.expect(401);
    let restored = undelete(&ada).await.expect(200);
    assert_eq!((&restored.body["priority"], &restored.body["version"]), (&json!(3), &json!(3)));
    assert_eq!(restored.body["createdAt"], one["createdAt"]);
    let by_index = ada.get(&format!("{TASKS}?filter=status%3D%3D%22open%22")).await.expect(200);
    assert_eq!(by_index.body["items"][0]["id"], one["id"], "it is in its index again");

    ada.delete(&path(&one)).await.expect(204);
    let taker = ada.post(TASKS, body).await.expect(201).body;
    assert_eq!(undelete(&ada).await.expect(409).code(), "not_unique");
    ada.delete(&path(&taker)).await.expect(204);
    let stale = ada.request(Method::POST, &back).header("if-match", "\"1\"").send().await;
    stale.expect(412);
    undelete(&ada).await.expect(200);
    ada.delete(&path(&one)).await.expect(204);
    world.advance(Duration::from_secs(30 * 86_400 + 1));
    let admin = world.admin().await;
    undelete(&admin).await.expect(404);
}

#[tokio::test]
async fn a_replacement_may_leave_out_fields_with_a_default() {
    let world = World::new().await;
    let schema = json!({ "type": "object", "additionalProperties": false, "required": ["state", "title"], "properties": {
        "title": { "type": "string" },
        "state": { "enum": ["open", "done"], "default": "open" },
        "mark": { "type": "string", "hidden": true, "default": "plain" },
        "score": { "type": "integer", "readOnly": true, "default": 7 },
        "kind": { "type": "string", "writeOnce": true, "default": "note" } } });
    let rules = json!({ "read": "true", "create": "true", "update": "input.state == 'open'" });
    let definition = json!({ "name": "notes", "schema": schema, "rules": rules });
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    admin.put("/v1/collections/notes", definition).await.expect(201);
    let made = ada.post("/v1/collections/notes/records", json!({ "title": "a", "mark": "own" })).await.expect(201);
    let path = made.header("location");
    admin.patch(path, json!({ "state": "done", "score": null })).await.expect(200);
    let put = async |body: Value| ada.request(Method::PUT, path).header("if-match", "*").json(body).send().await;
    let put = put(json!({ "title": "b", "kind": "note" })).await.expect(200).body;
    assert_eq!((&put["title"], &put["state"], put.get("score")), (&json!("b"), &json!("open"), None), "{put}");
    assert_eq!(admin.get(path).await.expect(200).body["mark"], "own", "what she does not see stays as it was");
    let body = json!({ "title": "c", "state": "done", "kind": "note" });
    ada.request(Method::PUT, path).header("if-match", "*").json(body).send().await.expect(403);
    world.settle().await;
}

#[tokio::test]
async fn an_id_chosen_by_the_client_is_not_in_the_future() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let put = async |millis: u64| {
        let id = format!("{:08x}-{:04x}-7cc3-98c4-dc0c0c07398f", millis >> 16, millis & 0xFFFF);
        let knock = ada.request(Method::PUT, &format!("{TASKS}/{id}")).header("if-none-match", "*");
        knock.json(json!({ "title": "t", "owner": ada.id() })).send().await
    };
    // Clocks may differ by up to a minute.
    for ahead in [60_001, 3_600_000] {
        assert_eq!(put(world.now() + ahead).await.expect(400).code(), "id", "{ahead}");
    }
    for good in [world.now() + 60_000, world.now(), world.now() - 86_400_000] {
        let made = put(good).await.expect(201).body;
        assert_eq!(made["createdAt"], undercroft::clock::rfc3339(good), "lists by time read the ids");
    }
    for bad in ["x", "017f22e2-79b0-4cc3-98c4-dc0c0c07398f", "017F22E2-79B0-7CC3-98C4-DC0C0C07398F"] {
        let knock = ada.request(Method::PUT, &format!("{TASKS}/{bad}")).header("if-none-match", "*");
        let refused = knock.json(json!({ "title": "t", "owner": ada.id() })).send().await.expect(400);
        assert_eq!(refused.code(), "id", "{bad}");
    }
}
