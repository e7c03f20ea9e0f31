//! Tests of the local cloud: the requirements of event sources row by row, SQS, S3, IAM, errors in templates, and restarts.
//! Functions are closures here; the real ones have their own tests.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod authentication;
mod events;
mod external_endpoint;
mod fault_injection;
mod iam;
mod objects;
mod queues;
mod restart;
mod services;
mod sqs_event_sources;
mod stream_event_sources;
mod template;
mod world;
