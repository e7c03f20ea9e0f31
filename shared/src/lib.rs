//! What Undercroft's functions have in common, in the order data flows.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test may fail loudly")
)]
pub mod aws;
mod by_name;
pub mod clock;
pub mod config;
pub mod cost;
pub mod cursor;
pub mod error;
pub mod expr;
#[doc(no_inline)]
pub use futures_util as futures;
pub mod http;
pub mod id;
pub mod identity;
pub mod policy;
pub mod query;
pub mod queue;
pub mod schema;
pub mod store;
pub mod task;
pub mod telemetry;
pub mod weight;
