//! Access tokens: every way to forge one, refused (RFC 8725).

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

/// The stack's own private key, taken from where only `auth` may read: what an attacker does not have, a test does.
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

async fn status(world: &World, token: &str) -> u16 {
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
async fn no_algorithm_but_the_keys_own_is_believed() {
    let world = World::new().await;
    let admin = world.admin().await;
    let good = admin.token.clone().unwrap();
    assert_eq!(status(&world, &good).await, 200);
    let Parts { header, claims, signature } = parts(&good);
    let claims = claims.to_string();
    let x = from_base64url(world.stranger().get("/.well-known/jwks.json").await.body["keys"][0]["x"].as_str().unwrap())
        .unwrap();
    for alg in ["none", "None", "NONE", "nOnE", "HS256", "HS512", "ES256", "RS256", "PS256", "EdDSA ", "Ed25519", ""] {
        let mut header = header.clone();
        header["alg"] = json!(alg);
        let header = header.to_string();
        assert_eq!(status(&world, &token(&header, &claims, &signature)).await, 401, "{alg} with the old signature");
        assert_eq!(status(&world, &token(&header, &claims, "")).await, 401, "{alg} without one");
        // The public key as a shared secret, the classic.
        let message = token(&header, &claims, "");
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &x);
        let tag = ring::hmac::sign(&key, message.trim_end_matches('.').as_bytes());
        assert_eq!(status(&world, &format!("{message}{}", base64url(tag.as_ref()))).await, 401, "{alg} with an HMAC");
    }
}

#[tokio::test]
async fn a_key_that_comes_with_the_token_is_not_a_key() {
    let world = World::new().await;
    let admin = world.admin().await;
    let Parts { header, claims, .. } = parts(admin.token.as_ref().unwrap());
    let own =
        Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap().as_ref()).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(own.public_key().as_ref()) });
    let smuggled = [
        ("jwk", jwk),
        ("jku", json!("http://127.0.0.1:1/jwks.json")),
        ("x5u", json!("http://127.0.0.1:1/x")),
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
    for kid in ["", "unknown", "../../etc/passwd", "' OR 1=1"] {
        let mut header = header.clone();
        header["kid"] = json!(kid);
        assert_eq!(status(&world, &signed(&own, &header.to_string(), &claims.to_string())).await, 401, "{kid}");
    }
}

#[tokio::test]
async fn every_claim_must_be_there_once_of_its_type_and_right() {
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
        for wrong in [json!(null), json!([]), json!({}), json!(-1), json!(1.5), json!([claims[name]])] {
            if claims[name].is_array() && wrong == json!([]) {
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
    let huge = claims.to_string().replacen("\"exp\":", "\"exp\":1e400,\"x\":", 1);
    assert_eq!(status(&world, &signed(&key, &header, &huge)).await, 401);
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
    assert_eq!(at("iat", now + 31).await, 401);

    assert_eq!(status(&world, admin.token.as_ref().unwrap()).await, 200);
    world.advance(Duration::from_secs(600 + 31));
    assert_eq!(status(&world, admin.token.as_ref().unwrap()).await, 401, "though it was remembered");
}

#[tokio::test]
async fn what_is_no_token_is_refused_without_asking_the_database() {
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
