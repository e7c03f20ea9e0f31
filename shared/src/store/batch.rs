//! BatchGetItem. DynamoDB returns the keys it did not process (`UnprocessedKeys`); the table requests them again.

use super::Table;
use super::item::Item;
use super::table_errors::failed;
use crate::cost;
use crate::error::{Error, Result};
use crate::id;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnConsumedCapacity};
use futures_util::future::try_join_all;
use std::time::Duration;

/// Maximum number of keys in one call.
const KEYS: usize = 100;
/// Maximum number of rounds for unprocessed keys.
pub(super) const ROUNDS: usize = 8;
/// Longest pause after the first round, in milliseconds. It doubles with every round.
const FIRST_PAUSE: u64 = 20;

impl Table {
    /// Reads several items of this table by key. The keys must be distinct. Makes one call per hundred keys, in parallel.
    /// Leaves out items that do not exist.
    ///
    /// # Errors
    /// `Unavailable` when DynamoDB still leaves keys unprocessed after eight rounds. Never returns a partial result.
    pub async fn batch_get(&self, keys: Vec<Item>) -> Result<Vec<Item>> {
        self.batch_get_by(keys, false).await
    }

    /// The same with strongly consistent reads, at twice the price.
    ///
    /// # Errors
    /// As [`Table::batch_get`].
    pub async fn batch_get_latest(&self, keys: Vec<Item>) -> Result<Vec<Item>> {
        self.batch_get_by(keys, true).await
    }

    async fn batch_get_by(&self, keys: Vec<Item>, consistent: bool) -> Result<Vec<Item>> {
        let (mut found, mut waiting) = (Vec::new(), keys);
        for round in 0..ROUNDS {
            let given_back = std::mem::take(&mut waiting);
            for (items, left) in
                try_join_all(given_back.chunks(KEYS).map(|keys| self.get_some(keys, consistent))).await?
            {
                found.extend(items);
                waiting.extend(left);
            }
            if waiting.is_empty() {
                return Ok(found);
            }
            tokio::time::sleep(pause(round)).await;
        }
        Err(Error::Unavailable {
            retry_after: 1,
            source: Some("DynamoDB left keys unprocessed after every retry".into()),
        })
    }

    /// One call: the items found, and the unprocessed keys.
    async fn get_some(&self, keys: &[Item], consistent: bool) -> Result<(Vec<Item>, Vec<Item>)> {
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys.to_vec()))
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
        let left: Vec<Item> =
            answer.unprocessed_keys.unwrap_or_default().into_values().flat_map(|keys| keys.keys).collect();
        answer.consumed_capacity.iter().flatten().for_each(|capacity| cost::read(Some(capacity), 0));
        // Counts a missing item the same as an existing one, as GetItem does.
        cost::read(None, keys.len().saturating_sub(left.len()));
        Ok((answer.responses.unwrap_or_default().into_values().flatten().collect(), left))
    }
}

/// How long to wait after this round: a random time of up to 20, 40, 80, ... milliseconds, so that callers throttled at the
/// same time do not retry at the same time.
pub(super) fn pause(round: usize) -> Duration {
    let [chance] = id::random::<1>();
    Duration::from_millis((FIRST_PAUSE << round.min(ROUNDS)) * u64::from(chance) / 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit() {
        for round in 0..ROUNDS {
            let longest = (0..200).map(|_| pause(round)).max().unwrap_or_default();
            let bound = Duration::from_millis(FIRST_PAUSE << round);
            assert!(longest <= bound && longest > bound / 2, "round {round}: {longest:?}");
        }
    }
}
