//! Sessions and their rotating refresh tokens (RFC 9700 section 4.14).
//!
//! A session is one item, `u#<user>` / `s#<session>`. Its refresh token changes with every use; the item holds only the hashes
//! of the current and the previous token. Using a token is one conditional write: of many concurrent calls one rotates the
//! token, and the others (a lost answer, two tabs) get the same successor for 30 seconds. An older token counts as stolen and
//! ends the session. A forged one is refused before any read.
//!
//! Tokens are derived, so that the same successor can be returned twice without storing it: HMAC-SHA-256 under a key in Parameter
//! Store, over user, session and generation. Without the key a stored hash is useless.

use ring::hmac;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::OnceCell;
use undercroft::clock::{Clock, rfc3339};
use undercroft::error::{Error, Result};
use undercroft::id;
use undercroft::identity::User;
use undercroft::identity::email::Email;
use undercroft::identity::parameters::Parameters;
use undercroft::store::item::{self, Item, integer, number, string, text};
use undercroft::store::{Expression, Table, TableQuery, WriteOutcome};

/// An unused session ends after this time, in seconds.
pub const IDLE_SECONDS: u64 = 30 * 86_400;
/// Every session ends after this time, in seconds.
pub const ABSOLUTE_SECONDS: u64 = 90 * 86_400;
/// For how long after a rotation the old token still returns its successor, in seconds.
pub const GRACE_SECONDS: u64 = 30;

/// Sessions of all users.
#[derive(Debug, Clone)]
pub struct Sessions {
    identity: Table,
    parameters: Parameters,
    clock: Clock,
    key: Arc<OnceCell<hmac::Key>>,
}

/// A session about to be written, and its first refresh token.
#[derive(Debug)]
pub struct NewSession {
    /// UUIDv7.
    pub id: String,
    /// The refresh token of generation 0.
    pub token: String,
    user: String,
    now: u64,
}

impl NewSession {
    /// The user of this session, whose address is verified.
    pub fn user(&self, email: &Email, roles: Vec<String>) -> User {
        let (id, session) = (self.user.clone(), self.id.clone());
        User { id, session, email: email.as_str().to_owned(), verified: true, roles }
    }

    /// The item of this session for `user`.
    pub fn item(&self, user: &User) -> Item {
        let mut item = key(&self.user, &self.id);
        item.extend([
            ("hash".to_owned(), string(id::sha256(self.token.as_bytes()))),
            ("generation".to_owned(), number(0)),
            ("email".to_owned(), string(&user.email)),
            ("roles".to_owned(), item::from_json(&json!(user.roles))),
            ("createdAt".to_owned(), number(self.now)),
            ("usedAt".to_owned(), number(self.now)),
            ("idleAt".to_owned(), number(self.now + IDLE_SECONDS)),
            ("expiresAt".to_owned(), number(self.now + ABSOLUTE_SECONDS)),
            ("ttl".to_owned(), number(self.now + ABSOLUTE_SECONDS)),
        ]);
        item
    }
}

/// The content of an authentic refresh token. The item decides whether it is still valid.
struct Presented {
    user: String,
    session: String,
    generation: u64,
}

impl Sessions {
    /// Sessions in `identity`.
    pub fn new(identity: Table, parameters: Parameters, clock: Clock) -> Self {
        Self { identity, parameters, clock, key: Arc::default() }
    }

    /// Prepares a session for a user.
    pub async fn begin(&self, user: &str) -> Result<NewSession> {
        let session = id::new(&self.clock);
        let token = self.token(user, &session, 0).await?;
        Ok(NewSession { id: session, token, user: user.to_owned(), now: self.clock.seconds() })
    }

    /// Writes a prepared session.
    pub async fn write(&self, session: &NewSession, user: &User) -> Result<()> {
        self.identity.put(session.item(user), Expression::default()).await.map(|_| ())
    }

    /// Exchanges a refresh token for its successor: one round trip, one write.
    ///
    /// # Errors
    /// `Unauthenticated` if the token is invalid or expired. After `Unavailable` the same token can be sent again.
    pub async fn rotate(&self, token: &str) -> Result<(User, String)> {
        let presented = self.presented(token).await?.ok_or(REFUSED)?;
        let successor = self.token(&presented.user, &presented.session, presented.generation + 1).await?;
        let now = self.clock.seconds();
        let change = Expression::new(
            "SET #hash = :next, previous = :presented, #generation = :generation, usedAt = :now, idleAt = :idle",
        )
        .name("#hash", "hash")
        .name("#generation", "generation")
        .value(":next", string(id::sha256(successor.as_bytes())))
        .value(":presented", string(id::sha256(token.as_bytes())))
        .value(":generation", number(presented.generation + 1))
        .value(":now", number(now))
        .value(":idle", number(now + IDLE_SECONDS));
        let condition = Expression::new("#hash = :presented AND expiresAt > :now AND idleAt > :now");
        match self.identity.update(key(&presented.user, &presented.session), change, condition).await? {
            WriteOutcome::Done(found) => Ok((user(&presented, &found), successor)),
            WriteOutcome::ConditionFailed(Some(found)) => self.refused(token, &presented, &found, successor).await,
            WriteOutcome::ConditionFailed(None) => Err(REFUSED),
        }
    }

    /// Handles a token that is not the current one: returns its successor within 30 seconds, otherwise ends the session.
    async fn refused(
        &self,
        token: &str,
        presented: &Presented,
        found: &Item,
        successor: String,
    ) -> Result<(User, String)> {
        let now = self.clock.seconds();
        let alive = is_alive(found, now);
        let is_previous = text(found, "previous") == Some(id::sha256(token.as_bytes()).as_str());
        let rotated = integer(found, "usedAt").unwrap_or(0);
        if alive && is_previous && now <= rotated + GRACE_SECONDS {
            return Ok((user(presented, found), successor));
        }
        if alive {
            tracing::warn!(
                session = presented.session,
                "An old refresh token was used again, so the session was ended."
            );
            self.end(&presented.user, &presented.session).await?;
        }
        Err(REFUSED)
    }

    /// The session that a refresh token belongs to, if it is the current token.
    pub async fn of_token(&self, token: &str) -> Result<Option<(String, String)>> {
        let Some(presented) = self.presented(token).await? else { return Ok(None) };
        let found = self.identity.get_by(key(&presented.user, &presented.session), true).await?;
        let hash = id::sha256(token.as_bytes());
        let current = found.filter(|found| text(found, "hash") == Some(hash.as_str()));
        Ok(current.map(|_| (presented.user, presented.session)))
    }

    /// Ends a session. Repeating it is harmless.
    pub async fn end(&self, user: &str, session: &str) -> Result<()> {
        self.identity.delete(key(user, session), Expression::default()).await.map(|_| ())
    }

    /// Whether a session exists and has not expired.
    pub async fn is_alive(&self, user: &str, session: &str) -> Result<bool> {
        let found = self.identity.get_by(key(user, session), true).await?;
        Ok(found.is_some_and(|found| is_alive(&found, self.clock.seconds())))
    }

    /// A user's sessions, newest first, as the API shows them. At most a hundred.
    pub async fn of_user(&self, user: &str, current: &str) -> Result<Vec<serde_json::Value>> {
        let condition = Expression::new("pk = :pk AND begins_with(sk, :s)")
            .value(":pk", string(format!("u#{user}")))
            .value(":s", string("s#"));
        let page = self.identity.query(&TableQuery { key: condition, limit: 100, ..TableQuery::default() }).await?;
        let now = self.clock.seconds();
        let alive = page.items.iter().filter(|found| is_alive(found, now));
        Ok(alive.map(|found| shown(found, current)).collect())
    }

    async fn token(&self, user: &str, session: &str, generation: u64) -> Result<String> {
        let claim = format!("{user}.{session}.{generation}");
        let tag = hmac::sign(self.key().await?, claim.as_bytes());
        Ok(format!("{claim}.{}", id::base64url(tag.as_ref())))
    }

    /// Returns the content of a token if its tag is authentic. A forged token causes no read, and the comparison takes
    /// constant time (R125).
    async fn presented(&self, token: &str) -> Result<Option<Presented>> {
        let Some((presented, claim, tag)) = parse(token) else { return Ok(None) };
        let verified = hmac::verify(self.key().await?, claim.as_bytes(), &tag);
        Ok(verified.is_ok().then_some(presented))
    }

    async fn key(&self) -> Result<&hmac::Key> {
        self.key
            .get_or_try_init(async || {
                let text = self.parameters.get_or_create("refresh", || id::base64url(&id::random::<32>())).await?;
                let bytes = id::from_base64url(&text)
                    .ok_or_else(|| Error::internal("The refresh key in Parameter Store is not base64url."))?;
                Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
            })
            .await
    }
}

const REFUSED: Error = Error::Unauthenticated("The refresh token is invalid or expired. Sign in again.");

/// The content of a token, its text, and its authentication tag.
fn parse(token: &str) -> Option<(Presented, &str, Vec<u8>)> {
    if token.len() > 256 {
        return None;
    }
    let (claim, tag) = token.rsplit_once('.')?;
    let mut parts = claim.split('.');
    let user = parts.next().filter(|part| id::is_valid(part))?.to_owned();
    let session = parts.next().filter(|part| id::is_valid(part))?.to_owned();
    let generation = parts.next()?.parse().ok().filter(|generation| *generation < u64::from(u32::MAX))?;
    let tag = id::from_base64url(tag)?;
    parts.next().is_none().then_some((Presented { user, session, generation }, claim, tag))
}

fn key(user: &str, session: &str) -> Item {
    item::key(&format!("u#{user}"), &format!("s#{session}"))
}

fn is_alive(found: &Item, now: u64) -> bool {
    ["expiresAt", "idleAt"].iter().all(|limit| integer(found, limit).is_some_and(|limit| now < limit))
}

fn user(presented: &Presented, found: &Item) -> User {
    User {
        id: presented.user.clone(),
        session: presented.session.clone(),
        email: text(found, "email").unwrap_or_default().to_owned(),
        verified: true,
        roles: roles(found),
    }
}

fn shown(found: &Item, current: &str) -> serde_json::Value {
    let id = text(found, "sk").and_then(|sk| sk.strip_prefix("s#")).unwrap_or_default();
    let time = |name| integer(found, name).map(|seconds| rfc3339(seconds * 1000));
    json!({
        "id": id, "current": id == current,
        "createdAt": time("createdAt"), "lastUsedAt": time("usedAt"), "expiresAt": time("expiresAt"),
    })
}

/// The roles in an item.
pub fn roles(found: &Item) -> Vec<String> {
    let listed = found.get("roles").and_then(|roles| roles.as_l().ok());
    listed.into_iter().flatten().filter_map(|role| role.as_s().ok().cloned()).collect()
}
