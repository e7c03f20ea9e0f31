//! `records.undelete`: undeletes what was deleted from a collection in a span of time.
//!
//! Tombstones are in no index, so the job visits the collection, shard after shard in the order of the ids. A record that cannot come
//! back stops no other: it is counted and the first ones are listed. Where records point at others of the collection, a pass that
//! brought something back is followed by another. Every step is safe to repeat: an undelete stores the job in its record, so
//! a page that is visited again after a crash is counted once.

use super::failure::{AFTER_FAILURE, Failure, in_words};
use super::outcome::Outcome;
use super::slice::Slice;
use super::tools::Tools;
use super::undeleting::{intent, undelete};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;
use undercroft::error::Error;
use undercroft::expr::moment;
use undercroft::jobs::Undelete;
use undercroft::schema::Collection;
use undercroft::store::deleted_span::Span;
use undercroft::store::item::text;
use undercroft::store::jobs::Job;
use undercroft::store::record::Record;

/// Maximum number of items read at once.
const PAGE: i32 = 100;
/// Maximum number of refused records that the job lists.
const LISTED: usize = 100;
/// Maximum characters of a listed error.
const REASON: usize = 300;

/// The progress of the job.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Progress {
    /// The pass over the collection, from 0.
    pass: u32,
    /// Records that this job has undeleted, as far as this pass has seen.
    undeleted: u64,
    /// The same at the end of the pass before.
    undeleted_before: u64,
    /// Records that cannot come back, as far as this pass has seen.
    refused: u64,
    /// The first of them.
    errors: Vec<Refused>,
    /// Whether this pass has undeleted a record.
    moved: bool,
    /// Whether a refused record may come back after another one of its collection.
    waits: bool,
    /// The generation of the collection.
    generation: u32,
    shard: u16,
    /// The last id of this shard that was visited.
    after: Option<String>,
}

/// A record that cannot come back.
#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    id: String,
    error: String,
}

/// Runs a slice of the job.
pub async fn run(tools: &Tools, job: &Job, asked: Undelete, slice: &Slice) -> Result<Outcome, Failure> {
    let known = job.progress.clone().and_then(|progress| serde_json::from_value(progress).ok());
    let mut progress: Progress = match known {
        Some(progress) => progress,
        None => {
            let generation = defined(tools, &asked, None).await?.definition().generation;
            Progress { generation, ..Progress::default() }
        }
    };
    let span = span(job, &asked)?;
    let began = progress.reached();
    match visit(tools, job, &asked, &span, (&mut progress, slice)).await {
        Ok(true) => Ok(progress.done(&asked)),
        Ok(false) => Ok(Outcome::More(json!(progress))),
        Err(failure) if progress.reached() != began => {
            failure.ends_slice(job);
            Ok(Outcome::Later(json!(progress), AFTER_FAILURE))
        }
        Err(failure) => Err(failure),
    }
}

/// The span of time in the form that records store. What is deleted after the job was enqueued stays deleted.
fn span(job: &Job, asked: &Undelete) -> Result<Span, Failure> {
    let until = asked.until.as_deref().unwrap_or(&job.created_at);
    match (moment::canonical(&asked.since), moment::canonical(until)) {
        (Some(since), Some(until)) => Ok(Span { since, until: until.min(job.created_at.clone()) }),
        _ => Err(Failure::last("The payload has a malformed time.")),
    }
}

/// Visits the collection until the last pass is over (true) or the slice is (false).
async fn visit(
    tools: &Tools,
    job: &Job,
    asked: &Undelete,
    span: &Span,
    (progress, slice): (&mut Progress, &Slice),
) -> Result<bool, Failure> {
    let mut worked = 0;
    loop {
        let collection = defined(tools, asked, Some(progress.generation)).await?;
        if progress.shard >= u16::from(collection.definition().shards_ever()) {
            if asked.dry_run || !progress.is_worth_another_pass() {
                return Ok(true);
            }
            *progress = Progress {
                pass: progress.pass + 1,
                generation: progress.generation,
                undeleted_before: progress.undeleted,
                ..Progress::default()
            };
        }
        let (shard, after) = (progress.shard, progress.after.as_deref());
        let page = tools.records.in_shard(&tools.system, &collection, shard, after, slice.room(worked, PAGE)).await?;
        let records: Vec<Record> = page.items.iter().filter_map(Record::from_item).collect();
        let before = records.iter().filter(|record| !record.deleted && record.request_id == job.id).count();
        let tombstones = records.into_iter().filter(|record| tools.records.was_deleted_in(record, span)).collect();
        let (undeleted, refused) = bring_back(tools, job, asked, span, (&collection, tombstones)).await?;
        progress.note(&collection, undeleted, refused);
        progress.undeleted += u64::try_from(before).unwrap_or_default();
        worked += page.items.len().max(1);
        progress.after = page.items.last().and_then(|last| text(last, "sk")).map(str::to_owned);
        if page.last_key.is_none() {
            progress.shard += 1;
            progress.after = None;
        }
        if slice.is_over(worked) {
            return Ok(false);
        }
    }
}

/// Undeletes these tombstones, or only looks whether they could be. Returns how many were or could be, and the others.
async fn bring_back(
    tools: &Tools,
    job: &Job,
    asked: &Undelete,
    span: &Span,
    (collection, tombstones): (&Arc<Collection>, Vec<Record>),
) -> Result<(u64, Vec<(String, Error)>), Failure> {
    let taken = tools.records.taken_values(&tools.system, collection, &tombstones, span).await?;
    let (mut free, mut refused) = (Vec::new(), Vec::new());
    for (tombstone, taken) in tombstones.into_iter().zip(taken) {
        match taken {
            Some(error) => refused.push((tombstone.id, error)),
            None => free.push((collection.clone(), tombstone)),
        }
    }
    if !asked.dry_run {
        let undeleted = undelete(tools, job, &free).await?;
        refused.extend(undeleted.refused);
        return Ok((undeleted.written, refused));
    }
    let mut undeletes = Vec::new();
    for (collection, tombstone) in &free {
        match intent(tools, collection, tombstone).await {
            Ok(intent) => undeletes.push((intent, tombstone)),
            Err(error @ Error::Invalid(_)) => refused.push((tombstone.id.clone(), error)),
            Err(error) => return Err(error.into()),
        }
    }
    let mut could = 0;
    for ((intent, _), error) in undeletes.iter().zip(tools.records.refused_undeletes(&undeletes, span).await?) {
        match error {
            Some(error) => refused.push((intent.id.clone(), error)),
            None => could += 1,
        }
    }
    Ok((could, refused))
}

/// The collection, if it is still the one that the job began with.
async fn defined(tools: &Tools, asked: &Undelete, generation: Option<u32>) -> Result<Arc<Collection>, Failure> {
    let collection = tools.definitions.collection(&asked.collection).await?;
    let same = |collection: &Arc<Collection>| generation.is_none_or(|it| it == collection.definition().generation);
    collection.filter(same).ok_or_else(|| Failure::last("The collection no longer exists."))
}

impl Progress {
    /// The position of the job; it changes with every page.
    fn reached(&self) -> (u32, u16, Option<String>) {
        (self.pass, self.shard, self.after.clone())
    }

    fn is_worth_another_pass(&self) -> bool {
        self.waits && (self.moved || self.undeleted > self.undeleted_before)
    }

    fn note(&mut self, collection: &Collection, undeleted: u64, refused: Vec<(String, Error)>) {
        let is_own = collection.relations().any(|(_, relation)| relation.collection == collection.name());
        self.undeleted += undeleted;
        self.moved |= undeleted > 0;
        for (id, error) in refused {
            self.waits |= is_own && matches!(error, Error::Invalid(_));
            self.refused += 1;
            if self.errors.len() < LISTED {
                let error = in_words(&error).chars().take(REASON).collect();
                self.errors.push(Refused { id, error });
            }
        }
    }

    fn done(self, asked: &Undelete) -> Outcome {
        let Self { undeleted, refused, errors, .. } = self;
        let result = json!({ "dryRun": asked.dry_run, "undeleted": undeleted, "refused": refused, "errors": errors });
        Outcome::Done(Some(result))
    }
}
