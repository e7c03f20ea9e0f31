//! What the design promises of the data and this version does not do. It says so.

use axum::http::HeaderMap;
use undercroft::error::{Error, Result};

pub async fn batch() -> Error {
    Error::NotBuilt("batch")
}

pub async fn changes() -> Error {
    Error::NotBuilt("the change feed")
}

pub async fn undelete() -> Error {
    Error::NotBuilt("undelete")
}

pub async fn schema() -> Error {
    Error::NotBuilt("a collection's schema for code generators")
}

/// A key that would be ignored must not look as if it were kept.
pub fn refuse_idempotency_key(headers: &HeaderMap) -> Result<()> {
    if headers.contains_key("idempotency-key") { Err(Error::NotBuilt("Idempotency-Key")) } else { Ok(()) }
}
