//! Malformed claims, signed with the stack's own key: refused with 401 without a table call (R48, R49). Property tests beside the
//! verifier cover them all; these tests send a sample over HTTP.

use super::{Parts, parts, signed, signing_key};
use crate::world::World;
use axum::http::Method;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

/// Malformed claims: the name of a claim and its replacement text.
fn spoiling(names: Vec<String>) -> impl Strategy<Value = (String, String, bool)> {
    let nested = |open: &'static str, close: &'static str| {
        (1..2_000_usize).prop_map(move |depth| format!("{}1{}", open.repeat(depth), close.repeat(depth)))
    };
    let wrong = prop_oneof![
        Just("null".to_owned()),
        Just("{}".to_owned()),
        "-[1-9][0-9]{0,30}",
        "[1-9][0-9]{0,9}\\.[0-9]{1,9}",
        "[1-9]e[0-9]{1,4}",
        "\\[[0-9]{1,9}\\]",
        "\\{\"[a-z]{1,9}\":true\\}",
        nested("[", "]"),
        nested("{\"a\":", "}"),
        (6_000..9_000_usize).prop_map(|length| format!("[\"{}\",1]", "x".repeat(length))),
    ];
    (select(names), wrong, any::<bool>())
}

/// The claims with one of them replaced or duplicated.
fn spoilt(claims: &Map<String, Value>, (name, text, is_twice): &(String, String, bool)) -> String {
    let good = claims.iter().map(|(known, value)| match known == name && !is_twice {
        true => format!("\"{known}\":{text}"),
        false => format!("\"{known}\":{value}"),
    });
    let second = is_twice.then(|| format!("\"{name}\":{text}"));
    format!("{{{}}}", good.chain(second).collect::<Vec<_>>().join(","))
}

#[tokio::test]
async fn malformed_claims_are_refused_without_a_database_call() {
    let world = World::new().await;
    let admin = world.admin().await;
    let key = signing_key(&world).await;
    let Parts { header, claims, .. } = parts(admin.token.as_ref().unwrap());
    let claims = claims.as_object().unwrap().clone();
    let ask = async |token: &str| {
        let knock = world.stranger().request(Method::GET, "/v1/collections/users/records");
        knock.header("authorization", &format!("Bearer {token}")).send().await
    };
    let good = signed(&key, &header.to_string(), &Value::Object(claims.clone()).to_string());
    ask(&good).await.expect(200);
    let mut bad: Vec<String> = Vec::new();
    let mut runner = TestRunner::deterministic();
    let strategy = spoiling(claims.keys().cloned().collect());
    for _ in 0..300 {
        bad.push(spoilt(&claims, &strategy.new_tree(&mut runner).unwrap().current()));
    }
    for name in claims.keys() {
        let mut without = claims.clone();
        without.remove(name);
        bad.push(Value::Object(without).to_string());
    }
    let listed: Vec<&Value> = claims.values().collect();
    bad.extend([
        json!(listed).to_string(),
        "null".into(),
        "{}".into(),
        "[]".into(),
        String::new(),
        "{\"exp\":1".into(),
    ]);
    for claims in bad {
        let answer = ask(&signed(&key, &header.to_string(), &claims)).await;
        let shown: String = claims.chars().take(300).collect();
        assert_eq!(answer.status, 401, "{shown}: {}", answer.text);
        assert_eq!((answer.cost(), answer.header("www-authenticate")), ((0.0, 0.0, 0), "Bearer"), "{shown}");
    }
}
