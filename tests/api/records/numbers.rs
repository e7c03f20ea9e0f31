//! Numbers of up to 38 digits are stored, found, ordered and returned exactly as sent.

use crate::world::{Caller, World};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::cmp::Ordering;
use undercroft::expr::number::{compare, exact};

const RECORDS: &str = "/v1/collections/measures/records";

/// `n` is indexed, `seen` is not (so that a patch of it is written blind), `all` holds numbers inside other values.
fn measures() -> Value {
    json!({ "name": "measures",
        "schema": { "type": "object", "additionalProperties": false, "properties": {
            "n": { "type": "number" }, "seen": { "type": "number" }, "whole": { "type": "integer" },
            "all": { "type": "object" } } },
        "indexes": [{ "name": "by_n", "partition": [], "sort": ["n"] }, { "name": "of_n", "partition": ["n"] }],
        "rules": { "list": "auth.id != ''", "read": "auth.id != ''", "create": "auth.id != ''", "update": "auth.id != ''" } })
}

/// Digits, a point somewhere, an exponent, a sign: as any client may write a number that can be kept.
fn written() -> impl Strategy<Value = String> {
    (any::<bool>(), "[0-9]{1,38}", 0usize..38, prop_oneof![2 => Just(0), 1 => -88i32..88]).prop_map(
        |(negative, digits, point, exponent)| {
            let digits = digits.trim_start_matches('0');
            let (whole, fraction) = digits.split_at_checked(point).unwrap_or((digits, ""));
            let sign = if negative { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let exponent = if exponent == 0 { String::new() } else { format!("E{exponent:+}") };
            let zero = if whole.is_empty() { "0" } else { "" };
            format!("{sign}{zero}{whole}{point}{fraction}{exponent}")
        },
    )
}

fn number(value: &Value) -> serde_json::Number {
    value.as_number().unwrap_or_else(|| panic!("{value} is no number")).clone()
}

/// What a raw answer says of a member, digit by digit.
fn spelled(text: &str, member: &str) -> String {
    let (_, rest) = text.split_once(&format!("\"{member}\":")).unwrap_or_else(|| panic!("no {member} in {text}"));
    rest.split([',', '}', ']']).next().unwrap().to_owned()
}

async fn send(caller: &Caller<'_>, method: &str, path: &str, body: String) -> crate::world::Answer {
    caller.request(method.parse().unwrap(), path).header("content-type", "application/json").raw(body).send().await
}

#[tokio::test]
async fn a_number_is_returned_and_found_exactly_as_sent_on_every_route() {
    let world = World::new().await;
    world.admin().await.put("/v1/collections/measures", measures()).await.expect(201);
    let ada = world.user("ada").await;
    let mut runner = TestRunner::deterministic();
    let strategy = written();
    let mut kept: Vec<serde_json::Number> = Vec::new();
    for nth in 0..150 {
        let text = strategy.new_tree(&mut runner).unwrap().current();
        let canonical = exact(&text).unwrap_or_else(|_| panic!("{text} can be kept"));
        let body = format!("{{\"n\":{text},\"all\":{{\"deep\":[{text}]}}}}");
        let made = send(&ada, "POST", RECORDS, body).await.expect(201);
        assert_eq!(spelled(&made.text, "n"), canonical.as_str(), "{text}");
        let path = made.header("location").to_owned();
        if nth % 3 == 0 {
            let patched = send(&ada, "PATCH", &path, format!("{{\"seen\":{text}}}")).await.expect(200);
            assert_eq!((spelled(&patched.text, "seen").as_str(), patched.cost().2), (canonical.as_str(), 1), "blind");
        }
        let read = ada.get(&path).await.expect(200);
        assert_eq!(spelled(&read.text, "n"), canonical.as_str(), "{text}");
        assert_eq!(number(&read.body["all"]["deep"][0]), canonical, "{text}");
        let found =
            ada.get(&format!("{RECORDS}?filter=n%3D%3D{}&limit=100", text.replace('+', "%2B"))).await.expect(200);
        let found = found.body["items"].as_array().unwrap().clone();
        assert!(found.iter().all(|item| number(&item["n"]) == canonical), "{text}");
        assert!(found.iter().any(|item| item["id"] == made.body["id"]), "{text}");
        kept.push(canonical);
    }
    kept.sort_by(compare);
    let mut listed = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = ada.get(&format!("{RECORDS}?sort=n&limit=100{cursor}")).await.expect(200).body;
        listed.extend(page["items"].as_array().unwrap().iter().map(|item| number(&item["n"])));
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(listed, kept, "in order, each once");
    let middle = &kept[kept.len() / 2];
    let above =
        ada.get(&format!("{RECORDS}?filter=n%3E{}&limit=100", middle.as_str().replace('+', "%2B"))).await.expect(200);
    let expected = kept.iter().filter(|number| compare(number, middle) == Ordering::Greater).count();
    assert_eq!(above.body["items"].as_array().unwrap().len(), expected);
}

#[tokio::test]
async fn a_number_that_cannot_be_stored_exactly_is_refused_on_every_route() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/measures", measures()).await.expect(201);
    let made = admin.post(RECORDS, json!({ "n": 1 })).await.expect(201);
    let path = made.header("location").to_owned();
    for (text, code) in [
        ("0.123456789012345678901234567890123456789", "number_too_precise"),
        ("123456789012345678901234567890123456789", "number_too_precise"),
        ("1e126", "number_range"),
        ("-1e400", "number_range"),
        ("1e-131", "number_range"),
        ("1e99999999999999999999", "number_range"),
    ] {
        for (method, path, member) in [("POST", RECORDS, "n"), ("PATCH", &path, "seen"), ("PATCH", &path, "n")] {
            let refused = send(&admin, method, path, format!("{{\"{member}\":{text}}}")).await.expect(400);
            assert_eq!(refused.body["errors"][0]["code"], code, "{method} {text}: {}", refused.text);
            assert_eq!(refused.body["errors"][0]["pointer"], format!("/{member}"));
        }
        let nested = send(&admin, "POST", RECORDS, format!("{{\"all\":{{\"a/b\":[0,{text}]}}}}")).await.expect(400);
        assert_eq!(nested.body["errors"][0]["pointer"], "/all/a~1b/1");
        admin.get(&format!("{RECORDS}?filter=n%3D%3D{text}")).await.expect(400);
        let body = format!("{{\"schema\":{{\"type\":\"object\",\"properties\":{{\"x\":{{\"minimum\":{text}}}}}}}}}");
        let defined = send(&admin, "PUT", "/v1/collections/others", body).await.expect(400);
        assert_eq!(defined.body["errors"][0]["pointer"], "/schema/properties/x/minimum");
    }
    for text in ["NaN", "Infinity", "-Infinity", "nan", "1e", "0x1", "01", "+1", ".5"] {
        let refused = send(&admin, "POST", RECORDS, format!("{{\"n\":{text}}}")).await.expect(400);
        assert_eq!(refused.code(), "malformed_json", "{text}");
    }
    send(&admin, "POST", RECORDS, "{\"whole\":1.5}".to_owned()).await.expect(400);
    send(&admin, "POST", RECORDS, "{\"whole\":1.50e1}".to_owned()).await.expect(201);
    assert_eq!(admin.get(&path).await.expect(200).body["version"], 1, "nothing was half written");
}
