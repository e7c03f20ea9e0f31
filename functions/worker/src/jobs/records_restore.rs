//! `records.restore`: after an undelete, undeletes the records that a cascade deleted with that record. Each has a restore job of
//! its own for those that were deleted with it.
//!
//! A cascade that looked before the undelete may still be deleting a page, so the job looks again when no worker can be at it any
//! more. It ends when the record is deleted again: then a new cascade follows. A record that cannot come back (its unique value is
//! taken, another record it points at is gone) does not block the others, but the attempt fails after the pass.

use super::failure::Failure;
use super::outcome::Outcome;
use super::slice::Slice;
use super::stuck::Stuck;
use super::tools::Tools;
use super::undeleting::undelete;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use undercroft::schema::Collection;
use undercroft::store::followers::Follower;
use undercroft::store::intent::Cause;
use undercroft::store::jobs::{Job, LEASE_SECONDS};

/// What the records are that cannot come back.
const STUCK: &str = "Records that a cascade had deleted and that could not be undeleted";

/// The record that was undeleted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    collection: String,
    generation: u32,
    id: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    /// Number of records undeleted.
    done: u64,
    /// How many of them before this pass.
    done_before: u64,
    /// Number of consecutive passes with records that could not be undeleted.
    failed: u32,
    /// When the job began, in milliseconds since the Unix epoch.
    began: u64,
    /// Whether this pass began when no cascade could run any more.
    last: bool,
    /// The position in the references.
    after: Option<String>,
    stuck: Stuck,
}

/// Runs a slice of the job.
pub async fn run(tools: &Tools, back: Payload, job: &Job, slice: &Slice) -> Result<Outcome, Failure> {
    let now = tools.clock.millis();
    let stored = job.progress.clone().and_then(|progress| serde_json::from_value(progress).ok());
    let mut progress: Progress = stored.unwrap_or_else(|| Progress { began: now, ..Progress::default() });
    let cause = Cause { collection: back.collection, generation: back.generation, id: back.id };
    if progress.after.is_none() {
        progress.last = now > progress.cascades_end();
    }
    let mut worked = 0;
    loop {
        if !is_back(tools, &cause).await? {
            return Ok(Outcome::Done(Some(json!({ "done": progress.done, "deletedAgain": true }))));
        }
        let (followers, next) = tools.records.followers(&tools.system, &cause, progress.after.as_deref()).await?;
        worked += followers.len().max(1);
        let mut tombstones = Vec::new();
        for follower in followers {
            tombstones.extend(collection_of(tools, &follower).await?.map(|collection| (collection, follower.record)));
        }
        let undeleted = undelete(tools, job, &tombstones).await?;
        progress.done += undeleted.written;
        undeleted.refused.iter().for_each(|(id, error)| progress.stuck.note(id, error));
        progress.after = next;
        if progress.after.is_none() {
            return progress.end_pass(tools.clock.millis(), job.max_attempts);
        }
        if slice.is_over(worked) {
            return Ok(Outcome::More(json!(progress)));
        }
    }
}

/// Whether the record is still undeleted.
async fn is_back(tools: &Tools, cause: &Cause) -> Result<bool, Failure> {
    let Some(collection) = tools.definitions.collection(&cause.collection).await? else { return Ok(false) };
    let grant = tools.system.grant(&collection, tools.clock.millis());
    let is_same = collection.definition().generation == cause.generation;
    Ok(is_same && tools.records.get(&grant, &cause.id, true).await?.is_some())
}

/// The collection of a follower, if it is still the one it was deleted from.
async fn collection_of(tools: &Tools, follower: &Follower) -> Result<Option<Arc<Collection>>, Failure> {
    let collection = tools.definitions.collection(&follower.collection).await?;
    Ok(collection.filter(|it| it.definition().generation == follower.generation))
}

impl Progress {
    /// When no cascade that looked before the undelete can be running any more.
    fn cascades_end(&self) -> u64 {
        self.began + LEASE_SECONDS * 1_000
    }

    /// Ends a pass. The next one starts from the beginning, until one has restored every record and no cascade can have deleted
    /// another meanwhile.
    fn end_pass(mut self, now: u64, max_attempts: u32) -> Result<Outcome, Failure> {
        let (stuck, has_moved) = (std::mem::take(&mut self.stuck), self.done > self.done_before);
        self.done_before = self.done;
        if has_moved && !stuck.is_empty() {
            // A record may have waited for another one that it points at.
            return Ok(Outcome::More(json!(self)));
        }
        if self.last {
            return match stuck.failure(STUCK, &mut self.failed, max_attempts) {
                Some((failure, times)) => Err(failure.met(times, json!(self))),
                None => Ok(Outcome::Done(Some(json!({ "done": self.done })))),
            };
        }
        let wait = (self.cascades_end() + 1).saturating_sub(now).div_ceil(1_000);
        Ok(Outcome::Later(json!(self), u32::try_from(wait).unwrap_or(u32::MAX)))
    }
}
