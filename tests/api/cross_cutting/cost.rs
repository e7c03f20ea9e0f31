//! The cost of calls compared with the budget: round trips, and capacity units as DynamoDB reports them.

mod plans;
mod table;

use crate::world::{PASSWORD, World, tasks};
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::Mutex;
use undercroft::cost::{Cost, counted};
use undercroft_local::{FunctionError, Invoke};

/// A collection with one index and no unique field: the standard case of the budget.
fn plain() -> Value {
    let mut plain = tasks();
    plain["name"] = json!("plain");
    plain["schema"]["properties"]["tags"] = json!({ "type": "array", "items": { "type": "string" } });
    plain.as_object_mut().unwrap().remove("unique");
    plain
}

#[tokio::test]
async fn every_call_costs_what_the_budget_says() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/plain", plain()).await.expect(201);
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    let ada = world.user("ada").await;
    let stranger = world.stranger();
    let path = "/v1/collections/plain/records";
    // Warm: keys, definitions and secrets are fetched once.
    ada.post(path, json!({ "title": "warm", "owner": ada.id() })).await.expect(201);
    ada.post("/v1/collections/tasks/records", json!({ "title": "warm", "owner": ada.id() })).await.expect(201);
    ada.get(&format!("{path}?limit=1")).await.expect(200);

    let sign_in =
        stranger.post("/v1/auth/signin", json!({ "email": "ada@example.org", "password": PASSWORD })).await.expect(200);
    assert_eq!(sign_in.cost(), (1.0, 1.0, 2), "sign-in: the account is read, the session written");
    let refresh = stranger.post("/v1/auth/refresh", json!({ "refreshToken": ada.refresh_token })).await.expect(200);
    assert_eq!(refresh.cost(), (0.0, 1.0, 1), "refresh: one write, one round trip");

    let created =
        ada.post(path, json!({ "title": "x".repeat(200), "owner": ada.id(), "priority": 1 })).await.expect(201);
    assert_eq!(created.cost(), (0.0, 2.0, 1), "create: 1 + 1 for its index");
    let one = created.header("location").to_owned();
    assert_eq!(ada.get(&one).await.expect(200).cost(), (0.5, 0.0, 1), "read");
    assert_eq!(ada.get(&format!("{one}?consistent=true")).await.expect(200).cost(), (1.0, 0.0, 1), "consistent read");
    let patched = ada
        .request(Method::PATCH, &one)
        .header("if-match", "\"1\"")
        .json(json!({ "title": "y" }))
        .send()
        .await
        .expect(200);
    assert_eq!(
        (patched.cost().2, patched.cost().1),
        (1, 2.0),
        "patch of a field no index is keyed by: 1 + 1 for the copy in the index"
    );
    let stale = ada.request(Method::PATCH, &one).header("if-match", "\"1\"").json(json!({ "title": "z" })).send().await;
    let stale = stale.expect(412).cost();
    assert_eq!(stale, (0.0, 0.0, 1), "a failed condition is billed, and DynamoDB does not say how much: decision 15");
    let moved = ada.patch(&one, json!({ "status": "done" })).await.expect(200);
    assert_eq!(moved.cost(), (1.0, 3.0, 2), "patch that moves an index key: read, then 1 + 2");
    assert_eq!(ada.delete(&one).await.expect(204).cost(), (0.0, 2.0, 1), "delete: 1 + 1 for its index");

    // Only admins see the cost of writes with unique values or `restrict`.
    let unique = admin
        .post("/v1/collections/tasks/records", json!({ "title": "u", "owner": admin.id(), "slug": "u" }))
        .await
        .expect(201);
    assert_eq!(unique.cost(), (0.0, 5.0, 1), "create with one unique field: 2 (1 + 1), and its index once");
    let job = json!({ "type": "email.send", "payload": { "to": "a@example.org", "subject": "s", "text": "t" } });
    admin.get("/v1/jobs").await.expect(200);
    assert_eq!(admin.post("/v1/jobs", job).await.expect(202).cost(), (0.0, 2.0, 1), "enqueue: 1 + 1 to be listed");
    world.settle().await;
}

/// Two sparse indexes, by owner and by reviewer, and up to two unique values.
fn articles() -> Value {
    let text = json!({ "type": "string", "maxLength": 200 });
    json!({
        "name": "articles",
        "schema": { "type": "object", "additionalProperties": false, "properties": {
            "title": text, "owner": text, "reviewer": text, "slug": text, "isbn": text } },
        "unique": [["slug"], ["isbn"]],
        "indexes": [
            { "name": "mine", "partition": ["owner"], "sort": ["createdAt"] },
            { "name": "reviewing", "partition": ["reviewer"], "sort": ["createdAt"] } ],
        "rules": { "read": "auth.id != ''", "create": "auth.id != ''", "update": "auth.id != ''", "delete": "auth.id != ''" }
    })
}

/// An index takes part in a write only if the record is in it: decision 20.
#[tokio::test]
async fn a_write_pays_one_unit_for_each_index_that_holds_the_record_and_two_for_each_key_that_moves() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/articles", articles()).await.expect(201);
    let path = "/v1/collections/articles/records";
    admin.post(path, json!({ "title": "warm" })).await.expect(201);
    let make = async |body: Value, units: f64| {
        let made = admin.post(path, body.clone()).await.expect(201);
        assert_eq!(made.cost(), (0.0, units, 1), "create {body}");
        made.header("location").to_owned()
    };
    let change = async |one: &str, body: Value, cost: (f64, f64, u32)| {
        assert_eq!(admin.patch(one, body.clone()).await.expect(200).cost(), cost, "patch {body}");
    };
    let delete = async |one: &str, units: f64| {
        assert_eq!(admin.delete(one).await.expect(204).cost(), (0.0, units, 1), "delete {one}");
    };

    let in_none = make(json!({ "title": "t" }), 1.0).await;
    change(&in_none, json!({ "title": "other" }), (0.0, 1.0, 1)).await;
    let in_one = make(json!({ "title": "t", "owner": "o" }), 2.0).await;
    change(&in_one, json!({ "title": "other" }), (0.0, 2.0, 1)).await;
    let in_both = make(json!({ "title": "t", "owner": "o", "reviewer": "r" }), 3.0).await;
    change(&in_both, json!({ "title": "other" }), (0.0, 3.0, 1)).await;

    // Index keys are made from the whole record, so it is read first.
    change(&in_none, json!({ "owner": "o" }), (1.0, 2.0, 2)).await;
    change(&in_one, json!({ "owner": "p" }), (1.0, 3.0, 2)).await;
    change(&in_both, json!({ "reviewer": "s" }), (1.0, 4.0, 2)).await;
    change(&in_both, json!({ "owner": "p", "reviewer": "r" }), (1.0, 5.0, 2)).await;
    change(&in_both, json!({ "reviewer": null }), (1.0, 3.0, 2)).await;
    delete(&in_both, 2.0).await;

    let one_value = make(json!({ "slug": "a", "owner": "o" }), 5.0).await;
    make(json!({ "slug": "b", "isbn": "b", "owner": "o" }), 7.0).await;
    make(json!({ "slug": "c", "isbn": "c" }), 6.0).await;
    delete(&one_value, 2.0).await;
}

/// Counts the invocations of the worker and the units it consumes.
struct Counting<'a, I> {
    functions: &'a I,
    worker: Mutex<(u32, Cost)>,
}

impl<I: Invoke> Invoke for Counting<'_, I> {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        let (answer, cost) = counted(self.functions.invoke(function, event)).await;
        if function == "worker" {
            let mut worker = self.worker.lock().unwrap();
            worker.0 += 1;
            worker.1.wru += cost.wru;
            worker.1.rru += cost.rru;
            worker.1.trips += cost.trips;
        }
        answer
    }
}

#[tokio::test]
async fn a_job_is_consumed_with_a_tenth_of_an_invocation_a_unit_to_begin_and_a_unit_to_end() {
    let world = World::new().await;
    let admin = world.admin().await;
    let job = json!({ "type": "email.send", "payload": { "to": "a@example.org", "subject": "s", "text": "t" } });
    for _ in 0..100 {
        admin.post("/v1/jobs", job.clone()).await.expect(202);
    }
    let counting = Counting { functions: world.functions(), worker: Mutex::default() };
    world.settle_through(&counting).await;
    let (invocations, cost) = counting.worker.into_inner().unwrap();
    // The event source calls the queue: once for ten messages, and once to delete them.
    assert_eq!((invocations, cost.wru, cost.rru), (10, 200.0, 0.0));
    assert_eq!(cost.trips, 300, "begin, send the mail, end; nothing is said to the queue");
    assert_eq!(world.mails_to("a@example.org").len(), 100);
    world.settle().await;
}

#[tokio::test]
async fn a_page_of_twenty_costs_the_same_on_page_one_and_on_page_ten() {
    let world = World::new().await;
    world.admin().await.put("/v1/collections/plain", plain()).await.expect(201);
    let ada = world.user("ada").await;
    let path = "/v1/collections/plain/records";
    for nth in 0..220 {
        ada.post(path, json!({ "title": "x".repeat(150), "owner": ada.id(), "priority": nth % 10 })).await.expect(201);
    }
    let mut cursor = String::new();
    let mut costs = Vec::new();
    for page in 0..11 {
        let answer = ada.get(&format!("{path}?limit=20{cursor}")).await.expect(200);
        assert_eq!(answer.body["items"].as_array().unwrap().len(), 20, "page {page}");
        // The first cursor fetches the key that seals it; that trip is paid once a cold start.
        if page > 0 {
            costs.push(answer.cost());
        }
        cursor = answer.body["nextCursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
    assert!(cursor.is_empty(), "exactly eleven pages");
    let first = costs[0];
    assert!(costs[..costs.len() - 1].iter().all(|cost| *cost == first), "{costs:?}");
    assert_eq!(first, (1.5, 0.0, 1), "twenty records of 500 bytes are three times four kilobytes, read at half price");
}

#[tokio::test]
async fn a_batch_reads_all_it_needs_in_one_trip_and_writes_in_another() {
    let world = World::new().await;
    world.admin().await.put("/v1/collections/plain", plain()).await.expect(201);
    let ada = world.user("ada").await;
    let mut records = Vec::new();
    for _ in 0..20 {
        let made = ada.post("/v1/collections/plain/records", json!({ "title": "t", "owner": ada.id() })).await;
        records.push(made.expect(201).header("location").to_owned());
    }
    let patches = |title: &str| -> Value {
        let patch = |path: &String| json!({ "method": "PATCH", "path": path, "body": { "title": title } });
        json!({ "operations": records.iter().map(patch).collect::<Vec<_>>() })
    };
    let warm = ada.post("/v1/batch", patches("warm")).await.expect(200);
    assert_eq!(warm.cost(), (20.0, 60.0, 2), "each is read for 1, and written for 2 and 1 for its index");
    // The definition is asked for again after five seconds: once, however many operations need it.
    world.advance(std::time::Duration::from_secs(6));
    assert_eq!(ada.post("/v1/batch", patches("stale")).await.expect(200).cost(), (21.0, 60.0, 3));
    let nowhere = json!({ "method": "POST", "path": "/v1/collections/nothing/records", "body": {} });
    let nowhere = json!({ "operations": vec![nowhere; 20] });
    let admin = world.admin().await;
    admin.get("/v1/collections/plain/records").await.expect(200);
    assert_eq!(admin.post("/v1/batch", nowhere).await.expect(404).cost(), (1.0, 0.0, 1), "nor one that is not there");
}

#[tokio::test]
async fn a_unique_value_that_a_record_keeps_is_not_paid_again() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    let task = json!({ "title": "t", "owner": admin.id(), "slug": "a" });
    let one = admin.post("/v1/collections/tasks/records", task.clone()).await.expect(201).header("location").to_owned();
    let cost = async |patch: Value| admin.patch(&one, patch).await.expect(200).cost();
    assert_eq!(cost(json!({ "status": "done" })).await, (1.0, 3.0, 2), "read, then 1 + 2 for the key that moves");
    assert_eq!(cost(json!({ "slug": "b" })).await, (1.0, 5.0, 2), "another value: 2 (1 + 1), and its index once");
    let replaced = json!({ "title": "r", "owner": admin.id(), "slug": "b", "status": "done" });
    let replaced = admin.request(Method::PUT, &one).header("if-match", "\"3\"").json(replaced).send().await.expect(200);
    assert_eq!(replaced.cost(), (1.0, 2.0, 2));
    assert_eq!(
        admin
            .post("/v1/collections/tasks/records", json!({ "title": "t", "owner": admin.id(), "slug": "b" }))
            .await
            .expect(409)
            .code(),
        "not_unique"
    );
    admin.delete(&one).await.expect(204);
    // A deleted record holds no value: undelete must claim it.
    admin
        .post("/v1/collections/tasks/records", json!({ "title": "t", "owner": admin.id(), "slug": "b" }))
        .await
        .expect(201);
    admin.post(&format!("{one}/undelete"), json!({})).await.expect(409);
}

/// An id in this one of eight shards.
fn id_in_shard(nth: u64, shard: u64) -> String {
    format!("{:08x}-{:04x}-7000-8000-{shard:012x}", nth >> 16, nth & 0xFFFF)
}

#[tokio::test]
async fn a_page_of_a_sharded_list_reads_twice_the_page_and_not_the_page_for_every_shard() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut sharded = plain();
    sharded["shards"] = json!(8);
    admin.put("/v1/collections/plain", sharded).await.expect(201);
    let path = "/v1/collections/plain/records";
    // Spread evenly except the last ones, which are in one shard, like records from before the shards were added.
    let first = 1_700_000_000_000;
    let place = |nth: u64| id_in_shard(first + nth, if nth < 64 { nth % 8 } else { 0 });
    for nth in 0..124 {
        let made = admin.request(Method::PUT, &format!("{path}/{}", place(nth))).header("if-none-match", "*");
        made.json(json!({ "title": "t" })).send().await.expect(201);
    }
    let read = async |query: &str| {
        let page = admin.get(&format!("{path}?limit=30{query}")).await.expect(200);
        let scanned: u64 = page.header("undercroft-cost").rsplit('=').next().unwrap().parse().unwrap();
        let ids: Vec<String> =
            page.body["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
        (ids, page.cost(), scanned, page.body["nextCursor"].as_str().map(|next| format!("&cursor={next}")))
    };
    read("").await;
    let (ids, cost, scanned, next) = read("").await;
    assert_eq!(ids, (0..30).map(place).collect::<Vec<_>>());
    assert_eq!((cost, scanned), ((4.0, 0.0, 8), 64), "eight of each shard, for thirty of all");
    let explained = admin.get(&format!("{path}?limit=30&explain=true")).await.expect(200).body;
    assert_eq!((&explained["expected"]["trips"], &explained["expected"]["items"]), (&json!(8), &json!(64)));

    let (ids, _, _, next) = read(&next.unwrap()).await;
    assert_eq!(ids, (30..60).map(place).collect::<Vec<_>>());
    // All of this page is in one shard, and four in every other: one more trip brings the rest of the page at once.
    let (ids, cost, scanned, next) = read(&next.unwrap()).await;
    assert_eq!(ids, (60..90).map(place).collect::<Vec<_>>());
    assert_eq!((cost.2, scanned), (9, 8 + 4 + 31), "the rest of the page at once");
    let (ids, ..) = read(&next.unwrap()).await;
    assert_eq!(ids, (90..120).map(place).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_request_refused_before_any_read_costs_nothing() {
    let world = World::new().await;
    world.admin().await.put("/v1/collections/plain", plain()).await.expect(201);
    let ada = world.user("ada").await;
    let path = "/v1/collections/plain/records";
    ada.get(path).await.expect(200);
    let free = (0.0, 0.0, 0);
    assert_eq!(ada.post(path, json!({ "owner": ada.id() })).await.expect(400).cost(), free, "schema error");
    assert_eq!(ada.get(&format!("{path}?filter=title%3D%3D%22x%22")).await.expect(422).cost(), free, "refused query");
    let one =
        ada.post(path, json!({ "title": "t", "owner": ada.id() })).await.expect(201).header("location").to_owned();
    let wrong = json!({ "status": 5 });
    assert_eq!(
        ada.patch(&one, wrong).await.expect(400).cost(),
        free,
        "schema error in a field that an index is made of"
    );
    let bad = world.stranger().request(Method::GET, path).header("authorization", "Bearer nonsense").send().await;
    assert_eq!(bad.expect(401).cost(), free, "bad token");
    let refresh = async |token: &str| world.stranger().post("/v1/auth/refresh", json!({ "refreshToken": token })).await;
    let good = refresh(&ada.refresh_token).await.expect(200).body["refreshToken"].as_str().unwrap().to_owned();
    let (claim, tag) = good.rsplit_once('.').unwrap();
    let (session, generation) = claim.rsplit_once('.').unwrap();
    let next = generation.parse::<u32>().unwrap() + 1;
    let other_tag = format!("{}{}", if tag.starts_with('A') { 'B' } else { 'A' }, &tag[1..]);
    let forged =
        [format!("{claim}.{other_tag}"), format!("{session}.{next}.{tag}"), format!("{session}.+{generation}.{tag}")];
    for forged in forged {
        assert_eq!(refresh(&forged).await.expect(401).cost(), free, "a forged refresh token");
    }
    refresh(&good).await.expect(200);
}

#[tokio::test]
async fn a_filter_by_id_reads_only_the_shard_of_each_id() {
    let world = World::new().await;
    let mut spread = plain();
    spread["name"] = json!("spread");
    spread["shards"] = json!(8);
    spread["rules"]["list"] = json!("auth.id != ''");
    world.admin().await.put("/v1/collections/spread", spread).await.expect(201);
    let ada = world.user("ada").await;
    let path = "/v1/collections/spread/records";
    let mut ids = Vec::new();
    for title in ["a", "b"] {
        let made = ada.post(path, json!({ "title": title, "owner": ada.id() })).await.expect(201).body;
        ids.push(made["id"].as_str().unwrap().to_owned());
    }
    let listed = async |filter: String| {
        let filter = crate::records::pages::encoded(&filter);
        ada.get(&format!("{path}?filter={filter}")).await.expect(200)
    };
    assert_eq!(listed("true".into()).await.cost().2, 8, "every shard is asked for everything");
    let one = listed(format!("id == '{}'", ids[0])).await;
    assert_eq!((one.cost(), one.body["items"][0]["title"].as_str()), ((0.5, 0.0, 1), Some("a")));
    let both = listed(format!("id in ['{}', '{}']", ids[0], ids[1])).await;
    assert_eq!((both.cost(), both.body["items"].as_array().unwrap().len()), ((1.0, 0.0, 1), 2));
    assert_eq!(listed("id == '017f22e2-79b0-7cc3-98c4-dc0c0c07398f'".into()).await.body["items"], json!([]));
}

#[tokio::test]
async fn a_level_of_expand_is_one_trip_more_for_any_number_of_records() {
    let world = World::new().await;
    let tree = json!({ "name": "trees", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "up": { "type": "string", "relation": { "collection": "trees" } },
        "owner": { "type": "string", "relation": { "collection": "users" } } } },
        "indexes": [{ "name": "by_up", "partition": ["up"], "sort": [] }],
        "rules": { "list": "true", "read": "true", "create": "true" } });
    world.admin().await.put("/v1/collections/trees", tree).await.expect(201);
    let ada = world.user("ada").await;
    let path = "/v1/collections/trees/records";
    let mut up = ada.post(path, json!({ "owner": ada.id() })).await.expect(201).body["id"].clone();
    for _ in 0..19 {
        up = ada.post(path, json!({ "owner": ada.id(), "up": up })).await.expect(201).body["id"].clone();
    }
    let cost = async |query: &str| ada.get(&format!("{path}?limit=20{query}")).await.expect(200).cost();
    cost("&expand=up,owner").await;
    let (plain, _, trips) = cost("").await;
    assert_eq!(trips, 1);
    // Nineteen records and one user, half a unit each; the user once, though twenty point there.
    assert_eq!(cost("&expand=up").await, (plain + 9.5, 0.0, 2), "one level");
    assert_eq!(cost("&expand=up,owner").await, (plain + 10.0, 0.0, 2), "two collections, one level");
    assert_eq!(cost("&expand=up.up").await, (plain + 9.5 + 9.0, 0.0, 3), "two levels");
    let (_, _, trips) = cost("&expand=trees_via_up,owner").await;
    assert_eq!(trips, 2 + 20, "backward: a query a record, side by side, beside the batch");
    let one = format!("{path}/{}", up.as_str().unwrap());
    assert_eq!(ada.get(&one).await.expect(200).cost(), (0.5, 0.0, 1));
    assert_eq!(ada.get(&format!("{one}?expand=up,owner")).await.expect(200).cost(), (1.5, 0.0, 2));
    let refused = ada.get(&format!("{path}?expand=up,owner.nothing")).await.expect(400);
    assert!(
        !refused.headers.contains_key("undercroft-cost"),
        "what a name cost to look for would tell whether it is there"
    );
}
