//! Benches of Undercroft, measured on the functions as deployed, with a comparison in the same run.
//!
//! - [`stack`]: a local cloud with one collection; [`seed`] fills it
//! - [`artefact`], [`event`], [`runtime`]: build a function, start it, and send it requests, as Lambda does
//! - [`job`]: runs a job in the worker slice by slice, as the queue does
//! - [`callgrind`], [`slice`](mod@slice): count instructions; limit processor time
//! - [`replay`], [`throttle`]: recorded answers of DynamoDB over TLS; DynamoDB with its limit for each partition
//! - [`mixed`]: mixed requests for each function
//! - [`report`]: prints results
//!
//! Each example is one measurement. README.md has the recorded results.
#![allow(
    clippy::disallowed_methods,
    clippy::double_ended_iterator_last,
    clippy::cloned_ref_to_slice_refs,
    reason = "a bench is a separate program that may block its threads"
)]

pub mod artefact;
pub mod callgrind;
pub mod event;
pub mod http1;
pub mod job;
pub mod mixed;
pub mod replay;
pub mod report;
pub mod runtime;
pub mod seed;
pub mod slice;
pub mod stack;
pub mod throttle;
