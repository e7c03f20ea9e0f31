//! The private signing key. It is created on first use in Parameter Store, and its public key is published before it signs.

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use undercroft::error::{Error, Result};
use undercroft::id;
use undercroft::identity::User;
use undercroft::identity::keys::{KEYS_PARTITION, KEYS_SORT, PublicKey, published, published_in};
use undercroft::identity::parameters::Parameters;
use undercroft::identity::token::{self, ACCESS_TOKEN_SECONDS};
use undercroft::store::{Expression, Table, WriteOutcome, item};

/// Signs access tokens.
#[derive(Debug)]
pub struct SigningKeys {
    parameters: Parameters,
    records: Table,
    issuer: String,
    key: OnceCell<PrivateKey>,
}

#[derive(Serialize, Deserialize)]
struct PrivateKey {
    kid: String,
    x: String,
    pkcs8: String,
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.kid)
    }
}

impl SigningKeys {
    /// Keys of the stack `stack`, published in the table `records`.
    pub fn new(parameters: Parameters, records: Table, stack: &str) -> Self {
        Self { parameters, records, issuer: token::issuer(stack), key: OnceCell::new() }
    }

    /// The answer to sign-in, verification and refresh: a new access token and the refresh token.
    ///
    /// # Errors
    /// `Unavailable` if the key cannot be fetched.
    pub async fn tokens(&self, user: &User, refresh_token: &str, now: u64) -> Result<Value> {
        let key = self.key().await?;
        let pkcs8 = id::from_base64url(&key.pkcs8)
            .ok_or_else(|| Error::internal("The signing key in Parameter Store is not base64url."))?;
        let jti = id::base64url(&id::random::<12>());
        let access = token::sign(user, &self.issuer, &key.kid, &pkcs8, now, jti).map_err(Error::Internal)?;
        Ok(json!({
            "accessToken": access, "refreshToken": refresh_token, "expiresIn": ACCESS_TOKEN_SECONDS, "tokenType": "Bearer",
            "user": { "id": user.id, "email": user.email, "verified": user.verified, "roles": user.roles },
        }))
    }

    /// The public keys, as a JWK set (RFC 7517, RFC 8037).
    ///
    /// # Errors
    /// `Unavailable` if the keys cannot be fetched.
    pub async fn jwks(&self) -> Result<Value> {
        self.key().await?;
        let keys = published(&self.records).await?;
        let jwk = |key: &PublicKey| json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key.kid, "x": key.x });
        Ok(json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }))
    }

    async fn key(&self) -> Result<&PrivateKey> {
        self.key
            .get_or_try_init(async || {
                let text = self.parameters.get_or_create("signing", make).await?;
                let key: PrivateKey = serde_json::from_str(&text).map_err(Error::internal)?;
                self.publish(&key).await?;
                Ok(key)
            })
            .await
    }

    /// Publishes the public key. Verifiers must find it before the first token names its id.
    async fn publish(&self, key: &PrivateKey) -> Result<()> {
        let mut found = item::key(KEYS_PARTITION, KEYS_SORT);
        found.insert("keys".into(), item::from_json(&json!([{ "kid": key.kid, "x": key.x }])));
        let WriteOutcome::ConditionFailed(Some(old)) =
            self.records.put(found, Expression::new("attribute_not_exists(pk)")).await?
        else {
            return Ok(());
        };
        let mut keys = published_in(&old)?;
        if keys.iter().any(|known| known.kid == key.kid) {
            return Ok(());
        }
        // The private key is new (its parameter was deleted): it is listed first, and tokens of the old key expire.
        keys.insert(0, PublicKey { kid: key.kid.clone(), x: key.x.clone() });
        let mut all = item::key(KEYS_PARTITION, KEYS_SORT);
        all.insert("keys".into(), item::from_json(&json!(keys)));
        let unchanged = Expression::new("#keys = :old").name("#keys", "keys");
        let unchanged =
            unchanged.value(":old", old.get("keys").cloned().unwrap_or_else(|| item::from_json(&json!([]))));
        match self.records.put(all, unchanged).await? {
            WriteOutcome::Done(()) => Ok(()),
            WriteOutcome::ConditionFailed(_) => Err(Error::Unavailable { retry_after: 1, source: None }),
        }
    }
}

fn make() -> String {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("the operating system gives random bytes");
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key just made is well formed");
    let x = id::base64url(pair.public_key().as_ref());
    let kid = id::sha256(x.as_bytes()).chars().take(16).collect();
    serde_json::to_string(&PrivateKey { kid, x, pkcs8: id::base64url(pkcs8.as_ref()) }).unwrap_or_default()
}
