//! Lists shared by membership: an index over the elements of an array serves `auth.id in record.members`.

pub mod entries;
mod followed;
mod programs;

use crate::records::operators::MEDIA_TYPE;
use crate::records::pages::encoded;
use crate::world::{Answer, Caller, World};
use axum::http::Method;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use undercroft::clock::{Clock, rfc3339};
use undercroft::expr::RecordRef;

pub const DEFINITION: &str = "/v1/collections/notes";
pub const NOTES: &str = "/v1/collections/notes/records";

/// Notes that their members list, read, change and delete.
pub fn notes() -> Value {
    let rule = "auth.id in record.members";
    json!({
        "name": "notes",
        "schema": { "type": "object", "additionalProperties": false, "properties": {
            "text": { "type": "string" }, "rank": { "type": "integer" },
            "members": { "type": "array", "items": { "type": "string" }, "maxItems": 45 } } },
        "indexes": [{ "name": "shared", "partition": ["members[]"], "sort": ["-createdAt"] }],
        "rules": { "list": rule, "read": rule, "create": "auth.id in input.members", "update": rule, "delete": rule },
    })
}

pub fn with(members: Value) -> Value {
    let mut body = notes();
    body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    body
}

async fn made(caller: &Caller<'_>, text: &str, members: &[&str]) -> Value {
    caller.post(NOTES, json!({ "text": text, "members": members })).await.expect(201).body
}

fn path(note: &Value) -> String {
    format!("{NOTES}/{}", note["id"].as_str().unwrap())
}

async fn listed(caller: &Caller<'_>, query: &str) -> Vec<String> {
    texts(&caller.get(&format!("{NOTES}?{query}")).await.expect(200).body)
}

fn texts(page: &Value) -> Vec<String> {
    page["items"].as_array().unwrap().iter().map(|item| item["text"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_list_rule_of_membership_is_served_in_order_page_by_page() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put(DEFINITION, notes()).await.expect(201);
    let (ada, bob, eve) = (world.user("ada").await, world.user("bob").await, world.user("eve").await);
    let mut expected = Vec::new();
    for nth in 0..9 {
        let text = format!("{nth}");
        match nth % 3 {
            0 => drop(made(&ada, &text, &[ada.id()]).await),
            _ => {
                // The same member twice is one entry.
                made(&ada, &text, &[ada.id(), bob.id(), bob.id()]).await;
                expected.insert(0, text);
            }
        }
        world.advance(Duration::from_millis(3));
    }
    assert_eq!(listed(&bob, "").await, expected);
    assert_eq!(listed(&ada, "").await.len(), 9);
    assert_eq!(listed(&eve, "").await, [""; 0]);
    let mut upward = expected.clone();
    upward.reverse();
    assert_eq!(listed(&bob, "sort=createdAt").await, upward);
    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = bob.get(&format!("{NOTES}?limit=4{cursor}")).await.expect(200).body;
        seen.extend(texts(&page));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, expected);
    let stolen = ada.get(&format!("{NOTES}?limit=4{cursor}")).await;
    assert_eq!((stolen.status, stolen.code()), (400, "cursor"), "a cursor belongs to its caller");

    // Membership is a filter too, beside other tests of the index and in alternatives, of which a record is in several.
    let filter = |text: String| format!("filter={}", encoded(&text));
    assert_eq!(listed(&admin, &filter(format!("'{}' in members", bob.id()))).await, expected);
    let either = filter(format!("'{}' in members || '{}' in members", ada.id(), bob.id()));
    assert_eq!(listed(&admin, &either).await.len(), 9, "each record once");
    let limited = admin.get(&format!("{NOTES}?limit=4&{either}")).await.expect(200).body;
    let next = limited["nextCursor"].as_str().unwrap();
    let rest = admin.get(&format!("{NOTES}?limit=9&{either}&cursor={next}")).await.expect(200).body;
    assert_eq!((texts(&limited).len(), texts(&rest).len()), (4, 5), "no record on two pages");

    // A second membership is not part of the index.
    let both = bob.get(&format!("{NOTES}?{}", filter(format!("'{}' in members", ada.id())))).await;
    assert_eq!((both.status, both.code()), (422, "index_required"), "{}", both.text);
    let scanned = bob.get(&format!("{NOTES}?scan=100&{}", filter("text == '4'".to_owned()))).await.expect(200).body;
    assert_eq!(texts(&scanned), ["4"]);
}

#[tokio::test]
async fn a_withdrawn_membership_ends_the_list_with_the_write() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put(DEFINITION, notes()).await.expect(201);
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let note = made(&ada, "shared", &[ada.id(), bob.id()]).await;
    assert_eq!(listed(&bob, "").await, ["shared"]);
    ada.patch(&path(&note), json!({ "members": [ada.id()] })).await.expect(200);
    assert_eq!((listed(&bob, "").await, listed(&ada, "").await), (vec![], vec!["shared".to_owned()]));
    bob.get(&path(&note)).await.expect(404);
    ada.patch(&path(&note), json!({ "members": [ada.id(), bob.id()] })).await.expect(200);
    assert_eq!(listed(&bob, "").await, ["shared"]);
    bob.delete(&path(&note)).await.expect(204);
    assert_eq!((listed(&bob, "").await, listed(&ada, "").await), (vec![], vec![]));
    bob.post(&format!("{}/undelete", path(&note)), json!({})).await.expect(200);
    assert_eq!(
        (listed(&bob, "").await, listed(&ada, "").await),
        (vec!["shared".to_owned()], vec!["shared".to_owned()])
    );
    // An entry that outlived its record's membership, as between the two reads of a list, shows nothing and has no price.
    let entries = entries::all(&world).await;
    ada.patch(&path(&note), json!({ "members": [ada.id()] })).await.expect(200);
    for (pk, sk) in entries {
        let item =
            json!({ "TableName": "undercroft-local-RecordsTable", "Item": { "pk": { "S": pk }, "sk": { "S": sk } } });
        world.cloud.call("DynamoDB_20120810.PutItem", &item).await.unwrap();
    }
    let empty = bob.get(NOTES).await.expect(200);
    assert_eq!((texts(&empty.body), empty.headers.get("undercroft-cost")), (vec![], None));
    world.settle().await;
}

#[tokio::test]
async fn what_a_write_of_a_shared_record_costs() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put(DEFINITION, notes()).await.expect(201);
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    made(&ada, "warm", &[ada.id()]).await;
    let note = ada.post(NOTES, json!({ "text": "x", "members": [ada.id(), bob.id()] })).await.expect(201);
    assert_eq!(note.cost(), (0.0, 6.0, 1), "a transaction of the record and two entries");
    let one = path(&note.body);
    let text = ada.patch(&one, json!({ "text": "y" })).await.expect(200);
    assert_eq!(text.cost(), (0.0, 1.0, 1), "entries hold no data, so they stay as they are");
    let explained = ada.request(Method::PATCH, &format!("{one}?explain=true")).json(json!({ "members": [ada.id()] }));
    let explained = explained.send().await.expect(200).body;
    assert_eq!(explained["plan"]["write"], "TransactWriteItems", "{explained}");
    let withdrawn = ada.patch(&one, json!({ "members": [ada.id()] })).await.expect(200);
    assert_eq!(withdrawn.cost(), (1.0, 4.0, 2), "the record, and the entry that goes");
    let deleted = ada.delete(&one).await.expect(204);
    assert_eq!(deleted.cost(), (1.0, 4.0, 2));
}

/// Puts `count` older copies of a note straight into the table, each with an id, a time and entries of its own.
async fn fill(world: &World, note: &Value, count: usize) {
    let items = world.dump("RecordsTable").await;
    let is_it = |item: &&Value| item["pk"]["S"] == "c#notes#1#0" && item["sk"]["S"] == note["id"];
    let record = items.as_array().unwrap().iter().find(is_it).unwrap();
    let collection = entries::collection(&items, "notes");
    let data = Map::from_iter([("members".to_owned(), note["members"].clone())]);
    let clock = Clock::standing_at(world.now() - 100_000_000);
    let mut puts = Vec::new();
    for _ in 0..count {
        clock.advance(Duration::from_millis(1));
        let (id, at) = (undercroft::id::new(&clock), rfc3339(clock.millis()));
        let mut copy = record.clone();
        (copy["sk"], copy["ca"], copy["ua"]) = (json!({ "S": id }), json!({ "S": at }), json!({ "S": at }));
        let view = RecordRef { id: &id, created_at: &at, updated_at: &at, version: 1, data: &data };
        let entry = |(pk, sk)| json!({ "pk": { "S": pk }, "sk": { "S": sk } });
        puts.extend(entries::of(&collection, &view).into_iter().map(entry).chain([copy]));
    }
    let requests: Vec<Value> = puts.into_iter().map(|item| json!({ "PutRequest": { "Item": item } })).collect();
    for some in requests.chunks(25) {
        let body = json!({ "RequestItems": { "undercroft-local-RecordsTable": some } });
        world.cloud.call("DynamoDB_20120810.BatchWriteItem", &body).await.unwrap();
    }
}

#[tokio::test]
async fn a_page_of_a_shared_list_costs_a_page_however_many_records_there_are() {
    let mut costs = BTreeSet::new();
    for records in [1_000, 10_000] {
        let world = World::new().await;
        let admin = world.admin().await;
        admin.put(DEFINITION, notes()).await.expect(201);
        let ada = world.user("ada").await;
        fill(&world, &made(&ada, "x", &[ada.id()]).await, records - 1).await;
        // The first page makes the key of cursors.
        ada.get(&format!("{NOTES}?limit=20")).await.expect(200);
        let first = ada.get(&format!("{NOTES}?limit=20")).await.expect(200);
        let next = first.body["nextCursor"].as_str().unwrap().to_owned();
        let second = ada.get(&format!("{NOTES}?limit=20&cursor={next}")).await.expect(200);
        assert_eq!(texts(&second.body).len(), 20);
        let explained = ada.get(&format!("{NOTES}?limit=20&explain=true")).await.expect(200).body;
        assert_eq!(explained["expected"]["trips"], 2, "{explained}");
        assert_eq!(explained["expected"]["rruAt1kb"], 11.0, "{explained}");
        assert_eq!(explained["plan"]["ranges"][0]["elements"], true, "{explained}");
        costs.extend([first.cost(), second.cost()].map(|cost| format!("{cost:?}")));
        assert_eq!(entries::hold(&world, "notes").await, records);
        world.settle().await;
    }
    assert_eq!(costs, BTreeSet::from(["(11.0, 0.0, 2)".to_owned()]));
}

async fn refused(answer: Answer, code: &str) -> String {
    assert_eq!(answer.code(), code, "{}", answer.text);
    answer.body["detail"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_write_of_too_many_entries_is_refused_with_numbers() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut open = notes();
    open["schema"]["properties"]["members"]["maxItems"] = json!(50);
    // Whoever may write a note need not be able to read it.
    open["rules"]["update"] = json!("true");
    open["rules"]["delete"] = json!("true");
    admin.put(DEFINITION, open).await.expect(201);
    let (ada, eve) = (world.user("ada").await, world.user("eve").await);
    let many = |tag: &str, count: usize| -> Vec<String> { (0..count).map(|nth| format!("{tag}{nth}")).collect() };
    let body = |members: Vec<String>| json!({ "members": members });
    let full = admin.post(NOTES, body(many("a", 50))).await.expect(201).body;
    let detail = refused(admin.patch(&path(&full), body(many("b", 50))).await.expect(400), "too_many_writes").await;
    assert!(detail.contains("101 DynamoDB items") && detail.contains("takes 100"), "{detail}");
    admin.patch(&path(&full), body(many("b", 49))).await.expect(200);
    // The number of items does not tell a caller who may not read the record how many members it has.
    let few = admin.post(NOTES, body(many("c", 1))).await.expect(201).body;
    for note in [&full, &few] {
        let detail = refused(eve.patch(&path(note), body(many("d", 50))).await.expect(400), "too_many_writes").await;
        assert!(detail.contains("101 DynamoDB items"), "{detail}");
        let patched = eve.patch(&path(note), body(many("d", 49))).await.expect(200);
        assert!(patched.headers.get("undercroft-cost").is_none());
    }
    // A record with as many members as it may have can always be deleted and brought back.
    let full = ada.post(NOTES, body([many("e", 49), vec![ada.id().to_owned()]].concat())).await.expect(201).body;
    ada.delete(&path(&full)).await.expect(204);
    ada.post(&format!("{}/undelete", path(&full)), json!({})).await.expect(200);
    assert_eq!(ada.get(NOTES).await.expect(200).body["items"].as_array().unwrap().len(), 1);
    let long = admin.post(NOTES, body(vec!["x".repeat(2_100)])).await.expect(400);
    assert_eq!(long.body["errors"][0]["code"], "index_key_too_long", "{}", long.text);
}

/// Operators and upserts are writes like any other: the entries follow.
#[tokio::test]
async fn operators_and_upserts_move_a_note_between_lists() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put(DEFINITION, notes()).await.expect(201);
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let note = made(&ada, "shared", &[ada.id()]).await;
    let operate = async |caller: &Caller<'_>, body: Value| {
        let knock = caller.request(Method::PATCH, &path(&note)).header("content-type", MEDIA_TYPE);
        knock.json(body).send().await.expect(200)
    };
    operate(&ada, json!({ "append": { "members": [bob.id()] } })).await;
    assert_eq!((listed(&ada, "").await, listed(&bob, "").await), (vec!["shared".into()], vec!["shared".into()]));
    let left = operate(&ada, json!({ "remove": { "members": [ada.id()] } })).await;
    assert!(left.body.get("text").is_none(), "who left does not read it any more");
    assert_eq!((listed(&ada, "").await, listed(&bob, "").await), (Vec::<String>::new(), vec!["shared".into()]));
    let upsert = async |caller: &Caller<'_>, members: &[&str]| {
        let body = json!({ "id": note["id"], "text": "again", "members": members });
        caller.request(Method::PUT, &format!("{NOTES}?unique=id")).json(body).send().await
    };
    upsert(&bob, &[ada.id(), bob.id()]).await.expect(200);
    assert_eq!((listed(&ada, "").await, listed(&bob, "").await), (vec!["again".into()], vec!["again".into()]));
    bob.delete(&path(&note)).await.expect(204);
    assert_eq!(listed(&ada, "").await, Vec::<String>::new());
    upsert(&bob, &[bob.id()]).await.expect(201);
    assert_eq!((listed(&ada, "").await, listed(&bob, "").await), (Vec::<String>::new(), vec!["again".into()]));
}
