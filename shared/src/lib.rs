//! The library that all Undercroft functions share, in the order data flows.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::too_many_lines,
        reason = "tests may panic, and a table of cases is one test"
    )
)]
pub mod aws;
pub mod clock;
pub mod config;
pub mod cost;
pub mod cursor;
#[doc(no_inline)]
pub use futures_util as futures;
pub mod definitions;
pub mod http;
pub mod identity;
pub mod jobs;
pub mod policy;
pub mod queue;
pub mod records;
pub mod store;
pub mod task;
pub mod telemetry;

pub use undercroft_core::{
    error, expr, files, id, json_pointer, operators, preconditions, query, response_size, routes, schema, strict_serde,
};
