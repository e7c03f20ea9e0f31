//! What every operation on definitions works with.

use crate::clock::Clock;
use crate::jobs::MAX_ATTEMPTS;
use crate::store::definitions::Definitions;
use crate::store::jobs::{Job, Jobs, MAX_DELAY_SECONDS};
use crate::store::records::Records;
use serde_json::{Map, Value};
use std::sync::Arc;

/// The operations on definitions.
#[derive(Debug, Clone)]
pub struct Operations {
    /// The stored definitions.
    pub definitions: Arc<Definitions>,
    /// The records that a changed definition is held against.
    pub records: Records,
    /// The jobs that follow from a change.
    pub jobs: Jobs,
    /// The time.
    pub clock: Clock,
}

impl Operations {
    /// Builds a job that updates stored records once no function uses the previous definition. It gets the maximum number of
    /// attempts, because no client can enqueue it again and a failure leaves the definition half applied.
    pub(super) fn job(&self, id: String, kind: &str, payload: Map<String, Value>, request: &str) -> Job {
        let settled = u32::try_from(self.definitions.lease().settled_seconds()).unwrap_or(MAX_DELAY_SECONDS);
        Job { max_attempts: MAX_ATTEMPTS, ..Job::new(id, kind, payload, request) }.delayed(settled)
    }
}
