//! The server fixes one algorithm for each key (R44) and ignores the algorithm that a token's header names.

use super::{Parts, parts, signed, signing_key, status, token};
use crate::world::World;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use serde_json::{Value, json};
use undercroft::id::{base64url, from_base64url};

/// What precedes the 32 bytes of an Ed25519 key in DER (RFC 8410).
const DER_OF_ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// All registered algorithm names, those of other RFCs, and similar spellings.
const NAMES: [&str; 29] = [
    "none", "None", "NONE", "nOnE", "none ", " none", "", "null", "HS256", "HS384", "HS512", "hs256", "RS256", "RS384",
    "RS512", "PS256", "PS384", "PS512", "ES256", "ES256K", "ES384", "ES512", "EdDSA ", "eddsa", "Ed25519", "Ed448",
    "A128KW", "dir", "RSA-OAEP",
];

const HASHES: [(&str, hmac::Algorithm); 3] =
    [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)];

/// The public key in every form that a library might use as a shared secret.
fn forms(jwks: &Value) -> Vec<(&'static str, Vec<u8>)> {
    let jwk = &jwks["keys"][0];
    let x = jwk["x"].as_str().unwrap();
    let bytes = from_base64url(x).unwrap();
    let der = [&DER_OF_ED25519[..], &bytes].concat();
    let base64 = format!("{}=", base64url(&der).replace('-', "+").replace('_', "/"));
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----");
    let bare = json!({ "crv": "Ed25519", "kty": "OKP", "x": x });
    vec![
        ("raw", bytes.clone()),
        ("DER", der),
        ("PEM", pem.clone().into_bytes()),
        ("PEM, as a file", format!("{pem}\n").into_bytes()),
        ("PEM, with carriage returns", format!("{pem}\n").replace('\n', "\r\n").into_bytes()),
        ("the inside of PEM", base64.into_bytes()),
        ("JWK, as published", jwk.to_string().into_bytes()),
        ("JWK, of its thumbprint", bare.to_string().into_bytes()),
        ("JWK set", jwks.to_string().into_bytes()),
        ("x, as text", x.as_bytes().to_vec()),
        ("x, in hexadecimal", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()),
        ("nothing", Vec::new()),
    ]
}

/// A message with this signature.
fn sealed(header: &Value, claims: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = token(&header.to_string(), claims, "");
    let signature = sign(message.trim_end_matches('.').as_bytes());
    format!("{message}{}", base64url(&signature))
}

#[tokio::test]
async fn the_public_key_is_not_accepted_as_an_hmac_secret_in_any_form() {
    let world = World::new().await;
    let admin = world.admin().await;
    let Parts { header, claims, .. } = parts(admin.token.as_ref().unwrap());
    let jwks = world.stranger().get("/.well-known/jwks.json").await.expect(200).body;
    for (form, secret) in forms(&jwks) {
        for (name, hash) in HASHES {
            let key = hmac::Key::new(hash, &secret);
            for alg in [name, "EdDSA", "none", "HS256"] {
                let mut header = header.clone();
                header["alg"] = json!(alg);
                let forged =
                    sealed(&header, &claims.to_string(), |message| hmac::sign(&key, message).as_ref().to_vec());
                assert_eq!(status(&world, &forged).await, 401, "{alg} with {name} by the key as {form}");
            }
        }
    }
    assert_eq!(status(&world, admin.token.as_ref().unwrap()).await, 200);
}

#[tokio::test]
async fn only_the_algorithm_of_the_key_is_accepted() {
    let world = World::new().await;
    let good = world.admin().await.token.unwrap();
    let stack = signing_key(&world).await;
    let Parts { header, claims, signature } = parts(&good);
    let claims = claims.to_string();
    assert_eq!(status(&world, &signed(&stack, &header.to_string(), &claims)).await, 200, "the test can sign");
    let names = NAMES.map(Value::from).into_iter();
    let odd = [json!(null), json!(true), json!(0), json!(["EdDSA"]), json!({ "EdDSA": true })];
    for alg in names.chain(odd) {
        let mut header = header.clone();
        header["alg"] = alg.clone();
        let header = header.to_string();
        assert_eq!(status(&world, &token(&header, &claims, &signature)).await, 401, "{alg} with the old signature");
        assert_eq!(status(&world, &signed(&stack, &header, &claims)).await, 401, "{alg}, well signed");
        assert_eq!(status(&world, &token(&header, &claims, "")).await, 401, "{alg} without a signature");
        let two_parts = token(&header, &claims, "").trim_end_matches('.').to_owned();
        assert_eq!(status(&world, &two_parts).await, 401, "{alg} without even a place for one");
    }
    let mut without = header.clone();
    without.as_object_mut().unwrap().remove("alg");
    assert_eq!(status(&world, &signed(&stack, &without.to_string(), &claims)).await, 401, "without alg");
}

#[tokio::test]
async fn a_signature_by_another_key_or_algorithm_or_no_signature_is_refused() {
    let world = World::new().await;
    let good = world.admin().await.token.unwrap();
    let Parts { header, claims, .. } = parts(&good);
    let claims = claims.to_string();
    let random = SystemRandom::new();
    let ed = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
    let [p256, p384] = [&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED_SIGNING].map(|algorithm| {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap()
    });
    for alg in ["EdDSA", "ES256", "ES384", "RS256", "PS256", "HS256", "none"] {
        let mut header = header.clone();
        header["alg"] = json!(alg);
        let forged = [
            ("Ed25519", sealed(&header, &claims, |message| ed.sign(message).as_ref().to_vec())),
            ("P-256", sealed(&header, &claims, |message| p256.sign(&random, message).unwrap().as_ref().to_vec())),
            ("P-384", sealed(&header, &claims, |message| p384.sign(&random, message).unwrap().as_ref().to_vec())),
            ("an RSA key of the right length", sealed(&header, &claims, |_| vec![1; 256])),
            ("nobody", sealed(&header, &claims, |_| Vec::new())),
        ];
        for (key, forged) in forged {
            assert_eq!(status(&world, &forged).await, 401, "{alg} by {key}");
        }
    }
    let message = good.rsplit_once('.').unwrap().0;
    for nothing in ["", ".", ".=", "..", ". ", ".null", ".AA", ".AA.", ".A.A.A"] {
        assert_eq!(status(&world, &format!("{message}{nothing}")).await, 401, "{nothing:?} for a signature");
    }
}
