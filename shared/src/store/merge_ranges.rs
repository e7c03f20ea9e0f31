//! Reads several key ranges in parallel and merges them in order, until the page is full or the allowance is spent.
//!
//! Discarded items (tombstones, a scan's mismatches) cost as much as returned ones. The allowance bounds both: a merge that
//! has spent it stops and returns the position to continue from.

use super::entries::Behind;
use super::item::{Item, text};
use super::keys::element_sort_bytes;
use super::{Table, TableQuery};
use crate::error::Result;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use std::collections::{HashSet, VecDeque};

/// Maximum number of items per call.
const MOST_AT_ONCE: usize = 1_000;

/// The limits of a merge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Ascending by key.
    pub forward: bool,
    /// How many items to return.
    pub limit: usize,
    /// How many items to read; at least one per range.
    pub allowance: usize,
    /// The maximum total size of the result, unless it is a single item.
    pub weight: usize,
}

/// One range of keys and the items read from it.
#[derive(Debug)]
pub(super) struct Reader<T> {
    query: TableQuery,
    /// What reads the records, if the range holds entries of records.
    behind: Option<Behind>,
    /// The sort key attribute, and the length of the prefix that the whole range shares.
    sort: String,
    order_from: usize,
    waiting: VecDeque<Met<T>>,
    /// The last key read, kept or not, and whether the range ends there.
    frontier: Option<Vec<u8>>,
    done: bool,
    step: Step,
}

/// How many items to request from a range: first its share of the page, then everything still missing.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// The number of parallel ranges over which the records are spread evenly.
    beside: usize,
    next: usize,
    whole: usize,
}

/// A kept item and its place in the order.
#[derive(Debug)]
struct Met<T> {
    key: Vec<u8>,
    id: String,
    kept: T,
    weight: usize,
}

/// Reads the items that `keep` accepts, with their sizes, in key order, each id once. Also returns the position to continue
/// from, if there may be more. Reads nothing more once `is_late` holds.
pub(super) async fn merge<T>(
    table: &Table,
    mut readers: Vec<Reader<T>>,
    bounds: Bounds,
    keep: impl Fn(&Item) -> Option<(T, usize)>,
    is_late: impl Fn() -> bool,
) -> Result<(Vec<T>, Option<Vec<u8>>)> {
    let mut left = bounds.allowance.max(readers.len());
    let (mut given, mut seen, mut last, mut weight) = (Vec::new(), HashSet::new(), None, 0);
    let mut begun = false;
    // Before the first round no range has a position to continue from, so the first round always runs.
    let mut is_over = || std::mem::replace(&mut begun, true) && is_late();
    for reader in &mut readers {
        reader.step = Step::of(bounds.limit, reader.step.beside);
    }
    loop {
        left -= fill(table, &mut readers, left, &keep, &mut is_over).await?;
        let Some(met) = take_first(&mut readers, bounds.forward) else {
            return Ok((given, stopped_at(&readers, bounds.forward)));
        };
        // A record that is in several ranges occurs once in each.
        if seen.contains(&met.id) {
            last = Some(met.key);
            continue;
        }
        weight += met.weight;
        if given.len() == bounds.limit || (weight > bounds.weight && !given.is_empty()) {
            return Ok((given, last));
        }
        seen.insert(met.id);
        given.push(met.kept);
        last = Some(met.key);
    }
}

/// Reads on, in parallel, in every range that has no item waiting and is not exhausted, until none is left or the allowance
/// does not cover all of them. Returns how much was spent.
async fn fill<T>(
    table: &Table,
    readers: &mut [Reader<T>],
    allowance: usize,
    keep: &impl Fn(&Item) -> Option<(T, usize)>,
    is_over: &mut impl FnMut() -> bool,
) -> Result<usize> {
    let mut spent = 0;
    loop {
        let empty: Vec<_> = readers.iter_mut().filter(|reader| reader.is_behind()).collect();
        let share = (allowance - spent).checked_div(empty.len()).unwrap_or(0);
        if share == 0 || is_over() {
            return Ok(spent);
        }
        let read = try_join_all(empty.into_iter().map(|reader| reader.read(table, share, keep))).await?;
        spent += read.into_iter().sum::<usize>();
    }
}

impl<T> Reader<T> {
    /// An unread range with the sort key attribute `sort`, ordered by what follows its first `order_from` bytes. It is one of
    /// `beside` ranges over which the records are spread evenly.
    pub fn new(query: TableQuery, sort: &str, order_from: usize, beside: usize) -> Self {
        let (waiting, frontier, step) = (VecDeque::new(), None, Step::of(0, beside));
        Self { query, behind: None, sort: sort.to_owned(), order_from, waiting, frontier, done: false, step }
    }

    /// The same range, whose items are entries of these records.
    pub fn of_entries(self, behind: Behind) -> Self {
        Self { behind: Some(behind), ..self }
    }

    /// Whether its items are entries, so that each needs its record too.
    pub fn has_entries(&self) -> bool {
        self.behind.is_some()
    }

    /// How many items to request first, for a page of `limit`.
    pub fn first_step(&self, limit: usize) -> usize {
        Step::of(limit, self.step.beside).next
    }

    fn is_behind(&self) -> bool {
        self.waiting.is_empty() && !self.done
    }

    /// Reads the next items, at most `share`. Returns how many were read.
    async fn read(
        &mut self,
        table: &Table,
        share: usize,
        keep: &impl Fn(&Item) -> Option<(T, usize)>,
    ) -> Result<usize> {
        let most = self.step.next.min(share).min(MOST_AT_ONCE);
        self.query.limit = i32::try_from(most).unwrap_or(i32::MAX);
        let page = table.query(&self.query).await?;
        let before = self.waiting.len();
        let keys: Vec<Option<Vec<u8>>> = page.items.iter().map(|found| self.order_key(found)).collect();
        let read = page.items.len();
        let records = match &self.behind {
            Some(behind) => behind.records(table, &page.items).await?,
            None => page.items.into_iter().map(Some).collect(),
        };
        for (key, found) in keys.into_iter().zip(records) {
            let Some((key, found)) = key.zip(found) else { continue };
            if let (Some(id), Some((kept, weight))) = (text(&found, "sk"), keep(&found)) {
                self.waiting.push_back(Met { key, id: id.to_owned(), kept, weight });
            }
        }
        self.done = page.last_key.is_none();
        self.frontier = page.last_key.as_ref().and_then(|last| self.order_key(last)).or(self.frontier.take());
        self.query.after = page.last_key;
        let mostly_unwanted = (self.waiting.len() - before) * 2 < read;
        self.step.lengthen(mostly_unwanted);
        Ok(read.min(share))
    }

    /// An item's place in the order in which ranges are merged.
    fn order_key(&self, found: &Item) -> Option<Vec<u8>> {
        let key = match (found.get(&self.sort)?, &self.behind) {
            (AttributeValue::S(text), Some(_)) => element_sort_bytes(text)?,
            (AttributeValue::S(text), None) => text.clone().into_bytes(),
            (AttributeValue::B(bytes), _) => bytes.as_ref().to_vec(),
            _ => return None,
        };
        key.get(self.order_from..).map(<[u8]>::to_vec)
    }
}

impl Step {
    /// The first request for a page of `limit`. One extra item shows whether there is a next page. A range with evenly spread
    /// records requests twice its share: most pages then need no second request, and no range reads the whole page.
    fn of(limit: usize, beside: usize) -> Self {
        let whole = limit + 1;
        let share = if beside > 1 { (2 * limit).div_ceil(beside).max(2) } else { whole };
        Self { beside, next: share.min(whole), whole }
    }

    /// Larger requests where most items are discarded.
    fn lengthen(&mut self, mostly_unwanted: bool) {
        let longer = if mostly_unwanted { self.next.saturating_mul(4) } else { self.next };
        self.next = longer.max(self.whole);
    }
}

/// The first waiting item in order, if no unread item can precede it.
fn take_first<T>(readers: &mut [Reader<T>], forward: bool) -> Option<Met<T>> {
    let stop = stopped_at(readers, forward);
    let waiting = readers.iter_mut().filter(|reader| !reader.waiting.is_empty());
    let key = |reader: &Reader<T>| reader.waiting.front().map(|met| met.key.clone());
    let first =
        if forward { waiting.min_by_key(|reader| key(reader)) } else { waiting.max_by_key(|reader| key(reader)) }?;
    let comes_before = |stop: &Vec<u8>| {
        first.waiting.front().is_some_and(|met| if forward { met.key <= *stop } else { met.key >= *stop })
    };
    let is_next = stop.as_ref().is_none_or(comes_before);
    if is_next { first.waiting.pop_front() } else { None }
}

/// The key up to which every range without a waiting item has been read. `None` if all of those are exhausted.
fn stopped_at<T>(readers: &[Reader<T>], forward: bool) -> Option<Vec<u8>> {
    let behind = readers.iter().filter(|reader| reader.is_behind()).filter_map(|reader| reader.frontier.clone());
    if forward { behind.min() } else { behind.max() }
}
