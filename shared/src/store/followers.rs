//! Followers: the records that a cascade deletes with another. An undelete of that one brings them back.
//!
//! Tombstones are in no index, so before a cascade deletes a record it writes a reference beside the record that was deleted
//! first. The reference only finds the tombstone: whether a cascade deleted it, and because of which record, is in the tombstone
//! itself (`cause`). So a reference that is left over does no harm, and one that is missing is impossible.

use super::intent::Cause;
use super::item::{self, Item, number, string, text};
use super::keys::{follower_partition, of_record_partition};
use super::record::{Record, key};
use super::records::{Records, TOMBSTONE_SECONDS};
use super::references::place;
use super::{Expression, TableQuery, WriteOutcome};
use crate::error::Result;
use crate::policy::System;
use crate::schema::Collection;

/// How many references are read at once.
const PAGE: i32 = 100;
/// How much longer a reference is kept than the tombstone that it finds, in seconds.
const LONGER: u64 = 86_400;

/// A tombstone that a cascade made.
#[derive(Debug)]
pub struct Follower {
    /// Its collection.
    pub collection: String,
    /// The generation of its collection.
    pub generation: u32,
    /// The tombstone.
    pub record: Record,
}

impl Cause {
    /// The partition of the references from its followers; also how tombstones name it.
    pub(super) fn partition(&self) -> String {
        follower_partition(&self.collection, self.generation, &self.id)
    }
}

impl Records {
    /// Notes that a record is about to be deleted because of `cause`.
    ///
    /// # Errors
    /// `Unavailable` when the table does not respond.
    pub async fn note_follower(&self, _: &System, cause: &Cause, collection: &Collection, id: &str) -> Result<()> {
        let (at, definition) = (key(collection, id), collection.definition());
        let sort = format!("{}#{}#{id}", definition.name, definition.generation);
        let mut reference = item::key(&cause.partition(), &sort);
        reference.extend([
            ("rpk".to_owned(), string(text(&at, "pk").unwrap_or_default())),
            ("rsk".to_owned(), string(id)),
            ("ttl".to_owned(), number(self.seconds() + TOMBSTONE_SECONDS + LONGER)),
        ]);
        match self.table().put(reference, Expression::default()).await? {
            WriteOutcome::Done(()) | WriteOutcome::ConditionFailed(_) => Ok(()),
        }
    }

    /// A page of the tombstones that cascades made because of `cause`, after a position, and the position after it.
    ///
    /// # Errors
    /// `Unavailable` when the table does not respond.
    pub async fn followers(
        &self,
        _: &System,
        cause: &Cause,
        after: Option<&str>,
    ) -> Result<(Vec<Follower>, Option<String>)> {
        let partition = cause.partition();
        let after = after.map(|after| item::key(&partition, after));
        let key = Expression::new("pk = :pk").value(":pk", string(&partition));
        let query = TableQuery { key, forward: true, limit: PAGE, after, consistent: true, ..TableQuery::default() };
        let page = self.table().query(&query).await?;
        let named = |reference: &Item| Some(item::key(text(reference, "rpk")?, text(reference, "rsk")?));
        let keys: Vec<Item> = page.items.iter().filter_map(named).collect();
        let found = self.table().batch_get_latest(distinct(keys)).await?;
        let is_its = |found: &&Item| found.contains_key("del") && text(found, "cause") == Some(&partition);
        let followers = found.iter().filter(is_its).filter_map(|found| self.follower(found)).collect();
        Ok((followers, page.last_key.and_then(|last| text(&last, "sk").map(str::to_owned))))
    }

    fn follower(&self, found: &Item) -> Option<Follower> {
        let (collection, generation) = of_record_partition(text(found, "pk")?)?;
        let record = Record::from_item(found).filter(|record| self.is_there(record))?;
        Some(Follower { collection: collection.to_owned(), generation, record })
    }
}

fn distinct(mut keys: Vec<Item>) -> Vec<Item> {
    keys.sort_by_key(place);
    keys.dedup_by_key(|key| place(key));
    keys
}
