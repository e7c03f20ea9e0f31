//! Several ranges of keys, read side by side and merged in order, until there is enough or the allowance is spent.
//!
//! What is read and not wanted (tombstones, what a scan leaves out) costs as much as what is. An allowance bounds it: a merge
//! that has spent it stops, says how far it got, and goes on from there when asked again.

use super::item::{Item, text};
use super::{Table, TableQuery};
use crate::error::Result;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use std::collections::{HashSet, VecDeque};

/// Most items one call to DynamoDB reads here.
const MOST_AT_ONCE: usize = 1_000;

/// How far a merge goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Upwards by key.
    pub forward: bool,
    /// How many to return.
    pub limit: usize,
    /// How many items to read for them; at least one of every range.
    pub allowance: usize,
    /// What they may weigh together, if there is more than one.
    pub weight: usize,
}

/// One range of keys, and what was read of it.
#[derive(Debug)]
pub(super) struct Reader<T> {
    query: TableQuery,
    /// The attribute that holds the sort key, and how much of it is the same for all of the range.
    sort: String,
    order_from: usize,
    waiting: VecDeque<Met<T>>,
    /// The last key that was read, wanted or not, and whether the range ends there.
    frontier: Option<Vec<u8>>,
    done: bool,
    step: Step,
}

/// How many items a range is asked for: at first its share of the page, then all that may be missing.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// How many ranges lie side by side of which the records are spread evenly, by chance.
    beside: usize,
    next: usize,
    whole: usize,
}

/// What was kept of an item, and where it stands in the order.
#[derive(Debug)]
struct Met<T> {
    key: Vec<u8>,
    id: String,
    kept: T,
    weight: usize,
}

/// Reads what `keep` makes something of, and says what it weighs, in the order of the keys, each id once. Also the position after
/// which to go on, if there may be more. ScopedKey it `is_late`, nothing more is read.
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
    // What no range was read of has no position to go on from: the first round is never late.
    let mut is_over = || std::mem::replace(&mut begun, true) && is_late();
    for reader in &mut readers {
        reader.step = Step::of(bounds.limit, reader.step.beside);
    }
    loop {
        left -= fill(table, &mut readers, left, &keep, &mut is_over).await?;
        let Some(met) = take_first(&mut readers, bounds.forward) else {
            return Ok((given, stopped_at(&readers, bounds.forward)));
        };
        // A record that several ranges hold is met once in each.
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

/// Reads on in every range that has nothing in hand and is not at its end, all at once, until none is left or the allowance
/// does not reach for all of them. Returns how much of it was spent.
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
    /// A range not yet read, whose sort key is the attribute `sort`, ordered by what follows its first `order_from` bytes. It is
    /// one of `beside` that what is listed is spread over evenly.
    pub fn new(query: TableQuery, sort: &str, order_from: usize, beside: usize) -> Self {
        let (waiting, frontier, step) = (VecDeque::new(), None, Step::of(0, beside));
        Self { query, sort: sort.to_owned(), order_from, waiting, frontier, done: false, step }
    }

    /// How many items it is asked for first, for a page of `limit`.
    pub fn first_step(&self, limit: usize) -> usize {
        Step::of(limit, self.step.beside).next
    }

    fn is_behind(&self) -> bool {
        self.waiting.is_empty() && !self.done
    }

    /// Reads the next items, at most `share`. Returns how many there were.
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
        for found in &page.items {
            if let (Some(key), Some(id), Some((kept, weight))) = (self.order_key(found), text(found, "sk"), keep(found))
            {
                self.waiting.push_back(Met { key, id: id.to_owned(), kept, weight });
            }
        }
        self.done = page.last_key.is_none();
        self.frontier = page.last_key.as_ref().and_then(|last| self.order_key(last)).or(self.frontier.take());
        self.query.after = page.last_key;
        let mostly_unwanted = (self.waiting.len() - before) * 2 < page.items.len();
        self.step.lengthen(mostly_unwanted);
        Ok(page.items.len().min(share))
    }

    /// Where an item stands in the order in which ranges are merged.
    fn order_key(&self, found: &Item) -> Option<Vec<u8>> {
        let key = match found.get(&self.sort)? {
            AttributeValue::B(bytes) => bytes.as_ref(),
            AttributeValue::S(text) => text.as_bytes(),
            _ => return None,
        };
        key.get(self.order_from..).map(<[u8]>::to_vec)
    }
}

impl Step {
    /// The first step to a page of `limit`. One more than asked for tells whether there is a next page. What is spread evenly is
    /// asked for twice the share it should have: most pages then need no second step, and none reads the page once for each.
    fn of(limit: usize, beside: usize) -> Self {
        let whole = limit + 1;
        let share = if beside > 1 { (2 * limit).div_ceil(beside).max(2) } else { whole };
        Self { beside, next: share.min(whole), whole }
    }

    /// On in bigger steps where most of what is met is unwanted.
    fn lengthen(&mut self, mostly_unwanted: bool) {
        let longer = if mostly_unwanted { self.next.saturating_mul(4) } else { self.next };
        self.next = longer.max(self.whole);
    }
}

/// The first waiting item in order, if nothing unread can come before it.
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

/// Up to where every range has been read that has nothing in hand; `None` if all of those are at their end.
fn stopped_at<T>(readers: &[Reader<T>], forward: bool) -> Option<Vec<u8>> {
    let behind = readers.iter().filter(|reader| reader.is_behind()).filter_map(|reader| reader.frontier.clone());
    if forward { behind.min() } else { behind.max() }
}
