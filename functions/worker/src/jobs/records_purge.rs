//! `records.purge`: removes what is left of a collection that was deleted: records, tombstones, and the unique values they
//! hold. Nobody sees any of it meanwhile, because a collection made anew under the name has keys of its own.

use super::{Failure, Outcome, Slice, Tools};
use serde::{Deserialize, Serialize};
use serde_json::json;
use undercroft::store::definitions::{SETTLED_SECONDS, State};
use undercroft::store::jobs::Job;
use undercroft::store::purge::Deleted;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    shard: u16,
    /// Items removed, but for those of a slice that was cut off: what is gone cannot be counted again.
    purged: u64,
}

/// Removes for a slice.
pub async fn run(tools: &Tools, job: &Job, gone: Deleted, slice: &Slice) -> Result<Outcome, Failure> {
    let mut progress: Progress =
        job.progress.clone().and_then(|progress| serde_json::from_value(progress).ok()).unwrap_or_default();
    if !is_gone(tools, &gone).await? {
        return Err(Failure::new("the collection is not deleted"));
    }
    let (now, begins) = (tools.clock.millis(), gone.since + SETTLED_SECONDS * 1000);
    if now < begins {
        let seconds = u32::try_from((begins - now).div_ceil(1000)).unwrap_or(u32::MAX);
        return Ok(Outcome::Later(json!(progress), seconds));
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

/// Whether nobody can reach the collection: its definition is gone, or of a later collection.
async fn is_gone(tools: &Tools, gone: &Deleted) -> Result<bool, Failure> {
    let stored = tools.definitions.get(&gone.collection).await?;
    Ok(stored.is_some_and(|stored| match stored.stage {
        State::Gone => stored.definition.generation >= gone.generation,
        State::Ready => stored.definition.generation > gone.generation,
    }))
}
