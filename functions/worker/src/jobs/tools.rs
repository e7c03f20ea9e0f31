//! What jobs may use.

use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::aws::objects::Objects;
use undercroft::clock::Clock;
use undercroft::identity::seal::Seal;
use undercroft::policy::System;
use undercroft::store::definitions::Definitions;
use undercroft::store::records::Records;

/// The services that jobs may use. A job's function takes only what it needs of these.
#[derive(Debug, Clone)]
pub struct Tools {
    /// AWS services.
    pub aws: Aws,
    /// Sender of all mail.
    pub mail_from: Arc<str>,
    /// Decrypts texts that were encrypted for this function.
    pub seal: Arc<Seal>,
    /// Definitions of collections.
    pub definitions: Arc<Definitions>,
    /// Records, for jobs that process a whole collection.
    pub records: Records,
    /// The files that imports read and exports write.
    pub files: Objects,
    /// The permission for system writes, which follow from permitted requests.
    pub system: System,
    /// The time.
    pub clock: Clock,
}
