//! Operators in a patch: what they do to stored values, that none is lost or made twice, and what they do not reveal.

use crate::world::{Answer, Caller, World};
use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use undercroft_local::Fault;

pub const POSTS: &str = "/v1/collections/posts/records";
pub const MEDIA_TYPE: &str = "application/vnd.undercroft.operators+json";

fn posts() -> Value {
    let own = "record.owner == auth.id";
    json!({ "name": "posts", "changes": true, "counts": true,
        "schema": { "type": "object", "required": ["owner"], "additionalProperties": false, "properties": {
            "owner": { "type": "string" },
            "views": { "type": "integer", "minimum": 0, "maximum": 1_000 },
            "price": { "type": ["number", "null"], "multipleOf": 0.01 },
            "rank": { "type": "integer" },
            "exact": { "type": "number" },
            "tags": { "type": ["array", "null"], "items": { "type": "string" }, "maxItems": 5, "uniqueItems": true },
            "log": { "type": "array", "items": { "type": "string" }, "maxItems": 200 },
            "any": {} } },
        "indexes": [{ "name": "ranked", "partition": ["owner"], "sort": ["rank"] }],
        "rules": { "list": own, "read": own, "create": "auth.id != ''", "update": own, "delete": own } })
}

async fn with_posts(world: &World) {
    world.admin().await.put("/v1/collections/posts", posts()).await.expect(201);
}

async fn post(caller: &Caller<'_>, mut members: Value) -> String {
    members["owner"] = json!(caller.id());
    caller.post(POSTS, members).await.expect(201).header("location").to_owned()
}

async fn operate(caller: &Caller<'_>, path: &str, body: Value) -> Answer {
    caller.request(Method::PATCH, path).header("content-type", MEDIA_TYPE).json(body).send().await
}

async fn stored(caller: &Caller<'_>, path: &str) -> Value {
    caller.get(&format!("{path}?consistent=true")).await.expect(200).body
}

/// The pointers and codes of a refusal.
fn problems(answer: &Answer) -> Vec<(String, String)> {
    let text = |error: &Value, name: &str| error[name].as_str().unwrap().to_owned();
    let errors = answer.body["errors"].as_array().unwrap_or_else(|| panic!("{}", answer.text));
    errors.iter().map(|error| (text(error, "pointer"), text(error, "code"))).collect()
}

/// Case A28.
#[tokio::test]
async fn an_append_has_one_result_for_every_stored_value() {
    let world = World::new().await;
    with_posts(&world).await;
    let ada = world.user("ada").await;
    let append = json!({ "append": { "tags": ["x"] } });
    for (stored_tags, tags, trips) in [
        (json!({}), json!(["x"]), 1),
        (json!({ "tags": null }), json!(["x"]), 3),
        (json!({ "tags": [] }), json!(["x"]), 1),
        (json!({ "tags": ["a"] }), json!(["a", "x"]), 1),
        // An element of a set that is there stays where it is.
        (json!({ "tags": ["x", "a"] }), json!(["x", "a"]), 3),
    ] {
        let path = post(&ada, stored_tags.clone()).await;
        let answer = operate(&ada, &path, append.clone()).await.expect(200);
        assert_eq!(answer.body["tags"], tags, "{stored_tags}");
        assert_eq!(answer.cost().2, trips, "{stored_tags}");
        assert_eq!(stored(&ada, &path).await, answer.body, "{stored_tags}");
    }
    let full = post(&ada, json!({ "tags": ["a", "b", "c", "d", "e"] })).await;
    let refused = operate(&ada, &full, append.clone()).await.expect(400);
    assert_eq!(problems(&refused), [("/tags".to_owned(), "too_long".to_owned())]);
    let refused = operate(&ada, &full, json!({ "append": { "tags": "x" } })).await.expect(400);
    assert_eq!(problems(&refused), [("/append/tags".to_owned(), "type".to_owned())]);
    let refused = operate(&ada, &full, json!({ "append": { "none": ["x"], "version": [] } })).await.expect(400);
    let found = problems(&refused);
    assert_eq!(found[0], ("/append/none".to_owned(), "unknown_field".to_owned()));
    assert_eq!(found[1], ("/append/version".to_owned(), "read_only".to_owned()));
    // A value of another type, which the schema allows.
    let text = post(&ada, json!({ "any": "text" })).await;
    for operator in ["append", "remove"] {
        let refused = operate(&ada, &text, json!({ operator: { "any": ["x"] } })).await.expect(400);
        assert_eq!(problems(&refused), [("/any".to_owned(), "type".to_owned())]);
    }
    assert_eq!(stored(&ada, &text).await["version"], 1, "nothing was written");
    let both = post(&ada, json!({})).await;
    let (one, other) = futures_util::join!(
        operate(&ada, &both, json!({ "append": { "tags": ["one"] } })),
        operate(&ada, &both, json!({ "append": { "tags": ["other"] } })),
    );
    for answer in [one, other] {
        answer.expect(200);
    }
    let mut tags: Vec<String> = serde_json::from_value(stored(&ada, &both).await["tags"].clone()).unwrap();
    tags.sort();
    assert_eq!(tags, ["one", "other"]);
}

#[tokio::test]
async fn a_sum_stays_within_the_schema_and_keeps_every_digit() {
    let world = World::new().await;
    with_posts(&world).await;
    let ada = world.user("ada").await;
    let path = post(&ada, json!({ "views": 999, "price": 0.1 })).await;
    let add = async |fields: Value| operate(&ada, &path, json!({ "add": fields })).await;
    let both = add(json!({ "views": 1, "price": 0.2 })).await.expect(200);
    assert_eq!((both.body["views"].to_string(), both.body["price"].to_string()), ("1000".to_owned(), "0.3".to_owned()));
    assert_eq!(both.cost(), (0.0, 2.0, 1), "one round trip, one write");
    for (fields, pointer, code) in [
        (json!({ "views": 1 }), "/views", "too_large"),
        (json!({ "views": -1001 }), "/views", "too_small"),
        (json!({ "views": -0.5 }), "/views", "type"),
        (json!({ "price": 0.001 }), "/price", "multiple_of"),
        (json!({ "owner": 1 }), "/owner", "type"),
        (json!({ "views": "1" }), "/add/views", "type"),
    ] {
        let refused = add(fields.clone()).await.expect(400);
        assert_eq!(problems(&refused), [(pointer.to_owned(), code.to_owned())], "{fields}");
    }
    assert_eq!(stored(&ada, &path).await["version"], 2);
    assert_eq!(add(json!({ "views": -1000 })).await.expect(200).body["views"], 0);
    let fresh = post(&ada, json!({})).await;
    assert_eq!(operate(&ada, &fresh, json!({ "add": { "views": 3 } })).await.expect(200).body["views"], 3);
    // DynamoDB refuses a sum that it cannot store with every digit.
    let long: Value = serde_json::from_str(r#"{ "exact": 1e50 }"#).unwrap();
    let long = post(&ada, long).await;
    let refused = operate(&ada, &long, json!({ "add": { "exact": 1 } })).await.expect(400);
    assert_eq!(problems(&refused), [("/exact".to_owned(), "number_too_precise".to_owned())]);
    let fresh = post(&ada, json!({})).await;
    let refused = operate(&ada, &fresh, json!({ "add": { "views": -1 } })).await.expect(400);
    assert_eq!(problems(&refused), [("/views".to_owned(), "too_small".to_owned())]);
}

/// Case A37, which JSON Patch's positions get wrong.
#[tokio::test]
async fn elements_are_removed_by_value_wherever_they_are() {
    let world = World::new().await;
    with_posts(&world).await;
    let ada = world.user("ada").await;
    let path = post(&ada, json!({ "log": ["bar", "baz", "foo", "baz"] })).await;
    let remove = async |elements: Value| operate(&ada, &path, json!({ "remove": { "log": elements } })).await;
    let removed = remove(json!(["baz"])).await.expect(200);
    assert_eq!(removed.body["log"], json!(["bar", "foo"]));
    assert_eq!(removed.cost().2, 2, "DynamoDB removes by position, so the record is read");
    assert_eq!(remove(json!(["baz", "never"])).await.expect(200).body["log"], json!(["bar", "foo"]));
    // At once, none is lost and no other element goes.
    let (one, other, new) = futures_util::join!(
        remove(json!(["bar"])),
        remove(json!(["foo"])),
        operate(&ada, &path, json!({ "append": { "log": ["new"] } }))
    );
    for answer in [one, other, new] {
        answer.expect(200);
    }
    assert_eq!(stored(&ada, &path).await["log"], json!(["new"]));
    let refused = ada
        .request(Method::PATCH, &path)
        .header("content-type", "application/json-patch+json")
        .json(json!([{ "op": "remove", "path": "/log/0" }]))
        .send()
        .await;
    assert_eq!(refused.expect(415).code(), "unsupported_media_type");
}

/// Case A36: every write that is allowed counts as a write.
#[tokio::test]
async fn a_write_that_changes_nothing_is_a_write() {
    let world = World::new().await;
    with_posts(&world).await;
    let ada = world.user("ada").await;
    let path = post(&ada, json!({ "views": 5, "tags": ["a"] })).await;
    let whole = json!({ "owner": ada.id(), "views": 5, "tags": ["a"] });
    world.settle().await;
    let now = ada.get("/v1/changes?collection=posts&after=now").await.expect(200).body;
    let mut cursor = now["nextCursor"].as_str().unwrap().to_owned();
    let mut version = 1;
    for (method, media_type, body) in [
        (Method::PATCH, "application/json", json!({})),
        (Method::PATCH, "application/json", json!({ "views": 5 })),
        (Method::PUT, "application/json", whole),
        (Method::PATCH, MEDIA_TYPE, json!({})),
        (Method::PATCH, MEDIA_TYPE, json!({ "add": { "views": 0 } })),
        (Method::PATCH, MEDIA_TYPE, json!({ "append": { "tags": [] } })),
        (Method::PATCH, MEDIA_TYPE, json!({ "append": { "tags": ["a"] } })),
        (Method::PATCH, MEDIA_TYPE, json!({ "remove": { "tags": ["b"] } })),
    ] {
        let sent = async |version: u64| {
            let knock = ada.request(method.clone(), &path).header("content-type", media_type);
            knock.header("if-match", &format!("\"{version}-v\"")).json(body.clone()).send().await
        };
        let answer = sent(version).await.expect(200);
        let old = version;
        version += 1;
        assert_eq!(answer.header("etag"), format!("\"{version}-v\""), "{body}");
        assert_eq!(answer.body["version"], version, "{body}");
        assert_eq!(answer.cost().1, 2.0, "{body}: one write of the record and its index");
        sent(old).await.expect(412);
        world.settle().await;
        let page = ada.get(&format!("/v1/changes?collection=posts&after={cursor}")).await.expect(200).body;
        assert_eq!(page["items"].as_array().unwrap().len(), 1, "{body}: {page}");
        cursor = page["nextCursor"].as_str().unwrap().to_owned();
    }
    let counted = ada.get(&format!("{POSTS}?count=true&limit=1")).await.expect(200).body;
    assert_eq!(counted["count"]["records"], 1);
}

/// R78: concurrent operators all count, with and without a read before the write.
#[tokio::test]
async fn sixty_four_incrementers_lose_nothing() {
    for instances in [1, 6] {
        let world = World::of_instances(instances).await;
        with_posts(&world).await;
        let ada = world.user("ada").await;
        let path = post(&ada, json!({ "views": 0, "rank": 0 })).await;
        let answers = join_all((0..64).map(|_| operate(&ada, &path, json!({ "add": { "views": 1 } })))).await;
        for answer in answers {
            let trips = answer.expect(200).cost().2;
            assert!(trips == 1 || instances > 1, "{trips} round trips of an instance that knows keys and definition");
        }
        assert_eq!(stored(&ada, &path).await["views"], 64);
        // `rank` is in an index, so the record is read first. Who is overtaken too often is refused, and nothing was written.
        let until_done = async || {
            for _ in 0..100 {
                let answer = operate(&ada, &path, json!({ "add": { "rank": 1 } })).await;
                if answer.status == 200 {
                    return;
                }
                assert_eq!((answer.status, answer.code()), (503, "unavailable"), "{}", answer.text);
            }
            panic!("it was overtaken a hundred times");
        };
        join_all((0..64).map(|_| until_done())).await;
        assert_eq!(stored(&ada, &path).await["rank"], 64);
        let page =
            ada.get(&format!("{POSTS}?filter=owner%20%3D%3D%20%22{}%22%20%26%26%20rank%20%3D%3D%2064", ada.id())).await;
        assert_eq!(page.expect(200).body["items"].as_array().unwrap().len(), 1, "the index has the new key");
    }
}

/// The SDK repeats a write whose answer is lost. An operator would count twice.
#[tokio::test]
async fn an_operator_is_sent_once() {
    let world = World::new().await;
    with_posts(&world).await;
    let ada = world.user("ada").await;
    for (call, body, field, before) in [
        ("UpdateItem", json!({ "add": { "views": 1 } }), "views", json!(1)),
        ("PutItem", json!({ "add": { "rank": 1 } }), "rank", json!(1)),
        ("PutItem", json!({ "remove": { "log": ["x"] }, "add": { "rank": 1 } }), "rank", json!(1)),
    ] {
        for (fault, is_done, code) in [
            (Fault::LostAnswer, true, "outcome_unknown"),
            (Fault::TornAnswer, true, "outcome_unknown"),
            (Fault::FailedAfter, true, "outcome_unknown"),
            (Fault::LostRequest, false, "outcome_unknown"),
            (Fault::FailedBefore, false, "outcome_unknown"),
            (Fault::Throttled, false, "unavailable"),
        ] {
            let path = post(&ada, json!({ "views": 1, "rank": 1, "log": ["x"] })).await;
            world.cloud.faults().on(call, 1, fault);
            let answer = operate(&ada, &path, body.clone()).await.expect(503);
            assert_eq!((answer.code(), answer.header("retry-after")), (code, "1"), "{call} {fault:?}");
            assert_eq!(world.cloud.faults().clear(), 0, "{call} {fault:?}: it was not sent");
            let expected = if is_done { json!(2) } else { before.clone() };
            assert_eq!(stored(&ada, &path).await[field], expected, "{call} {fault:?}");
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_makes_an_operator_count_once() {
    let world = World::new().await;
    with_posts(&world).await;
    let ada = world.user("ada").await;
    for (nth, fault) in [Fault::LostAnswer, Fault::TornAnswer, Fault::FailedAfter, Fault::FailedBefore, Fault::Conflict]
        .into_iter()
        .enumerate()
    {
        let path = post(&ada, json!({ "views": 1 })).await;
        let keyed = async |media_type: &str| {
            let knock = ada.request(Method::PATCH, &path).header("content-type", media_type);
            knock.header("idempotency-key", &format!("\"{nth}\"")).json(json!({ "add": { "views": 1 } })).send().await
        };
        world.cloud.faults().on("TransactWriteItems", 1, fault);
        let mut answer = keyed(MEDIA_TYPE).await;
        for _ in 0..3 {
            if answer.status != 200 {
                assert_eq!((answer.status, answer.code()), (503, "unavailable"), "{fault:?}");
                answer = keyed(MEDIA_TYPE).await;
            }
        }
        assert_eq!(answer.expect(200).body["views"], 2, "{fault:?}");
        assert_eq!(keyed(MEDIA_TYPE).await.expect(200).body["views"], 2, "{fault:?}: the same answer");
        assert_eq!(stored(&ada, &path).await["views"], 2, "{fault:?}");
        assert_eq!(
            keyed("application/json").await.expect(422).code(),
            "key_reused",
            "another media type, another request"
        );
        world.cloud.faults().clear();
    }
}

#[tokio::test]
async fn operators_work_in_a_batch() {
    let world = World::new().await;
    with_posts(&world).await;
    let ada = world.user("ada").await;
    let (one, other) = (post(&ada, json!({ "views": 1 })).await, post(&ada, json!({ "log": ["a"] })).await);
    let operation =
        |path: &str, body: Value| json!({ "method": "PATCH", "path": path, "contentType": MEDIA_TYPE, "body": body });
    let batch = async |operations: Value| ada.post("/v1/batch", json!({ "operations": operations })).await;
    let done = batch(json!([
        operation(&one, json!({ "add": { "views": 2 } })),
        operation(&other, json!({ "append": { "log": ["b"] } })),
    ]));
    let results = done.await.expect(200).body["results"].clone();
    assert_eq!((&results[0]["body"]["views"], &results[1]["body"]["log"]), (&json!(3), &json!(["a", "b"])));
    let refused = batch(json!([operation(&one, json!({ "add": { "views": 1000 } })), operation(&other, json!({}))]));
    let refused = refused.await.expect(400);
    assert_eq!(refused.body["operations"][0]["errors"][0]["code"], "too_large");
    let malformed = batch(json!([operation(&one, json!({ "add": { "views": "1" } }))])).await.expect(400);
    assert_eq!(malformed.body["operations"][0]["errors"][0]["pointer"], "/body/add/views");
    let mut wrong = operation(&one, json!({}));
    wrong["method"] = json!("PUT");
    let wrong = batch(json!([wrong])).await.expect(400);
    assert_eq!(wrong.body["operations"][0]["errors"][0]["pointer"], "/contentType");
    assert_eq!(stored(&ada, &one).await["views"], 3);
    world.cloud.faults().on("TransactWriteItems", 1, Fault::FailedAfter);
    world.cloud.faults().on("TransactWriteItems", 2, Fault::FailedAfter);
    world.cloud.faults().on("TransactWriteItems", 3, Fault::FailedAfter);
    let lost = batch(json!([operation(&one, json!({ "add": { "views": 1 } })), operation(&other, json!({}))])).await;
    world.cloud.faults().clear();
    assert!(lost.status == 200 || (lost.status, lost.code()) == (503, "outcome_unknown"), "{}", lost.text);
    assert_eq!(stored(&ada, &one).await["views"], 4, "DynamoDB knows a repeated transaction by its token");
}

#[tokio::test]
async fn a_rule_on_the_result_is_decided_by_reading() {
    let world = World::new().await;
    let admin = world.admin().await;
    let mut definition = posts();
    definition["rules"]["update"] = json!("record.owner == auth.id && input.views > record.views && !changed('rank')");
    admin.put("/v1/collections/posts", definition).await.expect(201);
    let ada = world.user("ada").await;
    let path = post(&ada, json!({ "views": 5, "rank": 1 })).await;
    let plan = ada.request(Method::PATCH, &format!("{path}?explain=true")).header("content-type", MEDIA_TYPE);
    let plan = plan.json(json!({ "add": { "views": 1 } })).send().await.expect(200).body;
    assert_eq!(plan["expected"]["trips"], 2, "{plan}");
    let up = operate(&ada, &path, json!({ "add": { "views": 1 } })).await.expect(200);
    assert_eq!((&up.body["views"], up.cost().2), (&json!(6), 2));
    for refused in
        [json!({ "views": -1 }), json!({ "views": 0 }), json!({ "rank": 1 }), json!({ "views": 1, "rank": 1 })]
    {
        let answer = operate(&ada, &path, json!({ "add": refused })).await;
        assert!([403, 404].contains(&answer.status), "{refused}: {}", answer.text);
    }
    assert_eq!(operate(&ada, &path, json!({ "add": { "views": 1, "rank": 0 } })).await.expect(200).body["views"], 7);
}

/// Decisions 31 and 33: a result that depends on a value says nothing to those who may not read the value.
#[tokio::test]
async fn operators_reveal_nothing_that_the_caller_may_not_read() {
    let world = World::new().await;
    let admin = world.admin().await;
    let definition = json!({ "name": "cards", "schema": { "type": "object", "additionalProperties": false, "properties": {
            "owner": { "type": "string" },
            "pin": { "type": "integer", "minimum": 0, "maximum": 10, "hidden": true },
            "seen": { "type": "integer", "minimum": 0, "maximum": 10 },
            "list": { "type": "array", "items": { "type": "string" }, "uniqueItems": true, "maxItems": 3 } } },
        "rules": { "read": "record.owner == auth.id", "create": "true", "update": "true" } });
    admin.put("/v1/collections/cards", definition).await.expect(201);
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let mut answers = Vec::new();
    for (pin, seen, list) in [(0, 0, json!([])), (10, 10, json!(["a", "b", "c"]))] {
        let card = json!({ "owner": ada.id(), "pin": pin, "seen": seen, "list": list });
        let path = admin.post("/v1/collections/cards/records", card).await.expect(201).header("location").to_owned();
        let mut of_this = Vec::new();
        for caller in [&ada, &bob] {
            for body in
                [json!({ "add": { "pin": 1 } }), json!({ "add": { "pin": -1 } }), json!({ "append": { "pin": [] } })]
            {
                of_this.push(shown(operate(caller, &path, body).await.expect(400)));
            }
        }
        for body in [
            json!({ "add": { "seen": 1 } }),
            json!({ "add": { "seen": -1 } }),
            json!({ "append": { "list": ["a"] } }),
            json!({ "append": { "list": [1] } }),
            json!({ "remove": { "list": ["a"] } }),
            json!({ "add": { "list": 1 } }),
            json!({}),
        ] {
            of_this.push(shown(operate(&bob, &path, body).await.expect(400)));
        }
        assert_eq!(admin.get(&path).await.expect(200).body["version"], 1);
        operate(&admin, &path, json!({ "add": { "pin": if pin == 0 { 1 } else { -1 } } })).await.expect(200);
        answers.push(of_this);
    }
    assert_eq!(answers[0], answers[1]);
    let codes: Vec<&Value> = answers[0].iter().map(|(body, _)| &body["errors"][0]["code"]).collect();
    assert!(codes.iter().all(|code| **code == "unreadable"), "{codes:?}");
}

/// An answer without its id, with its cost.
fn shown(answer: Answer) -> (Value, Option<String>) {
    let cost = answer.headers.get("undercroft-cost").map(|cost| cost.to_str().unwrap().to_owned());
    let mut body = answer.body;
    body["requestId"] = Value::Null;
    (body, cost)
}
