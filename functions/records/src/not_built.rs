//! What the design promises of the data and this version does not do. It says so.

use undercroft::error::Error;

pub async fn changes() -> Error {
    Error::NotBuilt("the change feed")
}
