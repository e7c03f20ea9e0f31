//! Failures of an attempt.

use serde_json::Value;
use undercroft::error::Error;
use undercroft::store::jobs::Job;

/// Why an attempt failed, in words for an admin: no secrets, no internals.
#[derive(Debug)]
pub struct Failure {
    reason: String,
    logged: Option<String>,
    is_last: bool,
    times: u32,
    progress: Option<Value>,
}

impl Failure {
    /// A temporary failure: the job is retried while it has attempts left. The reason is truncated to fit a log line and an
    /// item.
    pub fn new(reason: impl Into<String>) -> Self {
        let reason: String = reason.into();
        Self { reason: reason.chars().take(500).collect(), logged: None, is_last: false, times: 0, progress: None }
    }

    /// A permanent failure: the job is dead at once. After the cause is fixed, redriving the job gives it all its attempts
    /// again.
    pub fn last(reason: impl Into<String>) -> Self {
        Self { is_last: true, ..Self::new(reason) }
    }

    /// Marks the failure as the `times`th of a job with many slices, whose attempts restart with each slice. `times` decides
    /// on the wait. The job then continues from this progress.
    pub fn met(self, times: u32, progress: Value) -> Self {
        Self { times, progress: Some(progress), ..self }
    }

    /// Uses these words in the log instead, if the reason may name a person.
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

    /// How often the failure occurred, if more often than the job was tried.
    pub fn times(&self) -> u32 {
        self.times
    }

    /// The progress for the next attempt; `None` keeps the current progress.
    pub fn progress(&self) -> Option<&Value> {
        self.progress.as_ref()
    }

    /// Logs that the failure ends a slice that made progress, which does not count as a failed attempt. Without progress it
    /// counts, so a permanent failure ends the job.
    pub fn ends_slice(&self, job: &Job) {
        tracing::warn!(
            function = "worker",
            job = job.id,
            error = self.logged(),
            "A failure ended the slice early; the next slice continues."
        );
    }
}

/// Delay of the next slice after a slice that a failure ended, in seconds.
pub const AFTER_FAILURE: u32 = 2;

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        tracing::warn!(function = "worker", cause = %error, "A call made by a job failed.");
        Self::new(in_words(&error))
    }
}

/// An error in words for an admin.
pub fn in_words(error: &Error) -> String {
    match error {
        Error::Internal(_) => "An internal error occurred. The log has the details.".to_owned(),
        Error::Unavailable { .. } => {
            "The database did not answer in time, or other writes to the same items kept conflicting.".to_owned()
        }
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
