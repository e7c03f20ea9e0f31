//! What the design promises of the data and this version does not do. It says so.

use undercroft::error::Error;

pub async fn batch() -> Error {
    Error::NotBuilt("batch")
}

pub async fn changes() -> Error {
    Error::NotBuilt("the change feed")
}

pub async fn undelete() -> Error {
    Error::NotBuilt("undelete")
}
