//! Cursors: the position where the next page of a list begins, encrypted, and bound to one list.

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::id;
use crate::identity::seal::Seal;
use serde::{Deserialize, Serialize};

/// How long a cursor is valid, in seconds.
pub const CURSOR_SECONDS: u64 = 86_400;

/// Creates and opens cursors.
#[derive(Debug)]
pub struct Cursors {
    seal: Seal,
    clock: Clock,
}

#[derive(Serialize, Deserialize)]
struct Content {
    position: String,
    expires_at: u64,
}

impl Cursors {
    /// Cursors sealed with `seal`, with expiry checked by `clock`.
    pub fn new(seal: Seal, clock: Clock) -> Self {
        Self { seal, clock }
    }

    /// A cursor to `position` in the list that `list` identifies by caller, collection and query.
    ///
    /// # Errors
    /// `Unavailable` when the key cannot be fetched.
    pub async fn make(&self, list: &str, position: &[u8]) -> Result<String> {
        self.sealed(list, position, self.clock.seconds() + CURSOR_SECONDS).await
    }

    /// The same for a list whose positions contain their own expiry.
    ///
    /// # Errors
    /// `Unavailable` when the key cannot be fetched.
    pub async fn make_lasting(&self, list: &str, position: &[u8]) -> Result<String> {
        self.sealed(list, position, u64::MAX).await
    }

    async fn sealed(&self, list: &str, position: &[u8], expires_at: u64) -> Result<String> {
        let content = Content { position: id::base64url(position), expires_at };
        self.seal.seal(list, &serde_json::to_vec(&content).map_err(Error::internal)?).await
    }

    /// The position in a cursor of exactly this list.
    ///
    /// # Errors
    /// `BadRequest` for a cursor of another list, a modified cursor, or one older than a day.
    pub async fn open(&self, list: &str, cursor: &str) -> Result<Vec<u8>> {
        let opened = self.seal.open(list, cursor).await?;
        let content = opened.and_then(|bytes| serde_json::from_slice::<Content>(&bytes).ok());
        content
            .filter(|content| self.clock.seconds() < content.expires_at)
            .and_then(|content| id::from_base64url(&content.position))
            .ok_or_else(|| {
                let detail = "This cursor belongs to another list or is older than a day. Send the request without a cursor to \
                              start again.";
                Error::bad_request("cursor", detail)
            })
    }
}
