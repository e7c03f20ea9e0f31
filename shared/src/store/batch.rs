//! Many items by key at once. DynamoDB gives back the keys it had no room or no strength for; they are asked for again.

use super::Table;
use super::item::Item;
use super::table::failed;
use crate::cost;
use crate::error::{Error, Result};
use crate::id;
use aws_sdk_dynamodb::types::{KeysAndAttributes, ReturnConsumedCapacity};
use futures_util::future::try_join_all;
use std::time::Duration;

/// Most keys of one call.
const KEYS: usize = 100;
/// How often what is given back is asked for again before that is reported.
pub(super) const ROUNDS: usize = 8;
/// Longest pause after the first round, in milliseconds; it doubles with every round.
const FIRST_PAUSE: u64 = 20;

impl Table {
    /// Several items of this table by key, each key named once: a round trip per hundred, those side by side. What is not
    /// there is left out.
    ///
    /// # Errors
    /// `Unavailable` when DynamoDB still gives keys back after eight rounds: never a part of the items as if it were all.
    pub async fn batch_get(&self, keys: Vec<Item>) -> Result<Vec<Item>> {
        self.batch_get_by(keys, false).await
    }

    /// The same, with every write that was answered before, at twice the price.
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
        Err(Error::Unavailable { retry_after: 1, source: Some("DynamoDB keeps giving keys back".into()) })
    }

    /// One call: the items it brought, and the keys it gave back.
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
        // Counted alike whether there is an item or not, as a single read is.
        cost::read(None, keys.len().saturating_sub(left.len()));
        Ok((answer.responses.unwrap_or_default().into_values().flatten().collect(), left))
    }
}

/// How long to wait after this round: up to 20, 40, 80, ... milliseconds, by chance, so that those who were throttled, or in each
/// other's way, together do not come back together.
pub(super) fn pause(round: usize) -> Duration {
    let [chance] = id::random::<1>();
    Duration::from_millis((FIRST_PAUSE << round.min(ROUNDS)) * u64::from(chance) / 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_never_pass_their_bound() {
        for round in 0..ROUNDS {
            let longest = (0..200).map(|_| pause(round)).max().unwrap_or_default();
            let bound = Duration::from_millis(FIRST_PAUSE << round);
            assert!(longest <= bound && longest > bound / 2, "round {round}: {longest:?}");
        }
    }
}
