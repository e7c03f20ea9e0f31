//! The cloud on a laptop: executes template.yaml over local services, and feeds the functions what AWS would feed them.
//!
//! In the order things happen:
//!
//! - [`template`]: template.yaml read, checked and resolved; what cannot be honoured is refused by name
//! - `folder`, `service`: where data is kept, and the services behind one loopback address
//! - `host`, `signature`: no foreign page gets in, and every call is signed by whom it says
//! - `permissions`: the functions' roles, held against every call that arrives there
//! - `deploy`: tables, queues, functions and mappings made from the template
//! - [`LocalCloud`]: all of it, running; `mapping` and `run` carry queues and streams to the functions
//! - `lambda`: the functions as processes, their HTTP API and the Runtime API
//! - [`dev`]: the command around it, `cargo dev`

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")
)]

mod client;
mod clock;
mod cloud;
mod deploy;
mod depths;
pub mod dev;
mod elsewhere;
mod error;
mod folder;
mod host;
mod lambda;
mod mapping;
mod permissions;
mod run;
mod service;
mod signature;
pub mod template;

pub use client::CallError;
pub use clock::Clock;
pub use cloud::{Data, LocalCloud, Options};
pub use depths::QueueDepth;
pub use error::StartError;
pub use folder::DataFolder;
pub use mapping::{Filter, FunctionError, Invoke};
pub use permissions::Grant;
pub use service::faults::{Call, Faults, Mishap};
pub use service::hold::Hold;
pub use service::mail::Mail;
pub use service::objects::Summary;
pub use service::{Fault, Service};
pub use signature::Signer;
pub use template::Template;
