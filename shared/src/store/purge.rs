//! Removes what is left of a deleted collection, page by page. A job runs it when no function can reach the collection any
//! more.

use super::batch::{ROUNDS, pause};
use super::entries::entry;
use super::item::{self, Item, text};
use super::keys::record_partition;
use super::record::Record;
use super::records::Records;
use super::table_errors::failed;
use super::unique::markers_of;
use super::{Expression, Table, TableQuery};
use crate::cost;
use crate::error::{Error, Result};
use crate::expr::FieldTypes;
use crate::query::{Index, Layout};
use crate::schema::Definition;
use aws_sdk_dynamodb::types::{DeleteRequest, ReturnConsumedCapacity, WriteRequest};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

/// Number of items read at once.
const PAGE: i32 = 100;
/// Maximum number of items in one BatchWriteItem call.
const BATCH: usize = 25;

/// A deleted collection, as the payload of its purge job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deleted {
    /// Its name.
    pub collection: String,
    /// Its generation.
    pub generation: u32,
    /// The number of its shards.
    pub shards: u8,
    /// Its unique constraints.
    pub unique: Vec<Vec<String>>,
    /// Its indexes over elements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elements: Vec<Index>,
    /// When it was deleted, in milliseconds since the Unix epoch.
    pub since: u64,
}

impl Deleted {
    /// The payload for a collection that is deleted at `now`.
    pub fn new(definition: &Definition, now: u64) -> Self {
        Self {
            collection: definition.name.clone(),
            generation: definition.generation,
            shards: definition.shards_ever(),
            unique: definition.unique.clone(),
            elements: definition.indexes.iter().filter(|index| index.is_of_elements()).cloned().collect(),
            since: now,
        }
    }
}

impl Deleted {
    /// The entries of a record in its indexes over elements.
    fn entries(&self, record: &Record) -> Vec<Item> {
        let indexes = self.elements.clone();
        let (collection, generation) = (self.collection.clone(), self.generation);
        let layout = Layout { collection, generation, indexes, fields: FieldTypes::new([]) };
        let keys = layout.indexes.iter().flat_map(|index| index.keys(&layout, &record.view()).unwrap_or_default());
        keys.map(|key| entry(&key)).collect()
    }
}

impl Records {
    /// Whether a collection has no living record.
    pub async fn is_empty(&self, definition: &Definition) -> Result<bool> {
        for shard in 0..u16::from(definition.shards_ever()) {
            let partition = record_partition(&definition.name, definition.generation, shard);
            let filter = Some(Expression::new("attribute_not_exists(del)"));
            let mut query = TableQuery { filter, limit: 1_000, ..of_shard(partition) };
            loop {
                let page = self.table().query(&query).await?;
                if !page.items.is_empty() {
                    return Ok(false);
                }
                query.after = page.last_key;
                if query.after.is_none() {
                    break;
                }
            }
        }
        Ok(true)
    }

    /// Removes the first items of a shard and the unique values they hold. Returns how many items there were; 0 means the
    /// shard is empty.
    pub async fn purge_page(&self, gone: &Deleted, shard: u16) -> Result<usize> {
        let partition = record_partition(&gone.collection, gone.generation, shard);
        let found = self.table().query(&of_shard(partition)).await?.items;
        let records: Vec<Record> = found.iter().filter_map(Record::from_item).collect();
        let held =
            records.iter().flat_map(|record| markers_of(&gone.collection, gone.generation, &gone.unique, &record.data));
        let entries = records.iter().filter(|record| !record.deleted).flat_map(|record| gone.entries(record));
        // Removes unique values and entries first: only the record says which ones it has.
        self.remove_all(distinct(held.map(|marker| marker.key()).collect())).await?;
        self.remove_all(entries.collect()).await?;
        let at = |found: &Item| item::key(text(found, "pk").unwrap_or_default(), text(found, "sk").unwrap_or_default());
        self.remove_all(found.iter().map(at).collect()).await?;
        Ok(found.len())
    }

    async fn remove_all(&self, keys: Vec<Item>) -> Result<()> {
        try_join_all(keys.chunks(BATCH).map(|keys| self.table().batch_delete(keys.to_vec()))).await.map(|_| ())
    }
}

impl Table {
    /// Removes up to [`BATCH`] items of this table. The keys must be distinct.
    ///
    /// # Errors
    /// `Unavailable` when DynamoDB still leaves items unprocessed after eight rounds. The others are removed.
    async fn batch_delete(&self, keys: Vec<Item>) -> Result<()> {
        let request = |key| {
            let delete = DeleteRequest::builder().set_key(Some(key)).build().map_err(Error::internal)?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        };
        let mut waiting: Vec<WriteRequest> = keys.into_iter().map(request).collect::<Result<_>>()?;
        for round in 0..ROUNDS {
            if let Some(before) = round.checked_sub(1) {
                tokio::time::sleep(pause(before)).await;
            }
            let answer = self
                .client
                .batch_write_item()
                .request_items(&self.name, waiting)
                .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
                .send()
                .await
                .map_err(failed)?;
            cost::write(answer.consumed_capacity());
            waiting = answer.unprocessed_items.unwrap_or_default().into_values().flatten().collect();
            if waiting.is_empty() {
                return Ok(());
            }
        }
        Err(Error::Unavailable {
            retry_after: 1,
            source: Some("DynamoDB left deletions unprocessed after every retry".into()),
        })
    }
}

fn of_shard(partition: String) -> TableQuery {
    let key = Expression::new("pk = :pk").value(":pk", item::string(partition));
    TableQuery { key, forward: true, limit: PAGE, consistent: true, ..TableQuery::default() }
}

/// Each key once: DynamoDB rejects a batch that names a key twice.
fn distinct(mut keys: Vec<Item>) -> Vec<Item> {
    let name = |key: &Item| text(key, "pk").unwrap_or_default().to_owned();
    keys.sort_by_key(name);
    keys.dedup_by_key(|key| name(key));
    keys
}
