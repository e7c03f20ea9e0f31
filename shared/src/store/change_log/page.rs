//! Changes as one page of the change log: the items that one transaction writes to append them. Pure.

use super::{Change, Head, Move, Partition};
use crate::error::{Error, Result};
use crate::store::item::{self, Item, number, string};
use crate::store::keys::{TAKEN_SORT, entry_sort, taken_partition};
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use std::collections::{BTreeMap, HashMap, HashSet};

/// How long a marker is kept, in seconds: twice the stream's retention.
const MARKER_SECONDS: u64 = 2 * 86_400;
/// How long an entry is kept, in seconds: the time it can be followed plus more than clocks differ.
const ENTRY_SECONDS: u64 = super::FOLLOWED_SECONDS + 3_600;
/// Maximum number of items in one transaction.
const MOST_ITEMS: usize = 100;

/// How many of the changes, from the front, fit on one page. At least one fits: a change has a marker, and a head and an
/// entry for each of up to eleven partitions.
pub fn fitting(changes: &[Change]) -> usize {
    let (mut items, mut heads, mut count) = (0, HashSet::new(), 0);
    for change in changes {
        items += 1 + change.steps.iter().filter(|step| step.entry.is_some()).count();
        heads.extend(change.steps.iter().map(|step| &step.partition));
        if items + heads.len() > MOST_ITEMS {
            break;
        }
        count += 1;
    }
    count.max(1)
}

/// The distinct partitions whose changes are followed. Their heads must be read before a page is written.
pub fn followed<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Vec<&'a Partition> {
    let steps = changes.into_iter().flat_map(|change| &change.steps).filter(|step| step.entry.is_some());
    let mut partitions: Vec<&Partition> = steps.map(|step| &step.partition).collect();
    partitions.sort();
    partitions.dedup();
    partitions
}

/// A page to write: first markers in the order of the changes, then entries, then heads.
pub struct Page {
    /// The items of the transaction.
    pub items: Vec<TransactWriteItem>,
    /// The heads of followed partitions after the write.
    pub heads: HashMap<Partition, Head>,
}

/// A partition of this page.
struct Tally {
    by: i64,
    /// The head before and after the write. `None` if changes are not followed.
    followed: Option<(Head, Head)>,
}

impl Page {
    /// The page of these changes at `now` (milliseconds), upon `heads`.
    ///
    /// # Errors
    /// `Internal` if a key or name is missing, which indicates a bug.
    pub fn of(table: &str, changes: &[&Change], heads: &HashMap<Partition, Head>, now: u64) -> Result<Self> {
        let mut items: Vec<TransactWriteItem> =
            changes.iter().map(|change| marker(table, &change.event, now)).collect::<Result<_>>()?;
        let mut tallies: BTreeMap<&Partition, Tally> = BTreeMap::new();
        for change in changes {
            for step in &change.steps {
                let tally = tallies.entry(&step.partition).or_insert(Tally { by: 0, followed: None });
                tally.by += i64::from(step.by);
                let Some(moved) = &step.entry else { continue };
                let read = heads.get(&step.partition).copied().unwrap_or_default();
                let (_, last) = tally.followed.get_or_insert((read, read));
                // Time never decreases within a feed, so expired entries are always at its beginning.
                let next = Head { sequence: last.sequence + 1, time: now.max(last.time), ..*last };
                items.push(put(table, entry(&step.partition, change, moved, *last, next))?);
                *last = next;
            }
        }
        for (partition, tally) in &tallies {
            items.push(head(table, partition, tally)?);
        }
        let after = tallies.into_iter().filter_map(|(one, tally)| Some((one.clone(), tally.followed?.1))).collect();
        Ok(Self { items, heads: after })
    }
}

fn marker(table: &str, event: &str, now: u64) -> Result<TransactWriteItem> {
    let mut written = item::key(&taken_partition(event), TAKEN_SORT);
    written.insert("ttl".into(), number(now / 1000 + MARKER_SECONDS));
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(written))
        .condition_expression("attribute_not_exists(pk)")
        .build()
        .map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

fn entry(partition: &Partition, change: &Change, moved: &Move, last: Head, next: Head) -> Item {
    let mut written = item::key(&partition.feed(moved.followed), &entry_sort(next.time, next.sequence));
    written.extend([
        ("id".to_owned(), string(&change.id)),
        ("seq".to_owned(), number(next.sequence)),
        ("prev".to_owned(), number(last.time)),
        ("ttl".to_owned(), number(next.time / 1000 + ENTRY_SECONDS)),
    ]);
    for (name, place) in [("was", &moved.was), ("is", &moved.is)] {
        let place = place.as_ref().map(|place| AttributeValue::B(Blob::new(place.clone())));
        written.extend(place.map(|place| (name.to_owned(), place)));
    }
    if moved.was.is_some() {
        let stood = ["since", "until"].into_iter().zip(&change.stood);
        written.extend(stood.map(|(name, moment)| (name.to_owned(), string(moment))));
    }
    written
}

fn put(table: &str, written: Item) -> Result<TransactWriteItem> {
    let put = Put::builder().table_name(table).set_item(Some(written)).build().map_err(Error::internal)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// Adds to the count without a condition. Entry numbers are assigned on the condition that no other writer has assigned them.
fn head(table: &str, partition: &Partition, tally: &Tally) -> Result<TransactWriteItem> {
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(partition.head_key()))
        .expression_attribute_values(":by", AttributeValue::N(tally.by.to_string()));
    let update = match tally.followed {
        None => update.update_expression("ADD n :by"),
        Some((read, last)) => {
            let update = update
                .update_expression("SET s = :last, t = :time ADD n :by")
                .expression_attribute_values(":last", number(last.sequence))
                .expression_attribute_values(":time", number(last.time));
            match read.sequence {
                0 => update.condition_expression("attribute_not_exists(s)"),
                seen => update.condition_expression("s = :seen").expression_attribute_values(":seen", number(seen)),
            }
        }
    };
    Ok(TransactWriteItem::builder().update(update.build().map_err(Error::internal)?).build())
}

#[cfg(test)]
mod tests {
    use super::super::Step;
    use super::*;

    fn partition(name: &str) -> Partition {
        Partition { scope: "tasks#1".into(), counted: 1, name: name.into() }
    }

    fn change(event: &str, names: &[&str], is_followed: bool) -> Change {
        let moved = Move { followed: 2, was: None, is: Some(b"x".to_vec()) };
        let step = |name: &&str| Step { partition: partition(name), by: 1, entry: is_followed.then(|| moved.clone()) };
        Change {
            event: event.into(),
            id: event.into(),
            stood: Default::default(),
            steps: names.iter().map(step).collect(),
        }
    }

    #[test]
    fn a_page_holds_as_many_changes_as_a_transaction_takes_items() {
        let many = |names: &[&str], is_followed| vec![change("e", names, is_followed); 200];
        assert_eq!(fitting(&many(&["p"], false)), 99, "a marker each, and one head");
        assert_eq!(fitting(&many(&["p"], true)), 49, "a marker and an entry each, and one head");
        assert_eq!(fitting(&many(&["p", "q"], true)), 32, "a marker and two entries each, and two heads");
        for count in [99, 49, 32] {
            assert!(count <= 100);
        }
        let page =
            Page::of("t", &many(&["p", "q"], true)[..32].iter().collect::<Vec<_>>(), &HashMap::new(), 5).unwrap();
        assert_eq!(page.items.len(), 98);
    }

    #[test]
    fn entries_continue_the_head_s_numbers_and_time() {
        let changes = [change("a", &["p"], true), change("b", &["p"], true)];
        let head = Head { count: 7, sequence: 41, time: 9_000 };
        let heads = HashMap::from([(partition("p"), head)]);
        let page = Page::of("t", &changes.iter().collect::<Vec<_>>(), &heads, 8_000).unwrap();
        let sort = |item: &TransactWriteItem| Some(item.put()?.item.get("sk")?.as_s().ok()?.clone());
        let written: Vec<String> = page.items.iter().filter_map(sort).collect();
        assert_eq!(written, [TAKEN_SORT.to_owned(), TAKEN_SORT.into(), entry_sort(9_000, 42), entry_sort(9_000, 43)]);
        let update = page.items.last().and_then(TransactWriteItem::update).unwrap();
        assert_eq!(update.condition_expression.as_deref(), Some("s = :seen"));
        assert_eq!((page.heads[&partition("p")].sequence, page.heads[&partition("p")].time), (43, 9_000));
    }

    #[test]
    fn counts_alone_are_written_without_a_condition() {
        let page = Page::of("t", &[&change("a", &["p"], false)], &HashMap::new(), 1).unwrap();
        let update = page.items.last().and_then(TransactWriteItem::update).unwrap();
        assert_eq!((update.update_expression.as_str(), &update.condition_expression), ("ADD n :by", &None));
    }
}
