//! What jobs may use.

use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::aws::objects::Objects;
use undercroft::clock::Clock;
use undercroft::identity::seal::Seal;
use undercroft::policy::System;
use undercroft::store::definitions::Definitions;
use undercroft::store::records::Records;

/// What jobs may use. A job's function takes only what it needs of these.
#[derive(Debug, Clone)]
pub struct Tools {
    /// AWS services.
    pub aws: Aws,
    /// Sender of all mail.
    pub mail_from: Arc<str>,
    /// Opens what was sealed for this function.
    pub seal: Arc<Seal>,
    /// Definitions of collections.
    pub definitions: Arc<Definitions>,
    /// Records, for jobs that look after all of a collection.
    pub records: Records,
    /// The files that imports read and exports write.
    pub files: Objects,
    /// The authority to do what follows from what callers were granted.
    pub system: System,
    /// The time.
    pub clock: Clock,
}
