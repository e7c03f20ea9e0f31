//! Tokens signed with the real key but with arbitrary content: anything that differs from our format is refused, and nothing
//! panics (R48, R49).

use super::{ADMIN, User, token};
use crate::id;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use std::sync::LazyLock;

const ISSUER: &str = "urn:undercroft:test";
const KID: &str = "key";
const NOW: u64 = 1_800_000_000;
const TIMES: [&str; 3] = ["exp", "nbf", "iat"];

static PKCS8: LazyLock<Vec<u8>> =
    LazyLock::new(|| Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref().to_vec());
static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_pkcs8(&PKCS8).unwrap());

/// A token as we issue it.
static GOOD: LazyLock<String> = LazyLock::new(|| {
    let user = User {
        id: "017f22e2-79b0-7cc3-98c4-dc0c0c07398f".into(),
        session: "017f22e2-79b0-7cc3-98c4-dc0c0c073990".into(),
        email: "ada@example.org".into(),
        verified: true,
        roles: vec![ADMIN.into()],
    };
    token::sign(&user, ISSUER, KID, &PKCS8, NOW, "jti".into()).unwrap()
});

/// The members of an object as text, so that names can be duplicated.
type Members = Vec<(String, String)>;

fn members(of: usize) -> Members {
    let piece = id::from_base64url(GOOD.split('.').nth(of).unwrap()).unwrap();
    let object: serde_json::Map<String, Value> = serde_json::from_slice(&piece).unwrap();
    object.into_iter().map(|(name, value)| (name, value.to_string())).collect()
}

fn object(members: &Members) -> String {
    let members = members.iter().map(|(name, value)| format!("{}:{value}", json!(name)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", id::base64url(header.as_bytes()), id::base64url(claims.as_bytes()));
    format!("{message}.{}", id::base64url(KEY.sign(message.as_bytes()).as_ref()))
}

fn with_claims(claims: &str) -> String {
    signed(&object(&members(0)), claims)
}

/// Whether the authenticator accepts a token.
fn is_accepted(token: &str) -> bool {
    let is_ours = token::key_id(token).as_deref() == Some(KID);
    let user = token::verify(token, ISSUER, KEY.public_key().as_ref(), NOW);
    is_ours && user.is_some()
}

fn claim() -> impl Strategy<Value = usize> {
    0..members(1).len()
}

/// Arbitrary JSON.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        select(vec!["true", "1800000000", "admin", "undercroft", ISSUER]).prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map("\\PC{0,8}", inner, 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Whether both have the type of the same claim.
fn are_alike(one: &Value, other: &Value) -> bool {
    let texts = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    let both = |is: fn(&Value) -> bool| is(one) && is(other);
    both(Value::is_string) || both(Value::is_boolean) || both(Value::is_u64) || (texts(one) && texts(other))
}

#[test]
fn a_token_in_our_format_is_accepted() {
    assert!(is_accepted(&GOOD));
    assert!(is_accepted(&with_claims(&object(&members(1)))));
}

/// A derived struct deserializer also accepts an array of member values in order.
#[test]
fn an_array_is_refused_as_header_and_as_claims() {
    let header = format!("[\"EdDSA\",\"at+jwt\",\"{KID}\"]");
    let order = ["iss", "aud", "sub", "sid", "email", "email_verified", "roles", "iat", "nbf", "exp", "jti"];
    let claims = members(1);
    let value = |name: &&str| claims.iter().find(|(known, _)| known == name).unwrap().1.clone();
    let listed = format!("[{}]", order.iter().map(value).collect::<Vec<_>>().join(","));
    assert!(!is_accepted(&signed(&header, &object(&claims))));
    assert!(!is_accepted(&with_claims(&listed)));
    assert!(!is_accepted(&signed(&header, &listed)));
}

proptest! {
    #[test]
    fn a_claim_of_another_type_is_refused(at in claim(), value in anything()) {
        let mut claims = members(1);
        let issued = serde_json::from_str(&claims[at].1).unwrap();
        prop_assume!(!are_alike(&issued, &value));
        claims[at].1 = value.to_string();
        prop_assert!(!is_accepted(&with_claims(&object(&claims))), "{}", object(&claims));
    }

    #[test]
    fn a_time_must_be_an_integer_of_seconds(
        name in select(&TIMES[..]),
        text in "-?[0-9]{1,25}(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,4})?",
    ) {
        prop_assume!(text.parse::<u64>().is_err());
        let mut claims = members(1);
        claims.iter_mut().find(|(known, _)| known == name).unwrap().1 = text;
        prop_assert!(!is_accepted(&with_claims(&object(&claims))), "{}", object(&claims));
    }

    #[test]
    fn a_token_is_valid_only_between_its_times(
        exp in prop_oneof![any::<u64>(), NOW - 100..NOW + 100, u64::MAX - 100..=u64::MAX],
        nbf in prop_oneof![any::<u64>(), NOW - 100..NOW + 100, u64::MAX - 100..=u64::MAX],
        iat in prop_oneof![any::<u64>(), NOW - 100..NOW + 100, u64::MAX - 100..=u64::MAX],
    ) {
        let mut claims = members(1);
        for (name, time) in TIMES.iter().zip([exp, nbf, iat]) {
            claims.iter_mut().find(|(known, _)| known == name).unwrap().1 = time.to_string();
        }
        let leeway = u128::from(token::LEEWAY_SECONDS);
        let has_begun = u128::from(nbf.max(iat)) <= u128::from(NOW) + leeway;
        let is_over = u128::from(NOW) >= u128::from(exp) + leeway;
        prop_assert_eq!(is_accepted(&with_claims(&object(&claims))), has_begun && !is_over, "{}", object(&claims));
    }

    #[test]
    fn a_token_without_a_claim_is_refused(left in subsequence(members(1), 0..members(1).len())) {
        prop_assert!(!is_accepted(&with_claims(&object(&left))), "{}", object(&left));
    }

    #[test]
    fn duplicate_and_unknown_members_are_refused(
        part in 0..2_usize, at in claim(), to in claim(), name in "\\PC{0,12}", value in anything(), is_new in any::<bool>(),
        is_same in any::<bool>(),
    ) {
        let mut parts = [members(0), members(1)];
        let spoilt = &mut parts[part];
        let (known, text) = spoilt[at % spoilt.len()].clone();
        prop_assume!(!is_new || spoilt.iter().all(|(known, _)| *known != name));
        let added = (if is_new { name } else { known }, if is_same { text } else { value.to_string() });
        spoilt.insert(to % (spoilt.len() + 1), added);
        let [header, claims] = parts.map(|members| object(&members));
        prop_assert!(!is_accepted(&signed(&header, &claims)), "{header} {claims}");
    }

    #[test]
    fn a_header_must_have_our_format(at in 0..3_usize, value in anything()) {
        let mut header = members(0);
        let value = value.to_string();
        prop_assume!(header[at].1 != value);
        header[at].1 = value;
        prop_assert!(!is_accepted(&signed(&object(&header), &object(&members(1)))), "{}", object(&header));
    }

    #[test]
    fn nested_claims_are_refused_at_any_depth(at in claim(), depth in 1..2_500_usize, open in select(vec!["[", "{\"a\":"])) {
        let mut claims = members(1);
        let close = if open == "[" { "]" } else { "}" };
        claims[at].1 = format!("{}1{}", open.repeat(depth), close.repeat(depth));
        let (header, good, deep) = (object(&members(0)), object(&members(1)), object(&claims));
        for token in [with_claims(&deep), with_claims(&claims[at].1), signed(&deep, &good), signed(&header, &open.repeat(depth))] {
            prop_assert!(!is_accepted(&token), "{depth} of {open}");
        }
    }

    #[test]
    fn a_token_over_the_maximum_length_is_not_parsed(more in 0..100_usize) {
        let mut claims = members(1);
        let roles = claims.iter_mut().find(|(name, _)| name == "roles").unwrap();
        roles.1 = json!(["x".repeat(token::MAX_TOKEN_BYTES * 3 / 4 + more)]).to_string();
        prop_assert_eq!(token::key_id(&with_claims(&object(&claims))), None);
    }

    #[test]
    fn arbitrary_text_is_refused(text in prop_oneof!["\\PC{0,200}", "[A-Za-z0-9_=-]{0,99}(\\.[A-Za-z0-9_=-]{0,99}){0,4}"]) {
        prop_assert!(!is_accepted(&text), "{text}");
    }

    #[test]
    fn a_token_with_a_changed_letter_is_refused(at in any::<prop::sample::Index>(), letter in "[ -~]", is_more in any::<bool>()) {
        let mut token = GOOD.clone();
        let at = at.index(token.len());
        token.replace_range(at..at + usize::from(!is_more), &letter);
        prop_assert!(token == *GOOD || !is_accepted(&token), "{token}");
    }
}
