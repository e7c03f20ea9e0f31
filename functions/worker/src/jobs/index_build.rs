//! `index.build` and `records.check`: what has to be done to the stored records of a collection because its definition was
//! changed. One walk through all of them does it: it fills the indexes that are being built, clears what dropped ones left,
//! claims unique values, writes down whom records point at, and holds each record against the schema that is to come. Then the
//! definition is put in force. A change that records stand in the way of is not: the job fails and names them, and the definition
//! says so until they fit and the job is redriven, or another definition is put.
//!
//! A job whose definition was changed again is overtaken: the definition names another job, or none.

use super::failure::Failure;
use super::outcome::Outcome;
use super::slice::Slice;
use super::tools::Tools;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use undercroft::error::{Error, FieldError};
use undercroft::futures::future::join_all;
use undercroft::schema::{Blocked, Collection, Definition, Work};
use undercroft::store::backfill::Disagreement;
use undercroft::store::definitions::State;
use undercroft::store::item::text;
use undercroft::store::jobs::Job;

/// Items read at once.
const PAGE: i32 = 128;
/// Records worked on side by side.
const SIDE_BY_SIDE: usize = 16;
/// How many of the records that disagree are listed, and how many bytes they may take.
const LISTED: (usize, usize) = (20, 50_000);
/// How long to wait for a record that is written faster than it can be read, in seconds.
const HOT: u32 = 1;
/// How often putting the definition in force is tried while others change it.
const TRIES: usize = 8;

/// Which collection.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    collection: String,
    generation: u32,
}

/// How far the walk has come.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Progress {
    /// The work it is about: [`Work::since`].
    since: u64,
    shard: u16,
    /// The last id that was looked at in this shard.
    after: Option<String>,
    /// Whether every record was looked at.
    walked: bool,
    checked: u64,
    /// Whether what was found ended the job: redriven, it walks once more.
    failed: bool,
    #[serde(flatten)]
    found: Found,
    /// What an earlier walk of this job has found: what came into force by it brought work of its own.
    earlier: Found,
}

/// What stands in the way.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct Found {
    disagree: Disagree,
    refused: Blocked,
}

/// The records that disagree.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
struct Disagree {
    count: u64,
    /// Those whose errors are too long to be kept are named without.
    first: Vec<Value>,
}

/// Works on it for a slice.
pub async fn run(tools: &Tools, job: &Job, payload: Payload, slice: &Slice) -> Result<Outcome, Failure> {
    let known: Progress =
        job.progress.clone().and_then(|progress| serde_json::from_value(progress).ok()).unwrap_or_default();
    let Some(definition) = defined(tools, &payload).await? else { return Ok(overtaken()) };
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
    if progress.walked {
        return conclude(tools, &job.id, &payload, progress).await;
    }
    let seconds = visit_shards(tools, &job.id, &payload, &mut progress, slice).await?;
    // What was found is kept before anything is decided by it: deciding again must not forget it.
    Ok(Outcome::Later(progress.shown(), seconds))
}

/// The definition as it is right now, if it is still of this collection.
async fn defined(tools: &Tools, payload: &Payload) -> Result<Option<Definition>, Failure> {
    let stored = tools.definitions.get(&payload.collection).await?;
    let stored = stored.filter(|stored| stored.stage == State::Ready).map(|stored| stored.definition);
    Ok(stored.filter(|definition| definition.generation == payload.generation))
}

fn ours<'a>(definition: &'a Definition, job: &str) -> Option<&'a Work> {
    definition.work.as_ref().filter(|work| work.job == job)
}

fn overtaken() -> Outcome {
    Outcome::Done(Some(json!({ "superseded": true })))
}

/// Walks on until the end, until the slice is over, or until the work looks to be another's; whether it is, the next slice
/// finds out first. Returns how long that should wait, in seconds.
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
            // Like every writer, this one goes by a definition a few seconds old at most.
            let Some(collection) = current(tools, job, payload, progress.since).await? else { return Ok(0) };
            let settled = found.iter().map(async |found| {
                let against = tools.records.settle(&collection, found.clone()).await?;
                tools.records.refer(&tools.definitions, &collection, found).await?;
                Ok(against)
            });
            for (found, settled) in found.iter().zip(join_all(settled).await) {
                match settled {
                    Ok(disagreement) => progress.note(text(found, "sk").unwrap_or_default(), disagreement),
                    // What lies before is done. Where nothing does, it counts as a failed attempt.
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

async fn current(tools: &Tools, job: &str, payload: &Payload, since: u64) -> Result<Option<Arc<Collection>>, Failure> {
    let collection = tools.definitions.collection(&payload.collection).await?;
    Ok(collection.filter(|collection| {
        let definition = collection.definition();
        definition.generation == payload.generation && ours(definition, job).is_some_and(|work| work.since == since)
    }))
}

/// Puts the definition in force; fails where records stand in the way of a part of it, which then waits.
async fn conclude(tools: &Tools, job: &str, payload: &Payload, progress: Progress) -> Result<Outcome, Failure> {
    for _ in 0..TRIES {
        let Some(definition) = defined(tools, payload).await? else { return Ok(overtaken()) };
        if ours(&definition, job).is_none_or(|work| work.since != progress.since) {
            // Somebody was faster: the next slice finds out who.
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
            // Rules, say, were changed meanwhile.
            Err(Error::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new("The definition kept changing, so it could not be put in force."))
}

impl Progress {
    /// Where the walk for the next piece of work begins.
    fn followed_by(self, since: u64) -> Self {
        let earlier = if self.walked { self.reported() } else { Found::default() };
        Self { since, earlier, ..Self::default() }
    }

    fn note(&mut self, id: &str, against: Disagreement) {
        self.after = Some(id.to_owned());
        self.checked += 1;
        if !against.errors.is_empty() {
            let errors: Vec<&FieldError> = against.errors.iter().take(LISTED.0).collect();
            let first = vec![json!({ "id": id, "errors": errors })];
            self.found.add(Found { disagree: Disagree { count: 1, first }, refused: against.refused });
        }
    }

    fn shown(&self) -> Value {
        json!(self)
    }

    /// The failure of a job whose definition records stand in the way of.
    fn blocked(mut self) -> Failure {
        self.failed = true;
        let count = self.found.disagree.count;
        let reason = format!(
            "{count} stored records do not fit the definition; `progress.disagree` names the first of them. Change or delete \
             them and redrive this job, or put another definition."
        );
        Failure::last(reason).met(1, self.shown())
    }

    /// To be gone on with after so many milliseconds.
    fn later(&self, millis: u64) -> Outcome {
        Outcome::Later(self.shown(), u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX))
    }

    /// What all walks of this job have found.
    fn reported(&self) -> Found {
        let mut reported = self.earlier.clone();
        reported.add(self.found.clone());
        reported
    }

    fn result(&self) -> Value {
        let Found { disagree, refused } = self.reported();
        json!({ "checked": self.checked, "disagree": disagree, "refused": refused })
    }
}

impl Found {
    fn add(&mut self, found: Self) {
        self.disagree.count += found.disagree.count;
        found.disagree.first.into_iter().for_each(|one| self.disagree.list(one));
        self.refused.schema |= found.refused.schema;
        merge(&mut self.refused.indexes, found.refused.indexes);
        merge(&mut self.refused.unique, found.refused.unique);
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
