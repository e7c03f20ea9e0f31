//! One shard: its records are read in order, assigned to batchers by key, and checkpointed up to the first record that is not
//! done.

use std::collections::VecDeque;

use super::batcher::Batcher;
use super::checkpoint::Position;
use super::reader::{self, RecordPage, ShardDescription, StreamRecord};
use crate::aws_client::AwsClient;
use crate::http_client::CallError;
use crate::template::StreamEvent;

/// A shard that is being read.
#[derive(Debug)]
pub struct Shard {
    pub id: String,
    pub parent: Option<String>,
    pub batchers: Vec<Batcher>,
    iterator: Option<String>,
    /// Sequence number of the last record read.
    read_to: Option<String>,
    /// Sequence numbers of the records after the checkpoint, in the shard's order, each with whether it is done.
    outstanding: VecDeque<(String, bool)>,
    reached_end: bool,
    finished: bool,
}

impl Shard {
    pub fn new(description: ShardDescription, position: Position, batchers: usize) -> Self {
        Self {
            id: description.id,
            parent: description.parent,
            batchers: (0..batchers.max(1)).map(|_| Batcher::default()).collect(),
            iterator: None,
            read_to: position.sequence,
            outstanding: VecDeque::new(),
            reached_end: false,
            finished: position.finished,
        }
    }

    /// Whether all records are done and the shard is closed, so that its child shards may start.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Reads records until every batcher can have a full batch. Returns the number of records that were filtered out.
    pub async fn read(&mut self, aws: &AwsClient, event: &StreamEvent) -> Result<usize, CallError> {
        let room = event.batching.size * self.batchers.len();
        if self.outstanding.len() >= room || self.reached_end {
            return Ok(0);
        }
        let room = room - self.outstanding.len();
        let page = match self.page(aws, &event.stream, room).await {
            // A shard iterator expires after 15 minutes, and its position may be trimmed earlier. The retry requests a new one.
            Err(error) if error.is("ExpiredIteratorException") || error.is("TrimmedDataAccessException") => {
                self.page(aws, &event.stream, room).await?
            }
            page => page?,
        };
        let Some(page) = page else { return Ok(0) };
        self.reached_end = page.next.is_none();
        self.iterator = page.next;
        Ok(page.records.into_iter().filter_map(|record| self.buffer(record, event, aws.clock.now())).count())
    }

    /// The records after the last one read.
    async fn page(&mut self, aws: &AwsClient, stream: &str, limit: usize) -> Result<Option<RecordPage>, CallError> {
        let at = match self.iterator.take() {
            Some(iterator) => Some(iterator),
            None => reader::shard_iterator(aws, stream, &self.id, self.read_to.as_deref()).await?,
        };
        match at {
            Some(at) => Ok(Some(reader::get_records(aws, stream, &at, limit).await?)),
            None => Ok(None),
        }
    }

    /// Assigns a record to the batcher of its key, so that changes of one item stay in order. `Some` if it is filtered out.
    fn buffer(&mut self, record: StreamRecord, event: &StreamEvent, now: u64) -> Option<()> {
        self.read_to = Some(record.sequence.clone());
        let wanted = event.batching.filter.matches(&record.value);
        self.outstanding.push_back((record.sequence.clone(), !wanted));
        if !wanted {
            return Some(());
        }
        let batchers = u64::try_from(self.batchers.len()).unwrap_or(1);
        let batcher = usize::try_from(record.key % batchers).unwrap_or_default();
        if let Some(batcher) = self.batchers.get_mut(batcher) {
            batcher.push(record, now);
        }
        None
    }

    /// Marks records as done.
    pub fn mark_done(&mut self, sequences: &[String]) {
        for (sequence, done) in &mut self.outstanding {
            *done |= sequences.contains(sequence);
        }
    }

    /// The sequence number of the new checkpoint: the last record before the first one that is not done. `None` if unchanged.
    pub fn checkpoint(&mut self) -> Option<String> {
        let mut last = None;
        while let Some((sequence, _)) = self.outstanding.pop_front_if(|(_, done)| *done) {
            last = Some(sequence);
        }
        last
    }

    /// Marks the shard as finished when all its records are done. Returns whether it became finished now.
    pub fn mark_finished(&mut self) -> bool {
        let ends = self.reached_end && self.outstanding.is_empty() && !self.finished;
        self.finished |= ends;
        ends
    }
}
