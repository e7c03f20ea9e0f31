//! Batching of a shard's records: batches run in order, one at a time, and are retried, bisected or discarded as the event
//! source is configured. A shard has one batcher per concurrent batch (`ParallelizationFactor`).

use std::collections::VecDeque;
use std::time::Duration;

use super::reader::StreamRecord;
use crate::event_source::batch_response::BatchResult;
use crate::event_source::invoke::{MAXIMUM_EVENT, PollMode};
use crate::template::StreamEvent;

/// DynamoDB Streams keep a record for 24 hours.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// Cuts records into batches.
#[derive(Debug, Default)]
pub struct Batcher {
    records: VecDeque<BufferedRecord>,
    /// The batches that the first records are divided into, once the first batch was attempted.
    pending: VecDeque<PendingBatch>,
    /// No batch is invoked before this time, in milliseconds since the Unix epoch.
    not_before: u64,
    /// When the batching window of an incomplete batch ends, in milliseconds since the Unix epoch; 0 when none is open.
    window_ends: u64,
}

#[derive(Debug)]
struct BufferedRecord {
    record: StreamRecord,
    /// When it was buffered, in milliseconds since the Unix epoch.
    at: u64,
}

/// A batch: the number of records it takes from the front, and how often it was invoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PendingBatch {
    pub records: usize,
    pub invocations: u32,
}

/// A batch that will not be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiscardedBatch {
    pub batch: PendingBatch,
    pub reason: DiscardReason,
}

/// Why a batch is discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiscardReason {
    /// `MaximumRetryAttempts` is exceeded.
    RetriesExhausted,
    /// `MaximumRecordAgeInSeconds` is exceeded.
    RecordTooOld,
    /// The record is older than the stream's retention: it is discarded without a report, as in AWS.
    Trimmed,
}

/// The effect of a response on the batcher.
pub struct BatchOutcome {
    /// Sequence numbers of the records that are done; they are already removed from the batcher.
    pub finished: Vec<String>,
    /// The first batch, when it must be discarded now.
    pub discarded: Option<DiscardedBatch>,
}

impl Batcher {
    /// Buffers a record.
    pub fn push(&mut self, record: StreamRecord, now: u64) {
        self.records.push_back(BufferedRecord { record, at: now });
    }

    /// The next batch, if it is due.
    pub fn next_batch(&mut self, event: &StreamEvent, now: u64, mode: PollMode) -> Option<PendingBatch> {
        if self.records.is_empty() || now < self.not_before {
            return None;
        }
        if self.pending.is_empty() {
            let records = self.fitting_records(event.batching.size);
            let first = self.records.front().map_or(now, |buffered| buffered.at);
            let window_ends = first + millis(event.batching.window);
            if mode == PollMode::LongPoll && records < event.batching.size && now < window_ends {
                self.window_ends = window_ends;
                return None;
            }
            self.window_ends = 0;
            self.pending.push_back(PendingBatch { records, invocations: 0 });
        }
        self.pending.front().copied()
    }

    /// The first records.
    pub fn front(&self, count: usize) -> Vec<&StreamRecord> {
        self.records.iter().take(count).map(|buffered| &buffered.record).collect()
    }

    /// Removes the first records, and the batches they were in. Returns their sequence numbers.
    pub fn drop_front(&mut self, count: usize) -> Vec<String> {
        let taken = self.records.drain(..count.min(self.records.len()));
        let sequences = taken.map(|buffered| buffered.record.sequence).collect();
        let mut left = count;
        while let Some(batch) = self.pending.front_mut().filter(|_| left > 0) {
            let from_this = left.min(batch.records);
            batch.records -= from_this;
            left -= from_this;
            if batch.records == 0 {
                self.pending.pop_front();
            }
        }
        self.not_before = 0;
        sequences
    }

    /// The first records, if they are too old to be delivered.
    pub fn expired(&self, now: u64, started: u64, maximum_age: Option<Duration>) -> Option<DiscardedBatch> {
        let (limit, reason) = match maximum_age.filter(|age| *age < RETENTION) {
            Some(age) => (age, DiscardReason::RecordTooOld),
            None => (RETENTION, DiscardReason::Trimmed),
        };
        let is_old =
            |buffered: &&BufferedRecord| now.saturating_sub(buffered.record.created.max(started)) > millis(limit);
        let records = self.records.iter().take_while(is_old).count();
        // Only the current batch is discarded; later records are checked when they come to the front.
        let records = self.pending.front().map_or(records, |batch| records.min(batch.records));
        let invocations = self.pending.front().map_or(0, |batch| batch.invocations);
        (records > 0).then_some(DiscardedBatch { batch: PendingBatch { records, invocations }, reason })
    }

    /// Applies the response to the first batch.
    pub fn apply(&mut self, batch_result: &BatchResult, event: &StreamEvent, now: u64) -> BatchOutcome {
        let Some(batch) = self.pending.front().copied() else {
            return BatchOutcome { finished: Vec::new(), discarded: None };
        };
        match batch_result {
            BatchResult::Success => BatchOutcome { finished: self.drop_front(batch.records), discarded: None },
            BatchResult::PartialFailure(failed) => {
                let is_failed = |record: &&StreamRecord| failed.contains(&record.sequence);
                let done = self.front(batch.records).iter().position(is_failed).unwrap_or_default();
                self.apply_partial_failure(done, batch, event, now)
            }
            BatchResult::Failure if event.bisects && batch.records > 1 => {
                // A bisection does not count as a retry: neither half counts this invocation.
                let half = batch.records / 2;
                self.split_front(
                    PendingBatch { records: half, ..batch },
                    PendingBatch { records: batch.records - half, ..batch },
                );
                BatchOutcome { finished: Vec::new(), discarded: None }
            }
            BatchResult::Failure => {
                self.retry(PendingBatch { invocations: batch.invocations + 1, ..batch }, event, now)
            }
        }
    }

    /// The lowest failed sequence number becomes the checkpoint: records before it are done, it and all later ones are retried.
    fn apply_partial_failure(
        &mut self,
        done: usize,
        batch: PendingBatch,
        event: &StreamEvent,
        now: u64,
    ) -> BatchOutcome {
        if done > 0 {
            let finished = self.drop_front(done);
            let retried = self.retry(PendingBatch { records: batch.records - done, invocations: 1 }, event, now);
            return BatchOutcome { finished, ..retried };
        }
        let tried = batch.invocations + 1;
        if event.bisects && batch.records > 1 {
            // Split after the failed record, so that only this record's retries are counted.
            self.split_front(
                PendingBatch { records: 1, invocations: tried },
                PendingBatch { records: batch.records - 1, ..batch },
            );
            return self.retry(PendingBatch { records: 1, invocations: tried }, event, now);
        }
        self.retry(PendingBatch { invocations: tried, ..batch }, event, now)
    }

    fn retry(&mut self, batch: PendingBatch, event: &StreamEvent, now: u64) -> BatchOutcome {
        if let Some(front) = self.pending.front_mut() {
            *front = batch;
        }
        self.not_before = now + millis(backoff(batch.invocations));
        let exhausted = event.maximum_retries.is_some_and(|most| batch.invocations > most);
        let discarded = exhausted.then_some(DiscardedBatch { batch, reason: DiscardReason::RetriesExhausted });
        BatchOutcome { finished: Vec::new(), discarded }
    }

    fn split_front(&mut self, first: PendingBatch, rest: PendingBatch) {
        self.pending.pop_front();
        self.pending.push_front(rest);
        self.pending.push_front(first);
    }

    /// Delays the next batch by the shortest backoff.
    pub fn postpone(&mut self, now: u64) {
        self.not_before = now + millis(FIRST_BACKOFF);
    }

    /// When the next batch is due; `None` when there are no records.
    pub fn next_attempt(&self) -> Option<u64> {
        self.records.front().map(|_| self.not_before.max(self.window_ends))
    }

    /// The number of records, at most `size`, that fit into one event.
    fn fitting_records(&self, size: usize) -> usize {
        let mut total = 0;
        let fits = |buffered: &&BufferedRecord| {
            total += buffered.record.size;
            total <= MAXIMUM_EVENT - 64
        };
        // A single record always fits: an item has at most 400 KB, and a record holds two images of it.
        self.records.iter().take(size).take_while(fits).count().max(1)
    }
}

/// The delay before the next attempt. It doubles with each failed invocation.
fn backoff(invocations: u32) -> Duration {
    FIRST_BACKOFF.saturating_mul(2_u32.saturating_pow(invocations.saturating_sub(1))).min(LONGEST_BACKOFF)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
