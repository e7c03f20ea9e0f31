//! Upserts: one record for a value, whoever sends it and how often at once; and what they do not reveal.

use crate::world::{Answer, Caller, World};
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use undercroft::clock::Clock;

const PEOPLE: &str = "/v1/collections/people/records";
const BY_EMAIL: &str = "/v1/collections/people/records?unique=email";
const BY_ID: &str = "/v1/collections/people/records?unique=id";

fn people() -> Value {
    let text = json!({ "type": "string" });
    json!({ "name": "people", "changes": true, "counts": true, "unique": [["email"], ["team", "seat"]],
        "schema": { "type": "object", "required": ["owner"], "additionalProperties": false, "properties": {
            "owner": text, "email": text, "team": text, "seat": { "type": "integer" }, "n": { "type": "integer" },
            "kind": { "type": "string", "default": "guest" }, "born": { "type": "string", "writeOnce": true } } },
        "rules": { "list": "auth.id != ''", "read": "record.owner == auth.id", "create": "input.owner == auth.id",
            "update": "record.owner == auth.id && input.owner == auth.id", "delete": "record.owner == auth.id" } })
}

async fn with_people(world: &World) -> Caller<'_> {
    let admin = world.admin().await;
    admin.put("/v1/collections/people", people()).await.expect(201);
    admin
}

async fn upsert(caller: &Caller<'_>, path: &str, mut body: Value) -> Answer {
    body["owner"] = json!(caller.id());
    caller.request(Method::PUT, path).json(body).send().await
}

fn problem(answer: &Answer) -> (&str, &str) {
    let error = &answer.body["errors"][0];
    (error["pointer"].as_str().unwrap_or_default(), error["code"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn an_upsert_creates_a_record_and_then_replaces_it() {
    let world = World::new().await;
    with_people(&world).await;
    let ada = world.user("ada").await;
    let made = upsert(&ada, BY_EMAIL, json!({ "email": "a@x", "n": 1, "born": "1990" })).await.expect(201);
    let at = made.header("location").to_owned();
    assert_eq!((made.header("etag"), &made.body["kind"]), ("\"1-v\"", &json!("guest")));
    let changed =
        upsert(&ada, BY_EMAIL, json!({ "email": "a@x", "n": 2, "kind": "member", "born": "1990" })).await.expect(200);
    assert_eq!(
        (changed.header("etag"), &changed.body["n"], &changed.body["kind"]),
        ("\"2-v\"", &json!(2), &json!("member"))
    );
    assert!(changed.headers.get("location").is_none());
    let emptied = upsert(&ada, BY_EMAIL, json!({ "email": "a@x", "born": "1990" })).await.expect(200);
    assert_eq!(
        (&emptied.body["n"], &emptied.body["kind"], &emptied.body["createdAt"]),
        (&Value::Null, &json!("guest"), &made.body["createdAt"])
    );
    assert_eq!(ada.get(&at).await.expect(200).body, emptied.body);
    // By two fields, in any order.
    let seat = json!({ "team": "red", "seat": 1 });
    let by_seat = format!("{PEOPLE}?unique=seat,team");
    upsert(&ada, &by_seat, seat.clone()).await.expect(201);
    upsert(&ada, &by_seat, seat).await.expect(200);
    // By id, without a condition.
    let id = undercroft::id::new(&Clock::default());
    assert_eq!(upsert(&ada, BY_ID, json!({ "id": id })).await.expect(201).body["id"], id);
    assert_eq!(upsert(&ada, BY_ID, json!({ "id": id, "n": 7 })).await.expect(200).body["n"], 7);
    world.settle().await;
    assert_eq!(ada.get(&format!("{PEOPLE}?count=true&limit=0")).await.expect(200).body["count"]["records"], 3);
}

#[tokio::test]
async fn an_upsert_that_cannot_be_done_says_why() {
    let world = World::new().await;
    let admin = with_people(&world).await;
    let ada = world.user("ada").await;
    for fields in ["n", "email,email", "team", "", "email,id", "none"] {
        let refused = upsert(&ada, &format!("{PEOPLE}?unique={fields}"), json!({ "email": "a@x" })).await.expect(422);
        assert_eq!(refused.code(), "no_constraint", "{fields}");
        assert!(refused.body["detail"].as_str().unwrap().contains("email; team,seat"), "{}", refused.text);
    }
    for (path, body, expected) in [
        (BY_EMAIL, json!({}), ("/email", "required")),
        (BY_EMAIL, json!({ "email": null }), ("/email", "required")),
        (BY_ID, json!({ "n": 1 }), ("/id", "required")),
        (BY_ID, json!({ "id": "a" }), ("/id", "id")),
        (BY_ID, json!({ "id": undercroft::id::new(&Clock::default()).to_uppercase() }), ("/id", "id")),
        (BY_EMAIL, json!({ "email": "a@x", "id": undercroft::id::new(&Clock::default()) }), ("/id", "read_only")),
    ] {
        let refused = upsert(&ada, path, body.clone()).await.expect(400);
        assert_eq!(problem(&refused), expected, "{path} {body}");
    }
    ada.request(Method::PUT, PEOPLE).json(json!({})).send().await.expect(400);
    // Conditions hold for the record that is there.
    let tagged = async |name: &'static str, tag: &str| {
        let body = json!({ "owner": ada.id(), "email": "a@x" });
        ada.request(Method::PUT, BY_EMAIL).header(name, tag).json(body).send().await
    };
    tagged("if-match", "*").await.expect(412);
    tagged("if-none-match", "*").await.expect(201);
    tagged("if-none-match", "*").await.expect(412);
    tagged("if-match", "\"1-v\"").await.expect(200);
    tagged("if-match", "\"1-v\"").await.expect(412);
    // Another of its unique values belongs to another record.
    upsert(&ada, BY_EMAIL, json!({ "email": "b@x", "team": "red", "seat": 1 })).await.expect(201);
    for email in ["a@x", "c@x"] {
        let taken = upsert(&ada, BY_EMAIL, json!({ "email": email, "team": "red", "seat": 1 })).await.expect(409);
        assert_eq!(taken.code(), "not_unique", "{email}");
    }
    let fixed = upsert(&ada, BY_EMAIL, json!({ "email": "b@x", "born": "1990" })).await.expect(400);
    assert_eq!(problem(&fixed), ("/born", "fixed"));
    // A constraint whose values are not all claimed finds not every record.
    let mut definition = people();
    definition["unique"] = json!([["email"], ["team", "seat"], ["n"]]);
    admin.put("/v1/collections/people", definition).await.expect(202);
    world.advance(std::time::Duration::from_secs(6));
    let early = upsert(&ada, &format!("{PEOPLE}?unique=n"), json!({ "n": 1 })).await.expect(422);
    assert_eq!(early.code(), "constraint_building");
    for _ in 0..4 {
        world.settle().await;
        world.advance(std::time::Duration::from_secs(16));
    }
    upsert(&ada, &format!("{PEOPLE}?unique=n"), json!({ "n": 1 })).await.expect(201);
}

/// Case A34: elsewhere both find nothing, both create, and one fails.
#[tokio::test]
async fn of_many_upserts_at_once_one_creates_and_the_others_replace() {
    for instances in [1, 4] {
        let world = World::of_instances(instances).await;
        with_people(&world).await;
        let ada = world.user("ada").await;
        let id = undercroft::id::new(&Clock::default());
        for (path, key) in [(BY_EMAIL, json!({ "email": "a@x" })), (BY_ID, json!({ "id": id }))] {
            let with = |n: usize| {
                let mut body = key.clone();
                body["n"] = json!(n);
                body
            };
            let answers = join_all((0..32).map(|n| until_answered(&ada, path, with(n)))).await;
            let made = answers.iter().filter(|answer| answer.status == 201).count();
            assert_eq!((made, answers.iter().filter(|answer| answer.status == 200).count()), (1, 31), "{path}");
            let ids: BTreeSet<&str> = answers.iter().map(|answer| answer.body["id"].as_str().unwrap()).collect();
            let tags: BTreeSet<&str> = answers.iter().map(|answer| answer.header("etag")).collect();
            assert_eq!((ids.len(), tags.len()), (1, 32), "{path}: one record, and each answer was a state of it");
            let last = ada.get(&format!("{PEOPLE}/{}?consistent=true", ids.first().unwrap())).await.expect(200).body;
            assert_eq!(last["version"], 32);
            let same = answers.iter().find(|answer| answer.body["version"] == 32).unwrap();
            assert_eq!(same.body["n"], last["n"], "{path}");
        }
        // Creates of the same value: 409, never two records.
        let mixed = join_all((0..8).map(async |n| {
            let body = json!({ "owner": ada.id(), "email": "b@x", "n": n });
            match n % 2 {
                0 => until_answered(&ada, BY_EMAIL, body).await,
                _ => ada.post(PEOPLE, body).await,
            }
        }));
        let statuses: Vec<u16> = mixed.await.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 1, "{statuses:?}");
        assert!(statuses.iter().step_by(2).all(|status| [200, 201].contains(status)), "{statuses:?}");
        assert!(statuses.iter().skip(1).step_by(2).all(|status| [201, 409, 503].contains(status)), "{statuses:?}");
        // A deletion in between: at most one is created anew.
        let at = upsert(&ada, BY_EMAIL, json!({ "email": "c@x" })).await.expect(201).header("location").to_owned();
        let upserts = join_all((0..8).map(|n| until_answered(&ada, BY_EMAIL, json!({ "email": "c@x", "n": n }))));
        let (answers, deleted) = futures_util::join!(upserts, ada.delete(&at));
        assert!([204, 503].contains(&deleted.status), "{}", deleted.text);
        let made = answers.iter().filter(|answer| answer.status == 201).count();
        assert!(made <= 1 && answers.iter().all(|answer| [200, 201].contains(&answer.status)), "{made}");
    }
}

/// Who is overtaken too often is answered 503, and nothing was written.
async fn until_answered(caller: &Caller<'_>, path: &str, body: Value) -> Answer {
    for _ in 0..100 {
        let answer = upsert(caller, path, body.clone()).await;
        if answer.status != 503 {
            return answer;
        }
        assert_eq!(answer.code(), "unavailable", "{}", answer.text);
    }
    panic!("it was overtaken a hundred times");
}

/// Case A33: a record that the caller may not read is a taken value, as for a create.
#[tokio::test]
async fn an_upsert_answers_as_a_create_where_a_hidden_record_is() {
    let world = World::new().await;
    let admin = with_people(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let mut seen = BTreeSet::new();
    for (nth, n) in [1, 77_777].into_iter().enumerate() {
        let email = format!("{nth}@x");
        let secret = json!({ "email": email, "n": n, "kind": "secret" });
        let at = upsert(&ada, BY_EMAIL, secret).await.expect(201).header("location").to_owned();
        let body = json!({ "owner": bob.id(), "email": email });
        let created = bob.post(PEOPLE, body.clone()).await.expect(409);
        let put = bob.request(Method::PUT, BY_EMAIL).json(body.clone()).send().await.expect(409);
        let bare = |answer: &Answer| {
            let mut body = answer.body.clone();
            body["requestId"] = Value::Null;
            (body.to_string(), answer.headers.get("undercroft-cost").is_some())
        };
        assert_eq!(bare(&created), bare(&put));
        seen.insert(bare(&put));
        let batch = json!({ "operations": [{ "method": "PUT", "path": BY_EMAIL, "body": body }] });
        assert_eq!(bob.post("/v1/batch", batch).await.expect(409).body["operations"][0]["code"], "not_unique");
        let id = at.rsplit('/').next().unwrap();
        let by_id = upsert(&bob, BY_ID, json!({ "id": id })).await.expect(409);
        assert_eq!((by_id.code(), by_id.text.contains("secret")), ("not_unique", false));
        assert_eq!(admin.get(&at).await.expect(200).body["version"], 1);
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen.iter().all(|(_, has_cost)| !has_cost));
    // Whether a value is new, a create tells as well; the cost tells nothing more.
    let new = upsert(&bob, BY_EMAIL, json!({ "email": "new@x" })).await.expect(201);
    assert!(new.headers.get("undercroft-cost").is_none());
    // What the caller may not create is refused alike, whether the value is taken or not.
    for email in ["0@x", "free@x"] {
        let body = json!({ "owner": ada.id(), "email": email });
        bob.request(Method::PUT, BY_EMAIL).json(body).send().await.expect(403);
    }
}

/// Case A36.
#[tokio::test]
async fn an_upsert_of_what_is_stored_is_one_write() {
    let world = World::new().await;
    let admin = with_people(&world).await;
    let body = json!({ "email": "a@x", "n": 1 });
    upsert(&admin, BY_EMAIL, body.clone()).await.expect(201);
    world.settle().await;
    let now = admin.get("/v1/changes?collection=people&after=now").await.expect(200).body;
    let again = upsert(&admin, BY_EMAIL, body).await.expect(200);
    assert_eq!((again.header("etag"), again.cost().1), ("\"2\"", 1.0), "the version moves; one write unit");
    world.settle().await;
    let after = format!("/v1/changes?collection=people&after={}", now["nextCursor"].as_str().unwrap());
    assert_eq!(admin.get(&after).await.expect(200).body["items"].as_array().unwrap().len(), 1);
    assert_eq!(admin.get(&format!("{PEOPLE}?count=true&limit=0")).await.expect(200).body["count"]["records"], 1);
}

#[tokio::test]
async fn a_deleted_record_comes_back_by_its_id_and_not_by_its_value() {
    let world = World::new().await;
    let admin = with_people(&world).await;
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let made = upsert(&ada, BY_EMAIL, json!({ "email": "a@x", "n": 1 })).await.expect(201);
    let (at, id) = (made.header("location").to_owned(), made.body["id"].clone());
    ada.delete(&at).await.expect(204);
    let new = upsert(&ada, BY_EMAIL, json!({ "email": "a@x" })).await.expect(201);
    assert_ne!(new.body["id"], id, "the value is free; a deleted record is not found by it");
    let taken = upsert(&ada, BY_ID, json!({ "id": id, "email": "a@x" })).await.expect(409);
    assert_eq!(taken.code(), "not_unique");
    let other = upsert(&bob, BY_ID, json!({ "id": id })).await.expect(409);
    assert_eq!(other.code(), "not_unique", "only who may undelete it brings it back");
    ada.get(&at).await.expect(404);
    let back = upsert(&ada, BY_ID, json!({ "id": id, "n": 2 })).await.expect(201);
    assert_eq!((back.header("etag"), &back.body["n"], &back.body["email"]), ("\"3-v\"", &json!(2), &Value::Null));
    assert_eq!(back.body["createdAt"], made.body["createdAt"]);
    // What an admin deleted, its owner does not bring back.
    admin.delete(&at).await.expect(204);
    upsert(&ada, BY_ID, json!({ "id": id })).await.expect(409);
    upsert(&admin, BY_ID, json!({ "id": id })).await.expect(201);
    world.settle().await;
    assert_eq!(ada.get(&format!("{PEOPLE}?count=true&limit=0")).await.expect(200).body["count"]["records"], 2);
}

/// Case A29: elsewhere the same key twice in a batch makes it fail without saying why.
#[tokio::test]
async fn a_batch_takes_upserts_and_each_key_once() {
    let world = World::new().await;
    with_people(&world).await;
    let ada = world.user("ada").await;
    let put = |path: &str, mut body: Value| {
        body["owner"] = json!(ada.id());
        json!({ "method": "PUT", "path": path, "body": body })
    };
    let batch = async |operations: Value| ada.post("/v1/batch", json!({ "operations": operations })).await;
    let id = undercroft::id::new(&Clock::default());
    let both =
        json!([put(BY_EMAIL, json!({ "email": "a@x", "n": 1 })), put(BY_ID, json!({ "id": id, "email": "b@x" }))]);
    for status in [201, 200] {
        let results = batch(both.clone()).await.expect(200).body["results"].clone();
        assert_eq!((&results[0]["status"], &results[1]["status"]), (&json!(status), &json!(status)), "{results}");
    }
    let by_path = json!({ "method": "PATCH", "path": format!("{PEOPLE}/{id}"), "body": { "n": 9 } });
    let create =
        json!({ "method": "PUT", "path": format!("{PEOPLE}/{id}"), "ifNoneMatch": "*", "body": { "owner": ada.id() } });
    for (first, second) in [
        (put(BY_EMAIL, json!({ "email": "s@x", "n": 1 })), put(BY_EMAIL, json!({ "email": "s@x", "n": 2 }))),
        (put(BY_ID, json!({ "id": id })), put(BY_ID, json!({ "id": id }))),
        (put(BY_ID, json!({ "id": id })), create),
        // The same record by its id and by its value.
        (put(BY_EMAIL, json!({ "email": "b@x" })), put(BY_ID, json!({ "id": id }))),
        (by_path, put(BY_EMAIL, json!({ "email": "b@x" }))),
    ] {
        let refused = batch(json!([first, second])).await.expect(400);
        let operations = refused.body["operations"].as_array().unwrap();
        assert_eq!((operations.len(), &operations[0]["pointer"]), (1, &json!("/operations/1")), "{}", refused.text);
        assert_eq!(operations[0]["errors"][0]["code"], "twice", "{}", refused.text);
        assert!(operations[0]["errors"][0]["message"].as_str().unwrap().contains("Operation 0"), "{}", refused.text);
    }
    let wrong = json!([{ "method": "PUT", "path": PEOPLE, "body": { "owner": ada.id() } }]);
    assert_eq!(batch(wrong).await.expect(400).body["operations"][0]["errors"][0]["code"], "operation");
    assert_eq!(
        ada.get(&format!("{PEOPLE}/{id}?consistent=true")).await.expect(200).body["version"],
        2,
        "all was refused"
    );
}
