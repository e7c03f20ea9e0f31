//! Access tokens: every way to forge one, refused (RFC 8725).

mod algorithms;
mod claims;
mod floods;

use crate::world::World;
use axum::http::Method;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use std::time::Duration;
use undercroft::id::{base64url, from_base64url};

struct Parts {
    header: Value,
    claims: Value,
    signature: String,
}

fn parts(token: &str) -> Parts {
    let pieces: Vec<&str> = token.split('.').collect();
    let json = |piece: &str| serde_json::from_slice(&from_base64url(piece).unwrap()).unwrap();
    Parts { header: json(pieces[0]), claims: json(pieces[1]), signature: pieces[2].to_owned() }
}

fn token(header: &str, claims: &str, signature: &str) -> String {
    format!("{}.{}.{signature}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

/// The stack's private key, read by the test from where only `auth` may read it.
async fn signing_key(world: &World) -> Ed25519KeyPair {
    let stored = world
        .cloud
        .call(
            "AmazonSSM.GetParameter",
            &json!({ "Name": "/undercroft/undercroft-local/signing", "WithDecryption": true }),
        )
        .await
        .unwrap();
    let stored: Value = serde_json::from_str(stored["Parameter"]["Value"].as_str().unwrap()).unwrap();
    Ed25519KeyPair::from_pkcs8(&from_base64url(stored["pkcs8"].as_str().unwrap()).unwrap()).unwrap()
}

fn signed(key: &Ed25519KeyPair, header: &str, claims: &str) -> String {
    let message = token(header, claims, "");
    let message = message.trim_end_matches('.');
    format!("{message}.{}", base64url(key.sign(message.as_bytes()).as_ref()))
}

/// The status that a bearer token gets on a route for admins.
pub async fn status(world: &World, token: &str) -> u16 {
    let knock = world.stranger();
    let Ok(_) = format!("Bearer {token}").parse::<axum::http::HeaderValue>() else { return 401 };
    knock
        .request(Method::GET, "/v1/collections/users/records")
        .header("authorization", &format!("Bearer {token}"))
        .send()
        .await
        .status
}

#[tokio::test]
async fn a_key_inside_the_token_is_ignored() {
    let world = World::new().await;
    let admin = world.admin().await;
    let Parts { header, claims, .. } = parts(admin.token.as_ref().unwrap());
    let own =
        Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref()).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(own.public_key().as_ref()) });
    let attacker = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    attacker.set_nonblocking(true).unwrap();
    let theirs = format!("http://{}/jwks.json", attacker.local_addr().unwrap());
    let smuggled = [
        ("jwk", jwk),
        ("jku", json!(theirs)),
        ("x5u", json!(theirs)),
        ("x5c", json!(["AAAA"])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
    ];
    for (name, value) in smuggled {
        let mut header = header.clone();
        header[name] = value;
        assert_eq!(status(&world, &signed(&own, &header.to_string(), &claims.to_string())).await, 401, "{name}");
        let stack = signing_key(&world).await;
        assert_eq!(
            status(&world, &signed(&stack, &header.to_string(), &claims.to_string())).await,
            401,
            "{name}, well signed"
        );
    }
    for kid in ["", "unknown", "../../etc/passwd", "' OR 1=1", &theirs] {
        let mut header = header.clone();
        header["kid"] = json!(kid);
        assert_eq!(status(&world, &signed(&own, &header.to_string(), &claims.to_string())).await, 401, "{kid}");
    }
    let asked = attacker.accept().map(|_| ()).map_err(|error| error.kind());
    assert_eq!(asked, Err(std::io::ErrorKind::WouldBlock), "no keys were fetched from the attacker");
}

/// The published keys, as `auth` writes them.
async fn publish(world: &World, keys: &[(&str, &Ed25519KeyPair)]) {
    let table = world.cloud.tables().iter().find(|name| name.ends_with("RecordsTable")).unwrap();
    let key = |(kid, pair): &(&str, &Ed25519KeyPair)| json!({ "M": { "kid": { "S": kid }, "x": { "S": base64url(pair.public_key().as_ref()) } } });
    let keys: Vec<Value> = keys.iter().map(key).collect();
    let item = json!({ "pk": { "S": "k" }, "sk": { "S": "signing" }, "keys": { "L": keys } });
    world.cloud.call("DynamoDB_20120810.PutItem", &json!({ "TableName": table, "Item": item })).await.unwrap();
}

/// Deletes the parameter with the private key, so that the published key is the previous one.
#[tokio::test]
async fn a_new_signing_key_is_published_first_and_tokens_of_the_old_key_stay_valid() {
    let mut world = World::new().await;
    let good = world.admin().await.token.unwrap();
    let Parts { header, claims, .. } = parts(&good);
    let before =
        Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref()).unwrap();
    publish(&world, &[("before", &before)]).await;
    world.restart_functions();
    let mut of_before = header.clone();
    of_before["kid"] = json!("before");
    let of_before = signed(&before, &of_before.to_string(), &claims.to_string());
    assert_eq!(status(&world, &of_before).await, 200, "the key of before is published");

    let after = world.admin().await.token.unwrap();
    let published = world.stranger().get("/.well-known/jwks.json").await.expect(200).body;
    let kids: Vec<&str> =
        published["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(kids, [header["kid"].as_str().unwrap(), "before"], "ours signs from now on");
    // An environment that cached the old key reads the keys again after at most five seconds.
    world.advance(Duration::from_secs(5));
    for token in [&after, &of_before] {
        assert_eq!(status(&world, token).await, 200);
    }
    world.restart_functions();
    world.admin().await;
    assert_eq!(world.stranger().get("/.well-known/jwks.json").await.body, published, "published once");
}

#[tokio::test]
async fn every_claim_must_be_present_once_with_the_right_type_and_value() {
    let world = World::new().await;
    let admin = world.admin().await;
    let key = signing_key(&world).await;
    let Parts { header, claims, .. } = parts(admin.token.as_ref().unwrap());
    let header = header.to_string();
    assert_eq!(status(&world, &signed(&key, &header, &claims.to_string())).await, 200, "the test can sign");

    for name in claims.as_object().unwrap().keys() {
        let mut missing = claims.clone();
        missing.as_object_mut().unwrap().remove(name);
        assert_eq!(status(&world, &signed(&key, &header, &missing.to_string())).await, 401, "without {name}");
        let as_text = json!(claims[name].to_string());
        for wrong in [
            json!(null),
            json!([]),
            json!({}),
            json!(-1),
            json!(1.5),
            json!("yes"),
            json!(if name == "email_verified" { json!("true") } else { json!(true) }),
            json!([claims[name]]),
            as_text,
        ] {
            // Texts of the right type are held below; a list of roles may be empty.
            let is_same_type =
                wrong.is_string() && claims[name].is_string() || claims[name].is_array() && wrong == json!([]);
            if is_same_type {
                continue;
            }
            let mut changed = claims.clone();
            changed[name] = wrong.clone();
            assert_eq!(status(&world, &signed(&key, &header, &changed.to_string())).await, 401, "{name}: {wrong}");
        }
        let twice = claims.to_string().replacen('{', &format!("{{\"{name}\":{},", claims[name]), 1);
        assert_eq!(status(&world, &signed(&key, &header, &twice)).await, 401, "{name} twice");
    }
    let wrong = [
        ("iss", json!("urn:undercroft:other")),
        ("aud", json!("other")),
        ("aud", json!(["undercroft", 1])),
        ("exp", json!("9999999999")),
        ("exp", json!(1e18)),
        ("unknown", json!(true)),
    ];
    for (name, value) in wrong {
        let mut changed = claims.clone();
        changed[name] = value.clone();
        assert_eq!(status(&world, &signed(&key, &header, &changed.to_string())).await, 401, "{name}: {value}");
    }
    for name in ["exp", "nbf", "iat"] {
        let whole = format!("\"{name}\":{}", claims[name]);
        for number in ["1e400", "-1e400", "9999999999.0", "18446744073709551616", "1e10", "0x1", "NaN", "01"] {
            let text = claims.to_string().replacen(&whole, &format!("\"{name}\":{number}"), 1);
            assert_eq!(status(&world, &signed(&key, &header, &text)).await, 401, "{name}: {number}");
        }
    }
}

/// The order of the curve's group, least byte first (RFC 8032, section 5.1).
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The same signature with the group order added to its second half. A verifier without a range check accepts it.
fn malleated(signature: &[u8]) -> Vec<u8> {
    let (first, second) = signature.split_at(32);
    let mut carry = 0;
    let sum = second.iter().zip(GROUP_ORDER).map(|(byte, order)| {
        carry = u16::from(*byte) + u16::from(order) + (carry >> 8);
        carry as u8
    });
    first.iter().copied().chain(sum).collect()
}

#[tokio::test]
async fn a_good_token_with_any_other_form_of_its_signature_is_refused() {
    let world = World::new().await;
    let admin = world.admin().await;
    let good = admin.token.clone().unwrap();
    let (message, text) = good.rsplit_once('.').unwrap();
    let signature = from_base64url(text).unwrap();
    let (first, second) = signature.split_at(32);
    let mut forms: Vec<(String, String)> = [
        ("malleated", malleated(&signature)),
        ("a byte short", signature[..63].to_vec()),
        ("a byte long", [&signature[..], &[0]].concat()),
        ("a byte in front", [&[0], &signature[..]].concat()),
        ("a byte between", [first, &[0], second].concat()),
        ("swapped", [second, first].concat()),
        ("half", first.to_vec()),
        ("twice", [&signature[..], &signature[..]].concat()),
        ("zeros", vec![0; 64]),
        ("the neutral element", [&[1], &[0; 63][..]].concat()),
        ("the order for S", [first, &GROUP_ORDER].concat()),
        ("as DER", [&[0x30, 0x40], &signature[..]].concat()),
    ]
    .map(|(form, bytes)| (form.to_owned(), base64url(&bytes)))
    .into();
    forms.extend((0..512).map(|bit| {
        let mut flipped = signature.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (format!("bit {bit} flipped"), base64url(&flipped))
    }));
    let last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let unused = last.find(&text[85..]).unwrap() + 1;
    forms.push(("unused bits set".into(), format!("{}{}", &text[..85], &last[unused..=unused])));
    forms.push(("padded".into(), format!("{text}==")));
    forms.push(("another alphabet".into(), format!("{}+/", &text[..84])));
    for (form, text) in forms {
        assert_eq!(status(&world, &format!("{message}.{text}")).await, 401, "{form}");
    }
    for position in 0..good.len() {
        let mut other = good.clone().into_bytes();
        other[position] = if other[position] == b'A' { b'B' } else { b'A' };
        assert_eq!(status(&world, &String::from_utf8(other).unwrap()).await, 401, "character {position} changed");
        assert_eq!(status(&world, &good[..position]).await, 401, "cut at {position}");
    }
    assert_eq!(status(&world, &good).await, 200, "as it was made");
}

#[tokio::test]
async fn a_token_of_another_type_is_not_an_access_token() {
    let world = World::new().await;
    let admin = world.admin().await;
    let key = signing_key(&world).await;
    let Parts { header, claims, .. } = parts(admin.token.as_ref().unwrap());
    for typ in ["JWT", "jwt", "id+jwt", "at+JWT", "application/at+jwt", "reset+jwt", ""] {
        let mut header = header.clone();
        header["typ"] = json!(typ);
        assert_eq!(status(&world, &signed(&key, &header.to_string(), &claims.to_string())).await, 401, "{typ}");
    }
    assert_eq!(status(&world, &admin.refresh_token).await, 401, "a refresh token");
    let sign_in = world.stranger().post("/v1/auth/refresh", json!({ "refreshToken": admin.token })).await;
    sign_in.expect(401);
}

#[tokio::test]
async fn times_hold_to_the_second_with_half_a_minutes_leeway() {
    let world = World::new().await;
    let admin = world.admin().await;
    let key = signing_key(&world).await;
    let Parts { header, claims, .. } = parts(admin.token.as_ref().unwrap());
    // The world's clock stands still since the token was issued.
    let now = claims["iat"].as_u64().unwrap();
    let at = async |name: &str, seconds: u64| {
        let mut changed = claims.clone();
        changed[name] = json!(seconds);
        status(&world, &signed(&key, &header.to_string(), &changed.to_string())).await
    };
    assert_eq!(at("exp", now - 29).await, 200);
    assert_eq!(at("exp", now - 30).await, 401);
    assert_eq!(at("nbf", now + 30).await, 200);
    assert_eq!(at("nbf", now + 31).await, 401);
    assert_eq!(at("iat", now + 30).await, 200);
    assert_eq!(at("iat", now + 31).await, 401);

    assert_eq!(status(&world, admin.token.as_ref().unwrap()).await, 200);
    world.advance(Duration::from_secs(600 + 31));
    assert_eq!(status(&world, admin.token.as_ref().unwrap()).await, 401, "though it was remembered");
}

#[tokio::test]
async fn a_malformed_token_is_refused_without_a_database_call() {
    let world = World::new().await;
    let admin = world.admin().await;
    let Parts { header, claims, .. } = parts(admin.token.as_ref().unwrap());
    admin.get("/v1/collections/users/records").await.expect(200);
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    let garbage = [
        "x".to_owned(),
        "..".into(),
        "a.b".into(),
        "a.b.c.d".into(),
        "é.é.é".into(),
        "=.=.=".into(),
        token(&deep, &deep, "x"),
        token(&header.to_string(), &claims.to_string(), ""),
        token("{}", &claims.to_string(), "AAAA"),
        "y".repeat(9_000),
        token(&header.to_string().replacen('{', "{\"alg\":\"EdDSA\",", 1), &claims.to_string(), "AAAA"),
    ];
    for token in garbage {
        let Ok(_) = format!("Bearer {token}").parse::<axum::http::HeaderValue>() else { continue };
        let knock = world.stranger();
        let answer = knock
            .request(Method::GET, "/v1/collections/users/records")
            .header("authorization", &format!("Bearer {token}"))
            .send()
            .await;
        let answer = answer.expect(401);
        assert_eq!(answer.cost(), (0.0, 0.0, 0), "{}", answer.text);
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
}
