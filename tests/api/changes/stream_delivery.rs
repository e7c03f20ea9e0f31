//! Counts and the change feed are correct under a stream that delivers twice, late, partly and concurrently.

use crate::changes::change_log::{Follower, NOTES, count, listed, note, notes, with_notes};
use crate::world::World;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use axum::response::IntoResponse;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use undercroft_local::{FunctionError, Invoke};

/// Delivers to the relay in every way a stream may: twice, again from an older position, partly, reported as failed after
/// success, and two parts at the same time.
struct BadStream<'a> {
    world: &'a World,
    delivered: Mutex<Vec<Value>>,
    chance: Mutex<u64>,
}

impl BadStream<'_> {
    fn chance(&self, of: usize) -> usize {
        let mut state = self.chance.lock().unwrap();
        // xorshift64
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        (*state % of as u64) as usize
    }

    async fn hand_over(&self, records: &[Value]) -> Value {
        let answer = self.world.functions().invoke("relay", json!({ "Records": records })).await.unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["batchItemFailures"], json!([]), "the relay takes whatever comes");
        answer
    }

    /// Runs everything until nothing more happens, advancing the time for retries.
    async fn settle(&self) {
        let (mut quiet, mut rounds) = (0, 0);
        while quiet < 3 {
            rounds += 1;
            assert!(rounds < 10_000, "it never comes to rest");
            let moved = self.world.cloud.pump(self).await.unwrap();
            quiet = if moved == 0 { quiet + 1 } else { 0 };
            self.world.advance(Duration::from_secs(if moved == 0 { 61 } else { 1 }));
        }
    }
}

impl Invoke for BadStream<'_> {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        let records = event["Records"].as_array().unwrap().clone();
        if function != "relay" || records[0]["dynamodb"]["Keys"]["pk"].is_null() {
            return self.world.functions().invoke(function, event).await;
        }
        let before: Vec<Value> = self.delivered.lock().unwrap().clone();
        match self.chance(8) {
            0 => drop(self.hand_over(&records).await),
            1 if !before.is_empty() => drop(self.hand_over(&before[self.chance(before.len())..]).await),
            2 => drop(tokio::join!(self.hand_over(&records), self.hand_over(&records))),
            3 => {
                self.hand_over(&records[..self.chance(records.len())]).await;
                return Err(FunctionError("ended before it could answer".into()));
            }
            4 => {
                self.hand_over(&records).await;
                return Err(FunctionError("its answer was lost".into()));
            }
            _ => {
                // Two shards at once: each record's changes stay in order, all else does not.
                let is_left = |record: &Value| {
                    record["dynamodb"]["Keys"]["sk"]["S"]
                        .as_str()
                        .unwrap()
                        .ends_with(['0', '1', '2', '3', '4', '5', '6', '7'])
                };
                let (left, right): (Vec<_>, Vec<_>) = records.iter().cloned().partition(is_left);
                tokio::join!(self.hand_over(&left), self.hand_over(&right));
            }
        }
        let answer = self.hand_over(&records).await;
        self.delivered.lock().unwrap().extend(records);
        Ok(answer.to_string())
    }
}

/// Checks that every feed is numbered from 1 without a gap, and its head has the last number.
async fn assert_gapless(world: &World) {
    let items = world.dump("RecordsTable").await;
    let mut feeds: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let mut heads: Vec<u64> = Vec::new();
    for item in items.as_array().unwrap() {
        let pk = item["pk"]["S"].as_str().unwrap();
        let number = |name: &str| item[name]["N"].as_str().map(|text| text.parse::<u64>().unwrap());
        if pk.starts_with("f#") {
            assert!(feeds.entry(pk.to_owned()).or_default().insert(number("seq").unwrap()), "a number given twice");
        } else if pk.starts_with("n#") {
            heads.extend(number("s"));
        }
    }
    let mut last: Vec<u64> = feeds.values().map(|feed| *feed.last().unwrap()).collect();
    assert!(feeds.values().all(|feed| feed.iter().copied().eq(1..=feed.len() as u64)), "{feeds:?}");
    last.sort_unstable();
    heads.sort_unstable();
    assert_eq!(last, heads);
}

/// A hundred creates in one batch: trips and units of the relay.
async fn cost_of_a_hundred(changes: bool) -> (u32, f64) {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut definition = notes();
    definition["changes"] = json!(changes);
    admin.put("/v1/collections/notes", definition).await.expect(201);
    let ada = world.user("ada").await;
    let stream = BadStream { world: &world, delivered: Mutex::default(), chance: Mutex::new(1) };
    for nth in 0..100 {
        note(&admin, &ada, &format!("{nth}")).await;
    }
    let captured = Captured(Mutex::default());
    world.settle_through(&captured).await;
    let records = captured.0.into_inner().unwrap();
    assert_eq!(records.len(), 100);
    let (_, cost) = undercroft::cost::counted(stream.hand_over(&records)).await;
    assert_eq!(count(&ada, "").await, 100);
    let (_, again) = undercroft::cost::counted(stream.hand_over(&records)).await;
    assert_eq!(again.wru, 0.0, "what comes again is not written again");
    assert_eq!(count(&ada, "").await, 100);
    (cost.trips, cost.wru)
}

/// Drops what a stream delivers.
struct Captured(Mutex<Vec<Value>>);

impl Invoke for Captured {
    async fn invoke(&self, _: &str, event: Value) -> Result<String, FunctionError> {
        self.0.lock().unwrap().extend(event["Records"].as_array().unwrap().clone());
        Ok("{}".into())
    }
}

#[tokio::test]
async fn the_relay_writes_a_batch_in_few_round_trips_and_two_units_a_record() {
    // A hundred markers and two heads on two pages, two units each: nothing is read.
    assert_eq!(cost_of_a_hundred(false).await, (2, 2.0 * (100.0 + 2.0 + 2.0)));
    // And two entries each, on four pages, with the heads read once.
    assert_eq!(cost_of_a_hundred(true).await, (5, 2.0 * (100.0 + 200.0 + 4.0 * 2.0)));
}

#[tokio::test]
async fn concurrent_invocations_use_each_sequence_number_exactly_once() {
    let world = World::new().await;
    let admin = with_notes(&world).await;
    let ada = world.user("ada").await;
    for nth in 0..24 {
        note(&admin, &ada, &format!("{nth}")).await;
    }
    let captured = Captured(Mutex::default());
    world.settle_through(&captured).await;
    let records = captured.0.into_inner().unwrap();
    let stream = BadStream { world: &world, delivered: Mutex::default(), chance: Mutex::new(1) };
    // Four shards that share their heads, each delivered twice at once.
    let shards: Vec<Vec<Value>> = (0..4).map(|of| records.iter().skip(of).step_by(4).cloned().collect()).collect();
    join_all(shards.iter().chain(&shards).map(|records| stream.hand_over(records))).await;
    assert_gapless(&world).await;
    assert_eq!((count(&ada, "").await, count(&admin, "").await), (24, 24));
    for caller in [&ada, &admin] {
        let heard = Follower::default().read(caller, 100).await;
        assert_eq!((heard.len(), heard.iter().collect::<BTreeSet<_>>().len()), (24, 24));
    }
}

#[tokio::test]
async fn a_record_the_relay_cannot_handle_is_retried_and_earlier_records_are_kept() {
    let world = World::new().await;
    let admin = with_notes(&world).await;
    let ada = world.user("ada").await;
    note(&admin, &ada, "a").await;
    let captured = Captured(Mutex::default());
    world.cloud.pump(&captured).await.unwrap();
    let records = captured.0.into_inner().unwrap();
    let mut env = world.env("relay");
    env.insert("RECORDS_TABLE".into(), "nowhere".into());
    let relay = undercroft_relay::App::from_env(&env.into_iter().collect()).unwrap();
    let event = serde_json::from_value(json!({ "Records": records })).unwrap();
    let answer = serde_json::to_value(undercroft_relay::handle(&relay, event).await).unwrap();
    let failed = json!([{ "itemIdentifier": records[0]["dynamodb"]["SequenceNumber"] }]);
    assert_eq!(answer["batchItemFailures"], failed);
    assert_eq!(count(&ada, "").await, 0);
    world.functions().invoke("relay", json!({ "Records": records })).await.unwrap();
    assert_eq!(count(&ada, "").await, 1);
}

/// A proxy before the tables that makes the first transactions fail: refused, or with a lost answer after the write.
struct FaultyProxy {
    address: String,
    left: Arc<Mutex<usize>>,
}

/// How the proxy makes a transaction fail.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// It conflicts with another transaction.
    Conflict,
    /// It is written, but the answer is lost.
    AnswerLost,
}

impl FaultyProxy {
    async fn open(world: &World, fault: Fault, times: usize) -> Self {
        let (behind, left) = (world.cloud.endpoint().to_owned(), Arc::new(Mutex::new(times)));
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let counter = Arc::clone(&left);
        let answer = move |request: Request<Body>| {
            let (behind, client, left) = (behind.clone(), client.clone(), Arc::clone(&counter));
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let is_transaction = parts.headers["x-amz-target"].to_str().unwrap().ends_with("TransactWriteItems");
                let fails = is_transaction && {
                    let mut left = left.lock().unwrap();
                    let fails = *left > 0;
                    *left = left.saturating_sub(1);
                    fails
                };
                if fails && fault == Fault::Conflict {
                    return (StatusCode::BAD_REQUEST, conflict(&body)).into_response();
                }
                let mut onward = Request::builder().method(parts.method).uri(&behind).body(Full::new(body)).unwrap();
                *onward.headers_mut() = parts.headers;
                let answer = client.request(onward).await.unwrap();
                if fails { StatusCode::INTERNAL_SERVER_ERROR.into_response() } else { answer.map(Body::new) }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "no function: what stands between answers while the relay asks")]
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        Self { address, left }
    }

    fn relay(&self, world: &World) -> undercroft_relay::App {
        let mut env = world.env("relay");
        env.insert("AWS_ENDPOINT_URL".into(), self.address.clone());
        undercroft_relay::App::from_env(&env.into_iter().collect()).unwrap()
    }
}

/// The error of a transaction with a conflict on its last item.
fn conflict(body: &[u8]) -> String {
    let asked: Value = serde_json::from_slice(body).unwrap();
    let mut reasons = vec![json!({ "Code": "None" }); asked["TransactItems"].as_array().unwrap().len()];
    *reasons.last_mut().unwrap() = json!({ "Code": "TransactionConflict" });
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    json!({ "__type": kind, "Message": "Transaction cancelled", "CancellationReasons": reasons }).to_string()
}

#[tokio::test]
async fn a_conflicting_transaction_or_a_lost_answer_counts_once() {
    for (fault, times, is_kept) in [
        (Fault::Conflict, 2, true),
        (Fault::Conflict, 100, false),
        (Fault::AnswerLost, 1, true),
        (Fault::AnswerLost, 100, false),
    ] {
        let world = World::new().await;
        let admin = with_notes(&world).await;
        let ada = world.user("ada").await;
        note(&admin, &ada, "a").await;
        note(&admin, &ada, "b").await;
        let captured = Captured(Mutex::default());
        world.settle_through(&captured).await;
        let records = captured.0.into_inner().unwrap();
        let proxy = FaultyProxy::open(&world, fault, times).await;
        let event = serde_json::from_value(json!({ "Records": records })).unwrap();
        let answer = serde_json::to_value(undercroft_relay::handle(&proxy.relay(&world), event).await).unwrap();
        let first = json!([{ "itemIdentifier": records[0]["dynamodb"]["SequenceNumber"] }]);
        assert_eq!(answer["batchItemFailures"], if is_kept { json!([]) } else { first }, "{times}");
        assert!(*proxy.left.lock().unwrap() < times, "the fault was used");
        // The stream retries the failed part, and the proxy lets it pass.
        world.functions().invoke("relay", json!({ "Records": records })).await.unwrap();
        assert_eq!(count(&ada, "").await, 2);
        assert_gapless(&world).await;
        let mut follower = Follower::default();
        assert_eq!(follower.read(&ada, 10).await.len(), 2);
    }
}

/// After random writes and random deliveries, every count equals the number of records, and a client that follows has the same
/// records as the list.
#[expect(clippy::too_many_lines, reason = "one table of cases, read from top to bottom")]
async fn random_program(seed: u64, changes: bool, shards: u8) {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut definition = notes();
    (definition["changes"], definition["shards"]) = (json!(changes), json!(shards));
    admin.put("/v1/collections/notes", definition).await.expect(201);
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let stream = BadStream { world: &world, delivered: Mutex::default(), chance: Mutex::new(seed) };
    let owners = [ada.id(), bob.id(), "nobody"];
    let (mut ids, mut follower) = (Vec::new(), Follower::default());
    for step in 0..70 {
        let owner = owners[stream.chance(3)];
        let board = [json!("x"), json!("y"), Value::Null][stream.chance(3)].clone();
        let id = (!ids.is_empty()).then(|| format!("{NOTES}/{}", ids[stream.chance(ids.len().max(1))]));
        match (stream.chance(8), id) {
            (0..=2, _) | (_, None) => {
                let made = admin.post(NOTES, json!({ "owner": owner, "text": format!("{step}") })).await.expect(201);
                ids.push(made.body["id"].as_str().unwrap().to_owned());
            }
            (3, Some(path)) => drop(admin.delete(&path).await),
            (4, Some(path)) => drop(admin.patch(&path, json!({ "text": format!("{step}") })).await),
            (5, Some(path)) => drop(admin.patch(&path, json!({ "secret": "canary" })).await),
            (6, Some(path)) => drop(admin.patch(&path, json!({ "owner": owner })).await),
            (_, Some(path)) => drop(admin.patch(&path, json!({ "board": board })).await),
        }
        if stream.chance(9) == 0 {
            world.cloud.pump(&stream).await.unwrap();
            if changes {
                follower.read(&ada, 1 + stream.chance(7)).await;
            }
        }
    }
    stream.settle().await;
    let (admin, bob) = (world.admin().await, world.user("bob").await);
    let ada = world.user("ada").await;
    let all = listed(&admin, "").await;
    assert_eq!(count(&admin, "").await, all.len() as u64, "seed {seed}");
    for (field, value) in
        [("owner", owners[0]), ("owner", owners[1]), ("owner", "nobody"), ("board", "x"), ("board", "y")]
    {
        let held = all.values().filter(|record| record[field] == value).count() as u64;
        assert_eq!(count(&admin, &format!("{field} == '{value}'")).await, held, "seed {seed}: {field} {value}");
    }
    if !changes {
        return;
    }
    let of_ada = listed(&ada, "").await;
    follower.read(&ada, 5).await;
    assert_eq!(follower.held, of_ada, "seed {seed}: who followed all along");
    let mut late = Follower::default();
    late.read(&ada, 3).await;
    assert_eq!(late.held, of_ada, "seed {seed}: who begins now");
    let mut bobs = Follower::default();
    bobs.read(&bob, 100).await;
    assert_eq!(bobs.held, listed(&bob, "").await, "seed {seed}");
    assert!(bobs.held.values().all(|record| record["owner"] == bob.id()));
    let mut admins = Follower::default();
    admins.read(&admin, 100).await;
    assert_eq!(admins.held, all, "seed {seed}: an admin follows the whole collection");
    assert_gapless(&world).await;
}

#[tokio::test]
async fn counts_and_feeds_are_correct_for_any_stream_delivery() {
    for (seed, changes, shards) in [(1, true, 1), (0x5EED, true, 4), (0xC0FFEE, false, 2)] {
        random_program(seed, changes, shards).await;
    }
}
