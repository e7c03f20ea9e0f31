//! One shard: read in order, spread over its lanes by key, done as far as everything before it is.

use std::collections::VecDeque;

use super::super::Reach;
use super::checkpoint::Progress;
use super::lane::Lane;
use super::reader::{self, Found, Page, Record};
use crate::client::CallError;
use crate::template::StreamEvent;

#[derive(Debug)]
pub struct Shard {
    pub id: String,
    pub parent: Option<String>,
    pub lanes: Vec<Lane>,
    iterator: Option<String>,
    /// Sequence number of the last record read.
    read_to: Option<String>,
    /// Records read and not yet behind the checkpoint, in the shard's order, each with whether it is done.
    outstanding: VecDeque<(String, bool)>,
    reached_end: bool,
    finished: bool,
}

impl Shard {
    pub fn new(found: Found, progress: Progress, lanes: usize) -> Self {
        Self {
            id: found.id,
            parent: found.parent,
            lanes: (0..lanes.max(1)).map(|_| Lane::default()).collect(),
            iterator: None,
            read_to: progress.sequence,
            outstanding: VecDeque::new(),
            reached_end: false,
            finished: progress.finished,
        }
    }

    /// Nothing is left in this shard, and nothing will come: its children may begin.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    /// Reads on until every lane could have a full batch. Returns how many records the filter let fall.
    pub async fn fill(&mut self, reach: &Reach, event: &StreamEvent) -> Result<usize, CallError> {
        let room = event.batching.size * self.lanes.len();
        if self.outstanding.len() >= room || self.reached_end {
            return Ok(0);
        }
        let room = room - self.outstanding.len();
        let page = match self.page(reach, &event.stream, room).await {
            // An iterator lives a quarter of an hour, and its place may be trimmed sooner. It is used up: the next one is fresh.
            Err(error) if error.is("ExpiredIteratorException") || error.is("TrimmedDataAccessException") => {
                self.page(reach, &event.stream, room).await?
            }
            page => page?,
        };
        let Some(page) = page else { return Ok(0) };
        self.reached_end = page.next.is_none();
        self.iterator = page.next;
        Ok(page.records.into_iter().filter_map(|record| self.take_in(record, event, reach.clock.now())).count())
    }

    /// What follows the last record read.
    async fn page(&mut self, reach: &Reach, stream: &str, limit: usize) -> Result<Option<Page>, CallError> {
        let at = match self.iterator.take() {
            Some(iterator) => Some(iterator),
            None => reader::iterator(reach, stream, &self.id, self.read_to.as_deref()).await?,
        };
        match at {
            Some(at) => Ok(Some(reader::page(reach, stream, &at, limit).await?)),
            None => Ok(None),
        }
    }

    /// Gives a record to the lane of its key, so that changes of one item stay in order. `Some` if nobody wants it.
    fn take_in(&mut self, record: Record, event: &StreamEvent, now: u64) -> Option<()> {
        self.read_to = Some(record.sequence.clone());
        let wanted = event.batching.filter.wants(&record.value);
        self.outstanding.push_back((record.sequence.clone(), !wanted));
        if !wanted {
            return Some(());
        }
        let lanes = u64::try_from(self.lanes.len()).unwrap_or(1);
        let lane = usize::try_from(record.key % lanes).unwrap_or_default();
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.push(record, now);
        }
        None
    }

    pub fn mark_done(&mut self, sequences: &[String]) {
        for (sequence, done) in &mut self.outstanding {
            *done |= sequences.contains(sequence);
        }
    }

    /// The last record with nothing undone before it, if that moved.
    pub fn progress(&mut self) -> Option<String> {
        let mut last = None;
        while let Some((sequence, _)) = self.outstanding.pop_front_if(|(_, done)| *done) {
            last = Some(sequence);
        }
        last
    }

    /// Whether the shard has just become finished.
    pub fn ends_now(&mut self) -> bool {
        let ends = self.reached_end && self.outstanding.is_empty() && !self.finished;
        self.finished |= ends;
        ends
    }
}
