//! `records.cascade`: what the deletion of a record asks for in those that point at it: `cascade` deletes them, `setNull` takes the
//! field out. Nobody can begin to point at a tombstone, so there are only fewer of them; they are listed until there are none.
//! One that cannot be written stands in no other's way, and makes the attempt fail when all others are done. A record deleted here has followers of its own, and a job of theirs.

use super::{Failure, Outcome, Slice, Tools};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use undercroft::error::Error;
use undercroft::expr::Expr;
use undercroft::futures::future::join_all;
use undercroft::http::{IfMatch, IfNoneMatch, Preconditions};
use undercroft::policy::of_the_house;
use undercroft::query::{Query, plan};
use undercroft::schema::{Collection, OnDelete, Referrer, Relation};
use undercroft::store::jobs::Job;
use undercroft::store::list::Listed;
use undercroft::store::record::Record;
use undercroft::store::write::{Intent, What};

/// Records listed at once.
const PAGE: usize = 100;
/// Records written side by side.
const SIDE_BY_SIDE: usize = 16;
/// How long after an index was found empty it is looked at again: what was written before the deletion may still be on its way
/// into it. Seconds.
const INDEX_LAG: u32 = 15;
/// How long to wait for an index that is still being built, in seconds.
const NOT_READY: u32 = 30;

/// Which record is gone, and what follows.
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
    /// Records written.
    done: u64,
    /// Whether all indexes were found empty once.
    empty: bool,
}

/// Records that cannot be written as they should: others restrict their deletion, or they would not fit their schema.
#[derive(Debug, Default)]
struct Stuck {
    count: u64,
    first: Option<(String, Error)>,
}

/// Follows for a slice.
pub async fn run(tools: &Tools, job: &Job, gone: Payload, slice: &Slice) -> Result<Outcome, Failure> {
    let mut progress: Progress =
        job.progress.clone().and_then(|progress| serde_json::from_value(progress).ok()).unwrap_or_default();
    let (mut worked, mut met, mut stuck) = (0, false, Stuck::default());
    for referrer in &gone.follow {
        let mut position = None;
        loop {
            if !is_deleted(tools, &gone).await? {
                return Ok(Outcome::Done(Some(json!({ "done": progress.done, "undeleted": true }))));
            }
            let Some((collection, on_delete)) = followed(tools, &gone, referrer).await? else { break };
            let Some(page) = pointing(tools, &collection, referrer, &gone.id, position.as_deref()).await? else {
                return Ok(Outcome::Later(json!(progress), NOT_READY));
            };
            met |= !page.records.is_empty();
            let intents = page.records.iter().map(|record| intent(tools, &collection, referrer, on_delete, record));
            let written = write(tools, job, &intents.collect::<Vec<_>>(), &mut stuck).await?;
            progress.done += written;
            worked += usize::try_from(written).unwrap_or(usize::MAX);
            if slice.is_over(worked) {
                return Ok(Outcome::More(json!(Progress { empty: false, ..progress })));
            }
            position = page.next;
            if position.is_none() {
                break;
            }
        }
    }
    stuck.none()?;
    if progress.empty && !met {
        return Ok(Outcome::Done(Some(json!({ "done": progress.done }))));
    }
    progress.empty = true;
    Ok(Outcome::Later(json!(progress), INDEX_LAG))
}

/// Whether the record is still gone: somebody may have taken the deletion back.
async fn is_deleted(tools: &Tools, gone: &Payload) -> Result<bool, Failure> {
    let Some(collection) = tools.definitions.collection(&gone.collection).await? else { return Ok(true) };
    if collection.definition().generation != gone.generation {
        return Ok(true);
    }
    let grant = of_the_house(&collection, tools.clock.millis());
    Ok(tools.records.get(&grant, &gone.id, true).await?.is_none())
}

/// The collection that points, if it still does, and what its records have to expect now: its definition may have changed since
/// the deletion, and its index and schema with it.
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

/// A page of the records that point at `id`; `None` while no index can tell.
async fn pointing(
    tools: &Tools,
    collection: &Arc<Collection>,
    referrer: &Referrer,
    id: &str,
    position: Option<&[u8]>,
) -> Result<Option<Listed>, Failure> {
    let grant = of_the_house(collection, tools.clock.millis());
    let filter = Expr::filter(&format!("{} == {}", referrer.field, json!(id)), &collection.layout().fields);
    let filter = filter.map_err(|error| Failure::new(error.to_string()))?;
    let query = Query { rule: grant.left(), filter: Some(&filter), sort: &[], scan: None };
    match plan(collection.layout(), &query) {
        Ok(plan) => Ok(Some(tools.records.list(&grant, &plan, PAGE, position).await?)),
        Err(refusal) if refusal.code == "index_building" => Ok(None),
        Err(refusal) => Err(Failure::new(refusal.message)),
    }
}

/// Does each of them on the condition that the record is as it was listed. Returns how many were done; those that lost to
/// another write are listed again.
async fn write(tools: &Tools, job: &Job, intents: &[Intent], stuck: &mut Stuck) -> Result<u64, Failure> {
    let mut written = 0;
    for some in intents.chunks(SIDE_BY_SIDE) {
        let writes = some.iter().map(|intent| tools.records.write_one(intent, &job.id, None));
        for (intent, outcome) in some.iter().zip(join_all(writes).await) {
            match outcome {
                Ok(_) => written += 1,
                Err(Error::NotFound(_) | Error::PreconditionFailed(_)) => {}
                Err(error @ (Error::Conflict { .. } | Error::Invalid(_))) => stuck.note(&intent.id, error),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(written)
}

fn intent(
    tools: &Tools,
    collection: &Arc<Collection>,
    referrer: &Referrer,
    on_delete: OnDelete,
    record: &Record,
) -> Intent {
    let what = match on_delete {
        OnDelete::SetNull => {
            What::Merge { patch: Map::from_iter([(referrer.field.clone(), Value::Null)]), blind: false }
        }
        OnDelete::Cascade | OnDelete::Restrict => What::Delete,
    };
    let preconditions =
        Preconditions { if_match: IfMatch::Versions(vec![record.version]), if_none_match: IfNoneMatch::Absent };
    let grant = of_the_house(collection, tools.clock.millis());
    Intent { grant, id: record.id.clone(), what, preconditions, targets: Vec::new() }
}

impl Stuck {
    fn note(&mut self, id: &str, error: Error) {
        self.count += 1;
        self.first.get_or_insert_with(|| (id.to_owned(), error));
    }

    /// Fails if there are any, after all the others were written: somebody has to look, and the next attempt tries again.
    fn none(self) -> Result<(), Failure> {
        match self.first {
            None => Ok(()),
            Some((id, error)) => Err(Failure::new(format!(
                "{} of the records that point at the deleted one could not follow; the first is {id}: {error}",
                self.count
            ))),
        }
    }
}
