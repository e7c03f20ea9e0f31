//! The cost table of `docs/reference/costs.md`: every row is measured here, and every measurement has a row.

use super::plain;
use crate::records::operators::MEDIA_TYPE;
use crate::records::pages::encoded;
use crate::world::{Caller, PASSWORD, World, tasks};
use axum::http::Method;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Read units, write units and round trips.
type Cost = (f64, f64, u32);

/// The table, and the rows compared so far.
struct Table {
    rows: BTreeMap<String, Cost>,
    held: RefCell<BTreeSet<String>>,
    wrong: RefCell<Vec<String>>,
}

impl Table {
    fn of_the_reference() -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/costs.md");
        let page = std::fs::read_to_string(page).unwrap();
        let (_, after) = page.split_once("| call | round trips | read units | write units |\n").unwrap();
        let lines = after.lines().skip(1).take_while(|line| line.starts_with('|'));
        let rows = lines.map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [call, trips, rru, wru] = cells[..] else { panic!("four columns: {line}") };
            (call.to_owned(), (number(rru), number(wru), number(trips) as u32))
        });
        Self { rows: rows.collect(), held: RefCell::default(), wrong: RefCell::default() }
    }

    /// Compares the cost of a call with its row.
    fn hold(&self, call: &str, cost: Cost) {
        self.held.borrow_mut().insert(call.to_owned());
        if self.rows.get(call) != Some(&cost) {
            self.wrong
                .borrow_mut()
                .push(format!("{call}: it costs {cost:?}, and the row says {:?}", self.rows.get(call)));
        }
    }

    /// Compares the additional cost, `times` over, with a row whose cells begin with a plus.
    fn hold_more(&self, call: &str, with: Cost, without: Cost, times: u32) {
        let more = (with.0 - without.0, with.1 - without.1, with.2 - without.2);
        self.hold(call, (more.0 / f64::from(times), more.1 / f64::from(times), more.2));
    }

    /// Checks that every row was compared and none differed.
    fn close(self) {
        let (wrong, held) = (self.wrong.into_inner(), self.held.into_inner());
        let passed_over: Vec<&String> = self.rows.keys().filter(|call| !held.contains(*call)).collect();
        assert!(wrong.is_empty() && passed_over.is_empty(), "{wrong:#?}\nrows without a measurement: {passed_over:#?}");
    }
}

/// The number at the start of a cell; the rest is its unit.
fn number(cell: &str) -> f64 {
    let end = cell.trim_start_matches('+').find(|letter: char| !letter.is_ascii_digit() && letter != '.');
    let cell = cell.trim_start_matches('+');
    cell[..end.unwrap_or(cell.len())].parse().unwrap_or_else(|_| panic!("begins with no number: {cell}"))
}

const PLAIN: &str = "/v1/collections/plain/records";

#[tokio::test]
async fn every_row_of_the_cost_table_is_what_the_call_costs() {
    let table = Table::of_the_reference();
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/plain", plain()).await.expect(201);
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    let ada = world.user("ada").await;
    // Warm: keys, definitions and secrets are fetched once.
    ada.post(PLAIN, json!({ "title": "warm", "owner": ada.id() })).await.expect(201);
    ada.post("/v1/collections/tasks/records", json!({ "title": "warm", "owner": ada.id() })).await.expect(201);
    ada.get(&format!("{PLAIN}?limit=1")).await.expect(200);
    admin.get("/v1/jobs").await.expect(200);
    accounts(&table, &world, &ada).await;
    one_record(&table, &admin, &ada).await;
    several_records(&table, &ada).await;
    shared(&table, &admin, &ada).await;
    relations(&table, &admin, &ada).await;
    counts_and_changes(&table, &world, &admin).await;
    let job = json!({ "type": "email.send", "payload": { "to": "a@example.org", "subject": "s", "text": "t" } });
    table.hold("enqueue a job", admin.post("/v1/jobs", job).await.expect(202).cost());
    // The cascade waits until the deletion is in force everywhere.
    for _ in 0..2 {
        world.settle().await;
        world.advance(Duration::from_secs(16));
    }
    world.settle().await;
    table.close();
}

async fn accounts(table: &Table, world: &World, ada: &Caller<'_>) {
    let stranger = world.stranger();
    let credentials = json!({ "email": "ada@example.org", "password": PASSWORD });
    let sign_in = stranger.post("/v1/auth/signin", credentials).await.expect(200);
    table.hold("sign in", sign_in.cost());
    let refresh = stranger.post("/v1/auth/refresh", json!({ "refreshToken": ada.refresh_token })).await.expect(200);
    table.hold("refresh", refresh.cost());
    let free = "bad token, schema error, refused query";
    let bad = stranger.request(Method::GET, PLAIN).header("authorization", "Bearer nonsense").send().await;
    table.hold(free, bad.expect(401).cost());
    table.hold(free, ada.post(PLAIN, json!({ "owner": ada.id() })).await.expect(400).cost());
    table.hold(free, ada.get(&format!("{PLAIN}?filter=title%3D%3D%22x%22")).await.expect(422).cost());
}

/// All writes of a record, from create to undelete.
async fn one_record(table: &Table, admin: &Caller<'_>, ada: &Caller<'_>) {
    let body = |slug: &str| json!({ "title": "x".repeat(200), "owner": ada.id(), "priority": 1, "slug": slug });
    let mut own = body("u");
    own["owner"] = json!(admin.id());
    // Only admins see the cost of writes with unique values or `restrict`.
    let unique = admin.post("/v1/collections/tasks/records", own).await.expect(201);
    table.hold("create, with one index and a unique field", unique.cost());
    let upsert = async || {
        let mut body = body("v");
        body["owner"] = json!(admin.id());
        let knock = admin.request(Method::PUT, "/v1/collections/tasks/records?unique=slug");
        knock.json(body).send().await
    };
    table.hold("upsert that creates, with one index and a unique field", upsert().await.expect(201).cost());
    table.hold("upsert that replaces, with one index and a unique field", upsert().await.expect(200).cost());
    let made = ada.post(PLAIN, body("a")).await.expect(201);
    table.hold("create, with one index", made.cost());
    let once = async || {
        let knock = ada.request(Method::POST, PLAIN).header("idempotency-key", "\"k\"").json(body("b"));
        knock.send().await.expect(201).cost()
    };
    table.hold("create with an `Idempotency-Key`, with one index", once().await);
    table.hold("the same sent again", once().await);

    let one = made.header("location");
    table.hold("read by id", ada.get(one).await.expect(200).cost());
    table
        .hold("read by id with `consistent=true`", ada.get(&format!("{one}?consistent=true")).await.expect(200).cost());
    let write = async |method: Method, etag: &str, body: Value| {
        ada.request(method, one).header("if-match", etag).json(body).send().await.expect(200).cost()
    };
    let patched = write(Method::PATCH, "\"1\"", json!({ "title": "y" })).await;
    table.hold("patch of what no index is keyed by, with one index", patched);
    let operate = async |body: Value| {
        let knock = ada.request(Method::PATCH, one).header("content-type", MEDIA_TYPE);
        knock.json(body).send().await.expect(200).cost()
    };
    let appended = operate(json!({ "append": { "tags": ["a"] } })).await;
    table.hold("operator on what no index is keyed by, with one index", appended);
    let removed = operate(json!({ "remove": { "tags": ["a"] } })).await;
    table.hold("operator that needs the stored record, with one index", removed);
    let moved = write(Method::PATCH, "\"4\"", json!({ "status": "done" })).await;
    table.hold("patch that moves an index key", moved);
    let mut whole = body("a");
    (whole["title"], whole["status"]) = (json!("z"), json!("done"));
    table.hold("replace (PUT) that moves no index key, with one index", write(Method::PUT, "\"5\"", whole).await);
    table.hold("delete, with one index", ada.delete(one).await.expect(204).cost());
    let undeleted = ada.post(&format!("{one}/undelete"), json!({})).await.expect(200);
    table.hold("undelete, with one index", undeleted.cost());
}

async fn several_records(table: &Table, ada: &Caller<'_>) {
    let create = |nth: usize| json!({ "title": "x".repeat(150), "owner": ada.id(), "priority": nth % 10 });
    let operation = |nth: usize| json!({ "method": "POST", "path": PLAIN, "body": create(nth) });
    let batch = ada.post("/v1/batch", json!({ "operations": [operation(1), operation(2)] })).await.expect(200);
    table.hold("batch of two creates, with one index each", batch.cost());
    for nth in 0..40 {
        ada.post(PLAIN, create(nth)).await.expect(201);
    }
    ada.get(&format!("{PLAIN}?limit=20")).await.expect(200);
    let row = "list 20 records of 500 B through an index, any page";
    let first = ada.get(&format!("{PLAIN}?limit=20")).await.expect(200);
    table.hold(row, first.cost());
    let next = first.body["nextCursor"].as_str().unwrap();
    table.hold(row, ada.get(&format!("{PLAIN}?limit=20&cursor={next}")).await.expect(200).cost());
    let ids: Vec<&Value> = first.body["items"].as_array().unwrap().iter().map(|item| &item["id"]).collect();
    let named = encoded(&format!("id in {}", json!(ids)));
    table.hold("list 20 records by id", ada.get(&format!("{PLAIN}?filter={named}")).await.expect(200).cost());
}

/// Records that an index lists by the elements of an array.
async fn shared(table: &Table, admin: &Caller<'_>, ada: &Caller<'_>) {
    let (path, rule) = ("/v1/collections/shared/records", "auth.id in record.members");
    let array = json!({ "type": "array", "items": { "type": "string" }, "maxItems": 50 });
    let schema = json!({ "type": "object", "properties": { "text": { "type": "string" }, "members": array } });
    let indexes = json!([{ "name": "with", "partition": ["members[]"], "sort": ["-createdAt"] }]);
    let rules = json!({ "list": rule, "read": rule, "create": rule.replace("record", "input"), "update": rule, "delete": rule });
    let definition = json!({ "name": "shared", "schema": schema, "indexes": indexes, "rules": rules });
    admin.put("/v1/collections/shared", definition).await.expect(201);
    let body = || json!({ "text": "x".repeat(150), "members": [ada.id(), "another"] });
    ada.post(path, body()).await.expect(201);
    let made = ada.post(path, body()).await.expect(201);
    table.hold("create, with two entries in an index over elements", made.cost());
    let one = made.header("location");
    let patched = ada.patch(one, json!({ "text": "y" })).await.expect(200);
    table.hold("patch that moves no entry in an index over elements", patched.cost());
    let patched = ada.patch(one, json!({ "members": [ada.id()] })).await.expect(200);
    table.hold("patch that removes one element", patched.cost());
    table.hold("delete, with one entry in an index over elements", ada.delete(one).await.expect(204).cost());
    for _ in 0..40 {
        ada.post(path, body()).await.expect(201);
    }
    ada.get(&format!("{path}?limit=20")).await.expect(200);
    let row = "list 20 records of 500 B through an index over elements, any page";
    let first = ada.get(&format!("{path}?limit=20")).await.expect(200);
    table.hold(row, first.cost());
    let next = first.body["nextCursor"].as_str().unwrap();
    table.hold(row, ada.get(&format!("{path}?limit=20&cursor={next}")).await.expect(200).cost());
}

/// Notes that point at posts, and keep them from being deleted.
async fn relations(table: &Table, admin: &Caller<'_>, ada: &Caller<'_>) {
    let (posts, notes) = ("/v1/collections/posts/records", "/v1/collections/notes/records");
    let all = json!({ "list": "true", "read": "true", "create": "true", "update": "true", "delete": "true" });
    let collection = |name: &str, properties: Value, indexes: Value| {
        let schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
        json!({ "name": name, "schema": schema, "indexes": indexes, "rules": all })
    };
    let to_posts =
        |on_delete: &str| json!({ "type": "string", "relation": { "collection": "posts", "onDelete": on_delete } });
    admin.put("/v1/collections/posts", collection("posts", json!({}), json!([]))).await.expect(201);
    let properties = json!({ "post": to_posts("restrict") });
    admin.put("/v1/collections/notes", collection("notes", properties, json!([]))).await.expect(201);
    let by_post = json!([{ "name": "by_post", "partition": ["post"] }]);
    let likes = collection("likes", json!({ "post": to_posts("cascade") }), by_post);
    admin.put("/v1/collections/likes", likes).await.expect(201);
    let post = async || ada.post(posts, json!({})).await.expect(201).body["id"].clone();
    ada.post(notes, json!({ "post": post().await })).await.expect(201);
    ada.post("/v1/collections/likes/records", json!({ "post": post().await })).await.expect(201);

    let made = ada.post(notes, json!({ "post": post().await })).await.expect(201);
    table.hold("create, in no index, with one restricting relation", made.cost());
    let alone = ada.post(posts, json!({})).await.expect(201).header("location").to_owned();
    let deleted = admin.delete(&alone).await.expect(204);
    table.hold("delete, in no index, of a record that may be pointed at", deleted.cost());

    let one = made.header("location");
    let plain = ada.get(one).await.expect(200).cost();
    let forward = ada.get(&format!("{one}?expand=post")).await.expect(200).cost();
    table.hold_more("expand, each level forward, up to 100 records", forward, plain, 1);
    let back = format!("{posts}/{}", post().await.as_str().unwrap());
    ada.get(&format!("{back}?expand=likes_via_post")).await.expect(200);
    let plain = ada.get(&back).await.expect(200).cost();
    let backward = ada.get(&format!("{back}?expand=likes_via_post")).await.expect(200).cost();
    table.hold_more("expand, a back-relation of up to 4 KB", backward, plain, 1);
}

async fn counts_and_changes(table: &Table, world: &World, admin: &Caller<'_>) {
    let path = "/v1/collections/logs/records";
    let schema = json!({ "type": "object", "properties": { "text": { "type": "string" } } });
    let logs = json!({ "name": "logs", "schema": schema, "counts": true, "changes": true });
    admin.put("/v1/collections/logs", logs).await.expect(201);
    admin.post(path, json!({ "text": "a" })).await.expect(201);
    world.settle().await;
    let list = admin.get(path).await.expect(200).cost();
    admin.get(&format!("{path}?count=true")).await.expect(200);
    let counted = admin.get(&format!("{path}?count=true")).await.expect(200).cost();
    table.hold_more("count beside a list", counted, list, 1);

    let changes = "/v1/changes?collection=logs";
    let now = admin.get(&format!("{changes}&after=now")).await.expect(200).body["nextCursor"].clone();
    let since = format!("{changes}&after={}", now.as_str().unwrap());
    table.hold("changes of one partition, none", admin.get(&since).await.expect(200).cost());
    let mut costs = Vec::new();
    for nth in 0..2 {
        admin.post(path, json!({ "text": nth.to_string() })).await.expect(201);
        world.settle().await;
        costs.push(admin.get(&since).await.expect(200).cost());
    }
    table.hold("changes of one partition, one", costs[0]);
    table.hold_more("each change more", costs[1], costs[0], 1);
}
