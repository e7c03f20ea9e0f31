//! Invalid input gets a problem document that says what is wrong and where, never a 500, and writes nothing.

use crate::world::{Answer, Caller, World};
use axum::http::Method;
use serde_json::{Value, json};
use std::fmt::Write;

pub const THINGS: &str = "/v1/collections/things/records";

/// A field of every kind, one of them hidden; no unique constraint, so that a patch needs no read.
pub fn things() -> Value {
    json!({ "name": "things",
        "schema": { "type": "object", "additionalProperties": false, "properties": {
            "text": { "type": "string" }, "more": { "type": "string" }, "count": { "type": "integer" },
            "flag": { "type": "boolean" }, "state": { "enum": ["open", "done"] },
            "due": { "type": "string", "format": "date-time" }, "tags": { "type": "array", "items": { "type": "string" } },
            "inner": { "type": "object", "properties": { "a": { "type": "string" } } },
            "owner": { "type": "string", "relation": { "collection": "users" } },
            "secret": { "type": "string", "hidden": true }, "kept": { "type": "string", "readOnly": true } } },
        "indexes": [{ "name": "by_text", "partition": ["text"], "sort": ["count"] }],
        "rules": { "list": "auth.id != ''", "read": "auth.id != ''", "create": "auth.id != ''", "update": "auth.id != ''" } })
}

pub async fn with_things(world: &World) -> (Caller<'_>, String) {
    world.admin().await.put("/v1/collections/things", things()).await.expect(201);
    let ada = world.user("ada").await;
    let made = ada.post(THINGS, json!({ "text": "first", "count": 1 })).await.expect(201);
    (ada, made.header("location").to_owned())
}

/// A query string's value, every byte of it encoded.
pub fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").unwrap();
        encoded
    })
}

/// Checks that the answer is a refusal with a reason.
#[track_caller]
pub fn refused(answer: Answer) -> Answer {
    assert!((400..500).contains(&answer.status), "{}: {} {}", answer.asked, answer.status, answer.text);
    let status = answer.status;
    let answer = answer.expect(status);
    let said = |member: &str| answer.body[member].as_str().is_some_and(|text| !text.is_empty());
    assert!(said("code") && said("detail") && said("requestId"), "{}: {}", answer.asked, answer.text);
    for within in ["panic", "dynamodb", "undercroft-local", "ValidationException", "ix1p"] {
        assert!(!answer.text.to_lowercase().contains(&within.to_lowercase()), "{}: {}", answer.asked, answer.text);
    }
    answer
}

/// Checks that the request was refused before any database call.
#[track_caller]
pub fn refused_for_nothing(answer: Answer) -> Answer {
    let answer = refused(answer);
    assert_eq!(answer.cost(), (0.0, 0.0, 0), "{}: {}", answer.asked, answer.text);
    answer
}

pub async fn send(caller: &Caller<'_>, method: &str, path: &str, body: impl Into<Vec<u8>>) -> Answer {
    let mut knock = caller.request(method.parse().unwrap(), path).header("content-type", "application/json").raw(body);
    if method == "PUT" && path.contains("/records/") {
        knock = knock.header("if-match", "*");
    }
    knock.send().await
}

/// Every route that reads a body.
fn readers_of_bodies(record: &str) -> Vec<(&'static str, String)> {
    [
        ("POST", THINGS),
        ("PUT", record),
        ("PATCH", record),
        ("PUT", "/v1/collections/others"),
        ("POST", "/v1/batch"),
        ("POST", "/v1/jobs"),
        ("POST", "/v1/jobs/uploads"),
        ("POST", "/v1/auth/signup"),
        ("POST", "/v1/auth/signin"),
        ("POST", "/v1/auth/verify"),
        ("POST", "/v1/auth/refresh"),
        ("POST", "/v1/auth/signout"),
    ]
    .map(|(method, path)| (method, path.to_owned()))
    .to_vec()
}

#[tokio::test]
async fn ambiguous_json_is_refused_by_every_route() {
    let world = World::new().await;
    let (_, record) = with_things(&world).await;
    let admin = world.admin().await;
    let deep = |depth: usize| format!("{}1{}", r#"{"inner":"#.repeat(depth), "}".repeat(depth));
    let stranger = world.stranger();
    for (method, path) in readers_of_bodies(&record) {
        // Who is signed in needs no body to sign out.
        let caller = if path.starts_with("/v1/auth") { &stranger } else { &admin };
        for (body, code) in [
            (b"".to_vec(), "malformed_json"),
            (b"{".to_vec(), "malformed_json"),
            (b"{} {}".to_vec(), "malformed_json"),
            (b"{\"text\":NaN}".to_vec(), "malformed_json"),
            (b"{\"text\":-Infinity}".to_vec(), "malformed_json"),
            (br#"{"text":"\ud800"}"#.to_vec(), "malformed_json"),
            (br#"{"text":"\udc00\ud800"}"#.to_vec(), "malformed_json"),
            (b"{\"text\":\"\xff\"}".to_vec(), "malformed_json"),
            (b"\xef\xbb\xbf{}".to_vec(), "malformed_json"),
            (b"{'text':1}".to_vec(), "malformed_json"),
            (br#"{"text":1,"text":2}"#.to_vec(), "duplicate_name"),
            (br#"{"text":1,"\u0074ext":2}"#.to_vec(), "duplicate_name"),
            (br#"{"inner":[{"a":1,"a":1}]}"#.to_vec(), "duplicate_name"),
            (br#"{"$serde_json::private::Number":"1"}"#.to_vec(), "malformed_json"),
            (br#"{"count":123456789012345678901234567890123456789}"#.to_vec(), "number_too_precise"),
            (deep(31).into_bytes(), "too_deep"),
            (deep(5_000).into_bytes(), "too_deep"),
            ("[".repeat(500_000).into_bytes(), "too_deep"),
        ] {
            let shown = String::from_utf8_lossy(&body).chars().take(60).collect::<String>();
            let answer = refused(send(caller, method, &path, body).await);
            let found = answer.body["errors"][0]["code"].as_str().unwrap_or(answer.code());
            assert_eq!((answer.status, found), (400, code), "{method} {path} {shown}: {}", answer.text);
            if answer.code() == "invalid" {
                assert!(answer.body["errors"][0]["pointer"].as_str().unwrap().starts_with('/'), "{}", answer.text);
            }
        }
        let long = format!("{{\"text\":\"{}\"}}", "x".repeat(1024 * 1024));
        assert_eq!(refused(send(caller, method, &path, long).await).status, 413, "{method} {path}");
        for media in ["text/plain", "application/xml", "application/json; charset=latin1", "multipart/form-data", ""] {
            let knock = caller.request(method.parse().unwrap(), &path).header("content-type", media).raw("{}");
            let knock = if path == record { knock.header("if-match", "*") } else { knock };
            assert_eq!(refused(knock.send().await).status, 415, "{method} {path} {media}");
        }
        for whole in ["1", "\"x\"", "null", "[]", "true"] {
            assert_eq!(refused(send(caller, method, &path, whole).await).status, 400, "{method} {path} {whole}");
        }
    }
    assert_eq!(admin.get(&record).await.expect(200).body["version"], 1);
    assert_eq!(admin.get(THINGS).await.expect(200).body["items"].as_array().unwrap().len(), 1);
    world.settle().await;
}

#[tokio::test]
async fn a_record_too_large_for_dynamodb_is_refused_by_every_write() {
    let world = World::new().await;
    let (ada, record) = with_things(&world).await;
    let large = "x".repeat(300_000);
    assert_eq!(refused(ada.post(THINGS, json!({ "more": "x".repeat(420_000) })).await).code(), "item_too_large");
    ada.patch(&record, json!({ "more": large })).await.expect(200);
    let blind = refused(ada.patch(&record, json!({ "tags": [large] })).await);
    assert_eq!((blind.status, blind.code()), (400, "item_too_large"), "grown blind");
    let read = refused(ada.patch(&record, json!({ "inner": { "a": large } })).await);
    assert_eq!((read.status, read.code()), (400, "item_too_large"), "grown after reading");
    let moved = refused(ada.patch(&record, json!({ "text": "x", "tags": [large] })).await);
    assert_eq!((moved.status, moved.code()), (400, "item_too_large"), "with its index key");
    let whole = json!({ "more": large, "tags": [large] });
    let put = ada.request(Method::PUT, &record).header("if-match", "*").json(whole);
    assert_eq!(refused(put.send().await).code(), "item_too_large");
    let key = refused(ada.post(THINGS, json!({ "text": "x".repeat(2_100) })).await);
    assert_eq!(key.body["errors"][0]["code"], "index_key_too_long");
    let after = ada.get(&record).await.expect(200).body;
    assert_eq!((&after["version"], &after["more"], &after["tags"]), (&json!(2), &json!(large), &Value::Null));
}

#[tokio::test]
async fn a_value_one_above_a_limit_is_refused_at_no_cost() {
    let world = World::new().await;
    let (ada, record) = with_things(&world).await;
    let joined = |part: &str, times: usize, by: &str| vec![part; times].join(by);
    // The key that cursors are sealed with is fetched once, by the first that could be one.
    refused(ada.get(&format!("{THINGS}?cursor={}", "A".repeat(100))).await);
    let filters = [
        ("characters", format!("text == '{}'", "x".repeat(5_991)), true),
        ("characters", format!("text == '{}'", "x".repeat(5_990)), false),
        ("terms", format!("flag {}", joined("|| flag", 300, " ")), true),
        ("three thousand terms", joined("flag", 3_000, "||"), true),
        ("three thousand elements", format!("count in [{}]", joined("1", 3_000, ",")), true),
        ("depth", format!("{}flag{}", "(".repeat(33), ")".repeat(33)), true),
        ("negations", format!("{}flag", "!".repeat(33)), true),
        ("digits", format!("count == {}", "1".repeat(39)), true),
        ("range", "count == 1e126".to_owned(), true),
    ];
    for (limit, filter, is_over) in filters {
        let answer = ada.get(&format!("{THINGS}?filter={}", encoded(&filter))).await;
        if is_over {
            let answer = refused_for_nothing(answer);
            assert_eq!((answer.status, answer.code()), (400, "filter"), "{limit}: {}", answer.text);
            assert!(answer.body["detail"].as_str().unwrap().contains("column"), "{limit}: {}", answer.text);
            assert!(answer.text.len() < 1_000, "{limit}: an answer is not as long as the question");
        } else {
            answer.expect(200);
        }
    }
    for query in [
        "limit=101",
        "limit=0",
        "limit=-1",
        "limit=1.5",
        "limit=99999999999999999999",
        "limit=",
        "scan=1001",
        "scan=0",
        "scan=x",
        "sort=text,more,count,flag,state,due",
        "sort=text,text",
        "sort=",
        "fields=text,text",
        "fields=",
        "cursor=",
        "cursor=x",
        "explain=maybe",
        "explain=",
    ] {
        refused_for_nothing(ada.get(&format!("{THINGS}?{query}")).await);
    }
    refused_for_nothing(ada.get(&format!("{THINGS}?cursor={}", "A".repeat(6_000))).await);
    refused_for_nothing(ada.get(&format!("{THINGS}?sort={}", joined("text", 5_000, ","))).await);
    let tags = joined("\"1\"", 21, ",");
    refused_for_nothing(ada.request(Method::GET, &record).header("if-match", &tags).send().await);
    refused_for_nothing(ada.post(THINGS, json!({ "text": 1 })).await);
    refused_for_nothing(ada.get(&format!("{record}?consistent=maybe")).await);
    // A list that no index serves also reads nothing.
    assert_eq!(refused_for_nothing(ada.get(&format!("{THINGS}?sort=flag")).await).status, 422);
}

#[tokio::test]
async fn an_unknown_or_repeated_parameter_is_refused() {
    let world = World::new().await;
    let (ada, record) = with_things(&world).await;
    let admin = world.admin().await;
    for path in [THINGS, record.as_str(), "/v1/jobs"] {
        for query in [
            "surprise=1",
            "Limit=1",
            "role=a&role=b",
            "userId=x",
            "__proto__=1",
            "limit=1&limit=2",
            "limit=1,2",
            "filter[a]=1",
        ] {
            let answer = refused(admin.get(&format!("{path}?{query}")).await);
            assert_eq!(answer.status, 400, "{path}?{query}: {}", answer.text);
        }
    }
    // API Gateway joins repeated headers with commas: the result must not be treated as one of them.
    for query in [
        format!("filter={}", encoded("text == 'a',text == 'b'")),
        "sort=text,text".to_owned(),
        "scan=10,20".to_owned(),
        "explain=true,false".to_owned(),
        "fields=text,text".to_owned(),
        "sort=text&sort=count".to_owned(),
        "fields=text&fields=count".to_owned(),
        format!("filter=true&filter={}", encoded("text == 'b'")),
    ] {
        refused_for_nothing(ada.get(&format!("{THINGS}?{query}")).await);
    }
    let token = ada.token.clone().unwrap();
    for (name, first, second) in [
        ("authorization", format!("Bearer {token}"), format!("Bearer {}", admin.token.clone().unwrap())),
        ("idempotency-key", "\"a\"".to_owned(), "\"b\"".to_owned()),
        ("content-type", "application/json".to_owned(), "text/plain".to_owned()),
    ] {
        let knock = || world.stranger().request(Method::POST, THINGS);
        let twice = knock().header(name, &first).header(name, &second).raw("{}").send().await;
        let joined = knock().header(name, &format!("{first},{second}")).raw("{}").send().await;
        for answer in [twice, joined] {
            assert_eq!(refused(answer).code(), "duplicate_header", "{name}");
        }
    }
    let listed = admin.put("/v1/collections/things?dryRun=perhaps", things()).await;
    assert_eq!(refused(listed).status, 400);
}

#[tokio::test]
async fn a_path_that_names_nothing_is_404_and_never_500() {
    let world = World::new().await;
    let (ada, _) = with_things(&world).await;
    let long = "x".repeat(3_000);
    for id in [
        "x",
        "%00",
        "%FF",
        "%2e%2e",
        "..%2f..",
        "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
        "017f22e2-79b0-4cc3-98c4-dc0c0c07398f",
        "%F0%9F%98%80",
        "*",
        "{id}",
        &long,
    ] {
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            let path = format!("{THINGS}/{id}");
            let answer = ada.request(method.clone(), &path).json(json!({ "text": "x" })).send().await;
            assert!([400, 404].contains(&refused(answer).status), "{method} {id}");
        }
        let put = ada.request(Method::PUT, &format!("{THINGS}/{id}")).header("if-none-match", "*").json(json!({}));
        refused(put.send().await);
        refused(ada.get(&format!("/v1/collections/{id}/records")).await);
    }
}
