//! Decisions that need no I/O: no network, no AWS, no runtime. The crate's dependencies enforce it.
//!
//! `layers.txt` beside this file lists every module. A module may import only from modules above it; a test checks that.
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

pub mod caller;
pub mod clock;
pub mod email;
pub mod error;
pub mod expr;
pub mod files;
pub mod id;
pub mod jobs;
pub mod json_pointer;
pub mod policy;
pub mod preconditions;
pub mod query;
pub mod response_size;
pub mod routes;
pub mod schema;
pub mod strict_serde;
