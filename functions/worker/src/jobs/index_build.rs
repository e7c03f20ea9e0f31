//! `index.build` and `records.check`: update the stored records of a collection after a change of its definition. One walk
//! through all records changes their data as the definition asks, fills new indexes, clears the entries of dropped ones, claims
//! unique values, stores references, and validates each record by the new schema. Then the definition takes effect. If records do not fit a change, the job fails
//! and names them, and the definition is `blocked` until the records are changed and the job is redriven, or another
//! definition is put.
//!
//! An index over elements begins in two steps, because its entries are items that a writer who does not know it would leave
//! behind: first writes only remove entries, then they also make them, and then the walk makes those of the other records.
//!
//! If the definition changes again, it names another job or none, and this job stops.

use super::failure::Failure;
use super::outcome::Outcome;
use super::slice::Slice;
use super::tools::Tools;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use undercroft::error::{Error, FieldError};
use undercroft::futures::future::join_all;
use undercroft::schema::{Blocked, Collection, Definition, Work};
use undercroft::store::backfill::Disagreement;
use undercroft::store::definitions::{State, Stored};
use undercroft::store::item::{Item, text};
use undercroft::store::jobs::Job;
use undercroft::store::record::Record;

/// Items read at once.
const PAGE: i32 = 128;
/// Number of records processed in parallel.
const SIDE_BY_SIDE: usize = 16;
/// Maximum number of listed records that do not fit, and their maximum bytes.
const LISTED: (usize, usize) = (20, 50_000);
/// Wait before retrying a record that keeps changing, in seconds.
const HOT: u32 = 1;
/// How often putting the definition in force is tried after conflicts.
const TRIES: usize = 8;

/// Which collection.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    collection: String,
    generation: u32,
}

/// The progress of the walk.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Progress {
    /// The piece of work: [`Work::since`].
    since: u64,
    shard: u16,
    /// The last processed id in this shard.
    after: Option<String>,
    /// Whether every record was processed.
    walked: bool,
    checked: u64,
    /// Whether records that do not fit ended the job. After a redrive it walks again.
    failed: bool,
    #[serde(flatten)]
    found: Found,
    /// The findings of an earlier walk of this job, whose definition brought further work.
    earlier: Found,
}

/// What a walk found.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct Found {
    /// The number of records whose data the job changed.
    changed: u64,
    /// Records and parts of the definition that do not fit each other.
    disagree: Disagree,
    refused: Blocked,
}

/// The records that do not fit.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct Disagree {
    count: u64,
    /// A record whose errors are too long is listed without them.
    first: Vec<Value>,
}

/// Runs a slice of the job.
pub async fn run(tools: &Tools, job: &Job, payload: Payload, slice: &Slice) -> Result<Outcome, Failure> {
    let known: Progress =
        job.progress.clone().and_then(|progress| serde_json::from_value(progress).ok()).unwrap_or_default();
    let Some(Stored { definition, stage }) = stored(tools, &payload).await? else { return Ok(overtaken()) };
    if stage == State::Closing {
        return Ok(until_deleted(tools, &definition, known));
    }
    let Some(work) = ours(&definition, &job.id) else {
        let done = definition.settled_by.as_ref() == Some(&job.id);
        return Ok(if done { Outcome::Done(Some(known.result())) } else { overtaken() });
    };
    let mut progress = match known {
        known if known.failed => Progress { since: work.since, ..Progress::default() },
        known if known.since == work.since => known,
        known => known.followed_by(work.since),
    };
    let begins = work.since + tools.definitions.lease().settled_millis();
    let now = tools.clock.millis();
    if now < begins {
        return Ok(progress.later(begins - now));
    }
    if let Some(opened) = definition.opened(tools.definitions.lease().put(now, &job.id)) {
        return open(tools, &opened, definition.version, progress).await;
    }
    if progress.walked || work.only_waits {
        return conclude(tools, &job.id, &payload, progress).await;
    }
    let seconds = visit_shards(tools, &job.id, &payload, &mut progress, slice).await?;
    // The findings are stored before a decision uses them, so that a repeated decision has them too.
    Ok(Outcome::Later(progress.shown(), seconds))
}

/// Lets writes make the entries of the indexes over elements that begin, now that every function knows to remove them. The walk
/// begins when every function makes them.
async fn open(tools: &Tools, opened: &Definition, previous: u64, progress: Progress) -> Result<Outcome, Failure> {
    match tools.definitions.put(opened, State::Ready, previous).await {
        Ok(()) => {
            let since = opened.work.as_ref().map_or(progress.since, |work| work.since);
            Ok(progress.followed_by(since).later(tools.definitions.lease().settled_millis()))
        }
        // The definition was changed meanwhile: the next slice reads it again.
        Err(Error::Conflict { .. }) => Ok(Outcome::More(progress.shown())),
        Err(error) => Err(error.into()),
    }
}

/// The current definition, if the collection is still the same.
async fn stored(tools: &Tools, payload: &Payload) -> Result<Option<Stored>, Failure> {
    let stored = tools.definitions.get(&payload.collection).await?;
    let is_same = |stored: &Stored| stored.definition.generation == payload.generation && stored.stage != State::Gone;
    Ok(stored.filter(is_same))
}

/// Waits until the deletion of the collection is in force or was undone by a record.
fn until_deleted(tools: &Tools, definition: &Definition, known: Progress) -> Outcome {
    let now = tools.clock.millis();
    let left = definition.withdrawing(now).map_or(0, |withdrawal| withdrawal.in_force_at - now);
    known.later(left + 1_000 * u64::from(HOT))
}

fn ours<'a>(definition: &'a Definition, job: &str) -> Option<&'a Work> {
    definition.work.as_ref().filter(|work| work.job == job)
}

fn overtaken() -> Outcome {
    Outcome::Done(Some(json!({ "superseded": true })))
}

/// Walks until the end, the end of the slice, or a definition that may name another job; the next slice checks that
/// first. Returns the delay of the next slice, in seconds.
async fn visit_shards(
    tools: &Tools,
    job: &str,
    payload: &Payload,
    progress: &mut Progress,
    slice: &Slice,
) -> Result<u32, Failure> {
    let (mut worked, known) = (0, progress.checked);
    while !progress.walked && (worked == 0 || !slice.is_over(worked)) {
        let Some(collection) = current(tools, job, payload, progress.since).await? else { break };
        let page = tools
            .records
            .in_shard(&tools.system, &collection, progress.shard, progress.after.as_deref(), slice.room(worked, PAGE))
            .await?;
        worked += page.items.len().max(1);
        for found in page.items.chunks(SIDE_BY_SIDE) {
            // Like every writer, the job uses a definition that is at most a few seconds old.
            let Some(collection) = current(tools, job, payload, progress.since).await? else { return Ok(0) };
            for (found, visited) in found.iter().zip(visit(tools, job, &collection, found).await?) {
                match visited {
                    Ok(visited) => progress.note(text(found, "sk").unwrap_or_default(), visited),
                    // Earlier records are done. Without any, this counts as a failed attempt.
                    Err(Error::Unavailable { .. }) if progress.checked > known => return Ok(HOT),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if page.last_key.is_none() {
            progress.shard += 1;
            progress.after = None;
            progress.walked = progress.shard >= u16::from(collection.definition().shards_ever());
        }
    }
    Ok(0)
}

/// A record after everything was done for it.
struct Visited {
    changed: bool,
    against: Disagreement,
}

/// Does everything for these records, in parallel.
async fn visit(
    tools: &Tools,
    job: &str,
    collection: &Arc<Collection>,
    found: &[Item],
) -> Result<Vec<Result<Visited, Error>>, Failure> {
    let visited = join_all(found.iter().map(|found| visit_one(tools, job, collection, found))).await;
    // References are written before, so that a target which is found now cannot be deleted unnoticed.
    let now = visited.iter().flatten().filter_map(|(_, item)| item.as_ref());
    let records: Vec<Record> = now.filter_map(Record::from_item).collect();
    let dangling = tools.records.dangling(&tools.definitions, collection, &records).await?;
    let mut dangling: HashMap<String, Vec<FieldError>> =
        records.into_iter().map(|record| record.id).zip(dangling).collect();
    let each = found.iter().zip(visited).map(|(found, visited)| {
        let of_relations = text(found, "sk").and_then(|id| dangling.remove(id)).unwrap_or_default();
        visited.map(|(mut visited, _)| {
            visited.against.note_dangling(of_relations);
            visited
        })
    });
    Ok(each.collect())
}

/// Changes the data of a record, then brings what is kept beside it in line.
async fn visit_one(
    tools: &Tools,
    job: &str,
    collection: &Arc<Collection>,
    found: &Item,
) -> Result<(Visited, Option<Item>), Error> {
    let by = (tools.definitions.as_ref(), &tools.system);
    let migrated = tools.records.migrate(by, collection, found.clone(), job).await?;
    let mut against = Disagreement::default();
    if let Some(item) = &migrated.item {
        against = tools.records.settle(collection, item.clone()).await?;
        tools.records.refer(&tools.definitions, collection, item).await?;
    }
    against.note_unchanged(migrated.errors);
    Ok((Visited { changed: migrated.changed, against }, migrated.item))
}

async fn current(tools: &Tools, job: &str, payload: &Payload, since: u64) -> Result<Option<Arc<Collection>>, Failure> {
    let collection = tools.definitions.collection(&payload.collection).await?;
    Ok(collection.filter(|collection| {
        let definition = collection.definition();
        definition.generation == payload.generation && ours(definition, job).is_some_and(|work| work.since == since)
    }))
}

/// Puts the definition in force. Fails if records do not fit a part of it, which then waits.
async fn conclude(tools: &Tools, job: &str, payload: &Payload, progress: Progress) -> Result<Outcome, Failure> {
    for _ in 0..TRIES {
        let Some(Stored { definition, stage }) = stored(tools, payload).await? else { return Ok(overtaken()) };
        if stage == State::Closing || ours(&definition, job).is_none_or(|work| work.since != progress.since) {
            // The definition changed meanwhile: the next slice reads it again.
            return Ok(Outcome::More(progress.shown()));
        }
        let (now, lease) = (tools.clock.millis(), tools.definitions.lease());
        let concluded = definition.concluded(&progress.found.refused, lease.put(now, job));
        match tools.definitions.put(&concluded, State::Ready, definition.version).await {
            Ok(()) if concluded.blocked().is_some() => return Err(progress.blocked()),
            Ok(()) if concluded.work.is_some() => {
                return Ok(progress.followed_by(now).later(lease.settled_millis()));
            }
            Ok(()) => return Ok(Outcome::Done(Some(progress.result()))),
            // The definition was changed meanwhile, for example its rules.
            Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new("The definition kept changing, so it could not be put in force."))
}

impl Progress {
    /// The start of the walk for the next piece of work.
    fn followed_by(self, since: u64) -> Self {
        let earlier = if self.walked { self.reported() } else { Found::default() };
        Self { since, earlier, ..Self::default() }
    }

    fn note(&mut self, id: &str, Visited { changed, against }: Visited) {
        self.after = Some(id.to_owned());
        self.checked += 1;
        self.found.changed += u64::from(changed);
        if !against.errors.is_empty() {
            let errors: Vec<&FieldError> = against.errors.iter().take(LISTED.0).collect();
            let first = vec![json!({ "id": id, "errors": errors })];
            self.found.add(Found { changed: 0, disagree: Disagree { count: 1, first }, refused: against.refused });
        }
    }

    fn shown(&self) -> Value {
        json!(self)
    }

    /// The failure of a job whose definition does not fit stored records.
    fn blocked(mut self) -> Failure {
        self.failed = true;
        let count = self.found.disagree.count;
        let reason = format!(
            "{count} stored records do not fit the definition; `progress.disagree` names the first of them. Change or delete \
             them and redrive this job, or put another definition."
        );
        Failure::last(reason).met(1, self.shown())
    }

    /// Continues after so many milliseconds.
    fn later(&self, millis: u64) -> Outcome {
        Outcome::Later(self.shown(), u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// The findings of all walks of this job.
    fn reported(&self) -> Found {
        let mut reported = self.earlier.clone();
        reported.add(self.found.clone());
        reported
    }

    fn result(&self) -> Value {
        let Found { changed, disagree, refused } = self.reported();
        json!({ "checked": self.checked, "changed": changed, "disagree": disagree, "refused": refused })
    }
}

impl Found {
    fn add(&mut self, found: Self) {
        self.changed += found.changed;
        self.disagree.count += found.disagree.count;
        found.disagree.first.into_iter().for_each(|one| self.disagree.list(one));
        self.refused.schema |= found.refused.schema;
        merge(&mut self.refused.indexes, found.refused.indexes);
        merge(&mut self.refused.unique, found.refused.unique);
        merge(&mut self.refused.relations, found.refused.relations);
    }
}

impl Disagree {
    fn list(&mut self, mut one: Value) {
        let taken: usize = self.first.iter().map(|one| one.to_string().len()).sum();
        if let Some(errors) = one.get_mut("errors").filter(|errors| taken + errors.to_string().len() > LISTED.1) {
            *errors = json!([]);
        }
        if self.first.len() < LISTED.0 {
            self.first.push(one);
        }
    }
}

fn merge<T: PartialEq>(known: &mut Vec<T>, found: Vec<T>) {
    for one in found {
        if !known.contains(&one) {
            known.push(one);
        }
    }
}
