//! From a table's stream to a function: each shard in order, parents before children, retried until done or given up.
//!
//! reader (records in) -> lane (batches, retries, bisecting) -> checkpoint (how far each shard is done for good).

mod checkpoint;
mod destination;
mod lane;
mod reader;
mod shard;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Mutex;

pub use checkpoint::{CHECKPOINT_SCHEMA, Checkpoints};

use super::answer::verdict;
use super::{Invoke, Patience, Reach};
use crate::client::CallError;
use crate::template::StreamEvent;
use lane::{GivenUp, Lane};
use shard::Shard;

/// One DynamoDB stream event source.
#[derive(Debug)]
pub struct StreamMapping {
    /// Binary of the function that is called.
    pub function: String,
    /// What the template says of it.
    pub event: StreamEvent,
    /// Address of the queue that is told of batches given up.
    pub on_failure: Option<String>,
    /// Where progress is kept.
    pub checkpoints: Checkpoints,
    /// When this cloud started: a record's age counts only while something could have worked on it.
    pub started: u64,
    shards: Mutex<BTreeMap<String, Shard>>,
}

impl StreamMapping {
    /// A mapping that goes on where its checkpoints stand.
    pub fn new(
        function: String,
        event: StreamEvent,
        on_failure: Option<String>,
        checkpoints: Checkpoints,
        started: u64,
    ) -> Self {
        Self { function, event, on_failure, checkpoints, started, shards: Mutex::default() }
    }

    /// Settles where a mapping that never ran begins. One that wants only what is new starts behind what is there now.
    pub async fn prepare(&self, reach: &Reach) -> Result<(), CallError> {
        if self.event.from_oldest || self.checkpoints.is_prepared()? {
            return Ok(());
        }
        for shard in reader::describe(reach, &self.event.stream).await? {
            if let Some(last) = reader::last_sequence(reach, &self.event.stream, &shard.id).await? {
                self.checkpoints.advance(&shard.id, &last)?;
            }
        }
        self.checkpoints.mark_prepared()
    }

    pub(super) async fn step(
        &self,
        reach: &Reach,
        invoker: &impl Invoke,
        patience: Patience,
    ) -> Result<usize, CallError> {
        let mut shards = self.shards.lock().await;
        self.discover(reach, &mut shards).await?;
        let mut moved = 0;
        for id in workable(&shards) {
            let Some(shard) = shards.get_mut(&id) else { continue };
            moved += shard.fill(reach, &self.event).await?;
            let turn = Turn { reach, shard: &id, now: reach.clock.now(), patience };
            let turns = shard.lanes.iter_mut().map(|lane| self.work(&turn, invoker, lane));
            for done in join_all(turns).await.into_iter().flatten() {
                moved += done.moved;
                shard.mark_done(&done.finished);
            }
            self.keep_progress(shard)?;
        }
        Ok(moved)
    }

    /// When a batch that failed is due again, if one is waiting: milliseconds since the epoch.
    pub async fn next_retry(&self) -> Option<u64> {
        let shards = self.shards.lock().await;
        shards.values().flat_map(|shard| &shard.lanes).filter_map(Lane::due_at).min()
    }

    /// Whether a change was read and is not done. Who is at work this very moment is.
    pub fn is_behind(&self) -> bool {
        let waits = |shard: &Shard| shard.lanes.iter().any(|lane| lane.due_at().is_some());
        self.shards.try_lock().map_or(true, |shards| shards.values().any(waits))
    }

    /// Finds the stream's shards, at first and whenever one has come to its end.
    async fn discover(&self, reach: &Reach, shards: &mut BTreeMap<String, Shard>) -> Result<(), CallError> {
        if shards.values().any(|shard| !shard.is_finished()) {
            return Ok(());
        }
        let described = reader::describe(reach, &self.event.stream).await?;
        for found in described {
            if !shards.contains_key(&found.id) {
                let progress = self.checkpoints.of(&found.id)?;
                shards.insert(found.id.clone(), Shard::new(found, progress, self.event.parallelization));
            }
        }
        Ok(())
    }

    /// Gives one lane its turn: at most one batch invoked, and settled as the answer says.
    async fn work(&self, turn: &Turn<'_>, invoker: &impl Invoke, lane: &mut Lane) -> Option<Done> {
        if let Some(expired) = lane.expired(turn.now, self.started, self.event.maximum_age) {
            return Some(self.give_up(turn, lane, &expired).await);
        }
        let part = lane.due(&self.event, turn.now, turn.patience)?;
        let records = lane.front(part.records);
        let event = json!({ "Records": records.iter().map(|record| &record.value).collect::<Vec<_>>() });
        let sequences: Vec<_> = records.iter().map(|record| record.sequence.as_str()).collect();
        let answer = invoker.invoke(&self.function, event).await;
        let verdict = verdict(&answer, self.event.batching.reports_failures, &sequences);
        let settled = lane.settle(&verdict, &self.event, turn.reach.clock.now());
        let mut finished = settled.finished;
        if let Some(given_up) = settled.given_up {
            finished.extend(self.give_up(turn, lane, &given_up).await.finished);
        }
        Some(Done { moved: part.records, finished })
    }

    /// Lets go of a batch, once the destination (if there is one) knows of it.
    async fn give_up(&self, turn: &Turn<'_>, lane: &mut Lane, given_up: &GivenUp) -> Done {
        if let Some(queue) = &self.on_failure {
            let records = lane.front(given_up.part.records);
            let told = destination::tell(turn, queue, self, given_up, &records).await;
            if told.is_err() {
                // Better tried again than gone without a trace.
                lane.put_off(turn.now);
                return Done { moved: 0, finished: Vec::new() };
            }
        }
        let finished = lane.drop_front(given_up.part.records);
        Done { moved: finished.len(), finished }
    }

    fn keep_progress(&self, shard: &mut Shard) -> Result<(), CallError> {
        if let Some(sequence) = shard.progress() {
            self.checkpoints.advance(&shard.id, &sequence)?;
        }
        if shard.ends_now() {
            self.checkpoints.finish(&shard.id)?;
        }
        Ok(())
    }
}

/// A lane's turn: when, where, and whether it may wait for more.
pub(in crate::mapping) struct Turn<'a> {
    reach: &'a Reach,
    shard: &'a str,
    now: u64,
    patience: Patience,
}

/// What a lane's turn came to.
struct Done {
    moved: usize,
    finished: Vec<String>,
}

/// Shards that may be worked on: unfinished, and with no unfinished parent.
fn workable(shards: &BTreeMap<String, Shard>) -> Vec<String> {
    let waits = |shard: &Shard| {
        shard.parent.as_ref().and_then(|parent| shards.get(parent)).is_some_and(|parent| !parent.is_finished())
    };
    shards.values().filter(|shard| !shard.is_finished() && !waits(shard)).map(|shard| shard.id.clone()).collect()
}
