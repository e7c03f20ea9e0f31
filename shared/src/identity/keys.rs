//! The public signing keys: an item in the `Records` table that only `auth` may write, cached in memory. A token's key id
//! selects one of them (R45). Unknown key ids cause a lookup at most every few seconds, so forged tokens cause almost no
//! reads.

use super::{Caller, User, token};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::store::Table;
use crate::store::item::{self, Item};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Partition key of the published keys in the `Records` table.
pub const KEYS_PARTITION: &str = "k";
/// Sort key of the published keys.
pub const KEYS_SORT: &str = "signing";
/// Minimum time between two lookups for unknown key ids, in milliseconds.
const REFETCH_MILLIS: u64 = 5_000;
/// How long start-up waits for the keys.
const WARM_PATIENCE: Duration = Duration::from_secs(1);
/// Maximum number of verified tokens cached by hash until they expire.
const REMEMBERED_TOKENS: usize = 1_000;

/// One published key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublicKey {
    /// Key id.
    pub kid: String,
    /// The 32 bytes of the Ed25519 public key, base64url: `x` of a JWK (RFC 8037).
    pub x: String,
}

/// Verifies bearer tokens.
#[derive(Debug)]
pub struct Authenticator {
    records: Table,
    clock: Clock,
    issuer: String,
    state: Mutex<State>,
    fetched_at: tokio::sync::Mutex<u64>,
}

#[derive(Debug, Default)]
struct State {
    keys: Vec<PublicKey>,
    remembered: HashMap<[u8; 32], (User, u64)>,
}

impl Authenticator {
    /// Verifies tokens of the stack named `stack`, with the keys published in `records`.
    pub fn new(records: Table, clock: Clock, stack: &str) -> Self {
        Self {
            records,
            clock,
            issuer: token::issuer(stack),
            state: Mutex::default(),
            fetched_at: tokio::sync::Mutex::new(0),
        }
    }

    /// The caller that a bearer token identifies.
    ///
    /// # Errors
    /// `Unauthenticated` for an invalid token. `Unavailable` when the keys cannot be read; access is never granted then.
    pub async fn caller(&self, token: &str) -> Result<Caller> {
        let hash = hash(token);
        let now = self.clock.seconds();
        if let Some(user) = self.remembered(&hash, now) {
            return Ok(Caller::User(user));
        }
        let kid = token::key_id(token).ok_or(REFUSED)?;
        let key = self.key(&kid).await?.ok_or(REFUSED)?;
        let (user, until) = token::verify(token, &self.issuer, &key, now).ok_or(REFUSED)?;
        self.remember(hash, user.clone(), until, now);
        Ok(Caller::User(user))
    }

    /// Fetches the keys before the first token, within a time limit: start-up has its own deadline.
    pub async fn warm(&self) {
        // No key has this id, so all published keys are fetched.
        let _ = tokio::time::timeout(WARM_PATIENCE, self.key("")).await;
    }

    fn remembered(&self, hash: &[u8; 32], now: u64) -> Option<User> {
        let state = self.state();
        state.remembered.get(hash).filter(|(_, until)| now < *until).map(|(user, _)| user.clone())
    }

    fn remember(&self, hash: [u8; 32], user: User, until: u64, now: u64) {
        let mut state = self.state();
        if state.remembered.len() >= REMEMBERED_TOKENS {
            state.remembered.retain(|_, (_, until)| now < *until);
        }
        if state.remembered.len() >= REMEMBERED_TOKENS {
            state.remembered.clear();
        }
        state.remembered.insert(hash, (user, until));
    }

    async fn key(&self, kid: &str) -> Result<Option<Vec<u8>>> {
        if let Some(key) = self.known_key(kid) {
            return Ok(Some(key));
        }
        // Concurrent requests wait for one fetch.
        let mut fetched_at = self.fetched_at.lock().await;
        if let Some(key) = self.known_key(kid) {
            return Ok(Some(key));
        }
        let now = self.clock.millis();
        if now < *fetched_at + REFETCH_MILLIS {
            return Ok(None);
        }
        let keys = published(&self.records).await?;
        // While no keys are cached, the first token must not wait for the pause.
        if !keys.is_empty() {
            *fetched_at = now;
        }
        self.state().keys = keys;
        Ok(self.known_key(kid))
    }

    fn known_key(&self, kid: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let key = state.keys.iter().find(|key| key.kid == kid)?;
        crate::id::from_base64url(&key.x)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const REFUSED: Error = Error::Unauthenticated("The access token is invalid or has expired. Sign in or refresh it.");

/// The keys published in the `Records` table, newest first.
///
/// # Errors
/// `Unavailable` when the table does not respond.
pub async fn published(records: &Table) -> Result<Vec<PublicKey>> {
    let found = records.get(KEYS_PARTITION, KEYS_SORT, true).await?;
    found.map_or(Ok(Vec::new()), |found| published_in(&found))
}

/// The keys in the item that publishes them.
///
/// # Errors
/// `Internal` when the item is malformed.
pub fn published_in(found: &Item) -> Result<Vec<PublicKey>> {
    let keys = found.get("keys").map(item::to_json).unwrap_or_default();
    serde_json::from_value(keys).map_err(Error::internal)
}

fn hash(token: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}
