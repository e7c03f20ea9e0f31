//! Several items of a table at once.

use super::item::Item;
use super::{Table, failed};
use crate::cost;
use crate::error::{Error, Result};
use aws_sdk_dynamodb::types::{DeleteRequest, KeysAndAttributes, ReturnConsumedCapacity, WriteRequest};

impl Table {
    /// Several items of this table by key, in one round trip per hundred, until DynamoDB has given them all.
    pub async fn batch_get(&self, keys: Vec<Item>) -> Result<Vec<Item>> {
        self.batch_get_by(keys, false).await
    }

    /// The same, with every write that was answered before, at twice the price.
    pub async fn batch_get_latest(&self, keys: Vec<Item>) -> Result<Vec<Item>> {
        self.batch_get_by(keys, true).await
    }

    async fn batch_get_by(&self, keys: Vec<Item>, consistent: bool) -> Result<Vec<Item>> {
        let mut found = Vec::new();
        let mut waiting = keys;
        while !waiting.is_empty() {
            let now: Vec<Item> = waiting.drain(..waiting.len().min(100)).collect();
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(now))
                .consistent_read(consistent)
                .build()
                .map_err(Error::internal)?;
            let answer = self
                .client
                .batch_get_item()
                .request_items(&self.name, wanted)
                .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
                .send()
                .await
                .map_err(failed)?;
            let items: Vec<Item> = answer.responses.unwrap_or_default().into_values().flatten().collect();
            answer.consumed_capacity.iter().flatten().for_each(|capacity| cost::read(Some(capacity), 0));
            cost::read(None, items.len());
            found.extend(items);
            let unprocessed = answer.unprocessed_keys.unwrap_or_default();
            waiting.extend(unprocessed.into_values().flat_map(|keys| keys.keys));
        }
        Ok(found)
    }

    /// Removes up to 25 items of this table by key, each a different one, until DynamoDB has removed them all.
    pub async fn batch_delete(&self, keys: Vec<Item>) -> Result<()> {
        let request = |key| {
            let delete = DeleteRequest::builder().set_key(Some(key)).build().map_err(Error::internal)?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        };
        let mut waiting: Vec<WriteRequest> = keys.into_iter().map(request).collect::<Result<_>>()?;
        while !waiting.is_empty() {
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
        }
        Ok(())
    }
}
