//! The local cloud: executes template.yaml with local AWS services, and invokes the functions as AWS would.
//!
//! In the order of a start:
//!
//! - [`template`]: reads and checks template.yaml, and rejects what is not supported
//! - `data_folder`, `database`, `service`: the stored data, and the AWS services at one loopback address
//! - `origin_check`, `signature`, `iam`: rejects requests of web pages, verifies signatures, and checks the functions' roles
//! - `deploy`: creates tables, queues, buckets, functions and event sources from the template
//! - [`LocalCloud`]: all of it, running; `event_source` and `poller` pass messages and stream records to the functions
//! - `lambda`: the functions' processes, their HTTP API and the Runtime API
//! - [`dev`]: the command `cargo dev`
//!
//! `layers.txt` lists the modules from the lowest to the highest: each imports only from modules above it in the file.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")
)]

mod aws_client;
mod aws_error;
mod clock;
mod cloud;
mod data_folder;
mod database;
mod deploy;
pub mod dev;
mod event_source;
mod external_endpoint;
mod filter_criteria;
mod http_client;
mod iam;
mod lambda;
mod origin_check;
mod poller;
mod queue_depth;
mod service;
mod signature;
mod start_error;
pub mod template;

pub use aws_error::AwsError;
pub use clock::Clock;
pub use cloud::{Data, LocalCloud, Options};
pub use data_folder::DataFolder;
pub use event_source::{FunctionError, Invoke};
pub use filter_criteria::FilterCriteria;
pub use http_client::CallError;
pub use iam::Grant;
pub use queue_depth::QueueDepth;
pub use service::Service;
pub use service::fault_injection::{Call, Fault, FaultInjector};
pub use service::mail::Mail;
pub use service::objects::Summary;
pub use service::pause::PausedCall;
pub use signature::Signer;
pub use start_error::StartError;
pub use template::Template;
