//! What is left of a deleted collection, removed a page at a time: for a job, when nobody can reach it any more.

use super::batch::{ROUNDS, pause};
use super::item::{self, Item, text};
use super::keys::record_partition;
use super::record::Record;
use super::records::Records;
use super::table::failed;
use super::unique::markers_of;
use super::{Expression, Table, TableQuery};
use crate::cost;
use crate::error::{Error, Result};
use crate::schema::Definition;
use aws_sdk_dynamodb::types::{DeleteRequest, ReturnConsumedCapacity, WriteRequest};
use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

/// Items read at once.
const PAGE: i32 = 100;
/// Most items DynamoDB removes in one call.
const BATCH: usize = 25;

/// A collection that was deleted, as the payload of the job that clears it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Deleted {
    /// Its name.
    pub collection: String,
    /// Which collection of that name it was.
    pub generation: u32,
    /// In how many shards it had records.
    pub shards: u8,
    /// Its unique constraints.
    pub unique: Vec<Vec<String>>,
    /// When it was deleted, in milliseconds since the Unix epoch.
    pub since: u64,
}

impl Deleted {
    /// What has to be known of a collection that is deleted at `now`.
    pub fn new(definition: &Definition, now: u64) -> Self {
        Self {
            collection: definition.name.clone(),
            generation: definition.generation,
            shards: definition.shards_ever(),
            unique: definition.unique.clone(),
            since: now,
        }
    }
}

impl Records {
    /// Whether a collection holds no record that is not deleted.
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

    /// Removes the first items of a shard with the unique values they hold, and returns how many there were. None: the shard
    /// is empty.
    pub async fn purge_page(&self, gone: &Deleted, shard: u16) -> Result<usize> {
        let partition = record_partition(&gone.collection, gone.generation, shard);
        let found = self.table().query(&of_shard(partition)).await?.items;
        let records = found.iter().filter_map(Record::from_item);
        let held = records.flat_map(|record| markers_of(&gone.collection, gone.generation, &gone.unique, &record.data));
        // Values first: once a record is gone, nothing tells which it held.
        self.remove_all(distinct(held.map(|marker| marker.key()).collect())).await?;
        let at = |found: &Item| item::key(text(found, "pk").unwrap_or_default(), text(found, "sk").unwrap_or_default());
        self.remove_all(found.iter().map(at).collect()).await?;
        Ok(found.len())
    }

    async fn remove_all(&self, keys: Vec<Item>) -> Result<()> {
        try_join_all(keys.chunks(BATCH).map(|keys| self.table().batch_delete(keys.to_vec()))).await.map(|_| ())
    }
}

impl Table {
    /// Removes up to [`BATCH`] items of this table by key, each a different one.
    ///
    /// # Errors
    /// `Unavailable` when DynamoDB still gives some back after eight rounds; the others are gone.
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
        Err(Error::Unavailable { retry_after: 1, source: Some("DynamoDB keeps giving deletions back".into()) })
    }
}

fn of_shard(partition: String) -> TableQuery {
    let key = Expression::new("pk = :pk").value(":pk", item::string(partition));
    TableQuery { key, forward: true, limit: PAGE, consistent: true, ..TableQuery::default() }
}

/// Each key once: a batch that names one twice is refused.
fn distinct(mut keys: Vec<Item>) -> Vec<Item> {
    let name = |key: &Item| text(key, "pk").unwrap_or_default().to_owned();
    keys.sort_by_key(name);
    keys.dedup_by_key(|key| name(key));
    keys
}
