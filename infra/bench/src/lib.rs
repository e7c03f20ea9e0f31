//! What Undercroft costs, measured on the functions as they ship and beside something to compare with in the same run.
//!
//! - [`stack`]: a local cloud with one collection, for all of it to stand on; [`seed`] fills it
//! - [`artefact`], [`event`], [`runtime`]: a function's bootstrap, built, started, and handed requests, as Lambda would
//! - [`job`]: a job handed to the worker slice by slice, as the queue would
//! - [`callgrind`], [`slice`](mod@slice): its instructions counted; its processor rationed
//! - [`replay`], [`throttle`]: DynamoDB over TLS without the emulator's slowness; DynamoDB with its limit on a partition
//! - [`mixed`]: what each function is asked in the long run
//! - [`report`]: what was seen, in lines
//!
//! The measurements themselves are the examples, one a file. README.md says what each printed.
#![allow(
    clippy::disallowed_methods,
    clippy::double_ended_iterator_last,
    clippy::cloned_ref_to_slice_refs,
    reason = "a bench is a program of its own: it has threads and waits"
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
