//! A page of records, read by a plan: its ranges, in every shard they touch, read side by side and merged in order.
//!
//! A position in a list is the key of the last record given, without what differs between ranges. It holds on across
//! restarts and concurrent writes: a page begins after that key, wherever it now is.

use super::item::{Item, string};
use super::keys::record_partition;
use super::record::Record;
use super::records::Records;
use super::{Expression, Query};
use crate::error::Result;
use crate::expr::Input;
use crate::policy::Grant;
use crate::query::{Plan, Range};
use crate::schema::Collection;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use std::collections::{HashSet, VecDeque};

/// A page of a list.
#[derive(Debug, Default)]
pub struct Listed {
    /// The records, in order.
    pub records: Vec<Record>,
    /// Where the next page begins, if there is one: after this position.
    pub next: Option<Vec<u8>>,
}

impl Records {
    /// Reads up to `limit` records by `plan`, after `position`. Each is held against the whole rule besides.
    ///
    /// With a scan budget in the plan, reading stops when it is spent; `next` then says how far it got.
    pub async fn list(&self, grant: &Grant, plan: &Plan, limit: usize, position: Option<&[u8]>) -> Result<Listed> {
        let mut readers = readers(grant.collection(), plan, position);
        let mut listed = Listed::default();
        let mut seen = HashSet::new();
        let mut budget = plan.scan.map(|scan| usize::try_from(scan).unwrap_or(usize::MAX));
        // One more than asked for tells whether there is a next page.
        let page = budget.map_or(limit + 1, |budget| (budget / readers.len().max(1)).clamp(1, 1_000));
        let mut last = None;
        loop {
            self.fill(&mut readers, page).await?;
            let Some((key, record)) = take_first(&mut readers, plan.forward) else { return Ok(listed) };
            if budget == Some(0) {
                listed.next = last;
                return Ok(listed);
            }
            budget = budget.map(|left| left - 1);
            let is_given = seen.contains(&record.id);
            let matches = plan.leftover.matches(&record.view()) && grant.allows(&record.view(), Input::None);
            if matches && !is_given {
                if listed.records.len() == limit {
                    listed.next = last;
                    return Ok(listed);
                }
                seen.insert(record.id.clone());
                listed.records.push(record);
            }
            last = Some(key);
        }
    }

    /// Reads the next items of every range that has none in hand and is not at its end, all at once.
    async fn fill(&self, readers: &mut [Reader], page: usize) -> Result<()> {
        let empty = readers.iter_mut().filter(|reader| reader.waiting.is_empty() && !reader.done);
        try_join_all(empty.map(|reader| reader.read(self, page))).await.map(|_| ())
    }
}

/// One range in one shard, and what was read of it.
struct Reader {
    query: Query,
    /// The attribute that holds the sort key, and how much of it is the same for all of the range.
    sort: String,
    order_from: usize,
    waiting: VecDeque<(Vec<u8>, Record)>,
    done: bool,
}

impl Reader {
    async fn read(&mut self, records: &Records, page: usize) -> Result<()> {
        self.query.limit = i32::try_from(page).unwrap_or(i32::MAX);
        let read = records.table().query(&self.query).await?;
        for found in read.items.iter().filter(|found| !found.contains_key("del")) {
            let key = sort_key(found, &self.sort).and_then(|key| key.get(self.order_from..).map(<[u8]>::to_vec));
            if let (Some(key), Some(record)) = (key, Record::from_item(found)) {
                self.waiting.push_back((key, record));
            }
        }
        self.done = read.last_key.is_none();
        self.query.after = read.last_key;
        // A page of nothing but tombstones is empty and yet not the end: on in bigger steps.
        if self.waiting.is_empty() && !self.done {
            return Box::pin(self.read(records, (page * 4).min(1_000))).await;
        }
        Ok(())
    }
}

/// The first waiting item in the list's order.
fn take_first(readers: &mut [Reader], forward: bool) -> Option<(Vec<u8>, Record)> {
    let waiting = readers.iter_mut().filter(|reader| !reader.waiting.is_empty());
    let key = |reader: &Reader| reader.waiting.front().map(|(key, _)| key.clone());
    let first =
        if forward { waiting.min_by_key(|reader| key(reader)) } else { waiting.max_by_key(|reader| key(reader)) };
    first.and_then(|reader| reader.waiting.pop_front())
}

fn sort_key(found: &Item, attribute: &str) -> Option<Vec<u8>> {
    match found.get(attribute)? {
        AttributeValue::B(bytes) => Some(bytes.as_ref().to_vec()),
        AttributeValue::S(text) => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

fn readers(collection: &Collection, plan: &Plan, position: Option<&[u8]>) -> Vec<Reader> {
    plan.ranges.iter().flat_map(|range| of_range(collection, range, plan.forward, position)).collect()
}

fn of_range(collection: &Collection, range: &Range, forward: bool, position: Option<&[u8]>) -> Vec<Reader> {
    match range {
        Range::Records { lower, upper } => {
            let Some((lower, upper)) = narrowed(lower.as_bytes(), upper.as_bytes(), 0, forward, position) else {
                return Vec::new();
            };
            let text = |bytes: Vec<u8>| string(String::from_utf8_lossy(&bytes).into_owned());
            let definition = collection.definition();
            let shards = (0..u16::from(definition.shards_ever())).map(|shard| {
                let partition = record_partition(&definition.name, definition.generation, shard);
                reader(None, ("pk", "sk"), partition, text(lower.clone()), text(upper.clone()), 0, forward)
            });
            shards.collect()
        }
        Range::Index { slot, partition, lower, upper, order_from, .. } => {
            let Some((lower, upper)) = narrowed(lower, upper, *order_from, forward, position) else {
                return Vec::new();
            };
            let (pk, sk) = (format!("ix{slot}p"), format!("ix{slot}s"));
            let bytes = |bytes: Vec<u8>| AttributeValue::B(Blob::new(bytes));
            let index = Some(format!("ix{slot}"));
            vec![reader(index, (&pk, &sk), partition.clone(), bytes(lower), bytes(upper), *order_from, forward)]
        }
    }
}

fn reader(
    index: Option<String>,
    (pk, sk): (&str, &str),
    partition: String,
    lower: AttributeValue,
    upper: AttributeValue,
    order_from: usize,
    forward: bool,
) -> Reader {
    let key = Expression::new("#pk = :pk AND #sk BETWEEN :lower AND :upper")
        .name("#pk", pk)
        .name("#sk", sk)
        .value(":pk", string(partition))
        .value(":lower", lower)
        .value(":upper", upper);
    let query = Query { index, key, forward, ..Query::default() };
    Reader { query, sort: sk.to_owned(), order_from, waiting: VecDeque::new(), done: false }
}

/// The bounds that are left after `position`, both included. `None` if nothing is.
fn narrowed(
    lower: &[u8],
    upper: &[u8],
    order_from: usize,
    forward: bool,
    position: Option<&[u8]>,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut lower, mut upper) = (lower.to_vec(), upper.to_vec());
    if let Some(position) = position {
        let prefix = if forward { lower.get(..order_from) } else { upper.get(..order_from) };
        let mut bound = [prefix.unwrap_or_default(), position].concat();
        // Every key ends in an id of fixed length, so no key lies between a key and these two neighbours of it.
        if forward {
            bound.push(b' ');
            lower = lower.max(bound);
        } else {
            let last = bound.pop()?;
            bound.extend([last.saturating_sub(1), b'~']);
            upper = upper.min(bound);
        }
    }
    (lower <= upper).then_some((lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_begins_strictly_after_the_position_in_either_direction() {
        let between = |position: Option<&[u8]>, forward| narrowed(b"aa", b"zz", 0, forward, position).unwrap();
        let (lower, upper) = between(Some(b"cc"), true);
        assert!(lower.as_slice() > b"cc".as_slice() && lower.as_slice() < b"cd".as_slice() && upper == b"zz");
        let (lower, upper) = between(Some(b"cc"), false);
        assert!(upper.as_slice() < b"cc".as_slice() && upper.as_slice() > b"cb".as_slice() && lower == b"aa");
        assert_eq!(narrowed(b"aa", b"bb", 0, true, Some(b"cc")), None);
    }
}
