//! Job requests: the checks before a request becomes a job.

use crate::error::{Error, FieldError, Result};
use crate::schema::unstorable;
use crate::store::definitions::{Definitions, State};
use crate::store::jobs::{Job, MAX_DELAY_SECONDS};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
pub use undercroft_core::jobs::*;

/// Largest payload, in bytes of JSON. It must fit into the job's item and its stream record.
const MAX_PAYLOAD_BYTES: usize = 100_000;

/// A job that an admin requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct JobRequest {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The input.
    #[serde(default)]
    pub payload: Map<String, Value>,
    /// The group whose jobs run one at a time.
    pub group: Option<String>,
    /// Seconds until the first attempt.
    pub delay_seconds: Option<u32>,
    /// The maximum number of attempts.
    pub max_attempts: Option<u32>,
    /// Schedules are designed and not built yet: each of these is answered with 501.
    cron: Option<IgnoredAny>,
    rate: Option<IgnoredAny>,
    schedule: Option<IgnoredAny>,
    time_zone: Option<IgnoredAny>,
}

impl JobRequest {
    /// The job, with this id.
    ///
    /// # Errors
    /// `NotBuilt`, or `Invalid` with every wrong member.
    pub async fn into_job(self, definitions: &Definitions, id: String, request: &str) -> Result<Job> {
        let of_schedules = [&self.cron, &self.rate, &self.schedule, &self.time_zone];
        let is_scheduled = of_schedules.into_iter().any(Option::is_some);
        if let Some(feature) = planned(&self.kind).or(is_scheduled.then_some("schedules")) {
            return Err(Error::NotBuilt(feature));
        }
        let kind = JobKind::named(&self.kind);
        let mut errors = self.problems(kind);
        if kind.is_some_and(|kind| [EXPORT_JOB, IMPORT_JOB, UNDELETE_JOB].contains(&kind.name)) {
            errors.extend(self.collection_problem(definitions).await?);
        }
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        let mut job = Job::new(id, &self.kind, self.payload, request);
        job.group = self.group;
        job.max_attempts = self.max_attempts.unwrap_or(job.max_attempts);
        Ok(job.delayed(self.delay_seconds.unwrap_or(0)))
    }

    fn problems(&self, kind: Option<&JobKind>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut wrong = |pointer: &str, code, message: &str| errors.push(FieldError::new(pointer, code, message));
        if !is_name(&self.kind) {
            wrong("/type", "name", "A type consists of words of a-z, 0-9 and _ joined by dots, as in email.send.");
        }
        if kind.is_some_and(|kind| kind.asked_by == AskedBy::System) {
            wrong(
                "/type",
                "reserved",
                "Only the system creates jobs of this type. Put or delete a definition or record instead.",
            );
        }
        if serde_json::to_vec(&self.payload).map_or(true, |bytes| bytes.len() > MAX_PAYLOAD_BYTES) {
            wrong(
                "/payload",
                "too_large",
                "A payload may be at most 100,000 bytes. Store larger data in a record and send its id.",
            );
        }
        if self.group.as_ref().is_some_and(|group| !is_group(group)) {
            wrong("/group", "name", "A group is 1 to 128 characters of letters, digits, -, _ and dots.");
        }
        if self.group.is_some() && kind.is_some_and(|kind| !kind.takes_group) {
            let message = "A job of this type runs in many slices and cannot be in a group. Leave out group.";
            wrong("/group", "excluded", message);
        }
        match (self.delay_seconds, &self.group) {
            (Some(delay), _) if delay > MAX_DELAY_SECONDS => {
                wrong(
                    "/delaySeconds",
                    "not_built",
                    "Delays of more than 900 seconds are not built yet. Send at most 900.",
                );
            }
            (Some(1..), Some(_)) => wrong(
                "/delaySeconds",
                "excluded",
                "A job in a group cannot be delayed. Leave out delaySeconds or group.",
            ),
            _ => {}
        }
        if self.max_attempts.is_some_and(|attempts| !(1..=MAX_ATTEMPTS).contains(&attempts)) {
            wrong("/maxAttempts", "range", "Send a number from 1 to 20.");
        }
        errors.extend(unstorable(&Value::Object(self.payload.clone()), "/payload"));
        errors.extend(kind.map(|kind| (kind.check)(&self.payload)).unwrap_or_default());
        errors
    }

    /// The error of a job on a collection that does not exist.
    async fn collection_problem(&self, definitions: &Definitions) -> Result<Option<FieldError>> {
        let exists = match self.payload.get("collection").and_then(Value::as_str) {
            Some("users") => true,
            Some(name) => definitions.get(name).await?.is_some_and(|stored| stored.stage != State::Gone),
            None => false,
        };
        let missing = || {
            FieldError::new(
                "/payload/collection",
                "unknown_collection",
                "This collection does not exist. Send the name of an existing one.",
            )
        };
        Ok((!exists).then(missing))
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.split('.').count() >= 2
        && name.split('.').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        })
}

fn is_group(group: &str) -> bool {
    (1..=128).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
