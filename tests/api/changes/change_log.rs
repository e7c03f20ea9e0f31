//! Counts and the change feed: content, visibility, retention and cost.

mod follower;
mod unheard;

pub use follower::{Follower, listed};

use crate::world::{Caller, World};
use serde_json::{Value, json};
use std::time::Duration;

pub const NOTES: &str = "/v1/collections/notes/records";

/// Notes on a board, counted and followed. Only its author sees a draft.
pub fn notes() -> Value {
    json!({
        "name": "notes",
        "schema": { "type": "object", "additionalProperties": false, "required": ["owner"], "properties": {
            "owner": { "type": "string" }, "board": { "type": "string" }, "text": { "type": "string" },
            "secret": { "type": "string", "hidden": true } } },
        "indexes": [{ "name": "mine", "partition": ["owner"], "sort": ["text"] },
                    { "name": "on", "partition": ["board"], "sort": ["text"] }],
        "counts": true, "changes": true,
        "rules": { "list": "record.owner == auth.id", "read": "record.owner == auth.id" }
    })
}

pub async fn with_notes(world: &World) -> Caller<'_> {
    let admin = world.admin().await;
    admin.put("/v1/collections/notes", notes()).await.expect(201);
    admin
}

pub async fn note(admin: &Caller<'_>, owner: &Caller<'_>, text: &str) -> String {
    let body = json!({ "owner": owner.id(), "text": text, "secret": "canary" });
    admin.post(NOTES, body).await.expect(201).body["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_feed_does_not_reveal_changes_outside_the_list() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut open = notes();
    // The list reads a partition of which the caller may see a part.
    open["rules"]["list"] = json!("record.board == 'all' && record.text < 'm'");
    admin.put("/v1/collections/notes", open).await.expect(201);
    let ada = world.user("ada").await;
    let note = async |text: &str| {
        admin.post(NOTES, json!({ "owner": "somebody", "board": "all", "text": text })).await.expect(201);
    };
    let feed = async |limit: usize, after: &str| {
        let answer = ada.get(&format!("/v1/changes?collection=notes&limit={limit}{after}")).await.expect(200);
        assert!(answer.headers.get("undercroft-cost").is_none(), "what was read and left out has a price");
        answer.body
    };
    let nothing = feed(1, "").await;
    for _ in 0..30 {
        note("z").await;
    }
    world.settle().await;
    let still = feed(1, "").await;
    assert_eq!((&still["items"], &still["more"]), (&nothing["items"], &nothing["more"]));
    let length = |body: &Value| body["nextCursor"].as_str().unwrap().len();
    assert_eq!(length(&nothing), length(&still));
    // Their own changes arrive, however many others are before them.
    note("a").await;
    world.settle().await;
    let (mut cursor, mut found, mut asked) = (String::new(), 0, 0);
    while found == 0 {
        let page = feed(1, &cursor).await;
        found += page["items"].as_array().unwrap().len();
        cursor = format!("&after={}", page["nextCursor"].as_str().unwrap());
        asked += 1;
        assert!(asked < 10, "the feed stands still");
    }
}

fn encoded(filter: &str) -> String {
    filter.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

pub async fn count(caller: &Caller<'_>, filter: &str) -> u64 {
    let filter = if filter.is_empty() { String::new() } else { format!("&filter={}", encoded(filter)) };
    let answer = caller.get(&format!("{NOTES}?count=true&limit=0{filter}")).await.expect(200).body;
    assert_eq!((&answer["items"], &answer["count"]["eventual"]), (&json!([]), &json!(true)));
    answer["count"]["records"].as_u64().unwrap()
}

#[tokio::test]
async fn a_list_says_how_many_records_it_holds() {
    let world = World::new().await;
    let admin = with_notes(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let first = note(&admin, &ada, "a").await;
    note(&admin, &ada, "b").await;
    note(&admin, &bob, "c").await;
    world.settle().await;
    assert_eq!((count(&admin, "").await, count(&ada, "").await, count(&bob, "").await), (3, 2, 1));
    let page = ada.get(&format!("{NOTES}?count=true&limit=1")).await.expect(200).body;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["count"]["records"]), (1, &json!(2)));

    admin.patch(&format!("{NOTES}/{first}"), json!({ "owner": bob.id(), "board": "x" })).await.expect(200);
    world.settle().await;
    assert_eq!((count(&admin, "").await, count(&ada, "").await, count(&bob, "").await), (3, 1, 2));
    assert_eq!((count(&admin, "board == 'x'").await, count(&admin, "board == 'y'").await), (1, 0));
    let either = format!("owner == '{0}' || owner == '{1}' || owner == '{0}'", ada.id(), bob.id());
    assert_eq!(count(&admin, &either).await, 3);
    admin.delete(&format!("{NOTES}/{first}")).await.expect(204);
    world.settle().await;
    assert_eq!((count(&admin, "").await, count(&bob, "").await, count(&admin, "board == 'x'").await), (2, 1, 0));

    // To the change log this looks like an undelete: the record counts again.
    let key = json!({ "pk": { "S": "c#notes#1#0" }, "sk": { "S": first } });
    let table = world.cloud.tables().iter().find(|name| name.ends_with("RecordsTable")).unwrap();
    let back = json!({ "TableName": table, "Key": key, "UpdateExpression": "SET v = v + :one REMOVE del, #ttl",
        "ExpressionAttributeNames": { "#ttl": "ttl" }, "ExpressionAttributeValues": { ":one": { "N": "1" } } });
    world.cloud.call("DynamoDB_20120810.UpdateItem", &back).await.unwrap();
    world.settle().await;
    assert_eq!(count(&admin, "").await, 3);
    admin.delete(&format!("{NOTES}/{first}")).await.expect(204);
    world.settle().await;
    world.advance(Duration::from_secs(31 * 86_400));
    assert!(world.cloud.expire().unwrap() > 0, "the tombstone goes");
    world.settle().await;
    let admin = world.admin().await;
    assert_eq!(count(&admin, "").await, 2, "and takes nothing with it");
}

#[tokio::test]
async fn a_count_or_feed_that_is_off_is_refused_with_the_definition_change_that_enables_it() {
    let world = World::new().await;
    let admin = with_notes(&world).await;
    let mut plain = notes();
    plain["name"] = json!("plain");
    plain["counts"] = json!(false);
    plain.as_object_mut().unwrap().remove("changes");
    let put = admin.put("/v1/collections/plain", plain.clone()).await.expect(201).body;
    assert_eq!((&put["counts"], &put["changes"]), (&json!(false), &json!(false)));
    let off = admin.get("/v1/collections/plain/records?count=true").await.expect(422);
    assert_eq!((off.code(), &off.body["patch"]), ("counts_off", &json!({ "counts": true })));
    let off = admin.get("/v1/changes?collection=plain").await.expect(422);
    assert_eq!((off.code(), &off.body["patch"]), ("changes_off", &json!({ "changes": true })));

    for part in [
        "text > 'a' && owner == 'o'",
        "id == 'x'",
        "createdAt > '2020-01-01T00:00:00Z'",
        "owner == 'a' || board == 'b'",
    ] {
        let answer = admin.get(&format!("{NOTES}?count=true&filter={}", encoded(part))).await.expect(422);
        assert_eq!(answer.code(), "count_needs_partition", "{part}");
    }
    for wrong in ["limit=0", "count=true&limit=101", "count=maybe", "count=false&limit=0"] {
        admin.get(&format!("{NOTES}?{wrong}")).await.expect(400);
    }
    for wrong in [
        "",
        "?collection=notes&limit=0",
        "?collection=notes&limit=101",
        "?collection=notes&after=x",
        "?collection=notes&x=1",
    ] {
        admin.get(&format!("/v1/changes{wrong}")).await.expect(400);
    }
    admin.get("/v1/changes?collection=nowhere").await.expect(404);
    world.stranger().get("/v1/changes?collection=nowhere").await.expect(401);
    for flag in [json!("yes"), json!(1), Value::Null] {
        let mut wrong = plain.clone();
        wrong["counts"] = flag;
        assert_eq!(admin.put("/v1/collections/plain", wrong).await.expect(400).body["errors"][0]["pointer"], "/counts");
    }
}

#[tokio::test]
async fn a_filled_collection_is_counted_by_a_job_while_requests_go_on() {
    let mut world = World::new().await;
    world.work_in_slices_of(2);
    let admin = world.admin().await;
    let mut definition = notes();
    for member in ["counts", "changes"] {
        definition.as_object_mut().unwrap().remove(member);
    }
    admin.put("/v1/collections/notes", definition).await.expect(201);
    let ada = world.user("ada").await;
    let mut before = Vec::new();
    for text in ["a", "b", "c", "d", "e"] {
        before.push(note(&admin, &ada, text).await);
    }
    world.settle().await;
    let put = admin.put("/v1/collections/notes", notes()).await.expect(202).body;
    assert_eq!((&put["status"], put["job"].is_string()), (&json!("building"), true));

    // One by a function with the old definition, the others by functions with the new one.
    let unheard = note(&admin, &ada, "unheard").await;
    world.advance(Duration::from_secs(6));
    let counted = format!("{NOTES}?count=true&limit=0");
    assert_eq!(ada.get(&counted).await.expect(422).code(), "counts_building");
    note(&admin, &ada, "heard").await;
    for gone in [&before[0], &unheard] {
        admin.delete(&format!("{NOTES}/{gone}")).await.expect(204);
    }
    admin.patch(&format!("{NOTES}/{}", before[1]), json!({ "text": "changed" })).await.expect(200);
    world.settle().await;
    world.advance(Duration::from_secs(18));
    world.settle().await;
    let ready = admin.get("/v1/collections/notes").await.expect(200).body;
    assert_eq!((&ready["status"], ready.get("job")), (&json!("ready"), None));
    world.advance(Duration::from_secs(6));
    assert_eq!(count(&ada, "").await, 5);
    assert_eq!(count(&admin, "").await, 5);
    note(&admin, &ada, "after").await;
    admin.delete(&format!("{NOTES}/{}", before[2])).await.expect(204);
    admin.delete(&format!("{NOTES}/{}", before[3])).await.expect(204);
    world.settle().await;
    assert_eq!(count(&ada, "").await, 4);
    let mut follower = Follower::default();
    follower.read(&ada, 2).await;
    assert_eq!(follower.held, listed(&ada, "").await, "who follows from the beginning holds what there is");
}

#[tokio::test]
async fn a_client_that_follows_the_feed_has_the_same_records_as_the_list() {
    let world = World::new().await;
    let admin = with_notes(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let path = |id: &str| format!("{NOTES}/{id}");
    let first = note(&admin, &ada, "first").await;
    world.settle().await;
    let mut follower = Follower::default();
    assert_eq!(follower.read(&ada, 10).await, [format!("put {first}")]);
    assert!(follower.read(&ada, 10).await.is_empty(), "no change is repeated");

    let second = note(&admin, &ada, "second").await;
    admin.patch(&path(&first), json!({ "text": "changed" })).await.expect(200);
    world.settle().await;
    assert_eq!(follower.read(&ada, 10).await, [format!("put {second}"), format!("put {first}")]);
    assert_eq!(follower.held, listed(&ada, "").await);
    assert!(!follower.held[&first].to_string().contains("canary"), "what is hidden stays hidden");

    admin.patch(&path(&first), json!({ "owner": bob.id() })).await.expect(200);
    admin.delete(&path(&second)).await.expect(204);
    world.settle().await;
    assert_eq!(follower.read(&ada, 1).await, [format!("left {first}"), format!("deleted {second}")]);
    let mut bobs = Follower::default();
    assert_eq!(bobs.read(&bob, 10).await, [format!("put {first}")], "bob saw none of the others");

    let now = ada.get("/v1/changes?collection=notes&after=now").await.expect(200).body;
    assert_eq!((&now["items"], &now["more"]), (&json!([]), &json!(false)));
    let third = note(&admin, &ada, "third").await;
    world.settle().await;
    let mut from_now = Follower { cursor: now["nextCursor"].as_str().map(str::to_owned), ..Follower::default() };
    assert_eq!(from_now.read(&ada, 10).await, [format!("put {third}")]);
}

#[tokio::test]
async fn records_the_caller_may_not_see_are_in_no_count_and_no_feed() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut drafts = notes();
    // Of a board, everybody sees what is public; an index keeps that apart by its sort key, not by its partition.
    drafts["schema"]["properties"]["state"] = json!({ "enum": ["draft", "public"] });
    drafts["indexes"] = json!([{ "name": "shown", "partition": ["board"], "sort": ["state"] }]);
    drafts["rules"] = json!({ "list": "record.board == 'b' && record.state == 'public'" });
    admin.put("/v1/collections/notes", drafts).await.expect(201);
    let make = async |state: &str, text: &str| {
        let body = json!({ "owner": "o", "board": "b", "state": state, "text": text });
        admin.post(NOTES, body).await.expect(201).body["id"].as_str().unwrap().to_owned()
    };
    let hidden = make("draft", "canary").await;
    let shown = make("public", "seen").await;
    admin.patch(&format!("{NOTES}/{hidden}"), json!({ "text": "canary still" })).await.expect(200);
    let gone = make("draft", "canary gone").await;
    admin.delete(&format!("{NOTES}/{gone}")).await.expect(204);
    world.settle().await;
    let ada = world.user("ada").await;
    let feed = ada.get("/v1/changes?collection=notes").await.expect(200);
    assert!(
        !feed.text.contains("canary") && !feed.text.contains(&hidden) && !feed.text.contains(&gone),
        "{}",
        feed.text
    );
    let mut follower = Follower::default();
    assert_eq!(follower.read(&ada, 1).await, [format!("put {shown}")]);
    assert_eq!(ada.get(&format!("{NOTES}?count=true")).await.expect(422).code(), "count_needs_partition");

    // Shown, it appears; hidden again, it leaves; later changes are not in the feed.
    let state = async |id: &str, state: &str| {
        admin.patch(&format!("{NOTES}/{id}"), json!({ "state": state })).await.expect(200);
        world.settle().await;
    };
    state(&hidden, "public").await;
    assert_eq!(follower.read(&ada, 10).await, [format!("put {hidden}")]);
    state(&hidden, "draft").await;
    assert_eq!(follower.read(&ada, 10).await, [format!("left {hidden}")]);
    admin.delete(&format!("{NOTES}/{hidden}")).await.expect(204);
    world.settle().await;
    assert_eq!(follower.read(&ada, 10).await, [""; 0]);
    assert_eq!(follower.held, listed(&ada, "").await);

    // A cursor is its caller's, and of its collection.
    let cursor = follower.cursor.unwrap();
    let bob = world.user("bob").await;
    bob.get(&format!("/v1/changes?collection=notes&after={cursor}")).await.expect(400);
    admin.get(&format!("/v1/changes?collection=notes&after={cursor}")).await.expect(400);
    ada.get(&format!("{NOTES}?cursor={cursor}")).await.expect(400);
    let of_list = admin.get(&format!("{NOTES}?limit=1")).await.expect(200).body;
    if let Some(next) = of_list["nextCursor"].as_str() {
        admin.get(&format!("/v1/changes?collection=notes&after={next}")).await.expect(400);
    }
}

#[tokio::test]
async fn a_feed_cursor_is_valid_for_seven_days_and_for_its_own_list() {
    let world = World::new().await;
    let admin = with_notes(&world).await;
    let ada = world.user("ada").await;
    note(&admin, &ada, "old").await;
    world.settle().await;
    let mut follower = Follower::default();
    follower.read(&ada, 10).await;
    world.advance(Duration::from_secs(7 * 86_400 - 60));
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let young = note(&admin, &ada, "young").await;
    world.settle().await;
    assert_eq!(follower.read(&ada, 10).await, [format!("put {young}")], "a minute before, all is there");

    let cursor = follower.cursor.clone().unwrap();
    world.advance(Duration::from_secs(86_400));
    let ada = world.user("ada").await;
    // The table may keep expired items for a while: a client does not notice.
    for expired in [false, true] {
        if expired {
            assert!(world.cloud.expire().unwrap() > 0);
            world.settle().await;
        }
        let mut late = Follower::default();
        assert_eq!(late.read(&ada, 10).await, [format!("put {young}")], "from the oldest that is kept");
        ada.get(&format!("/v1/changes?collection=notes&after={cursor}")).await.expect(200);
    }
    world.advance(Duration::from_secs(6 * 86_400));
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let gone = ada.get(&format!("/v1/changes?collection=notes&after={cursor}")).await.expect(410);
    assert_eq!(gone.code(), "resync");

    // Another rule lists other records, and their past is not in this feed.
    let fresh = ada.get("/v1/changes?collection=notes&after=now").await.expect(200).body;
    let fresh = fresh["nextCursor"].as_str().unwrap();
    let mut other = notes();
    other["rules"]["list"] = json!("record.board == 'b'");
    admin.put("/v1/collections/notes", other).await.expect(202);
    world.advance(Duration::from_secs(6));
    let changed = ada.get(&format!("/v1/changes?collection=notes&after={fresh}")).await.expect(410);
    assert_eq!(changed.code(), "resync");
}

#[tokio::test]
async fn counting_and_following_cost_what_the_documentation_says() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut open = notes();
    // Only admins see the cost of notes with a hidden field.
    open["schema"]["properties"]["secret"] = json!({ "type": "string" });
    admin.put("/v1/collections/notes", open).await.expect(201);
    let ada = world.user("ada").await;
    note(&admin, &ada, "warm").await;
    ada.get(&format!("{NOTES}?limit=1")).await.expect(200);
    let made = admin.post(NOTES, json!({ "owner": ada.id() })).await.expect(201);
    assert_eq!(made.cost(), (0.0, 2.0, 1), "a counted create costs its writer nothing: 1 + 1 for its index");
    world.settle().await;
    assert_eq!(ada.get(&format!("{NOTES}?count=true&limit=0")).await.expect(200).cost(), (0.5, 0.0, 1), "one head");
    let list = ada.get(NOTES).await.expect(200).cost();
    let counted = ada.get(&format!("{NOTES}?count=true")).await.expect(200).cost();
    assert_eq!((counted.0, counted.2), (list.0 + 0.5, list.2 + 1), "a count beside a page: one trip");
    ada.get("/v1/changes?collection=notes").await.expect(200);
    let two = ada.get("/v1/changes?collection=notes").await.expect(200);
    assert_eq!((two.body["items"].as_array().unwrap().len(), two.cost()), (2, (2.5, 0.0, 2)), "entries, then records");
    let now = ada.get("/v1/changes?collection=notes&after=now").await.expect(200);
    assert_eq!(now.cost(), (1.0, 0.0, 1));
    let cursor = now.body["nextCursor"].as_str().unwrap();
    let none = ada.get(&format!("/v1/changes?collection=notes&after={cursor}")).await.expect(200);
    assert_eq!(none.cost(), (0.5, 0.0, 1), "nothing new");
}
