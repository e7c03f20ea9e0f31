//! A page of records, read by a plan: walks its ranges in every shard they touch, in parallel.
//!
//! A position in a list is the key of the last returned record, without the parts that differ between ranges. It survives
//! restarts and concurrent writes: the next page begins after that key.

use super::entries::Behind;
use super::item::{self, Item, string};
use super::keys::{element_partition, element_sort, record_partition};
use super::merge_ranges::{Bounds, Reader, merge};
use super::record::{Record, key};
use super::records::Records;
use super::{Expression, TableQuery};
use crate::cost;
use crate::error::Result;
use crate::expr::Input;
use crate::id;
use crate::policy::Grant;
use crate::query::{Plan, Range};
use crate::response_size;
use crate::schema::Collection;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use std::sync::Arc;

/// A page of a list.
#[derive(Debug, Default)]
pub struct Listed {
    /// The records, in order.
    pub records: Vec<Record>,
    /// The position after which the next page begins, if there is one.
    pub next: Option<Vec<u8>>,
}

/// How many items a page may read and discard, such as tombstones of deleted records.
const UNWANTED: usize = 1_000;

impl Records {
    /// Reads up to `limit` records by `plan`, after `position`. Checks each against the whole rule. Discarded items do not
    /// show in the cost.
    ///
    /// A page stops early when it has read a thousand tombstones, spent the plan's scan budget, reached the size limit of a
    /// response, or outlived the definition's lease. So it may be short or empty and still have a `next` position.
    pub async fn list(&self, grant: &Grant, plan: &Plan, limit: usize, position: Option<&[u8]>) -> Result<Listed> {
        let readers = readers(grant.collection(), plan, position);
        let allowance = allowance(plan, readers.len(), limit);
        let keep = |found: &Item| {
            let is_theirs = |record: &Record| !record.deleted && grant.allows(&record.view(), Input::None);
            let Some(record) = Record::from_item(found).filter(is_theirs) else {
                // The number and size of discarded items are hidden from the caller.
                cost::withhold();
                return None;
            };
            let weight = record.weight(grant);
            plan.residual_filter.matches(&record.view()).then_some((record, weight))
        };
        let bounds = Bounds { forward: plan.forward, limit, allowance, weight: response_size::PAGE };
        self.acts_in_time(grant.collection())?;
        let is_late = || self.acts_in_time(grant.collection()).is_err();
        let (records, next) = merge(self.table(), readers, bounds, keep, is_late).await?;
        Ok(Listed { records, next })
    }
}

/// How many items a page may read: the scan budget, or the page's own need plus a reserve.
pub(super) fn allowance(plan: &Plan, readers: usize, limit: usize) -> usize {
    let scan = plan.scan.map(|scan| usize::try_from(scan).unwrap_or(usize::MAX));
    scan.unwrap_or(readers * (limit + 1) + UNWANTED)
}

/// Every range of the plan in every shard it touches, from `position` on.
pub(super) fn readers<T>(collection: &Arc<Collection>, plan: &Plan, position: Option<&[u8]>) -> Vec<Reader<T>> {
    plan.ranges.iter().flat_map(|range| of_range(collection, range, plan.forward, position)).collect()
}

fn of_range<T>(collection: &Arc<Collection>, range: &Range, forward: bool, position: Option<&[u8]>) -> Vec<Reader<T>> {
    match range {
        Range::Records { lower, upper } => {
            // One id is in one shard.
            let one = (lower == upper && id::is_valid(lower)).then(|| key(collection, lower));
            let one = one.as_ref().and_then(|key| item::text(key, "pk")).map(str::to_owned);
            let Some((lower, upper)) = narrowed(lower.as_bytes(), upper.as_bytes(), 0, forward, position) else {
                return Vec::new();
            };
            let text = |bytes: Vec<u8>| string(String::from_utf8_lossy(&bytes).into_owned());
            let definition = collection.definition();
            let shard = |shard| record_partition(&definition.name, definition.generation, shard);
            let every = || (0..u16::from(definition.shards_ever())).map(shard).collect();
            let partitions: Vec<String> = one.map_or_else(every, |partition| vec![partition]);
            let beside = partitions.len();
            let reader = |partition| {
                let query = between(None, ("pk", "sk"), partition, text(lower.clone()), text(upper.clone()), forward);
                Reader::new(query, "sk", 0, beside)
            };
            partitions.into_iter().map(reader).collect()
        }
        Range::Index { slot, partition, lower, upper, order_from, of_elements, .. } => {
            let Some((lower, upper)) = narrowed(lower, upper, *order_from, forward, position) else {
                return Vec::new();
            };
            if *of_elements {
                let text = |bytes: &[u8]| string(element_sort(bytes));
                let partition = element_partition(partition);
                let query = between(None, ("pk", "sk"), partition, text(&lower), text(&upper), forward);
                let behind = Behind::new(collection.clone(), *slot);
                return vec![Reader::new(query, "sk", *order_from, 1).of_entries(behind)];
            }
            let (pk, sk) = (format!("ix{slot}p"), format!("ix{slot}s"));
            let bytes = |bytes: Vec<u8>| AttributeValue::B(Blob::new(bytes));
            let index = Some(format!("ix{slot}"));
            let query = between(index, (&pk, &sk), partition.clone(), bytes(lower), bytes(upper), forward);
            vec![Reader::new(query, &sk, *order_from, 1)]
        }
    }
}

fn between(
    index: Option<String>,
    (pk, sk): (&str, &str),
    partition: String,
    lower: AttributeValue,
    upper: AttributeValue,
    forward: bool,
) -> TableQuery {
    let key = Expression::new("#pk = :pk AND #sk BETWEEN :lower AND :upper")
        .name("#pk", pk)
        .name("#sk", sk)
        .value(":pk", string(partition))
        .value(":lower", lower)
        .value(":upper", upper);
    TableQuery { index, key, forward, ..TableQuery::default() }
}

/// The bounds that remain after `position`, both inclusive. `None` if the range is exhausted.
fn narrowed(
    lower: &[u8],
    upper: &[u8],
    order_from: usize,
    forward: bool,
    position: Option<&[u8]>,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let (mut lower, mut upper) = (lower.to_vec(), upper.to_vec());
    if let Some(position) = position {
        // `lower` always begins with the range's common prefix. `upper` may be just past all keys with that prefix.
        let mut bound = [lower.get(..order_from).unwrap_or_default(), position].concat();
        // Every key ends in an id of fixed length, so no key is between a key and either of these two neighbours.
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
    use crate::query::keys::after;
    use proptest::prelude::*;

    #[test]
    fn the_next_page_begins_strictly_after_the_position_in_either_direction() {
        let between = |position: Option<&[u8]>, forward| narrowed(b"aa", b"zz", 0, forward, position).unwrap();
        let (lower, upper) = between(Some(b"cc"), true);
        assert!(lower.as_slice() > b"cc".as_slice() && lower.as_slice() < b"cd".as_slice() && upper == b"zz");
        let (lower, upper) = between(Some(b"cc"), false);
        assert!(upper.as_slice() < b"cc".as_slice() && upper.as_slice() > b"cb".as_slice() && lower == b"aa");
        assert_eq!(narrowed(b"aa", b"bb", 0, true, Some(b"cc")), None);
    }

    /// The end of a sort key after a prefix: a one-byte value and a two-byte id.
    fn ends() -> impl Strategy<Value = Vec<u8>> {
        (any::<u8>(), "[0-9a-f]{2}").prop_map(|(value, id)| [&[value], id.as_bytes()].concat())
    }

    proptest! {
        /// A prefix may end in any byte, including 0xFF; the end of its range then carries into an earlier byte.
        #[test]
        fn the_rest_of_a_range_is_past_the_position_and_keeps_the_prefix(
            kind in 0x10..=0xEF_u8, rest in prop::collection::vec(prop_oneof![any::<u8>(), Just(u8::MAX)], 0..4),
            ends in prop::collection::vec(ends(), 1..20), at in any::<prop::sample::Index>(), forward in any::<bool>(),
        ) {
            let (prefix, position) = ([&[kind], rest.as_slice()].concat(), at.get(&ends));
            let left = narrowed(&prefix, &after(&prefix), prefix.len(), forward, Some(position));
            for end in &ends {
                let key = [prefix.as_slice(), end].concat();
                let inside = left.as_ref().is_some_and(|(lower, upper)| *lower <= key && key <= *upper);
                let is_past = if forward { end > position } else { end < position };
                prop_assert_eq!(inside, is_past, "{:?} of {:?} after {:?}", end, left, position);
            }
            for other in [after(&prefix), vec![0]] {
                let key = [other.as_slice(), position].concat();
                let inside = left.as_ref().is_some_and(|(lower, upper)| *lower <= key && key <= *upper);
                prop_assert!(!inside || key.starts_with(&prefix), "{:?} in {:?}", key, left);
            }
        }
    }
}
