//! Arrays of ids with a relation: each id is checked when it is added, expanded, and followed when its record is deleted.

use crate::records::restrict::{define, id, make, open};
use crate::world::{Answer, Caller, World};
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;

const TAGS: &str = "/v1/collections/tags/records";
const NOTES: &str = "/v1/collections/notes/records";
const OPERATORS: &str = "application/vnd.undercroft.operators+json";

fn tags() -> Value {
    open("tags", json!({ "name": { "type": "string" } }), json!({}))
}

/// Notes with tags, and found by each of them.
fn notes(on_delete: &str) -> Value {
    let relation = json!({ "collection": "tags", "onDelete": on_delete });
    let tags = json!({ "type": "array", "items": { "type": "string" }, "maxItems": 45, "relation": relation });
    let indexes = match on_delete {
        "restrict" => json!([]),
        _ => json!([{ "name": "by_tag", "partition": ["tags[]"], "sort": [] }]),
    };
    open("notes", json!({ "tags": tags, "text": { "type": "string" } }), json!({ "indexes": indexes }))
}

async fn tagged(caller: &Caller<'_>, count: usize) -> Vec<String> {
    join_all((0..count).map(|nth| make(caller, TAGS, json!({ "name": format!("t{nth}") })))).await
}

fn ids(paths: &[String]) -> Vec<&str> {
    paths.iter().map(|path| id(path)).collect()
}

/// Runs what follows a deletion until nothing does.
async fn follow(world: &World) {
    for _ in 0..4 {
        world.settle().await;
        world.advance(Duration::from_secs(16));
    }
    world.settle().await;
}

async fn operate(caller: &Caller<'_>, path: &str, body: Value) -> Answer {
    let request = caller.request(Method::PATCH, path).raw(body.to_string());
    request.header("content-type", OPERATORS).send().await
}

fn wrong(answer: &Answer) -> Vec<(String, String)> {
    let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
    answer.body["errors"].as_array().unwrap().iter().map(|it| (text(it, "pointer"), text(it, "code"))).collect()
}

#[tokio::test]
async fn each_id_that_is_added_is_checked_and_those_that_stay_are_not() {
    let world = World::new().await;
    define(&world, &[tags(), notes("setNull")]).await;
    let ada = world.user("ada").await;
    let made = tagged(&ada, 4).await;
    let gone = "01900000-0000-7000-8000-000000000001";
    for (tags, pointer) in [
        (json!([id(&made[0]), gone]), "/tags/1"),
        (json!(["x", id(&made[0])]), "/tags/0"),
        (json!([id(&made[0]), id(&made[1]), id(&made[0]), gone]), "/tags/3"),
    ] {
        let refused = ada.post(NOTES, json!({ "tags": tags })).await.expect(400);
        assert_eq!(wrong(&refused), [(pointer.to_owned(), "relation".to_owned())], "{}", refused.text);
    }
    ada.post(NOTES, json!({ "tags": id(&made[0]) })).await.expect(400);
    let note = make(&ada, NOTES, json!({ "tags": [id(&made[0]), id(&made[1]), id(&made[0])], "text": "a" })).await;

    // Deleted, and not yet followed: what was read can be put back, and others can be added.
    ada.delete(&made[1]).await.expect(204);
    let read = ada.get(&note).await.expect(200);
    let put = ada.request(Method::PUT, &note).json(json!({ "tags": read.body["tags"], "text": "b" }));
    put.header("if-match", read.header("etag")).send().await.expect(200);
    ada.patch(&note, json!({ "tags": [id(&made[1]), id(&made[2])] })).await.expect(200);
    operate(&ada, &note, json!({ "append": { "tags": [id(&made[3])] } })).await.expect(200);
    let refused = operate(&ada, &note, json!({ "append": { "tags": [gone] } })).await.expect(400);
    assert_eq!(wrong(&refused)[0].1, "relation", "{}", refused.text);
    let refused = ada.patch(&note, json!({ "tags": [id(&made[2]), id(&made[1]), gone] })).await.expect(400);
    assert_eq!(wrong(&refused), [("/tags/2".to_owned(), "relation".to_owned())]);
    // To take it out and put it in again is to add it.
    operate(&ada, &note, json!({ "remove": { "tags": [id(&made[1])] } })).await.expect(200);
    ada.patch(&note, json!({ "tags": [id(&made[1])] })).await.expect(400);
    follow(&world).await;
    let now = world.user("ada").await.get(&note).await.expect(200).body;
    assert_eq!(now["tags"], json!([id(&made[2]), id(&made[3])]));
}

#[tokio::test]
async fn a_record_in_an_array_that_restricts_is_kept_until_it_is_taken_out() {
    let world = World::new().await;
    define(&world, &[tags(), notes("restrict")]).await;
    let ada = world.user("ada").await;
    let made = tagged(&ada, 45).await;
    let note = make(&ada, NOTES, json!({ "tags": ids(&made) })).await;
    for tag in [&made[0], &made[44]] {
        assert_eq!(ada.delete(tag).await.expect(409).code(), "referenced");
    }
    ada.patch(&note, json!({ "tags": ids(&made[1..]), "text": "a" })).await.expect(200);
    ada.delete(&made[0]).await.expect(204);
    operate(&ada, &note, json!({ "remove": { "tags": [id(&made[1])] } })).await.expect(200);
    ada.delete(&made[1]).await.expect(204);
    assert_eq!(ada.delete(&made[2]).await.expect(409).code(), "referenced", "it stayed through both");
    ada.delete(&note).await.expect(204);
    ada.delete(&made[2]).await.expect(204);
    let back = ada.request(Method::POST, &format!("{note}/undelete")).send().await.expect(400);
    assert_eq!(wrong(&back)[0].1, "relation", "{}", back.text);
    world.settle().await;
}

/// Row A27: several records of an array are deleted at once, in one batch, and while others are added.
#[tokio::test]
async fn deleted_records_leave_every_array_and_nothing_else_is_lost() {
    let world = World::new().await;
    define(&world, &[tags(), notes("setNull")]).await;
    let ada = world.user("ada").await;
    let made = tagged(&ada, 9).await;
    let note = make(&ada, NOTES, json!({ "tags": ids(&made[..6]), "text": "kept" })).await;
    let other = make(&ada, NOTES, json!({ "tags": ids(&made[6..7]) })).await;
    for deleted in join_all(made[..3].iter().map(|tag| ada.delete(tag))).await {
        deleted.expect(204);
    }
    let operations: Vec<Value> = made[3..6].iter().map(|tag| json!({ "method": "DELETE", "path": tag })).collect();
    ada.post("/v1/batch", json!({ "operations": operations })).await.expect(200);
    let appended = operate(&ada, &note, json!({ "append": { "tags": [id(&made[7])] } }));
    let (appended, ()) = futures_util::future::join(appended, world.settle()).await;
    appended.expect(200);
    follow(&world).await;
    let ada = world.user("ada").await;
    let now = ada.get(&note).await.expect(200).body;
    assert_eq!((&now["tags"], &now["text"]), (&json!([id(&made[7])]), &json!("kept")));
    assert_eq!(ada.get(&other).await.expect(200).body["version"], 1);
    let admin = world.admin().await;
    let jobs = admin.get("/v1/jobs?limit=100").await.expect(200).body["items"].as_array().unwrap().clone();
    let cascades: Vec<&Value> = jobs.iter().filter(|job| job["type"] == "records.cascade").collect();
    assert_eq!(cascades.len(), 6);
    assert!(cascades.iter().all(|job| job["status"] == "succeeded"), "{cascades:?}");
}

#[tokio::test]
async fn a_cascade_through_an_array_deletes_and_its_undelete_brings_back() {
    let mut world = World::new().await;
    world.work_in_slices_of(4);
    define(&world, &[tags(), notes("cascade")]).await;
    let ada = world.user("ada").await;
    let made = tagged(&ada, 3).await;
    let both = join_all((0..9).map(|_| make(&ada, NOTES, json!({ "tags": ids(&made[..2]) })))).await;
    let apart = make(&ada, NOTES, json!({ "tags": ids(&made[1..]) })).await;
    ada.delete(&made[0]).await.expect(204);
    let mut kills = 0;
    for wakes in 0.. {
        let killed = world.settle_killing_worker_after(wakes).await;
        let jobs = world.admin().await.get("/v1/jobs").await.expect(200).body["items"].clone();
        if !killed && jobs[0]["status"] == "succeeded" {
            break;
        }
        kills += usize::from(killed);
        world.advance(Duration::from_secs(361));
    }
    assert!(kills > 3, "{kills}");
    let ada = world.user("ada").await;
    for note in &both {
        ada.get(note).await.expect(404);
    }
    ada.get(&apart).await.expect(200);
    ada.request(Method::POST, &format!("{}/undelete", made[0])).send().await.expect(200);
    for _ in 0..3 {
        world.settle().await;
        world.advance(Duration::from_secs(92));
    }
    world.settle().await;
    let ada = world.user("ada").await;
    for note in &both {
        assert_eq!(ada.get(note).await.expect(200).body["version"], 3);
    }
}

/// Row A35: deleted and unreadable records are left out of the answer alike.
#[tokio::test]
async fn an_array_expands_to_the_records_that_the_caller_may_read() {
    let world = World::new().await;
    let mut tagged_by = tags();
    tagged_by["rules"]["read"] = json!("record.name != 'secret'");
    tagged_by["rules"]["list"] = json!("auth.id != ''");
    define(&world, &[tagged_by, notes("setNull")]).await;
    let (ada, admin) = (world.user("ada").await, world.admin().await);
    let made = tagged(&ada, 3).await;
    let secret = make(&admin, TAGS, json!({ "name": "secret" })).await;
    let tags = [id(&made[2]), id(&secret), id(&made[1]), id(&made[0])];
    let note = make(&admin, NOTES, json!({ "tags": tags })).await;
    let other = make(&admin, NOTES, json!({ "tags": [tags[0]] })).await;
    let bare = make(&admin, NOTES, json!({})).await;
    ada.delete(&made[1]).await.expect(204);
    let names = |body: &Value| -> Vec<String> {
        let expanded = body["expanded"]["tags"].as_array().unwrap();
        expanded.iter().map(|tag| tag["name"].as_str().unwrap().to_owned()).collect()
    };
    let read =
        async |caller: &Caller<'_>, path: &str| caller.get(&format!("{path}?expand=tags")).await.expect(200).body;
    assert_eq!(names(&read(&ada, &note).await), ["t2", "t0"], "in the order of the array");
    assert_eq!(names(&read(&admin, &note).await), ["t2", "secret", "t0"]);
    assert_eq!(names(&read(&ada, &bare).await), Vec::<String>::new());
    // Back, through the index over the elements; and both ways.
    let back = ada.get(&format!("{}?expand=notes_via_tags:5.tags", made[2])).await.expect(200).body;
    let back = back["expanded"]["notes_via_tags"].as_array().unwrap();
    assert_eq!(back.len(), 2);
    assert!(back.iter().all(|note| names(note)[0] == "t2"), "{back:?}");
    let listed = ada.get(&format!("{NOTES}?expand=tags&limit=10")).await.expect(200).body;
    assert_eq!(listed["items"].as_array().unwrap().len(), 3);
    assert_eq!(ada.get(&format!("{NOTES}?expand=tags&limit=100")).await.expect(400).code(), "expand");
    assert_eq!(ada.get(&format!("{note}?expand=tags:5")).await.expect(400).code(), "expand");
    ada.get(&other).await.expect(200);
    follow(&world).await;
    let ada = world.user("ada").await;
    assert_eq!(names(&read(&ada, &note).await), ["t2", "t0"]);
    ada.request(Method::POST, &format!("{}/undelete", made[1])).send().await.expect(200);
    ada.patch(&note, json!({ "tags": [id(&made[1]), id(&secret)] })).await.expect(200);
    assert_eq!(names(&read(&ada, &note).await), ["t1"]);
    world.settle().await;
}

#[tokio::test]
async fn a_definition_bounds_what_one_write_checks() {
    let world = World::new().await;
    define(&world, &[tags()]).await;
    let admin = world.admin().await;
    let refused = async |body: Value| {
        let answer = admin.put("/v1/collections/notes", body).await.expect(400);
        (wrong(&answer)[0].clone(), answer.text)
    };
    let tags_of = |body: &mut Value, name: &str, value: Value| body["schema"]["properties"]["tags"][name] = value;
    let mut unbounded = notes("setNull");
    unbounded["schema"]["properties"]["tags"].as_object_mut().unwrap().remove("maxItems");
    unbounded["indexes"] = json!([]);
    let (error, text) = refused(unbounded).await;
    assert_eq!(error, ("/schema/properties/tags/relation".to_owned(), "relation".to_owned()), "{text}");
    for on_delete in ["restrict", "setNull"] {
        let mut large = notes(on_delete);
        tags_of(&mut large, "maxItems", json!(46));
        let (error, text) = refused(large).await;
        assert_eq!(error.1, "too_many", "{text}");
    }
    let mut numbers = notes("restrict");
    tags_of(&mut numbers, "items", json!({ "type": "number" }));
    assert_eq!(refused(numbers).await.0.1, "relation");
    let mut inner = notes("restrict");
    let relation = inner["schema"]["properties"]["tags"].as_object_mut().unwrap().remove("relation").unwrap();
    tags_of(&mut inner, "items", json!({ "type": "string", "relation": relation }));
    assert_eq!(refused(inner).await.0.1, "misplaced");
    // What follows a deletion needs the index that the refusal names.
    let mut bare = notes("cascade");
    bare["indexes"] = json!([]);
    let (error, text) = refused(bare.clone()).await;
    assert_eq!(error, ("/schema/properties/tags/relation/onDelete".to_owned(), "index_required".to_owned()));
    assert!(text.contains(r#"\"partition\":[\"tags[]\"]"#), "{text}");
    bare["indexes"] = json!([{ "name": "by_tags", "partition": ["tags[]"], "sort": [] }]);
    // An array loses an element, so that it may be required.
    tags_of(&mut bare, "relation", json!({ "collection": "tags", "onDelete": "setNull" }));
    bare["schema"]["required"] = json!(["tags"]);
    admin.put("/v1/collections/notes", bare).await.expect(201);
}

#[tokio::test]
async fn a_relation_put_over_stored_arrays_is_checked_and_its_references_are_stored() {
    let world = World::new().await;
    let mut before = notes("restrict");
    before["schema"]["properties"]["tags"].as_object_mut().unwrap().remove("relation");
    define(&world, &[tags(), before]).await;
    let (ada, admin) = (world.user("ada").await, world.admin().await);
    let made = tagged(&ada, 2).await;
    let gone = "01900000-0000-7000-8000-000000000001";
    let note = make(&ada, NOTES, json!({ "tags": [id(&made[0]), gone] })).await;
    let work = async || {
        for _ in 0..3 {
            world.advance(Duration::from_secs(60));
            world.settle().await;
        }
    };
    admin.put("/v1/collections/notes", notes("restrict")).await.expect(202);
    work().await;
    let admin = world.admin().await;
    let blocked = admin.get("/v1/collections/notes").await.expect(200);
    assert_eq!(blocked.body["status"], "blocked", "{}", blocked.text);
    assert_eq!(blocked.body["blocked"]["relations"], json!(["tags"]), "{}", blocked.text);
    let job = admin.get(&format!("/v1/jobs/{}", blocked.body["job"].as_str().unwrap())).await.expect(200);
    assert!(job.text.contains("/tags/1"), "{}", job.text);
    world.user("ada").await.patch(&note, json!({ "tags": [id(&made[0])] })).await.expect(200);
    admin.put("/v1/collections/notes", notes("restrict")).await;
    work().await;
    assert_eq!(world.admin().await.get("/v1/collections/notes").await.expect(200).body["status"], "ready");
    let ada = world.user("ada").await;
    assert_eq!(ada.delete(&made[0]).await.expect(409).code(), "referenced");
    ada.delete(&made[1]).await.expect(204);
}
