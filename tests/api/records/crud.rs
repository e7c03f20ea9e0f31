//! Records: refusals, visibility, and no lost updates.

use crate::world::{Caller, World, tasks};
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::HashSet;

pub const TASKS: &str = "/v1/collections/tasks/records";

pub async fn with_tasks(world: &World) {
    world.admin().await.put("/v1/collections/tasks", tasks()).await.expect(201);
}

pub async fn task(owner: &Caller<'_>, title: &str) -> Value {
    owner.post(TASKS, json!({ "title": title, "owner": owner.id() })).await.expect(201).body
}

pub fn path(record: &Value) -> String {
    format!("{TASKS}/{}", record["id"].as_str().unwrap())
}

#[tokio::test]
async fn a_stranger_cannot_tell_a_hidden_record_from_a_missing_one() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let hidden = path(&task(&ada, "secret plans").await);
    let missing = format!("{TASKS}/017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    for method in [Method::GET, Method::PATCH, Method::DELETE, Method::PUT] {
        let knock = async |caller: &Caller<'_>, path: &str, tag: &str| {
            let knock =
                caller.request(method.clone(), path).header("if-match", tag).json(json!({ "title": "mine now" }));
            let mut answer = knock.send().await;
            answer.body["requestId"] = Value::Null;
            (answer.status, answer.body, answer.headers.get("undercroft-cost").cloned())
        };
        let (status, body, cost) = knock(&bob, &hidden, "\"1\"").await;
        let absent = knock(&bob, &missing, "\"1\"").await;
        assert_eq!(status, 404, "{method}");
        assert_eq!((status, &body), (absent.0, &absent.1), "{method}");
        assert_eq!((cost, absent.2), (None, None), "{method}: what it cost would tell");
        assert_eq!(knock(&bob, &hidden, "\"999\"").await.0, 404, "strangers do not learn the version");
        let of_nobody = knock(&world.stranger(), &hidden, "\"1\"").await;
        assert_eq!((of_nobody.0, &of_nobody.2), (401, &None), "{method}: a stranger owns nothing");
        assert_eq!(knock(&world.stranger(), &missing, "\"1\"").await, of_nobody, "{method}");
    }
    // A missing collection looks like one that is closed to the caller.
    let closed = json!({ "name": "closed", "schema": { "type": "object", "additionalProperties": false, "properties": { "a": { "type": "string" } } } });
    world.admin().await.put("/v1/collections/closed", closed).await.expect(201);
    for path in ["/v1/collections/closed/records", "/v1/collections/nowhere/records"] {
        assert_eq!(
            bob.get(path).await.expect(404).body["detail"],
            "This collection does not exist, or you may not see it."
        );
        bob.post(path, json!({ "a": "b" })).await.expect(404);
        let one = format!("{path}/017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        for (method, path) in [(Method::GET, path), (Method::POST, path), (Method::GET, &one), (Method::PATCH, &one)] {
            let refused = world.stranger().request(method, path).json(json!({ "a": "b" })).send().await.expect(401);
            assert_eq!(refused.headers.get("undercroft-cost"), None, "{path}: what it cost would tell");
        }
    }
}

#[tokio::test]
async fn unknown_and_wrong_typed_members_are_refused_by_name_and_nothing_is_stripped() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let good = json!({ "title": "t", "owner": ada.id() });
    for (name, value) in [
        ("surprise", json!(1)),
        ("title", json!(7)),
        ("title", json!(null)),
        ("title", json!("")),
        ("title", json!({ "S": "x" })),
        ("title", json!({ "$ne": "" })),
        ("priority", json!("3")),
        ("priority", json!(3.5)),
        ("priority", json!(10)),
        ("status", json!("later")),
        ("slug", json!("Not A Slug")),
        ("owner", json!(["x"])),
        ("#n", json!("x")),
        (":v", json!("x")),
    ] {
        let mut wrong = good.clone();
        wrong[name] = value.clone();
        let refused = ada.post(TASKS, wrong).await;
        assert!([400, 403].contains(&refused.status), "{name}: {value}: {}", refused.text);
        if refused.status == 400 {
            assert_eq!(refused.body["errors"][0]["pointer"], format!("/{name}"), "{}", refused.text);
        }
    }
    ada.post(TASKS, json!({ "owner": ada.id() })).await.expect(400);
    ada.post(TASKS, json!([])).await.expect(400);
    assert_eq!(ada.get(TASKS).await.expect(200).body["items"], json!([]), "nothing was written");
}

#[tokio::test]
async fn server_fields_cannot_be_written_by_any_route() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let record = task(&ada, "mine").await;
    for name in ["id", "version", "createdAt", "updatedAt"] {
        let mut body = json!({ "title": "t", "owner": ada.id() });
        body[name] = json!("017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        ada.post(TASKS, body.clone()).await.expect(400);
        ada.patch(&path(&record), json!({ name: "017f22e2-79b0-7cc3-98c4-dc0c0c07398f" })).await.expect(400);
        ada.patch(&path(&record), json!({ name: null })).await.expect(400);
        ada.request(Method::PUT, &path(&record)).header("if-match", "\"1\"").json(body).send().await.expect(400);
    }
    // The body may repeat the id of the path but not contradict it.
    ada.patch(&path(&record), json!({ "id": record["id"], "title": "same id" })).await.expect(200);
    // The owner cannot change the owner, nor create a record for somebody else.
    let bob = world.user("bob").await;
    ada.patch(&path(&record), json!({ "owner": bob.id() })).await.expect(403);
    ada.post(TASKS, json!({ "title": "for bob", "owner": bob.id() })).await.expect(403);
    let twice = format!("{{\"title\":\"t\",\"owner\":\"{}\",\"owner\":\"{}\"}}", bob.id(), ada.id());
    ada.request(Method::POST, TASKS).header("content-type", "application/json").raw(twice).send().await.expect(400);
    for identity in ["userId", "ownerId", "sub", "user", "auth"] {
        ada.post(TASKS, json!({ "title": "t", "owner": ada.id(), identity: bob.id() })).await.expect(400);
        world.stranger().get(&format!("{TASKS}?{identity}={}", ada.id())).await.expect(400);
        let header: &'static str = match identity {
            "userId" => "x-user-id",
            "sub" => "x-sub",
            _ => "x-user",
        };
        world.stranger().request(Method::GET, TASKS).header(header, ada.id()).send().await.expect(401);
    }
}

#[tokio::test]
async fn a_filter_is_parsed_and_never_spliced_into_an_expression() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    task(&ada, "one").await;
    for hostile in [
        "attribute_exists(pk)",
        "begins_with(pk, 'c')",
        "#d = :x",
        "d.owner == 'x'",
        "pk == 'c#tasks'",
        "owner = 'x'",
        "1 == 1 OR 2",
        "owner == \"x\" || true; drop",
        "owner == {\"S\":\"x\"}",
        "title.matches('.*')",
        "size(title) > 0 ? true : false",
        "((((",
        "owner == \"\\ud800\"",
        "auth.id == 'x'",
        "record.owner == 'x'",
        "hidden == 1",
    ] {
        let encoded: String = hostile.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let refused = ada.get(&format!("{TASKS}?filter={encoded}")).await;
        assert_eq!(refused.status, 400, "{hostile}: {}", refused.text);
        assert!(refused.body["detail"].as_str().unwrap().contains("column"), "{hostile}: {}", refused.text);
    }
    let deep = format!("{}status == \"open\"{}", "(".repeat(500), ")".repeat(500));
    let long = vec!["status == \"open\""; 250].join(" || ");
    for bounded in [deep, long] {
        let encoded: String = bounded.bytes().map(|byte| format!("%{byte:02X}")).collect();
        ada.get(&format!("{TASKS}?filter={encoded}")).await.expect(400);
    }
    for query in [
        "limit=0",
        "limit=101",
        "limit=x",
        "sort=nothing",
        "sort=-",
        "unknown=1",
        "limit=1&limit=2",
        "scan=100000",
        "fields=pk",
    ] {
        ada.get(&format!("{TASKS}?{query}")).await.expect(400);
    }
}

#[tokio::test]
async fn pages_hold_every_record_once_and_their_cursors_work_for_no_other_list() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let mut made = HashSet::new();
    for nth in 0..23 {
        let body = json!({ "title": format!("{nth}"), "owner": ada.id(), "priority": nth % 4, "status": if nth % 3 == 0 { "done" } else { "open" } });
        made.insert(ada.post(TASKS, body).await.expect(201).body["id"].as_str().unwrap().to_owned());
    }
    for sort in ["", "&sort=status,-priority", "&sort=-status,priority"] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = ada.get(&format!("{TASKS}?limit=5{sort}{cursor}")).await.expect(200).body;
            let items = page["items"].as_array().unwrap().clone();
            assert!(items.len() <= 5 && !items.is_empty());
            seen.extend(items);
            let Some(next) = page["nextCursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        let ids: HashSet<String> = seen.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!((seen.len(), &ids), (23, &made), "{sort}");
        if sort.contains("-priority") {
            let keys: Vec<(String, i64)> = seen
                .iter()
                .map(|item| (item["status"].as_str().unwrap().to_owned(), -item["priority"].as_i64().unwrap()))
                .collect();
            assert!(keys.is_sorted(), "{keys:?}");
        }
    }

    let cursor = ada.get(&format!("{TASKS}?limit=5")).await.expect(200).body["nextCursor"].as_str().unwrap().to_owned();
    ada.get(&format!("{TASKS}?limit=5&cursor={cursor}")).await.expect(200);
    bob.get(&format!("{TASKS}?limit=5&cursor={cursor}")).await.expect(400);
    ada.get(&format!("{TASKS}?limit=5&sort=-status,priority&cursor={cursor}")).await.expect(400);
    ada.get(&format!("{TASKS}?limit=5&filter=status%3D%3D%22open%22&cursor={cursor}")).await.expect(400);
    ada.get(&format!("/v1/collections/users/records?limit=5&cursor={cursor}")).await.expect(404);
    let admin = world.admin().await;
    admin.get(&format!("/v1/jobs?limit=5&cursor={cursor}")).await.expect(400);
    for position in (0..cursor.len()).step_by(3) {
        let mut forged = cursor.clone().into_bytes();
        forged[position] = if forged[position] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).unwrap();
        ada.get(&format!("{TASKS}?limit=5&cursor={forged}")).await.expect(400);
    }
    for nonsense in ["x", "AAAA", "=", "%00", &"A".repeat(5_000)] {
        ada.get(&format!("{TASKS}?cursor={nonsense}")).await.expect(400);
    }
    world.advance(std::time::Duration::from_secs(86_401));
    let ada = world.user("ada").await;
    ada.get(&format!("{TASKS}?limit=5&cursor={cursor}")).await.expect(400);
}

#[tokio::test]
async fn of_a_hundred_thousand_changed_cursors_none_opens() {
    use undercroft::identity::{parameters::Parameters, seal::Seal};
    let world = World::new().await;
    let env: undercroft::config::Env = world.env("records").into_iter().collect();
    let aws = undercroft::aws::Aws::from_env(&env).unwrap();
    let seal = Seal::new(Parameters::new(aws, env.parameter_path().unwrap()), "cursor");
    let sealed = seal.seal("records:ada", b"{\"position\":\"AAAA\",\"expires_at\":1}").await.unwrap();
    assert!(seal.open("records:ada", &sealed).await.unwrap().is_some());
    assert!(seal.open("records:bob", &sealed).await.unwrap().is_none());
    let bytes = undercroft::id::from_base64url(&sealed).unwrap();
    for nth in 0..100_000_usize {
        let mut changed = bytes.clone();
        let at = nth % changed.len();
        changed[at] ^= 1 << (nth / changed.len() % 8);
        // In the second round also shorten or lengthen it.
        match nth / changed.len() / 8 % 3 {
            1 => changed.truncate(at),
            2 => changed.push(nth as u8),
            _ => {}
        }
        assert!(
            seal.open("records:ada", &undercroft::id::base64url(&changed)).await.unwrap().is_none(),
            "change {nth}"
        );
    }
}

#[tokio::test]
async fn of_many_writers_with_if_match_none_loses_an_update() {
    let world = World::new().await;
    let counter = json!({ "name": "counters", "schema": { "type": "object", "additionalProperties": false, "required": ["n"],
        "properties": { "n": { "type": "integer" } } },
        "rules": { "read": "auth.id != ''", "create": "auth.id != ''", "update": "auth.id != ''" } });
    world.admin().await.put("/v1/collections/counters", counter).await.expect(201);
    let ada = world.user("ada").await;
    let made = ada.post("/v1/collections/counters/records", json!({ "n": 0 })).await.expect(201);
    let path = made.header("location").to_owned();
    let increment = async || {
        let read = ada.get(&format!("{path}?consistent=true")).await.expect(200);
        let next = json!({ "n": read.body["n"].as_i64().unwrap() + 1 });
        ada.request(Method::PATCH, &path).header("if-match", read.header("etag")).json(next).send().await.status
    };
    let mut won = 0;
    for _ in 0..10 {
        let statuses = join_all((0..64).map(|_| increment())).await;
        assert!(statuses.iter().all(|status| [200, 412].contains(status)), "{statuses:?}");
        won += statuses.iter().filter(|status| **status == 200).count();
    }
    let last = ada.get(&format!("{path}?consistent=true")).await.expect(200);
    assert!(won >= 10);
    assert_eq!((last.body["n"].as_u64(), last.body["version"].as_u64()), (Some(won as u64), Some(won as u64 + 1)));
}

#[tokio::test]
async fn a_deleted_record_is_absent_at_once_on_every_route() {
    let world = World::new().await;
    with_tasks(&world).await;
    let ada = world.user("ada").await;
    let record = task(&ada, "gone").await;
    let kept = task(&ada, "kept").await;
    ada.delete(&path(&record)).await.expect(204);
    ada.get(&path(&record)).await.expect(404);
    ada.patch(&path(&record), json!({ "title": "back" })).await.expect(404);
    ada.patch(&path(&record), json!({ "status": "done" })).await.expect(404);
    ada.delete(&path(&record)).await.expect(404);
    assert_eq!(ada.get(TASKS).await.expect(200).body["items"], json!([kept]));
    let admin = world.admin().await;
    assert_eq!(admin.get(TASKS).await.expect(200).body["items"], json!([kept]));
    let put = ada
        .request(Method::PUT, &path(&record))
        .header("if-none-match", "*")
        .json(json!({ "title": "t", "owner": ada.id() }));
    put.send().await.expect(412);
}

#[tokio::test]
async fn a_record_too_large_to_store_is_a_client_error() {
    let world = World::new().await;
    let (admin, name) = (world.admin().await, "x".repeat(1_100));
    let notes = json!({ "name": "notes", "unique": [["k"]], "schema": { "type": "object", "additionalProperties": false,
        "properties": { "text": { "type": "string" }, "k": { "type": "string" } } } });
    admin.put("/v1/collections/notes", notes).await.expect(201);
    for body in [json!({ "text": "x".repeat(500_000) }), json!({ "text": "x".repeat(500_000), "k": "k" })] {
        assert_eq!(admin.post("/v1/collections/notes/records", body).await.expect(400).code(), "item_too_large");
    }
    admin.get(&format!("/v1/collections/{name}/records")).await.expect(404);
    world.stranger().get(&format!("/v1/collections/{name}/records")).await.expect(401);
    admin.get(&format!("/v1/collections/{name}")).await.expect(404);
    admin.get(&format!("/v1/jobs/{name}")).await.expect(404);
}

#[tokio::test]
async fn validation_errors_are_shown_only_to_callers_who_may_write() {
    let world = World::new().await;
    with_tasks(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let hidden = path(&task(&ada, "hidden").await);
    for wrong in [json!({ "title": "" }), json!({ "title": null }), json!({ "slug": "Not A Slug" })] {
        ada.patch(&hidden, wrong.clone()).await.expect(400);
        let put = bob.request(Method::PUT, &hidden).header("if-match", "*").json(json!({ "title": 7 }));
        assert_eq!(put.send().await.status, 404);
        // A slug is unique, so its patch is read first; errors of a single member are shown.
        assert!([400, 404].contains(&bob.patch(&hidden, wrong).await.status));
    }
}
