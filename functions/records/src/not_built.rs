//! What the design promises of the data and this version does not do. It says so.

use undercroft::error::Error;

pub async fn schema() -> Error {
    Error::NotBuilt("a collection's schema for code generators")
}
