//! Decisions that need no I/O: no network, no AWS, no runtime. The crate's dependencies enforce it.
//!
//! A rule is parsed against a collection's fields, reduced by what a request states, and evaluated for a record:
//!
//! ```
//! use serde_json::json;
//! use undercroft_core::caller::Caller;
//! use undercroft_core::expr::{Input, RecordRef, Rule};
//! use undercroft_core::policy::allow;
//! use undercroft_core::schema::{Collection, Definition};
//!
//! let body = json!({
//!     "schema": { "type": "object", "additionalProperties": false, "properties": { "public": { "type": "boolean" } } },
//!     "rules": { "read": "record.public" }
//! });
//! let notes = Collection::compile(Definition::parse("notes", body, None).unwrap()).unwrap();
//! let grant = allow(&Caller::Anonymous, Rule::Read, &notes.into(), 0, Input::None).unwrap();
//!
//! let data = json!({ "public": true });
//! let record = RecordRef { id: "1", created_at: "", updated_at: "", version: 1, data: data.as_object().unwrap() };
//! assert!(grant.allows(&record, Input::None));
//! ```
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
pub mod operators;
pub mod policy;
pub mod preconditions;
pub mod query;
pub mod response_size;
pub mod routes;
pub mod schema;
pub mod strict_serde;
