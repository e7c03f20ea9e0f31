//! A record with a wrong index entry: a plan reads it, but no answer contains it, because the whole rule is checked on each
//! record.

use crate::world::{Caller, World};
use serde_json::{Value, json};

const POSTS: &str = "/v1/collections/posts/records";
const NOTES: &str = "/v1/collections/notes/records";

/// Public posts, and notes on them that only their owners list.
async fn define(admin: &Caller<'_>) {
    let posts = json!({ "name": "posts", "schema": { "type": "object", "additionalProperties": false, "properties": {} },
        "rules": { "list": "true", "read": "true" } });
    let notes = json!({ "name": "notes", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "owner": { "type": "string" }, "text": { "type": "string" },
        "post": { "type": "string", "relation": { "collection": "posts" } } } },
        "indexes": [{ "name": "mine", "partition": ["owner"], "sort": ["post"] }], "counts": true, "changes": true,
        "rules": { "list": "record.owner == auth.id", "read": "record.owner == auth.id" } });
    for definition in [posts, notes] {
        let path = format!("/v1/collections/{}", definition["name"].as_str().unwrap());
        admin.put(&path, definition).await.expect(201);
    }
}

/// The item of a record, as the database holds it.
async fn item(world: &World, id: &Value) -> Value {
    let items = world.dump("RecordsTable").await;
    let is_it = |item: &&Value| item["sk"]["S"] == *id && item["d"].is_object();
    items.as_array().unwrap().iter().find(is_it).unwrap().clone()
}

/// Gives a record the entry of another one in the first index.
async fn misplace(world: &World, id: &Value, beside: &Value) {
    let (mut moved, other) = (item(world, id).await, item(world, beside).await);
    for place in ["ix1p", "ix1s"] {
        assert_ne!(moved[place], other[place]);
        moved[place] = other[place].clone();
    }
    let table = world.cloud.tables().iter().find(|name| name.ends_with("RecordsTable")).unwrap().clone();
    world.cloud.call("DynamoDB_20120810.PutItem", &json!({ "TableName": table, "Item": moved })).await.unwrap();
}

#[tokio::test]
async fn a_record_with_a_foreign_index_entry_is_shown_only_as_its_rule_allows() {
    let world = World::new().await;
    let admin = world.admin().await;
    define(&admin).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let post = admin.post(POSTS, json!({})).await.expect(201).body["id"].clone();
    let note = async |owner: &Caller<'_>, text: &str| {
        let body = json!({ "owner": owner.id(), "text": text, "post": post });
        admin.post(NOTES, body).await.expect(201).body["id"].clone()
    };
    let (hers, his) = (note(&ada, "hers").await, note(&bob, "his").await);
    world.settle().await;
    let now = ada.get("/v1/changes?collection=notes&after=now").await.expect(200).body["nextCursor"].clone();
    misplace(&world, &his, &hers).await;
    world.settle().await;

    let now = now.as_str().unwrap();
    let asked = [
        NOTES.to_owned(),
        format!("{NOTES}?sort=post"),
        format!("{NOTES}?sort=-post"),
        format!("{NOTES}?count=true"),
        format!("{NOTES}?scan=100&filter=text%20!%3D%20%22x%22"),
        format!("{NOTES}?expand=post.notes_via_post"),
        format!("{POSTS}?expand=notes_via_post"),
        format!("{POSTS}/{}?expand=notes_via_post", post.as_str().unwrap()),
        "/v1/changes?collection=notes".to_owned(),
    ];
    for query in &asked {
        let reported = ada.get(query).await.expect(200).text;
        assert!(reported.contains("\"hers\"") && !reported.contains("\"his\""), "{query}: {reported}");
        assert!(!reported.contains(his.as_str().unwrap()), "{query}: {reported}");
    }
    let news = ada.get(&format!("/v1/changes?collection=notes&after={now}")).await.expect(200).body;
    assert_eq!(news["items"], json!([]), "that it came to stand there is nothing that happened to her");
    // The record exists and was read: a caller who may see everything sees it at its wrong position.
    let of_ada = format!("{NOTES}?filter=owner%20%3D%3D%20%22{}%22", ada.id());
    let page = admin.get(&of_ada).await.expect(200);
    assert_eq!(page.body["items"].as_array().unwrap().len(), 2, "{}", page.text);
    assert!(bob.get(&format!("{NOTES}/{}", his.as_str().unwrap())).await.expect(200).text.contains("\"his\""));
}
