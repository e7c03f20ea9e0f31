//! A job: what the `Jobs` table holds of one, and what the API shows.

use super::item::{self, Item, number, string};
use crate::clock::rfc3339;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a job is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// Waiting for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Done.
    Succeeded,
    /// Failed, and waiting to be tried again.
    Retrying,
    /// Failed as often as it may. Kept, and redrivable.
    Dead,
    /// Taken back before it ran.
    Cancelled,
}

impl Status {
    /// The status as it is stored and shown.
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
    /// What it does, as in `email.send`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it is.
    pub status: Status,
    /// How often a worker has started it since it was last queued.
    pub attempts: u32,
    /// How often one may.
    pub max_attempts: u32,
    /// What it works on.
    pub payload: Map<String, Value>,
    /// Jobs of one group run one at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// How far a long job has come, for its next slice and for whoever waits. Its shape is its type's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Value>,
    /// Seconds to wait before the first attempt.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub delay_seconds: u32,
    /// Counts how often it was put on the queue; a message of an earlier run is stale.
    #[serde(default, skip_serializing)]
    pub run: u64,
    /// The request that asked for it.
    pub request_id: String,
    /// When it was asked for.
    pub created_at: String,
    /// When its status last changed.
    pub updated_at: String,
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

impl Job {
    /// A job to be enqueued.
    pub fn new(id: String, kind: &str, payload: Map<String, Value>, request_id: &str, now: u64) -> Self {
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
            run: 1,
            request_id: request_id.to_owned(),
            created_at: rfc3339(now),
            updated_at: rfc3339(now),
        }
    }

    /// The item of a job that nobody has started.
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
    /// `Internal` when the item is not one of ours.
    pub fn from_item(found: &Item) -> Result<Self> {
        serde_json::from_value(Value::Object(item::to_members(found))).map_err(Error::internal)
    }
}
