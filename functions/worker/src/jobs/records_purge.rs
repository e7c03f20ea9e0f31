//! `records.purge`: removes the items of a deleted collection: records, tombstones, and their unique values. They are invisible
//! meanwhile, because a new collection of the same name has different keys.
//!
//! A collection that was deleted without `records=delete` is checked first. If records were written to it before the deletion was
//! in force, the deletion is cancelled: the job fails and the collection exists again.

use super::failure::Failure;
use super::outcome::Outcome;
use super::slice::Slice;
use super::tools::Tools;
use serde::{Deserialize, Serialize};
use serde_json::json;
use undercroft::error::Error;
use undercroft::schema::Definition;
use undercroft::store::definitions::{State, Stored};
use undercroft::store::jobs::Job;
use undercroft::store::purge::Deleted;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    shard: u16,
    /// Number of removed items. Items of an interrupted slice may be missing from it, because they cannot be counted again.
    purged: u64,
}

/// Runs a slice of the job.
pub async fn run(tools: &Tools, job: &Job, gone: Deleted, slice: &Slice) -> Result<Outcome, Failure> {
    let mut progress: Progress =
        job.progress.clone().and_then(|progress| serde_json::from_value(progress).ok()).unwrap_or_default();
    let stored = tools.definitions.get(&gone.collection).await?;
    if !stored.as_ref().is_some_and(|stored| is_gone(stored, &gone)) {
        return Err(Failure::last("The collection is not deleted, or was created again. Delete it again."));
    }
    let (now, begins) = (tools.clock.millis(), gone.since + tools.definitions.lease().settled_millis());
    if now < begins {
        let seconds = u32::try_from((begins - now).div_ceil(1000)).unwrap_or(u32::MAX);
        return Ok(Outcome::Later(json!(progress), seconds));
    }
    if let Some(closing) = stored.filter(|stored| stored.stage == State::Closing) {
        close(tools, closing.definition).await?;
    }
    let mut worked = 0;
    while progress.shard < u16::from(gone.shards) {
        let removed = tools.records.purge_page(&gone, progress.shard).await?;
        progress.purged += u64::try_from(removed).unwrap_or(u64::MAX);
        worked += removed.max(1);
        progress.shard += u16::from(removed == 0);
        if slice.is_over(worked) {
            return Ok(Outcome::More(json!(progress)));
        }
    }
    Ok(Outcome::Done(Some(json!({ "purged": progress.purged }))))
}

/// Whether the collection is unreachable: its definition was removed, or belongs to a later collection.
fn is_gone(stored: &Stored, gone: &Deleted) -> bool {
    let generation = stored.definition.generation;
    if stored.stage.is_ready() { generation > gone.generation } else { generation >= gone.generation }
}

/// Completes the deletion of an empty collection, or cancels it if the collection is no longer empty.
async fn close(tools: &Tools, closing: Definition) -> Result<(), Failure> {
    let is_empty = tools.records.is_empty(&closing).await?;
    let after = Definition { version: closing.version + 1, ..closing.clone() };
    let stage = if is_empty { State::Gone } else { State::Ready };
    match tools.definitions.put(&after, stage, closing.version).await {
        Ok(()) if is_empty => Ok(()),
        Ok(()) => Err(Failure::last(
            "Records were written to the collection before its deletion was in force, so the collection is kept. Delete it \
             again, with ?records=delete to delete its records too.",
        )),
        // A new collection of this name is being created.
        Err(Error::Conflict { .. }) => Err(Failure::new("The definition was changed at the same time.")),
        Err(error) => Err(error.into()),
    }
}
