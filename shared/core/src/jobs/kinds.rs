//! The table of job kinds. A new kind is a row here, a file in `functions/worker/src/jobs/`, and an arm of `run` there.

use super::payloads::{check_email, check_export, check_import, check_undelete};
use crate::error::FieldError;
use serde_json::{Map, Value};

/// Updates the attributes beside stored records to match a definition.
pub const BUILD_JOB: &str = "index.build";
/// Does the same, and checks whether a pending definition can come into force.
pub const CHECK_JOB: &str = "records.check";
/// Purges a deleted collection.
pub const PURGE_JOB: &str = "records.purge";
/// Applies `onDelete` to the records that point at a deleted record.
pub const CASCADE_JOB: &str = "records.cascade";
/// Undeletes the records that a cascade deleted with a record that was undeleted.
pub const RESTORE_JOB: &str = "records.restore";
/// Sends one mail.
pub const EMAIL_JOB: &str = "email.send";
/// Exports a collection to a file.
pub const EXPORT_JOB: &str = "records.export";
/// Imports records from a file.
pub const IMPORT_JOB: &str = "records.import";

/// Undeletes what was deleted from a collection since a time.
pub const UNDELETE_JOB: &str = "records.undelete";

/// The number of attempts unless a request sets it.
pub const DEFAULT_ATTEMPTS: u32 = 5;
/// Maximum number of attempts. System jobs use it, because giving up would leave a definition or a deletion half done.
pub const MAX_ATTEMPTS: u32 = 20;

/// Who may create a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedBy {
    /// Admins, by `POST /v1/jobs`.
    Admins,
    /// The system only, because a definition or record was put or deleted.
    System,
}

/// A kind of job.
#[derive(Debug, Clone, Copy)]
pub struct JobKind {
    /// Its name: the job's `type`.
    pub name: &'static str,
    /// Who may create it.
    pub asked_by: AskedBy,
    /// Whether it may run in a group. A job of many slices may not, because each slice would take a turn.
    pub takes_group: bool,
    /// The answer to those who want to cancel it: how to undo it, or that it cannot be undone. `None` if it can be cancelled.
    pub instead_of_cancelling: Option<&'static str>,
    /// The errors in a payload that can be found without reading anything.
    pub check: fn(&Map<String, Value>) -> Vec<FieldError>,
}

const fn by_admins(name: &'static str, check: fn(&Map<String, Value>) -> Vec<FieldError>) -> JobKind {
    let takes_group = true;
    JobKind { name, asked_by: AskedBy::Admins, takes_group, instead_of_cancelling: None, check }
}

const fn by_system(name: &'static str, instead: &'static str) -> JobKind {
    JobKind { asked_by: AskedBy::System, instead_of_cancelling: Some(instead), ..by_admins(name, unchecked) }
}

fn unchecked(_: &Map<String, Value>) -> Vec<FieldError> {
    Vec::new()
}

/// Every kind. A job with another type is accepted too and dies because no worker knows it.
pub const JOB_KINDS: [JobKind; 9] = [
    by_admins(EMAIL_JOB, check_email),
    JobKind { takes_group: false, ..by_admins(EXPORT_JOB, check_export) },
    JobKind { takes_group: false, ..by_admins(IMPORT_JOB, check_import) },
    JobKind { takes_group: false, ..by_admins(UNDELETE_JOB, check_undelete) },
    by_system(BUILD_JOB, "Put the previous definition again to end the job."),
    by_system(CHECK_JOB, "Put the previous definition again to end the job."),
    by_system(CASCADE_JOB, "Undelete the record to end the job."),
    by_system(RESTORE_JOB, "Delete the record again to end the job."),
    by_system(PURGE_JOB, "A collection that was deleted with its records cannot be restored."),
];

/// The beginnings of types that are designed and not built yet, each with its feature. Asking for one is answered with 501.
const PLANNED: [(&str, &str); 6] = [
    ("webhook.", "webhooks"),
    ("cron.", "schedules"),
    ("schedule.", "schedules"),
    ("topic.", "topics"),
    ("user.erase", "erasing a user"),
    ("users.erase", "erasing a user"),
];

/// The feature that a type of job belongs to, if it is not built yet.
pub fn planned(kind: &str) -> Option<&'static str> {
    PLANNED.iter().find(|(beginning, _)| kind.starts_with(beginning)).map(|(_, feature)| *feature)
}

impl JobKind {
    /// The kind with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        JOB_KINDS.iter().find(|kind| kind.name == name)
    }
}
