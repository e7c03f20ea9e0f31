//! The table of job kinds. A new kind is a row here, a file in `functions/worker/src/jobs/`, and an arm of `run` there.

use super::payloads::{check_email, check_export, check_import};
use crate::error::FieldError;
use serde_json::{Map, Value};

/// The kind that brings what is kept beside records to what a definition says.
pub const BUILD_JOB: &str = "index.build";
/// The kind that does the same and decides besides whether a definition comes into force.
pub const CHECK_JOB: &str = "records.check";
/// The kind that clears a deleted collection.
pub const PURGE_JOB: &str = "records.purge";
/// The kind that does to records what the deletion of the one they point at asks for.
pub const CASCADE_JOB: &str = "records.cascade";
/// The kind that sends one mail.
pub const EMAIL_JOB: &str = "email.send";
/// The kind that writes a collection into a file.
pub const EXPORT_JOB: &str = "records.export";
/// The kind that makes records of a file.
pub const IMPORT_JOB: &str = "records.import";

/// How often a job is tried unless it asks for something else.
pub const DEFAULT_ATTEMPTS: u32 = 5;
/// The most often a job can be tried. A system job is: giving up would leave a definition or a deletion half done.
pub const MAX_ATTEMPTS: u32 = 20;

/// Who may ask for a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskedBy {
    /// Admins, by `POST /v1/jobs`.
    Admins,
    /// The system alone, because something was put or deleted.
    System,
}

/// A kind of job.
#[derive(Debug, Clone, Copy)]
pub struct JobKind {
    /// Its name: the job's `type`.
    pub name: &'static str,
    /// Who may ask for it.
    pub asked_by: AskedBy,
    /// Whether the worker runs it. What is part of the design and not built yet is answered with 501.
    pub is_built: bool,
    /// Whether it may take its turn in a group. A job of many slices cannot: each would be a turn of its own.
    pub takes_group: bool,
    /// What to do instead of cancelling it; `None` where it can be cancelled.
    pub instead_of_cancelling: Option<&'static str>,
    /// What is wrong with a payload, as far as that can be known without reading anything.
    pub check: fn(&Map<String, Value>) -> Vec<FieldError>,
}

const fn by_admins(name: &'static str, check: fn(&Map<String, Value>) -> Vec<FieldError>) -> JobKind {
    let takes_group = true;
    JobKind { name, asked_by: AskedBy::Admins, is_built: true, takes_group, instead_of_cancelling: None, check }
}

const fn by_system(name: &'static str, instead: &'static str) -> JobKind {
    JobKind { asked_by: AskedBy::System, instead_of_cancelling: Some(instead), ..by_admins(name, unchecked) }
}

fn unchecked(_: &Map<String, Value>) -> Vec<FieldError> {
    Vec::new()
}

/// Every kind there is. A job of another name is taken as well, and dies with the reason that no worker knows it.
pub const JOB_KINDS: [JobKind; 9] = [
    by_admins(EMAIL_JOB, check_email),
    JobKind { takes_group: false, ..by_admins(EXPORT_JOB, check_export) },
    JobKind { takes_group: false, ..by_admins(IMPORT_JOB, check_import) },
    JobKind { is_built: false, ..by_admins("webhook.deliver", unchecked) },
    JobKind { is_built: false, ..by_admins("user.erase", unchecked) },
    by_system(BUILD_JOB, "put the definition again as it was, which ends the job"),
    by_system(CHECK_JOB, "put the definition again as it was, which ends the job"),
    by_system(CASCADE_JOB, "undelete the record, which ends the job"),
    by_system(PURGE_JOB, "a collection that was deleted with its records does not come back"),
];

impl JobKind {
    /// The kind of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        JOB_KINDS.iter().find(|kind| kind.name == name)
    }
}
