//! The local cloud held against what it promises: the lists of trigger semantics row by row, SQS's own rules, refusals
//! by name, and restarts. Functions here are closures; the real ones have their own tests.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod elsewhere;
mod events;
mod faults;
mod objects;
mod permissions;
mod queues;
mod restart;
mod services;
mod sqs_sources;
mod strangers;
mod stream_sources;
mod template;
mod world;
