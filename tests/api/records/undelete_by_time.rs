//! `records.undelete`: everything deleted from a collection in a span of time comes back, once, and nothing else; a dry run says so
//! before.

use crate::records::restrict::{COMMENTS, POSTS, comments, define, id, make, open, posts};
use crate::world::{Caller, World};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use undercroft::clock::rfc3339;
use undercroft::cost::counted;
use undercroft_local::{Fault, FunctionError, Invoke};

const NOTES: &str = "/v1/collections/notes/records";

fn notes() -> Value {
    let text = json!({ "type": "string", "maxLength": 20 });
    let indexes = json!([{ "name": "by_text", "partition": ["text"], "sort": [] }]);
    open(
        "notes",
        json!({ "text": text, "slug": text }),
        json!({ "indexes": indexes, "unique": [["slug"]], "shards": 4 }),
    )
}

/// Enqueues the job, and returns its path.
async fn enqueue(world: &World, payload: Value) -> String {
    let admin = world.admin().await;
    let asked = admin.post("/v1/jobs", json!({ "type": "records.undelete", "payload": payload })).await.expect(202);
    asked.header("location").to_owned()
}

async fn job(world: &World, path: &str) -> Value {
    world.admin().await.get(path).await.expect(200).body
}

/// The result of the job, when it is through.
async fn result(world: &World, payload: Value) -> Value {
    let path = enqueue(world, payload).await;
    world.settle().await;
    let job = job(world, &path).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    job["result"].clone()
}

/// The living records of a collection: their ids and versions.
async fn living(world: &World, records: &str) -> BTreeMap<String, u64> {
    let (admin, mut found, mut cursor) = (world.admin().await, BTreeMap::new(), String::new());
    loop {
        let page = admin.get(&format!("{records}?limit=100{cursor}")).await.expect(200).body;
        let items = page["items"].as_array().unwrap();
        found.extend(items.iter().map(|it| (it["id"].as_str().unwrap().to_owned(), it["version"].as_u64().unwrap())));
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

async fn delete_all(caller: &Caller<'_>, paths: &[String]) {
    for some in paths.chunks(100) {
        let operations: Vec<Value> = some.iter().map(|path| json!({ "method": "DELETE", "path": path })).collect();
        caller.post("/v1/batch", json!({ "operations": operations })).await.expect(200);
    }
}

async fn many(caller: &Caller<'_>, records: &str, bodies: Vec<Value>) -> Vec<String> {
    join_all(bodies.into_iter().map(|body| make(caller, records, body))).await
}

/// Deletes one record and undeletes another after the first slice of the job.
struct Meanwhile<'a, 'w, I>(&'a I, &'a Caller<'w>, [&'a str; 2], AtomicUsize);

impl<I: Invoke> Invoke for Meanwhile<'_, '_, I> {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        let answer = self.0.invoke(function, event).await;
        if function == "worker" && self.3.fetch_add(1, Ordering::Relaxed) == 0 {
            let [deleted, undeleted] = self.2;
            self.1.delete(deleted).await.expect(204);
            self.1.post(&format!("{undeleted}/undelete"), Value::Null).await;
        }
        answer
    }
}

#[tokio::test]
async fn what_was_deleted_in_the_span_comes_back_and_nothing_else() {
    let mut world = World::new().await;
    world.work_in_slices_of(9);
    define(&world, &[notes(), posts()]).await;
    let ada = world.user("ada").await;
    let made = many(&ada, NOTES, (0..60).map(|nth| json!({ "text": "t", "slug": format!("s{nth}") })).collect()).await;
    let post = make(&ada, POSTS, json!({})).await;
    delete_all(&ada, &made[..5]).await;
    world.advance(Duration::from_secs(60));
    let since = rfc3339(world.now());
    delete_all(&ada, &made[5..45]).await;
    ada.delete(&post).await.expect(204);
    world.advance(Duration::from_secs(60));
    let until = rfc3339(world.now());
    world.advance(Duration::from_millis(1));
    delete_all(&ada, &made[45..50]).await;
    let before = world.dump("RecordsTable").await;

    let span = json!({ "collection": "notes", "since": since, "until": until });
    let mut dry = span.clone();
    dry["dryRun"] = json!(true);
    let expected = json!({ "dryRun": true, "undeleted": 40, "refused": 0, "errors": [] });
    assert_eq!(result(&world, dry).await, expected);
    assert_eq!(world.dump("RecordsTable").await, before, "a dry run writes nothing");

    let path = enqueue(&world, span).await;
    let meanwhile = Meanwhile(world.functions(), &ada, [&made[55], &made[44]], AtomicUsize::new(0));
    world.settle_through(&meanwhile).await;
    let job = job(&world, &path).await;
    let undeleted = job["result"]["undeleted"].as_u64().unwrap();
    assert!((39..=40).contains(&undeleted), "{job}");
    let mut expected: BTreeMap<String, u64> = made[5..45].iter().map(|path| (id(path).to_owned(), 3)).collect();
    expected.extend(made[50..].iter().filter(|path| **path != made[55]).map(|path| (id(path).to_owned(), 1)));
    assert_eq!(living(&world, NOTES).await, expected);
    world.user("ada").await.get(&post).await.expect(404);
    let listed = ada.get(&format!("{NOTES}?filter=text%3D%3D%22t%22&limit=100")).await.expect(200).body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 49, "they are in their indexes");
    assert_eq!(ada.post(NOTES, json!({ "slug": "s7" })).await.expect(409).code(), "not_unique");

    // The rest, up to now. A second job finds nothing to do.
    for undeleted in [11, 0] {
        let result = result(&world, json!({ "collection": "notes", "since": "2020-01-01T00:00:00+02:00" })).await;
        assert_eq!(result["undeleted"], undeleted);
    }
    assert_eq!(living(&world, NOTES).await.len(), 60);
}

/// A dry run refuses the same records for the same reasons as the job itself.
#[tokio::test]
async fn what_cannot_come_back_is_counted_and_listed_and_stops_nothing_else() {
    let world = World::new().await;
    let mut noted = notes();
    noted["schema"]["properties"]["post"] = json!({ "type": "string", "relation": { "collection": "posts" } });
    define(&world, &[posts(), noted.clone()]).await;
    let ada = world.user("ada").await;
    let [kept, gone] = [make(&ada, POSTS, json!({})).await, make(&ada, POSTS, json!({})).await];
    let fine = make(&ada, NOTES, json!({ "slug": "fine", "post": id(&kept) })).await;
    let torn = make(&ada, NOTES, json!({ "slug": "torn", "post": id(&gone) })).await;
    let long = make(&ada, NOTES, json!({ "text": "longer than ten" })).await;
    let taken = make(&ada, NOTES, json!({ "slug": "taken" })).await;
    delete_all(&ada, &[fine.clone(), torn.clone(), long.clone(), taken.clone()]).await;
    ada.delete(&gone).await.expect(204);
    make(&ada, NOTES, json!({ "slug": "taken" })).await;
    // Three records had this value one after another: the last one comes back.
    let mut series = Vec::new();
    for _ in 0..3 {
        world.advance(Duration::from_millis(5));
        let one = make(&ada, NOTES, json!({ "slug": "series" })).await;
        ada.delete(&one).await.expect(204);
        series.push(one);
    }
    noted["schema"]["properties"]["text"]["maxLength"] = json!(10);
    world.admin().await.put("/v1/collections/notes", noted).await.expect(202);
    world.advance(Duration::from_secs(60));
    world.settle().await;

    let (mut results, all) = (Vec::new(), json!({ "collection": "notes", "since": "2020-01-01T00:00:00Z" }));
    for dry_run in [true, false] {
        let mut payload = all.clone();
        payload["dryRun"] = json!(dry_run);
        results.push(result(&world, payload).await);
    }
    let reasons = |result: &Value| -> BTreeMap<String, String> {
        let errors = result["errors"].as_array().unwrap().iter();
        errors.map(|it| (it["id"].as_str().unwrap().to_owned(), it["error"].as_str().unwrap().to_owned())).collect()
    };
    assert_eq!(reasons(&results[0]), reasons(&results[1]));
    for result in &results {
        assert_eq!((&result["undeleted"], &result["refused"]), (&json!(2), &json!(5)), "{result}");
    }
    let reasons = reasons(&results[1]);
    for (path, said) in [
        (&torn, "/post This record does not exist"),
        (&long, "no longer fits the definition"),
        (&taken, "already has this slug"),
        (&series[0], "already has this slug"),
        (&series[1], "already has this slug"),
    ] {
        assert!(reasons[id(path)].contains(said), "{said}: {reasons:?}");
    }
    let ada = world.user("ada").await;
    for path in [&fine, &series[2]] {
        ada.get(path).await.expect(200);
    }
    for path in [&torn, &long, &taken, &series[0], &series[1]] {
        ada.get(path).await.expect(404);
    }

    // A redrive is not needed: another job brings back what was in the way.
    world.admin().await.post(&format!("{gone}/undelete"), Value::Null).await.expect(200);
    assert_eq!(result(&world, all).await["undeleted"], 1);
    world.user("ada").await.get(&torn).await.expect(200);
}

#[tokio::test]
async fn records_that_point_at_each_other_come_back_together_with_what_their_cascades_deleted() {
    let mut world = World::new().await;
    world.work_in_slices_of(5);
    let up = json!({ "type": "string", "relation": { "collection": "trees", "onDelete": "restrict" } });
    define(&world, &[open("trees", json!({ "up": up }), json!({ "shards": 2 })), posts(), comments("cascade")]).await;
    let ada = world.user("ada").await;
    let trees = "/v1/collections/trees/records";
    let mut made = many(&ada, trees, vec![json!({}); 12]).await;
    made.sort();
    // Each points at the next one, which is visited after it or in another shard.
    for pair in made.windows(2) {
        ada.patch(&pair[0], json!({ "up": id(&pair[1]) })).await.expect(200);
    }
    delete_all(&ada, &made).await;
    let posted = many(&ada, POSTS, vec![json!({}); 3]).await;
    for post in &posted {
        make(&ada, COMMENTS, json!({ "post": id(post) })).await;
    }
    delete_all(&ada, &posted).await;
    let settle = async || {
        for _ in 0..4 {
            world.settle().await;
            world.advance(Duration::from_secs(92));
        }
        world.settle().await;
    };
    settle().await;
    assert_eq!(living(&world, COMMENTS).await.len(), 0);
    for (collection, undeleted) in [("trees", 12), ("posts", 3)] {
        let mut payload = json!({ "collection": collection, "since": "2020-01-01T00:00:00Z", "dryRun": true });
        let expected = json!({ "dryRun": true, "undeleted": undeleted, "refused": 0, "errors": [] });
        assert_eq!(result(&world, payload.clone()).await, expected);
        payload["dryRun"] = json!(false);
        assert_eq!(result(&world, payload).await["undeleted"], undeleted);
    }
    settle().await;
    assert_eq!(living(&world, trees).await.len(), 12);
    assert_eq!(living(&world, COMMENTS).await.len(), 3);
}

#[tokio::test]
async fn an_undelete_by_time_whose_worker_is_killed_at_every_step_ends_correctly() {
    let mut world = World::new().await;
    world.work_in_slices_of(4);
    define(&world, &[notes()]).await;
    let ada = world.user("ada").await;
    let made = many(&ada, NOTES, (0..15).map(|nth| json!({ "slug": format!("s{nth}") })).collect()).await;
    delete_all(&ada, &made[..12]).await;
    make(&ada, NOTES, json!({ "slug": "s3" })).await;
    let path = enqueue(&world, json!({ "collection": "notes", "since": "2020-01-01T00:00:00Z" })).await;
    let mut kills = 0;
    for wakes in 0.. {
        let killed = world.settle_killing_worker_after(wakes).await;
        let job = job(&world, &path).await;
        if job["status"] == "dead" {
            // The worker was killed at every attempt of one slice.
            world.admin().await.post(&format!("{path}/redrive"), json!({})).await.expect(200);
        }
        if job["status"] == "succeeded" {
            assert_eq!((&job["result"]["undeleted"], &job["result"]["refused"]), (&json!(11), &json!(1)), "{job}");
            break;
        }
        kills += usize::from(killed);
        world.advance(Duration::from_secs(361));
    }
    assert!(kills > 5, "{kills}");
    let living = living(&world, NOTES).await;
    let versions: Vec<u64> = made[..12].iter().filter_map(|path| living.get(id(path)).copied()).collect();
    assert_eq!(versions, [3; 11], "each is written once");
}

#[tokio::test]
async fn an_undelete_by_time_survives_whatever_goes_wrong_with_any_call() {
    for fault in [Fault::FailedBefore, Fault::FailedAfter] {
        let world = World::that_tries_once().await;
        define(&world, &[posts(), comments("restrict")]).await;
        let (mut times, post) = (0, make(&world.user("ada").await, POSTS, json!({})).await);
        for call in ["GetItem", "PutItem", "UpdateItem", "Query", "BatchGetItem", "TransactWriteItems"] {
            for nth in 1.. {
                let ada = world.user("ada").await;
                world.advance(Duration::from_secs(1));
                let since = rfc3339(world.now());
                let made = many(&ada, COMMENTS, vec![json!({ "post": id(&post) }); 3]).await;
                delete_all(&ada, &made).await;
                let path = enqueue(&world, json!({ "collection": "comments", "since": since })).await;
                world.cloud.faults().on(call, nth, fault);
                for _ in 0..3 {
                    world.settle().await;
                    world.advance(Duration::from_secs(361));
                }
                let missed = world.cloud.faults().clear();
                let job = job(&world, &path).await;
                assert_eq!(job["result"]["undeleted"], 3, "{fault:?} at {call} {nth}: {job}");
                let living = living(&world, COMMENTS).await;
                assert!(made.iter().all(|path| living[id(path)] == 3), "each is written once");
                if missed > 0 {
                    break;
                }
                times += 1;
            }
        }
        assert!(times >= 6, "{fault:?}: {times}");
    }
}

#[tokio::test]
async fn expired_tombstones_and_other_collections_of_the_name_stay_gone() {
    let world = World::new().await;
    define(&world, &[notes()]).await;
    let ada = world.user("ada").await;
    let made = make(&ada, NOTES, json!({})).await;
    ada.delete(&made).await.expect(204);
    world.advance(Duration::from_secs(31 * 86_400));
    let all = json!({ "collection": "notes", "since": "2020-01-01T00:00:00Z" });
    assert_eq!(result(&world, all.clone()).await["undeleted"], 0);
    // A job that waits while its collection is deleted and put again does not touch the new one.
    let path = enqueue(&world, json!({ "collection": "notes", "since": "2020-01-01T00:00:00Z" })).await;
    let admin = world.admin().await;
    admin.delete("/v1/collections/notes?records=delete").await.expect(202);
    world.settle().await;
    let job = job(&world, &path).await;
    assert!(job["status"] != "queued", "{job}");
    world.advance(Duration::from_secs(60));
    world.settle().await;
}

#[tokio::test]
async fn a_payload_that_cannot_succeed_is_refused_at_once() {
    let world = World::new().await;
    define(&world, &[notes()]).await;
    let admin = world.admin().await;
    let good = json!({ "collection": "notes", "since": "2026-01-01T00:00:00Z" });
    for (name, value, code) in [
        ("collection", json!("nothing"), "unknown_collection"),
        ("collection", json!("users"), "users"),
        ("since", json!("yesterday"), "format"),
        ("since", Value::Null, "format"),
        ("until", json!("2026-01-01"), "format"),
        ("until", json!("2025-12-31T23:59:59Z"), "range"),
        ("dryRun", json!("yes"), "type"),
        ("by", json!("ada"), "unknown"),
    ] {
        let mut payload = good.clone();
        payload[name] = value;
        let refused =
            admin.post("/v1/jobs", json!({ "type": "records.undelete", "payload": payload })).await.expect(400);
        let errors = refused.body["errors"].as_array().unwrap();
        let named = errors.iter().find(|error| error["pointer"] == format!("/payload/{name}"));
        assert_eq!(named.map(|error| &error["code"]), Some(&json!(code)), "{name}: {}", refused.text);
    }
    let missing =
        admin.post("/v1/jobs", json!({ "type": "records.undelete", "payload": Map::new() })).await.expect(400);
    assert_eq!(missing.body["errors"].as_array().unwrap().len(), 2, "{}", missing.text);
    let grouped = json!({ "type": "records.undelete", "payload": good, "group": "g" });
    assert_eq!(admin.post("/v1/jobs", grouped).await.expect(400).body["errors"][0]["code"], "excluded");
    world.settle().await;
}

/// Units as decision 46 has them: every record that is read, and each that comes back, whatever their number.
#[tokio::test]
async fn an_undelete_by_time_costs_so_much_a_record() {
    let world = World::new().await;
    let mut noted = notes();
    noted["shards"] = json!(1);
    define(&world, &[noted]).await;
    let mut costs = Vec::new();
    for count in [40, 80] {
        let ada = world.user("ada").await;
        world.advance(Duration::from_secs(1));
        let since = rfc3339(world.now());
        let texts = (0..count).map(|nth| json!({ "text": format!("t{nth}") }));
        delete_all(&ada, &many(&ada, NOTES, texts.collect()).await).await;
        world.settle().await;
        for dry_run in [true, false] {
            enqueue(&world, json!({ "collection": "notes", "since": since, "dryRun": dry_run })).await;
            let ((), cost) = counted(world.settle()).await;
            costs.push(cost);
        }
    }
    let a_record = |dry: usize| {
        let (fewer, more) = (&costs[dry], &costs[2 + dry]);
        [(more.wru - fewer.wru) / 40.0, (more.rru - fewer.rru) / 40.0]
    };
    assert_eq!([a_record(0), a_record(1)], [[0.0, 0.1], [3.0, 1.125]]);
}

/// Ten of these need more items than a transaction takes: they come back one by one, with their entries.
#[tokio::test]
async fn records_that_do_not_fit_into_one_transaction_come_back_one_by_one() {
    let world = World::new().await;
    let members = json!({ "type": "array", "items": { "type": "string" }, "maxItems": 40 });
    let indexes = json!({ "indexes": [{ "name": "by_member", "partition": ["members[]"], "sort": [] }] });
    define(&world, &[open("notes", json!({ "members": members }), indexes)]).await;
    let ada = world.user("ada").await;
    let members: Vec<String> = (0..40).map(|nth| format!("m{nth}")).collect();
    let made = many(&ada, NOTES, vec![json!({ "members": members }); 12]).await;
    for path in &made {
        ada.delete(path).await.expect(204);
    }
    assert_eq!(
        result(&world, json!({ "collection": "notes", "since": "2020-01-01T00:00:00Z" })).await["undeleted"],
        12
    );
    let listed = ada.get(&format!("{NOTES}?filter=%22m39%22%20in%20members")).await.expect(200).body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 12, "{listed}");
}
