//! A DynamoDB stream as an event source: each shard is processed in order, parent shards before child shards. A failed batch
//! is retried until it succeeds or is discarded.
//!
//! `reader` (reads records) -> `shard` (assigns them to batchers) -> `batcher` (batches, retries, bisects) -> `checkpoint`
//! (stores the position of each shard) or `on_failure` (reports a discarded batch).

mod batcher;
pub(super) mod checkpoint;
mod on_failure;
mod reader;
mod shard;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde_json::json;
use tokio::sync::Mutex;

use super::batch_response::batch_result;
use super::invoke::{Invoke, PollMode};
use crate::aws_client::AwsClient;
use crate::http_client::CallError;
use crate::template::StreamEvent;
use batcher::{Batcher, DiscardedBatch};
use checkpoint::Checkpoints;
use on_failure::FailureReport;
use shard::Shard;

/// One DynamoDB stream event source.
#[derive(Debug)]
pub struct StreamEventSource {
    /// Binary of the function that is invoked.
    pub function: String,
    /// The event source as the template declares it.
    pub event: StreamEvent,
    /// URL of the queue that receives a report of each discarded batch.
    pub on_failure: Option<String>,
    /// Stores the position of each shard.
    pub checkpoints: Checkpoints,
    /// When this cloud started. A record's age is counted from here at the earliest: while the cloud was stopped, nothing could
    /// process the record.
    pub started: u64,
    shards: Mutex<BTreeMap<String, Shard>>,
}

impl StreamEventSource {
    /// An event source that continues from its checkpoints.
    pub fn new(
        function: String,
        event: StreamEvent,
        on_failure: Option<String>,
        checkpoints: Checkpoints,
        started: u64,
    ) -> Self {
        Self { function, event, on_failure, checkpoints, started, shards: Mutex::default() }
    }

    /// Sets the starting position of an event source that has never run. With `LATEST`, it starts after the newest record.
    pub async fn prepare(&self, aws: &AwsClient) -> Result<(), CallError> {
        if self.event.from_oldest || self.checkpoints.is_prepared()? {
            return Ok(());
        }
        for shard in reader::describe_shards(aws, &self.event.stream).await? {
            if let Some(last) = reader::last_sequence(aws, &self.event.stream, &shard.id).await? {
                self.checkpoints.advance(&shard.id, &last)?;
            }
        }
        self.checkpoints.mark_prepared()
    }

    pub(super) async fn poll(
        &self,
        aws: &AwsClient,
        invoker: &impl Invoke,
        mode: PollMode,
    ) -> Result<usize, CallError> {
        let mut shards = self.shards.lock().await;
        self.discover(aws, &mut shards).await?;
        let mut moved = 0;
        for id in ready_shards(&shards) {
            let Some(shard) = shards.get_mut(&id) else { continue };
            moved += shard.read(aws, &self.event).await?;
            let context = BatchContext { aws, shard: &id, now: aws.clock.now(), mode };
            let attempts = shard.batchers.iter_mut().map(|batcher| self.run_batcher(&context, invoker, batcher));
            for done in join_all(attempts).await.into_iter().flatten() {
                moved += done.moved;
                shard.mark_done(&done.finished);
            }
            self.save_checkpoint(shard)?;
        }
        Ok(moved)
    }

    /// When the next batch is due, in milliseconds since the Unix epoch; `None` when no records are buffered.
    pub async fn next_retry(&self) -> Option<u64> {
        let shards = self.shards.lock().await;
        shards.values().flat_map(|shard| &shard.batchers).filter_map(Batcher::next_attempt).min()
    }

    /// Whether records were read that are not done. An event source that is polling right now counts as behind.
    pub fn is_behind(&self) -> bool {
        let waits = |shard: &Shard| shard.batchers.iter().any(|batcher| batcher.next_attempt().is_some());
        self.shards.try_lock().map_or(true, |shards| shards.values().any(waits))
    }

    /// Describes the stream's shards when none is known, or when all known shards are finished.
    async fn discover(&self, aws: &AwsClient, shards: &mut BTreeMap<String, Shard>) -> Result<(), CallError> {
        if shards.values().any(|shard| !shard.is_finished()) {
            return Ok(());
        }
        let described = reader::describe_shards(aws, &self.event.stream).await?;
        for description in described {
            if !shards.contains_key(&description.id) {
                let position = self.checkpoints.position(&description.id)?;
                let shard = Shard::new(description, position, self.event.parallelization);
                shards.insert(shard.id.clone(), shard);
            }
        }
        Ok(())
    }

    /// Invokes the function with the batcher's next batch, if one is due, and applies the response.
    async fn run_batcher(
        &self,
        context: &BatchContext<'_>,
        invoker: &impl Invoke,
        batcher: &mut Batcher,
    ) -> Option<BatchProgress> {
        if let Some(discarded) = batcher.expired(context.now, self.started, self.event.maximum_age) {
            return Some(self.discard(context, batcher, &discarded).await);
        }
        let batch = batcher.next_batch(&self.event, context.now, context.mode)?;
        let records = batcher.front(batch.records);
        let event = json!({ "Records": records.iter().map(|record| &record.value).collect::<Vec<_>>() });
        let sequences: Vec<_> = records.iter().map(|record| record.sequence.as_str()).collect();
        let answer = invoker.invoke(&self.function, event).await;
        let batch_result = batch_result(&answer, self.event.batching.reports_failures, &sequences);
        let outcome = batcher.apply(&batch_result, &self.event, context.aws.clock.now());
        let mut finished = outcome.finished;
        if let Some(discarded) = outcome.discarded {
            finished.extend(self.discard(context, batcher, &discarded).await.finished);
        }
        Some(BatchProgress { moved: batch.records, finished })
    }

    /// Discards a batch, after it was reported to the on-failure destination if there is one.
    async fn discard(
        &self,
        context: &BatchContext<'_>,
        batcher: &mut Batcher,
        discarded: &DiscardedBatch,
    ) -> BatchProgress {
        if let Some(queue) = &self.on_failure {
            let records = batcher.front(discarded.batch.records);
            let report = FailureReport {
                function: &self.function,
                stream: &self.event.stream,
                shard: context.shard,
                now: context.now,
                discarded,
                records: &records,
            };
            if report.send(context.aws, queue).await.is_err() {
                // Without a report the batch is not discarded: it is tried again.
                batcher.postpone(context.now);
                return BatchProgress { moved: 0, finished: Vec::new() };
            }
        }
        let finished = batcher.drop_front(discarded.batch.records);
        BatchProgress { moved: finished.len(), finished }
    }

    fn save_checkpoint(&self, shard: &mut Shard) -> Result<(), CallError> {
        if let Some(sequence) = shard.checkpoint() {
            self.checkpoints.advance(&shard.id, &sequence)?;
        }
        if shard.mark_finished() {
            self.checkpoints.finish(&shard.id)?;
        }
        Ok(())
    }
}

/// What every batcher of a shard needs to run.
struct BatchContext<'a> {
    aws: &'a AwsClient,
    shard: &'a str,
    now: u64,
    mode: PollMode,
}

/// What running a batcher changed.
struct BatchProgress {
    /// Number of records that were delivered or discarded.
    moved: usize,
    /// Sequence numbers of the records that are done.
    finished: Vec<String>,
}

/// Shards that can be processed: unfinished, and without an unfinished parent.
fn ready_shards(shards: &BTreeMap<String, Shard>) -> Vec<String> {
    let waits = |shard: &Shard| {
        shard.parent.as_ref().and_then(|parent| shards.get(parent)).is_some_and(|parent| !parent.is_finished())
    };
    shards.values().filter(|shard| !shard.is_finished() && !waits(shard)).map(|shard| shard.id.clone()).collect()
}
