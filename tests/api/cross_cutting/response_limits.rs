//! Large answers: Lambda's maximum is 6 MB, and a transaction's 4 MB. A page ends before that, and an answer without pages is
//! refused, without a partial write.

use crate::records::pages::encoded;
use crate::world::{Answer, Caller, World};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const NOTES: &str = "/v1/collections/notes/records";

/// Notes that may point at another note, with `changes`.
async fn notes(world: &World, shards: u8) -> Caller<'_> {
    let admin = world.admin().await;
    let notes = json!({ "name": "notes", "shards": shards, "changes": true, "schema": {
        "type": "object", "additionalProperties": false, "properties": {
            "text": { "type": "string" }, "mark": { "type": "integer" }, "kind": { "type": "string" },
            "secret": { "type": "string", "hidden": true },
            "about": { "type": "string", "relation": { "collection": "notes" } } } },
        "indexes": [{ "name": "by_about", "partition": ["about"], "sort": [] },
                    { "name": "by_kind", "partition": ["kind"], "sort": ["mark"] }],
        "rules": { "list": "true", "read": "true", "create": "true", "update": "true", "delete": "true" } });
    admin.put("/v1/collections/notes", notes).await.expect(201);
    admin
}

/// A text that grows to four times its bytes as JSON inside JSON.
fn quotes(kilobytes: usize) -> String {
    "\"".repeat(kilobytes * 1000)
}

async fn write(caller: &Caller<'_>, note: Value) -> String {
    caller.post(NOTES, note).await.expect(201).body["id"].as_str().unwrap().to_owned()
}

/// The items of every page of a list.
async fn pages(caller: &Caller<'_>, query: &str) -> Vec<Vec<Value>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("{NOTES}?{query}{cursor}")).await.expect(200).body;
        pages.push(page["items"].as_array().unwrap().clone());
        assert!(pages.len() < 50, "{query} does not end");
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
    }
}

fn ids(pages: &[Vec<Value>]) -> Vec<String> {
    pages.iter().flatten().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_page_of_large_records_is_short_and_the_next_pages_have_the_rest() {
    let world = World::new().await;
    let admin = notes(&world, 4).await;
    let ada = world.user("ada").await;
    let mut written = BTreeSet::new();
    for mark in 0..5 {
        written.insert(write(&admin, json!({ "text": quotes(300), "kind": "k", "mark": mark })).await);
    }
    for query in ["limit=100", "filter=kind%3D%3D%22k%22&sort=-mark"] {
        let pages = pages(&ada, query).await;
        assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1], "{query}");
        assert_eq!(ids(&pages).into_iter().collect::<BTreeSet<_>>(), written, "{query}");
    }
    let named = encoded(&format!("id in {}", json!(written)));
    let by_id = pages(&ada, &format!("filter={named}")).await;
    assert_eq!(by_id.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    let sorted = ada.get(&format!("{NOTES}?filter={named}&sort=mark")).await.expect(422);
    assert_eq!(sorted.code(), "answer_too_large", "{}", sorted.text);
    world.settle().await;
    assert_eq!(changes(&ada).await, written, "followed");
    for id in &written {
        admin.delete(&format!("{NOTES}/{id}")).await.expect(204);
    }
    let deleted = pages(&admin, "deleted=true&limit=100").await;
    assert_eq!((deleted.len(), ids(&deleted).into_iter().collect()), (3, written));
    world.settle().await;
}

/// The notes in all changes. Each page has several notes and is not too large.
async fn changes(caller: &Caller<'_>) -> BTreeSet<String> {
    let (mut reported, mut after) = (Vec::new(), String::new());
    loop {
        let page = caller.get(&format!("/v1/changes?collection=notes{after}&limit=100")).await.expect(200).body;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 2, "{} at once", items.len());
        reported.extend(items.iter().map(|item| item["record"]["id"].as_str().unwrap().to_owned()));
        if page["more"] == false {
            let distinct: BTreeSet<String> = reported.iter().cloned().collect();
            assert_eq!(distinct.len(), reported.len(), "each once");
            return distinct;
        }
        after = format!("&after={}", page["nextCursor"].as_str().unwrap());
    }
}

#[tokio::test]
async fn records_a_caller_may_not_see_do_not_shorten_the_page() {
    let world = World::new().await;
    let admin = notes(&world, 1).await;
    for mark in 0..40 {
        write(&admin, json!({ "text": "t", "secret": quotes(20), "kind": "k", "mark": mark })).await;
    }
    let lengths = async |caller: &Caller<'_>| {
        pages(caller, "limit=100&filter=kind%3D%3D%22k%22").await.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(lengths(&world.user("ada").await).await, [40]);
    assert_eq!(lengths(&admin).await, [37, 3], "who sees it all gets less of it at once");
}

fn refused(answer: Answer) {
    let refused = answer.expect(422);
    assert_eq!(refused.code(), "answer_too_large");
    assert!(refused.body["detail"].as_str().unwrap().contains("a smaller limit"), "{}", refused.text);
}

#[tokio::test]
async fn an_expansion_too_large_to_send_is_refused_and_works_with_a_smaller_limit() {
    let world = World::new().await;
    let admin = notes(&world, 1).await;
    let heavy = write(&admin, json!({ "text": quotes(300) })).await;
    let mut light = String::new();
    for mark in 0..6 {
        light = write(&admin, json!({ "about": heavy, "kind": "light", "mark": mark })).await;
    }
    for mark in 0..6 {
        write(&admin, json!({ "about": light, "text": quotes(300), "kind": "heavy", "mark": mark })).await;
    }
    let of_light = format!("{NOTES}?filter=kind%3D%3D%22light%22&expand=about");
    refused(admin.get(&of_light).await);
    let page = admin.get(&format!("{of_light}&limit=4")).await.expect(200).body;
    assert_eq!(page["items"].as_array().unwrap().len(), 4);
    assert!(page["items"].as_array().unwrap().iter().all(|item| item["expanded"]["about"]["id"] == json!(heavy)));

    let back = format!("{NOTES}/{light}?expand=notes_via_about");
    refused(admin.get(&back).await);
    let shown = admin.get(&format!("{back}:2")).await.expect(200).body;
    assert_eq!(shown["expanded"]["notes_via_about"].as_array().unwrap().len(), 2);
    // Each level may be carried by itself, and all of them together not.
    let both = format!("{NOTES}?filter=kind%3D%3D%22heavy%22&limit=2&expand=about,about.about,about.notes_via_about:2");
    refused(admin.get(&both).await);
}

/// An operation on each of these notes.
fn each(notes: &[String], method: &str, body: Option<Value>) -> Value {
    let operation = |id: &String| {
        let mut operation = json!({ "method": method, "path": format!("{NOTES}/{id}") });
        operation.as_object_mut().unwrap().extend(body.clone().map(|body| ("body".to_owned(), body)));
        operation
    };
    json!({ "operations": notes.iter().map(operation).collect::<Vec<_>>() })
}

#[tokio::test]
async fn a_batch_that_the_database_or_the_answer_cannot_hold_is_refused_and_nothing_is_written() {
    let world = World::new().await;
    let admin = notes(&world, 1).await;
    let mut large = Vec::new();
    for _ in 0..13 {
        large.push(write(&admin, json!({ "text": "x".repeat(330_000) })).await);
    }
    let mark = |notes: &[String]| each(notes, "PATCH", Some(json!({ "mark": 1, "kind": "k" })));
    let refusal = admin.post("/v1/batch", mark(&large)).await.expect(400);
    assert_eq!(refusal.code(), "too_many_writes");
    assert!(refusal.body["detail"].as_str().unwrap().contains("4 MB"), "{}", refusal.text);
    let mut quoted = Vec::new();
    for _ in 0..6 {
        quoted.push(write(&admin, json!({ "text": quotes(300) })).await);
    }
    let refusal = admin.post("/v1/batch", mark(&quoted)).await.expect(422);
    assert_eq!(refusal.code(), "answer_too_large");
    for id in large.iter().chain(&quoted) {
        assert_eq!(admin.get(&format!("{NOTES}/{id}")).await.expect(200).body["version"], 1);
    }

    admin.post("/v1/batch", mark(&large[..12])).await.expect(200);
    admin.post("/v1/batch", mark(&quoted[..4])).await.expect(200);
    // Deleted records are in no answer.
    admin.post("/v1/batch", each(&quoted, "DELETE", None)).await.expect(200);
}
