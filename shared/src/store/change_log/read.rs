//! Reads changes: the entries of the partitions that a list covers, from a caller's last position.
//!
//! A position says until when it is valid. While it is, every later entry still exists, so a missing number means a
//! transaction that is not fully visible yet: reading stops before it.

use super::{ChangeLog, FOLLOWED_SECONDS, Partition};
use crate::error::{Error, Result};
use crate::policy::Grant;
use crate::query::{self, Plan, Range, plan};
use crate::store::item::{Item, integer, string, text};
use crate::store::keys::entry_sort;
use crate::store::{Expression, TableQuery};
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Sort keys from the first to the last, inclusive.
type Keys = RangeInclusive<Vec<u8>>;

/// The partitions of a list, each with the key ranges that the list reads.
type Stretches = BTreeMap<Partition, Vec<Keys>>;

/// A followed list.
#[derive(Debug)]
pub struct Follow {
    grant: Grant,
    counted: u64,
    followed: u64,
    /// The list as it is read now.
    stretches: Stretches,
}

/// A caller's position in one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Time of the last entry read, in milliseconds.
    pub time: u64,
    /// Its number. `None` at the oldest kept entry.
    pub sequence: Option<u64>,
    /// No unread entry is older than this time.
    pub unread_since: u64,
}

/// An entry, reduced to what its list may reveal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The record.
    pub id: String,
    /// Whether the record was in the list before, according to its key.
    pub was_within: bool,
    /// Whether it is in the list now.
    pub is_within: bool,
    time: u64,
    sequence: u64,
    previous: u64,
}

/// The entries read, with the next positions.
#[derive(Debug)]
pub struct Seen {
    /// Entries, ordered within each partition and approximately ordered overall.
    pub entries: Vec<Entry>,
    /// The next position of each partition.
    pub positions: Vec<Position>,
    /// Whether more entries can be read now.
    pub more: bool,
}

impl Follow {
    /// The feed of this caller's list, read by this plan. `None` if the definition does not log changes.
    pub fn of(grant: &Grant, plan: &Plan) -> Option<Self> {
        let definition = grant.collection().definition();
        let (counted, followed) = (definition.counted_since?, definition.followed_since?);
        let mut follow = Self { grant: grant.clone(), counted, followed, stretches: Stretches::new() };
        follow.stretches = follow.read_by(plan);
        Some(follow)
    }

    fn read_by(&self, plan: &Plan) -> Stretches {
        let bounds = |range: &Range| match range {
            Range::Records { lower, upper } => lower.as_bytes().to_vec()..=upper.as_bytes().to_vec(),
            Range::Index { lower, upper, .. } => lower.clone()..=upper.clone(),
        };
        let mut stretches = Stretches::new();
        for range in &plan.ranges {
            for partition in Partition::of_range(self.grant.collection(), self.counted, range) {
                stretches.entry(partition).or_default().push(bounds(range));
            }
        }
        stretches
    }

    /// Whether the record was in the list while it had the old key of this entry. If the rule depends on the time, it is
    /// evaluated for that period: at its start for rules that exclude records over time, at its end for rules that include
    /// them. An entry without a period counts as outside the list.
    fn was_within(&self, partition: &Partition, found: &Item) -> bool {
        let Some(key) = place(found, "was") else { return false };
        if !self.grant.asks_the_time() {
            return lies_within(&self.stretches, partition, &key);
        }
        let (Some(since), Some(until)) = (text(found, "since"), text(found, "until")) else { return false };
        // A record's `createdAt` may be later than its write.
        [since.min(until), until]
            .into_iter()
            .any(|moment| self.as_of(moment).is_some_and(|stretches| lies_within(&stretches, partition, &key)))
    }

    /// How the list was read at a given time. `None` if it could not be read.
    fn as_of(&self, moment: &str) -> Option<Stretches> {
        let rule = self.grant.residual_at(moment);
        let wanted = query::ListQuery { rule: &rule, filter: None, sort: &[], scan: None };
        plan(self.grant.collection().layout(), &wanted).ok().map(|plan| self.read_by(&plan))
    }

    /// The partitions and when following began. A position is valid only for the same ones.
    pub fn names(&self) -> (u64, Vec<&str>) {
        (self.followed, self.stretches.keys().map(|partition| partition.name.as_str()).collect())
    }
}

impl ChangeLog {
    /// The position before the oldest kept entry.
    pub fn oldest(&self, follow: &Follow) -> Vec<Position> {
        let now = self.clock.millis();
        let time = now.saturating_sub(FOLLOWED_SECONDS * 1000);
        follow.stretches.iter().map(|_| Position { time, sequence: None, unread_since: now }).collect()
    }

    /// The position after the newest entry. One round trip.
    pub async fn latest(&self, follow: &Follow) -> Result<Vec<Position>> {
        let partitions: Vec<&Partition> = follow.stretches.keys().collect();
        let unread_since = self.clock.millis();
        let heads = self.heads(&partitions).await?;
        let head = |partition: &&Partition| heads.get(*partition).copied().unwrap_or_default();
        let position = |partition| {
            let head = head(partition);
            Position { time: head.time, sequence: Some(head.sequence), unread_since }
        };
        Ok(partitions.iter().map(position).collect())
    }

    /// Up to `limit` entries after these positions. One round trip per partition, in parallel.
    ///
    /// # Errors
    /// `Gone` when a position is older than the kept entries.
    pub async fn follow(&self, follow: &Follow, positions: &[Position], limit: usize) -> Result<Seen> {
        let now = self.clock.millis();
        let too_old = |position: &Position| position.unread_since + FOLLOWED_SECONDS * 1000 <= now;
        if positions.iter().any(too_old) {
            return Err(Error::Gone {
                code: "resync",
                detail:
                    "This cursor is older than the seven days for which changes are kept. Send after=now, read the list, then \
                     continue from there."
                        .to_owned(),
            });
        }
        let partitions = follow.stretches.keys().zip(positions);
        let reads = partitions.map(|(partition, position)| self.entries(follow, partition, position, limit + 1));
        let read = try_join_all(reads).await?;
        let is_cut = read.iter().any(|entries| entries.len() > limit);
        let seen = together(read, positions, limit, now);
        Ok(Seen { more: seen.more || is_cut, ..seen })
    }

    /// The entries of one partition after a position, up to the first gap.
    async fn entries(
        &self,
        follow: &Follow,
        partition: &Partition,
        position: &Position,
        limit: usize,
    ) -> Result<Vec<Entry>> {
        let feed = partition.feed(follow.followed);
        let after = entry_sort(position.time, position.sequence.unwrap_or(99_999_999_999_999));
        let key = Expression::new("pk = :pk AND sk > :after").value(":pk", string(feed)).value(":after", string(after));
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let page = self.table.query(&TableQuery { key, forward: true, limit, ..TableQuery::default() }).await?;
        let read = page.items.iter().filter_map(|found| Entry::of(found, follow, partition)).collect();
        Ok(without_gap(read, position))
    }
}

impl Entry {
    fn of(found: &Item, follow: &Follow, partition: &Partition) -> Option<Self> {
        let is = place(found, "is");
        let (time, _) = text(found, "sk")?.split_once('#')?;
        Some(Self {
            id: text(found, "id")?.to_owned(),
            was_within: follow.was_within(partition, found),
            is_within: is.is_some_and(|key| lies_within(&follow.stretches, partition, &key)),
            time: time.parse().ok()?,
            sequence: integer(found, "seq")?,
            previous: integer(found, "prev")?,
        })
    }
}

/// A record's old or new key in the partition.
fn place(found: &Item, name: &str) -> Option<Vec<u8>> {
    found.get(name).and_then(|place: &AttributeValue| place.as_b().ok()).map(|place| place.as_ref().to_vec())
}

fn lies_within(stretches: &Stretches, partition: &Partition, key: &Vec<u8>) -> bool {
    stretches.get(partition).is_some_and(|stretches| stretches.iter().any(|keys| keys.contains(key)))
}

/// The entries that follow the position, and each other, without a gap.
fn without_gap(read: Vec<Entry>, position: &Position) -> Vec<Entry> {
    let mut last = position.sequence;
    let follows = |entry: &Entry| {
        let follows = match last {
            Some(last) => entry.sequence == last + 1,
            // At the oldest kept entry, the previous entry has expired.
            None => entry.sequence == 1 || entry.previous <= position.time,
        };
        last = Some(entry.sequence);
        follows
    };
    let count = read.iter().map(follows).take_while(|follows| *follows).count();
    read.into_iter().take(count).collect()
}

/// Merges the entries of all partitions by time, up to the `limit`th that concerns the list, with the resulting position of
/// each partition. Skips entries outside the list before and after.
fn together(read: Vec<Vec<Entry>>, positions: &[Position], limit: usize, now: u64) -> Seen {
    let mut all: Vec<(u64, usize, Entry)> = Vec::new();
    for (at, entries) in read.into_iter().enumerate() {
        all.extend(entries.into_iter().map(|entry| (entry.time, at, entry)));
    }
    all.sort_by_key(|(time, at, entry)| (*time, *at, entry.sequence));
    let touching = all.iter().enumerate().filter(|(_, (_, _, entry))| entry.was_within || entry.is_within);
    let end = touching.map(|(at, _)| at).nth(limit).unwrap_or(all.len());
    let unread = all.split_off(end);
    let moved = |(at, position): (usize, &Position)| {
        let last = all.iter().rev().find(|(_, of, _)| *of == at).map(|(_, _, entry)| entry);
        let next = unread.iter().find(|(_, of, _)| *of == at).map(|(_, _, entry)| entry);
        Position {
            time: last.map_or(position.time, |entry| entry.time),
            sequence: last.map_or(position.sequence, |entry| Some(entry.sequence)),
            unread_since: next.map_or(now, |entry| entry.time),
        }
    };
    let positions = positions.iter().enumerate().map(moved).collect();
    Seen { entries: all.into_iter().map(|(_, _, entry)| entry).collect(), positions, more: !unread.is_empty() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(time: u64, sequence: u64, previous: u64) -> Entry {
        Entry { id: format!("{sequence}"), was_within: false, is_within: true, time, sequence, previous }
    }

    fn at(time: u64, sequence: Option<u64>) -> Position {
        Position { time, sequence, unread_since: time }
    }

    fn numbers(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.sequence).collect()
    }

    #[test]
    fn reading_stops_before_a_missing_number() {
        let read = vec![entry(10, 4, 9), entry(10, 5, 10), entry(12, 7, 11)];
        assert_eq!(numbers(&without_gap(read.clone(), &at(9, Some(3)))), [4, 5]);
        assert_eq!(numbers(&without_gap(read.clone(), &at(9, Some(2)))), [0; 0]);
        // At the oldest kept entry, the previous entry has expired or never existed.
        assert_eq!(numbers(&without_gap(read.clone(), &at(9, None))), [4, 5]);
        assert_eq!(
            numbers(&without_gap(read, &at(8, None))),
            [0; 0],
            "the entry of time 9 is still hidden behind the gap"
        );
        assert_eq!(numbers(&without_gap(vec![entry(10, 1, 0)], &at(9, None))), [1]);
    }

    #[test]
    fn a_page_merges_all_partitions_and_advances_each_position() {
        let read = vec![vec![entry(10, 1, 0), entry(30, 2, 10)], vec![entry(20, 8, 5)], Vec::new()];
        let seen = together(read, &[at(0, Some(0)), at(5, Some(7)), at(1, None)], 2, 99);
        assert_eq!((numbers(&seen.entries), seen.more), (vec![1, 8], true));
        let moved = |time, sequence, unread_since| Position { time, sequence, unread_since };
        assert_eq!(seen.positions, [moved(10, Some(1), 30), moved(20, Some(8), 99), moved(1, None, 99)]);
    }
}
