//! `records.cascade`: what the deletion of a record asks for in those that point at it: `cascade` deletes them, `setNull` takes the
//! field out. Nobody can begin to point at a tombstone, so there are only fewer of them; they are listed until there are none.
//! A record deleted here has followers of its own, and a job of theirs.

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
use undercroft::schema::{Collection, OnDelete, Referrer};
use undercroft::store::jobs::Job;
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

/// Follows for a slice.
pub async fn run(tools: &Tools, job: &Job, gone: Payload, slice: &Slice) -> Result<Outcome, Failure> {
    let mut progress: Progress =
        job.progress.clone().and_then(|progress| serde_json::from_value(progress).ok()).unwrap_or_default();
    if !is_deleted(tools, &gone).await? {
        return Ok(Outcome::Done(Some(json!({ "done": progress.done, "undeleted": true }))));
    }
    let (mut worked, mut met) = (0, false);
    for referrer in &gone.follow {
        loop {
            let Some(collection) = followed(tools, &gone, referrer).await? else { break };
            let Some(records) = pointing(tools, &collection, referrer, &gone.id).await? else {
                return Ok(Outcome::Later(json!(progress), NOT_READY));
            };
            if records.is_empty() {
                break;
            }
            met = true;
            worked += records.len();
            progress.done += write(tools, job, &collection, referrer, &records).await?;
            if slice.is_over(worked) {
                return Ok(Outcome::More(json!(Progress { empty: false, ..progress })));
            }
        }
    }
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

/// The collection that points, if it still does in this way.
async fn followed(tools: &Tools, gone: &Payload, referrer: &Referrer) -> Result<Option<Arc<Collection>>, Failure> {
    let collection = tools.definitions.collection(&referrer.collection).await?;
    Ok(collection.filter(|collection| {
        collection.relations().any(|(field, relation)| {
            field == referrer.field
                && relation.collection == gone.collection
                && relation.on_delete == referrer.on_delete
        })
    }))
}

/// Records that point at `id`; `None` while no index can tell.
async fn pointing(
    tools: &Tools,
    collection: &Arc<Collection>,
    referrer: &Referrer,
    id: &str,
) -> Result<Option<Vec<Record>>, Failure> {
    let grant = of_the_house(collection, tools.clock.millis());
    let filter = Expr::filter(&format!("{} == {}", referrer.field, json!(id)), &collection.layout().fields);
    let filter = filter.map_err(|error| Failure::new(error.to_string()))?;
    let query = Query { rule: grant.left(), filter: Some(&filter), sort: &[], scan: None };
    match plan(collection.layout(), &query) {
        Ok(plan) => Ok(Some(tools.records.list(&grant, &plan, PAGE, None).await?.records)),
        Err(refusal) if refusal.code == "index_building" => Ok(None),
        Err(refusal) => Err(Failure::new(refusal.message)),
    }
}

/// Writes each of them on the condition that it is as it was listed. Returns how many were; the others are listed again.
async fn write(
    tools: &Tools,
    job: &Job,
    collection: &Arc<Collection>,
    referrer: &Referrer,
    records: &[Record],
) -> Result<u64, Failure> {
    let mut written = 0;
    for some in records.chunks(SIDE_BY_SIDE) {
        let writes = some.iter().map(|record| {
            let intent = intent(tools, collection, referrer, record);
            async move { tools.records.write_one(&intent, &job.id, None).await }
        });
        for outcome in join_all(writes).await {
            match outcome {
                Ok(_) => written += 1,
                Err(Error::NotFound(_) | Error::PreconditionFailed(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(written)
}

fn intent(tools: &Tools, collection: &Arc<Collection>, referrer: &Referrer, record: &Record) -> Intent {
    let what = match referrer.on_delete {
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
