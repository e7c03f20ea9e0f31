//! A job: the item in the `Jobs` table and its API representation.

use super::item::{self, Item, number, string};
use crate::clock::rfc3339;
use crate::error::{Error, Result};
use crate::id;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Waiting for a worker.
    Queued,
    /// A worker is running it.
    Running,
    /// Finished successfully.
    Succeeded,
    /// Failed, and waiting for another attempt.
    Retrying,
    /// Out of attempts, or failed permanently. Kept, and can be redriven.
    Dead,
    /// Cancelled before it ran.
    Cancelled,
}

impl Status {
    /// The status as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Retrying => "retrying",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A job as the API shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// UUIDv7.
    pub id: String,
    /// Its type, as in `email.send`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its status.
    pub status: Status,
    /// The number of attempts started since it was last queued.
    pub attempts: u32,
    /// The maximum number of attempts.
    pub max_attempts: u32,
    /// The input.
    pub payload: Map<String, Value>,
    /// Jobs of one group run one at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The error of the last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The progress of a long job, for its next slice and for clients. Its shape depends on the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Value>,
    /// Seconds to wait before the first attempt, as asked for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay_seconds: u32,
    /// When the job, or its next slice, may start. A cancelled job that is redriven keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_at: Option<String>,
    /// Counts how often it was queued. A message of an earlier run is stale.
    #[serde(default, skip_serializing)]
    pub run: u64,
    /// The id of the request that created it.
    pub request_id: String,
    /// When it was created.
    pub created_at: String,
    /// When its status last changed.
    pub updated_at: String,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Job {
    /// A job to be enqueued, created at the time in its id.
    pub fn new(id: String, kind: &str, payload: Map<String, Value>, request_id: &str) -> Self {
        let created_at = rfc3339(id::millis(&id).unwrap_or_default());
        Self {
            id,
            kind: kind.to_owned(),
            status: Status::Queued,
            attempts: 0,
            max_attempts: undercroft_core::jobs::DEFAULT_ATTEMPTS,
            payload,
            group: None,
            last_error: None,
            result: None,
            progress: None,
            delay_seconds: 0,
            run_at: None,
            run: 1,
            request_id: request_id.to_owned(),
            created_at: created_at.clone(),
            updated_at: created_at,
        }
    }

    /// The same job, to start `seconds` after it was created.
    #[must_use]
    pub fn delayed(self, seconds: u32) -> Self {
        let created = id::millis(&self.id).unwrap_or_default();
        let run_at = (seconds > 0).then(|| rfc3339(created + u64::from(seconds) * 1_000));
        Self { delay_seconds: seconds, run_at, ..self }
    }

    /// The item of a job that has not been started.
    pub fn to_item(&self) -> Item {
        let members = serde_json::to_value(self).ok().and_then(|value| value.as_object().cloned()).unwrap_or_default();
        let mut item = item::from_members(&members);
        item.insert("run".into(), number(self.run));
        item.insert("listed".into(), string("live"));
        item
    }

    /// The job in an item.
    ///
    /// # Errors
    /// `Internal` when the item is malformed.
    pub fn from_item(found: &Item) -> Result<Self> {
        serde_json::from_value(Value::Object(item::to_members(found))).map_err(Error::internal)
    }
}
