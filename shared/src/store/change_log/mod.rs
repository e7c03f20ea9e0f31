//! The change log: how many records every partition holds and what changed in it. The relay maintains it from the table's
//! stream.
//!
//! A *partition* is a partition of the records or of an index, which a list can read as a whole. Its change log consists of a
//! *head* with the count and, if changes are logged, an *entry* for each change, numbered without gaps. A *marker* for each
//! stream record makes that record count once, however often the stream delivers it.
//!
//! | item | `pk` | `sk` | attributes |
//! |---|---|---|---|
//! | head | `n#<collection>#<generation>` | `<counted since>#<hash of the partition>` | `n` records, `s` and `t` sequence and time of the last entry |
//! | entry | `f#<collection>#<generation>#<followed since>#<hash>` | `<time>#<sequence>` | `id`, `seq`, `prev` (time of the entry before), `was`, `is`, `since` and `until` (when `was` was true), `ttl` |
//! | marker | `m#<event of the stream>` | `m` | `ttl` |

mod append;
mod page;
mod read;
mod visible;

pub use append::Stopped;
pub use read::{Entry, Follow, Position, Seen};
pub use visible::VisibleChange;

use super::Table;
use super::item::{self, Item, integer};
use super::keys::{change_log_scope, feed_partition, head_key, record_partition};
use crate::clock::Clock;
use crate::error::Result;
use crate::query::Range;
use crate::schema::Collection;
use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::HashMap;

/// How long changes can be followed, in seconds.
pub const FOLLOWED_SECONDS: u64 = 7 * 86_400;

/// A partition that is counted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// The collection and its generation, as [`change_log_scope`] writes them.
    pub scope: String,
    /// Since which version of the definition it is counted.
    pub counted: u64,
    /// The partition's own name: the `pk` of its records, or their `ixNp`.
    pub name: String,
}

impl Partition {
    /// The partitions of a collection that a range covers, counted since `counted`.
    pub fn of_range(collection: &Collection, counted: u64, range: &Range) -> Vec<Self> {
        let definition = collection.definition();
        let scope = change_log_scope(&definition.name, definition.generation);
        let partition = |name: String| Self { scope: scope.clone(), counted, name };
        match range {
            Range::Records { .. } => (0..u16::from(definition.shards_ever()))
                .map(|shard| partition(record_partition(&definition.name, definition.generation, shard)))
                .collect(),
            Range::Index { partition: name, .. } => vec![partition(name.clone())],
        }
    }

    fn head_key(&self) -> Item {
        let (pk, sk) = head_key(&self.scope, self.counted, &self.name);
        item::key(&pk, &sk)
    }

    fn feed(&self, followed: u64) -> String {
        feed_partition(&self.scope, followed, &self.name)
    }
}

/// What one stream record changes, partition by partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The stream's event id.
    pub event: String,
    /// The id of the written record.
    pub id: String,
    /// From when until when, RFC 3339, the old image was current.
    pub stood: [String; 2],
    /// At least one.
    pub steps: Vec<Step>,
}

/// The effect of a change on one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The partition.
    pub partition: Partition,
    /// The change in the number of records: -1, 0 or 1.
    pub by: i8,
    /// The feed entry to write. `None` if changes are not followed.
    pub entry: Option<Move>,
}

/// A record's old and new place in a partition. `None`: not in the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Since which version of the definition changes are followed.
    pub followed: u64,
    /// Its old sort key.
    pub was: Option<Vec<u8>>,
    /// Its new sort key.
    pub is: Option<Vec<u8>>,
}

/// The content of a partition's head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Head {
    count: i64,
    sequence: u64,
    time: u64,
}

impl Head {
    fn of(found: &Item) -> Self {
        let count = found.get("n").and_then(|count| count.as_n().ok()?.parse().ok());
        Self {
            count: count.unwrap_or(0),
            sequence: integer(found, "s").unwrap_or(0),
            time: integer(found, "t").unwrap_or(0),
        }
    }
}

/// The change log in the `Records` table.
#[derive(Debug, Clone)]
pub struct ChangeLog {
    table: Table,
    clock: Clock,
}

impl ChangeLog {
    /// The change log in `table`, at the time of `clock`.
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock }
    }

    /// The total number of records in these partitions, as of the stream's progress. One round trip.
    pub async fn count(&self, partitions: &[Partition]) -> Result<u64> {
        let found = self.table.batch_get(partitions.iter().map(Partition::head_key).collect()).await?;
        let count: i64 = found.iter().map(|found| Head::of(found).count).sum();
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The current heads of these partitions, from a consistent read. A missing head counts as empty.
    async fn heads(&self, partitions: &[&Partition]) -> Result<HashMap<Partition, Head>> {
        let found = self.table.batch_get_latest(partitions.iter().map(|one| one.head_key()).collect()).await?;
        let by_key: HashMap<&str, Head> =
            found.iter().filter_map(|found| Some((item::text(found, "sk")?, Head::of(found)))).collect();
        let head = |one: &Partition| {
            let sort = one.head_key().remove("sk");
            let sort = sort.as_ref().and_then(|sort: &AttributeValue| sort.as_s().ok());
            sort.and_then(|sort| by_key.get(sort.as_str())).copied().unwrap_or_default()
        };
        Ok(partitions.iter().map(|one| ((*one).clone(), head(one))).collect())
    }
}
