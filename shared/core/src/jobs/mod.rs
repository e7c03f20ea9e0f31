//! Jobs: their kinds, who may create each, and their payloads.

mod kinds;
mod payloads;

pub use kinds::{
    AskedBy, BUILD_JOB, CASCADE_JOB, CHECK_JOB, DEFAULT_ATTEMPTS, EMAIL_JOB, EXPORT_JOB, IMPORT_JOB, JOB_KINDS,
    JobKind, MAX_ATTEMPTS, PURGE_JOB, RESTORE_JOB, UNDELETE_JOB, planned,
};
pub use payloads::{EmailPayload, Export, Import, ImportMode, Undelete};
