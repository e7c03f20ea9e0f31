//! The kinds of job. Yours is one file beside this one, a `mod` line and an arm in `run`; see CONTRIBUTING, "Add a job".

mod csv;
mod deferred_rows;
mod email_send;
mod import_batch;
mod import_row;
mod index_build;
mod multipart_writer;
mod records_cascade;
mod records_export;
mod records_import;
mod records_purge;
mod row_reader;
mod slice;

pub use slice::{ITEMS as SLICE_ITEMS, Slice};

use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::aws::objects::Objects;
use undercroft::clock::Clock;
use undercroft::error::Error;
use undercroft::identity::seal::Seal;
use undercroft::job_kinds::{BUILD_JOB, CASCADE_JOB, CHECK_JOB, PURGE_JOB};
use undercroft::store::definitions::Definitions;
use undercroft::store::files::{EXPORT_JOB, IMPORT_JOB};
use undercroft::store::jobs::Job;
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
    /// The time.
    pub clock: Clock,
}

/// How an attempt ended well.
#[derive(Debug)]
pub enum Outcome {
    /// The job is done; this is its result.
    Done(Option<Value>),
    /// The slice is over and the job is not: it goes on from this progress, which comes back in [`Job::progress`].
    More(Value),
    /// The same, after so many seconds.
    Later(Value, u32),
}

/// Why an attempt failed, in words that may be shown to an admin: no secrets, no internals.
#[derive(Debug)]
pub struct Failure {
    reason: String,
    logged: Option<String>,
    is_last: bool,
    times: u32,
    progress: Option<Value>,
}

impl Failure {
    /// A failure that may pass: the job is tried again while it has attempts left. The reason is kept to a length that fits a
    /// log line and an item.
    pub fn new(reason: impl Into<String>) -> Self {
        let reason: String = reason.into();
        Self { reason: reason.chars().take(500).collect(), logged: None, is_last: false, times: 0, progress: None }
    }

    /// A failure that every further attempt would only repeat: the job is dead at once. Redriving it, when what is wrong has
    /// been mended, gives it all its attempts.
    pub fn last(reason: impl Into<String>) -> Self {
        Self { is_last: true, ..Self::new(reason) }
    }

    /// The same, met for the `times`th time by a job of many slices, whose attempts are counted anew in each: that is how long
    /// it waits. It then goes on from this progress.
    pub fn met(self, times: u32, progress: Value) -> Self {
        Self { times, progress: Some(progress), ..self }
    }

    /// The same, with these words in the log instead: where the reason may name a person.
    pub fn logged_as(self, words: String) -> Self {
        Self { logged: Some(words), ..self }
    }

    /// The reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The reason as it may be logged.
    pub fn logged(&self) -> &str {
        self.logged.as_deref().unwrap_or(&self.reason)
    }

    /// Whether another attempt makes sense.
    pub fn may_pass(&self) -> bool {
        !self.is_last
    }

    /// How often it was met, if more often than the job was tried.
    pub fn times(&self) -> u32 {
        self.times
    }

    /// What the next attempt goes on from; `None`: from where this one did.
    pub fn progress(&self) -> Option<&Value> {
        self.progress.as_ref()
    }

    /// Tells that it ends a slice in which something was done, and which is therefore no failed attempt. The same failure where
    /// nothing was done is one: so what never passes ends the job.
    fn ends_slice(&self, job: &Job) {
        tracing::warn!(function = "worker", job = job.id, error = self.logged(), "a slice ended early");
    }
}

/// When the next slice begins after one that a failure ended, in seconds.
const AFTER_FAILURE: u32 = 2;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        tracing::warn!(function = "worker", cause = %error, "a job met a failure");
        Self::new(in_words(&error))
    }
}

/// An error in words for an admin.
fn in_words(error: &Error) -> String {
    match error {
        Error::Internal(_) => "something went wrong inside; the log says what".to_owned(),
        Error::Unavailable { .. } => "the database did not answer in time, or others kept writing the same".to_owned(),
        Error::BadRequest { detail, .. } | Error::Conflict { detail, .. } | Error::Refused { detail, .. } => {
            detail.clone()
        }
        Error::Invalid(errors) => {
            let each = errors.iter().map(|error| format!("{} {}", error.pointer, error.message));
            each.collect::<Vec<_>>().join("; ")
        }
        error => error.to_string(),
    }
}

/// Runs one attempt of a job. Every kind must be safe to run twice, and what may take long ends when the slice does.
pub async fn run(tools: &Tools, job: &Job, slice: &Slice) -> Result<Outcome, Failure> {
    match job.kind.as_str() {
        email_send::KIND => email_send::run(tools, &job.id, payload(job)?).await,
        BUILD_JOB | CHECK_JOB => index_build::run(tools, job, payload(job)?, slice).await,
        CASCADE_JOB => records_cascade::run(tools, job, payload(job)?, slice).await,
        EXPORT_JOB => records_export::run(tools, job, payload(job)?, slice).await,
        IMPORT_JOB => records_import::run(tools, job, payload(job)?, slice).await,
        PURGE_JOB => records_purge::run(tools, job, payload(job)?, slice).await,
        other => Err(Failure::last(format!("no worker knows jobs of type {other}"))),
    }
}

fn payload<T: DeserializeOwned>(job: &Job) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(job.payload.clone()))
        .map_err(|error| Failure::last(format!("payload: {error}")))
}
