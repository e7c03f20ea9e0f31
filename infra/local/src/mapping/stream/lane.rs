//! One lane of a shard: batches in order, one at a time, retried, halved or given up as the event source says.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::answer::Verdict;
use super::super::{MAXIMUM_EVENT, Patience};
use super::reader::Record;
use crate::template::StreamEvent;

/// Streams keep a record for a day.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Lane {
    records: VecDeque<Arrived>,
    /// How the records at the front are cut into batches, once one of them was tried.
    parts: VecDeque<Part>,
    /// No batch is invoked before this time, in milliseconds since the epoch.
    resumes: u64,
    /// When the window of a batch that is still filling closes; 0 where none is.
    closes: u64,
}

#[derive(Debug)]
struct Arrived {
    record: Record,
    at: u64,
}

/// A batch, by how many records it takes from the front, and how often it was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub records: usize,
    pub invocations: u32,
}

/// A batch that will not be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GivenUp {
    pub part: Part,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    RetriesExhausted,
    TooOld,
    /// Past the stream's own life: gone without a word, as in AWS.
    Trimmed,
}

/// What an answer did to the lane.
pub struct Settled {
    /// Sequence numbers of the records that are done, already taken off the lane.
    pub finished: Vec<String>,
    /// The batch at the front that has to be given up now.
    pub given_up: Option<GivenUp>,
}

impl Lane {
    pub fn push(&mut self, record: Record, now: u64) {
        self.records.push_back(Arrived { record, at: now });
    }

    /// The batch whose turn it is, if its time has come.
    pub fn due(&mut self, event: &StreamEvent, now: u64, patience: Patience) -> Option<Part> {
        if self.records.is_empty() || now < self.resumes {
            return None;
        }
        if self.parts.is_empty() {
            let records = self.fitting(event.batching.size);
            let first = self.records.front().map_or(now, |arrived| arrived.at);
            let closes = first + millis(event.batching.window);
            if patience == Patience::Patient && records < event.batching.size && now < closes {
                self.closes = closes;
                return None;
            }
            self.closes = 0;
            self.parts.push_back(Part { records, invocations: 0 });
        }
        self.parts.front().copied()
    }

    /// The first records.
    pub fn front(&self, count: usize) -> Vec<&Record> {
        self.records.iter().take(count).map(|arrived| &arrived.record).collect()
    }

    /// Takes the first records off, and the batch they were in. Returns their sequence numbers.
    pub fn drop_front(&mut self, count: usize) -> Vec<String> {
        let taken = self.records.drain(..count.min(self.records.len()));
        let sequences = taken.map(|arrived| arrived.record.sequence).collect();
        let mut left = count;
        while let Some(part) = self.parts.front_mut().filter(|_| left > 0) {
            let from_this = left.min(part.records);
            part.records -= from_this;
            left -= from_this;
            if part.records == 0 {
                self.parts.pop_front();
            }
        }
        self.resumes = 0;
        sequences
    }

    /// Records at the front that are too old to be tried, again or at all.
    pub fn expired(&self, now: u64, started: u64, maximum_age: Option<Duration>) -> Option<GivenUp> {
        let (limit, reason) = match maximum_age.filter(|age| *age < LIFE) {
            Some(age) => (age, Reason::TooOld),
            None => (LIFE, Reason::Trimmed),
        };
        let is_old = |arrived: &&Arrived| now.saturating_sub(arrived.record.created.max(started)) > millis(limit);
        let records = self.records.iter().take_while(is_old).count();
        // Only the batch at hand is given up at once; what follows is looked at when its turn comes.
        let records = self.parts.front().map_or(records, |part| records.min(part.records));
        let invocations = self.parts.front().map_or(0, |part| part.invocations);
        (records > 0).then_some(GivenUp { part: Part { records, invocations }, reason })
    }

    /// Settles the batch at the front.
    pub fn settle(&mut self, verdict: &Verdict, event: &StreamEvent, now: u64) -> Settled {
        let Some(part) = self.parts.front().copied() else { return Settled { finished: Vec::new(), given_up: None } };
        match verdict {
            Verdict::Done => Settled { finished: self.drop_front(part.records), given_up: None },
            Verdict::Failed(failed) => {
                let is_failed = |record: &&Record| failed.contains(&record.sequence);
                let done = self.front(part.records).iter().position(is_failed).unwrap_or_default();
                self.settle_from(done, part, event, now)
            }
            Verdict::AllFailed if event.bisects && part.records > 1 => {
                // Halving is no retry: neither half counts this invocation.
                let half = part.records / 2;
                self.cut(Part { records: half, ..part }, Part { records: part.records - half, ..part });
                Settled { finished: Vec::new(), given_up: None }
            }
            Verdict::AllFailed => self.retry(Part { invocations: part.invocations + 1, ..part }, event, now),
        }
    }

    /// The lowest failed record is the checkpoint: all before it is done, it and all after are tried again.
    fn settle_from(&mut self, done: usize, part: Part, event: &StreamEvent, now: u64) -> Settled {
        if done > 0 {
            let finished = self.drop_front(done);
            let retried = self.retry(Part { records: part.records - done, invocations: 1 }, event, now);
            return Settled { finished, ..retried };
        }
        let tried = part.invocations + 1;
        if event.bisects && part.records > 1 {
            // Split at the record that failed, so that it alone pays for its failures.
            self.cut(Part { records: 1, invocations: tried }, Part { records: part.records - 1, ..part });
            return self.retry(Part { records: 1, invocations: tried }, event, now);
        }
        self.retry(Part { invocations: tried, ..part }, event, now)
    }

    fn retry(&mut self, part: Part, event: &StreamEvent, now: u64) -> Settled {
        if let Some(front) = self.parts.front_mut() {
            *front = part;
        }
        self.resumes = now + millis(pause(part.invocations));
        let exhausted = event.maximum_retries.is_some_and(|most| part.invocations > most);
        let given_up = exhausted.then_some(GivenUp { part, reason: Reason::RetriesExhausted });
        Settled { finished: Vec::new(), given_up }
    }

    fn cut(&mut self, first: Part, rest: Part) {
        self.parts.pop_front();
        self.parts.push_front(rest);
        self.parts.push_front(first);
    }

    /// Waits a while before the next attempt at anything.
    pub fn put_off(&mut self, now: u64) {
        self.resumes = now + millis(FIRST_PAUSE);
    }

    /// When the lane wants its next turn, if it has records.
    pub fn due_at(&self) -> Option<u64> {
        self.records.front().map(|_| self.resumes.max(self.closes))
    }

    /// How many of the first `size` records fit into one event.
    fn fitting(&self, size: usize) -> usize {
        let mut total = 0;
        let fits = |arrived: &&Arrived| {
            total += arrived.record.size;
            total <= MAXIMUM_EVENT - 64
        };
        // A single record is always under the limit: an item has at most 400 KB, an image of it before and after.
        self.records.iter().take(size).take_while(fits).count().max(1)
    }
}

/// The pause before the next attempt doubles with each that failed.
fn pause(invocations: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(invocations.saturating_sub(1))).min(LONGEST_PAUSE)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
