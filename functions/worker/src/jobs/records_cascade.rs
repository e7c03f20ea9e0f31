//! `records.cascade`: updates the records that point at a deleted one: `cascade` deletes them, `setNull` removes the
//! field, or the element of an array.
//! No new record can point at a tombstone, so their number only falls; the job lists them pass after pass until a pass finds
//! none. A record that cannot be written does not block the others, but the attempt fails after the pass. A record deleted
//! here has a cascade job of its own, and is noted beforehand for an undelete (`records_restore`).

use super::failure::Failure;
use super::outcome::Outcome;
use super::slice::Slice;
use super::stuck::Stuck;
use super::tools::Tools;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use undercroft::error::Error;
use undercroft::expr::Expr;
use undercroft::futures::future::{join_all, try_join_all};
use undercroft::id::{base64url, from_base64url};
use undercroft::preconditions::{IfMatch, IfNoneMatch, Preconditions};
use undercroft::query::{ListQuery, plan};
use undercroft::schema::{Collection, Field, OnDelete, Referrer, Relation};
use undercroft::store::intent::{Cause, Intent, What};
use undercroft::store::jobs::Job;
use undercroft::store::list::Listed;
use undercroft::store::record::Record;

/// Records listed at once.
const PAGE: i32 = 100;
/// Number of records written in parallel.
const SIDE_BY_SIDE: usize = 16;
/// Seconds before an empty index is queried again, because writes before the deletion may not have reached the index yet.
const INDEX_LAG: u32 = 15;
/// What the records are that cannot be written.
const STUCK: &str = "Records that point at the deleted one and could not be updated or deleted";
/// Wait for an index that is still being built, in seconds.
const NOT_READY: u32 = 30;

/// The deleted record, and its referrers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    collection: String,
    generation: u32,
    id: String,
    follow: Vec<Referrer>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    /// Number of records written.
    done: u64,
    /// Whether a pass wrote every record, so that the next should find none.
    empty: bool,
    /// Number of consecutive passes with records that could not be written.
    failed: u32,
    pass: Pass,
}

/// The progress of a pass, which may take many slices.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Pass {
    /// The current referrer, and the position in its index, in base64url.
    referrer: usize,
    after: Option<String>,
    /// Whether it has found a record.
    met: bool,
    stuck: Stuck,
}

/// Runs a slice of the job.
pub async fn run(tools: &Tools, job: &Job, gone: Payload, slice: &Slice) -> Result<Outcome, Failure> {
    let mut progress: Progress =
        job.progress.clone().and_then(|progress| serde_json::from_value(progress).ok()).unwrap_or_default();
    let mut worked = 0;
    while let Some(referrer) = gone.follow.get(progress.pass.referrer) {
        if !is_deleted(tools, &gone).await? {
            return Ok(Outcome::Done(Some(json!({ "done": progress.done, "undeleted": true }))));
        }
        let Some((collection, on_delete)) = followed(tools, &gone, referrer).await? else {
            progress.pass.go_on(None);
            continue;
        };
        let (room, after) = (slice.room(worked, PAGE), progress.pass.position());
        let Some(page) = pointing(tools, &collection, referrer, &gone.id, (room, after.as_deref())).await? else {
            return Ok(Outcome::Later(json!(progress), NOT_READY));
        };
        let intents =
            page.records.iter().map(|record| intent(tools, &collection, (&gone, referrer), on_delete, record));
        let intents: Vec<Intent> = intents.collect();
        note(tools, &intents).await?;
        progress.done += write(tools, job, &intents, &mut progress.pass.stuck).await?;
        progress.pass.met |= !page.records.is_empty();
        progress.pass.go_on(page.next);
        worked += page.records.len().max(1);
        if slice.is_over(worked) {
            return Ok(Outcome::More(json!(progress)));
        }
    }
    progress.end_pass(job.max_attempts)
}

/// Whether the record is still deleted, because it may have been restored.
async fn is_deleted(tools: &Tools, gone: &Payload) -> Result<bool, Failure> {
    let Some(collection) = tools.definitions.collection(&gone.collection).await? else { return Ok(true) };
    if collection.definition().generation != gone.generation {
        return Ok(true);
    }
    let grant = tools.system.grant(&collection, tools.clock.millis());
    Ok(tools.records.get(&grant, &gone.id, true).await?.is_none())
}

/// The referring collection and its current `onDelete`, if it still points here: its definition may have changed since the
/// deletion.
async fn followed(
    tools: &Tools,
    gone: &Payload,
    referrer: &Referrer,
) -> Result<Option<(Arc<Collection>, OnDelete)>, Failure> {
    let Some(collection) = tools.definitions.collection(&referrer.collection).await? else { return Ok(None) };
    let same =
        |(field, relation): &(&str, &Relation)| *field == referrer.field && relation.collection == gone.collection;
    let now = collection.relations().find(same).map(|(_, relation)| relation.on_delete);
    let on_delete = now.map(|now| if now == OnDelete::Restrict { referrer.on_delete } else { now });
    Ok(on_delete.map(|on_delete| (collection, on_delete)))
}

/// A page of the records that point at `id`, after a position; `None` while the index is not ready.
async fn pointing(
    tools: &Tools,
    collection: &Arc<Collection>,
    referrer: &Referrer,
    id: &str,
    (room, after): (i32, Option<&[u8]>),
) -> Result<Option<Listed>, Failure> {
    let grant = tools.system.grant(collection, tools.clock.millis());
    let is_many = collection.field(&referrer.field).is_some_and(Field::is_many);
    let filter = match is_many {
        true => format!("{} in {}", json!(id), referrer.field),
        false => format!("{} == {}", referrer.field, json!(id)),
    };
    let filter = Expr::filter(&filter, &collection.layout().fields);
    let filter = filter.map_err(|error| Failure::new(error.to_string()))?;
    let query = ListQuery { rule: grant.residual(), filter: Some(&filter), sort: &[], scan: None };
    match plan(collection.layout(), &query) {
        Ok(plan) => {
            let room = usize::try_from(room).unwrap_or(1);
            Ok(Some(tools.records.list(&grant, &plan, room, after).await?))
        }
        Err(refusal) if refusal.code == "index_building" => Ok(None),
        Err(refusal) => Err(Failure::new(refusal.message)),
    }
}

/// Notes the records that are about to be deleted, so that an undelete finds them.
async fn note(tools: &Tools, intents: &[Intent]) -> Result<(), Failure> {
    for some in intents.chunks(SIDE_BY_SIDE) {
        let notes = some.iter().filter_map(|intent| {
            let (cause, collection) = (intent.cause.as_ref()?, intent.grant.collection());
            Some(tools.records.note_follower(&tools.system, cause, collection, &intent.id))
        });
        try_join_all(notes).await?;
    }
    Ok(())
}

/// Writes each record on the condition that it is unchanged. Returns the number written; records with a conflict are
/// listed again.
async fn write(tools: &Tools, job: &Job, intents: &[Intent], stuck: &mut Stuck) -> Result<u64, Failure> {
    let mut written = 0;
    for some in intents.chunks(SIDE_BY_SIDE) {
        let writes = some.iter().map(|intent| tools.records.write_one(intent, &job.id, None));
        for (intent, outcome) in some.iter().zip(join_all(writes).await) {
            match outcome {
                Ok(_) => written += 1,
                Err(Error::NotFound(_) | Error::PreconditionFailed(_)) => {}
                Err(error @ (Error::Conflict { .. } | Error::Invalid(_))) => stuck.note(&intent.id, &error),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(written)
}

fn intent(
    tools: &Tools,
    collection: &Arc<Collection>,
    (gone, referrer): (&Payload, &Referrer),
    on_delete: OnDelete,
    record: &Record,
) -> Intent {
    let what = match on_delete {
        OnDelete::SetNull => {
            What::Merge(Map::from_iter([(referrer.field.clone(), without(record, referrer, &gone.id))]))
        }
        OnDelete::Cascade | OnDelete::Restrict => What::Delete,
    };
    let preconditions =
        Preconditions { if_match: IfMatch::Versions(vec![record.version]), if_none_match: IfNoneMatch::Absent };
    let grant = tools.system.grant(collection, tools.clock.millis());
    let cause = matches!(what, What::Delete).then(|| Cause {
        collection: gone.collection.clone(),
        generation: gone.generation,
        id: gone.id.clone(),
    });
    Intent { grant, id: record.id.clone(), what, preconditions, targets: Vec::new(), cause }
}

/// The value of the field without an id: an array without its element, or none.
fn without(record: &Record, referrer: &Referrer, id: &str) -> Value {
    match record.data.get(&referrer.field).and_then(Value::as_array) {
        Some(ids) => ids.iter().filter(|its| its.as_str() != Some(id)).cloned().collect(),
        None => Value::Null,
    }
}

impl Progress {
    /// Ends a pass. If records could not be written the attempt fails, and the next pass starts from the beginning, up to the
    /// job's maximum number of attempts.
    fn end_pass(mut self, max_attempts: u32) -> Result<Outcome, Failure> {
        let Pass { met, stuck, .. } = std::mem::take(&mut self.pass);
        if let Some((failure, times)) = stuck.failure(STUCK, &mut self.failed, max_attempts) {
            return Err(failure.met(times, json!(self)));
        }
        if self.empty && !met {
            return Ok(Outcome::Done(Some(json!({ "done": self.done }))));
        }
        (self.empty, self.failed) = (true, 0);
        Ok(Outcome::Later(json!(self), INDEX_LAG))
    }
}

impl Pass {
    /// Moves to this position, or to the next referrer.
    fn go_on(&mut self, next: Option<Vec<u8>>) {
        self.referrer += usize::from(next.is_none());
        self.after = next.map(|position| base64url(&position));
    }

    fn position(&self) -> Option<Vec<u8>> {
        self.after.as_deref().and_then(from_base64url)
    }
}
