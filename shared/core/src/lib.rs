//! What is decided without asking anybody: no network, no clock of its own, no AWS. The compiler keeps it so.
//!
//! Each module stands on those before it.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail loudly")
)]

pub mod caller;
pub mod clock;
pub mod error;
pub mod expr;
pub mod id;
pub mod policy;
pub mod preconditions;
pub mod query;
pub mod response_size;
pub mod schema;
pub mod strict_serde;
