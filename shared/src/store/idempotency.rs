//! Stored responses: the response to a request with an `Idempotency-Key`, written in the same transaction as its effect
//! (R94).
//!
//! There is no intermediate state. Either effect and response are stored, and a repeated request gets that response; or
//! neither is, and the request may run. A failed request has no effect and stores nothing, so it may be retried.

use super::item::{self, Item, string, text};
use super::keys::{IDEMPOTENCY_SORT, idempotency_partition};
use super::{Table, TransactionOutcome};
use crate::clock::Clock;
use crate::error::{Error, Result};
use aws_sdk_dynamodb::types::{Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long a response is stored, in seconds (R96). The code compares the time because DynamoDB removes expired items late.
pub const KEEP_SECONDS: u64 = 86_400;
/// The largest response that can be stored, in bytes: an item holds 400 KB.
const MAX_ANSWER_BYTES: usize = 350_000;

/// A response as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredResponse {
    /// Status code.
    pub status: u16,
    /// `ETag`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub etag: Option<String>,
    /// `Location`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub location: Option<String>,
    /// The body, if any.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub body: Option<Value>,
}

/// Where responses are stored: in the `Records` table, beside their effects.
#[derive(Debug, Clone)]
pub struct StoredResponses {
    table: Table,
    clock: Clock,
}

impl StoredResponses {
    /// The responses stored in `table`, at the time of `clock`.
    pub fn new(table: Table, clock: Clock) -> Self {
        Self { table, clock }
    }
}

/// One caller's key on one route, with a fingerprint of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopedKey {
    partition: String,
    fingerprint: String,
}

impl ScopedKey {
    /// The key as sent, scoped to a caller and a route (R93), with a fingerprint of the payload.
    pub fn new(caller: &str, route: &str, key: &str, fingerprint: &str) -> Self {
        let scope = serde_json::json!([caller, route, key]).to_string();
        let hash = crate::id::base64url(digest(&SHA256, scope.as_bytes()).as_ref());
        Self { partition: idempotency_partition(&hash), fingerprint: fingerprint.to_owned() }
    }

    /// Stores the response if none is stored for this key, as one item of the transaction that has the effect.
    ///
    /// # Errors
    /// `BadRequest` when the response is too large to store.
    pub fn keep(&self, responses: &StoredResponses, answer: &StoredResponse) -> Result<TransactWriteItem> {
        let kept = serde_json::to_string(answer).map_err(Error::internal)?;
        if kept.len() > MAX_ANSWER_BYTES {
            return Err(Error::bad_request(
                "answer_too_large",
                "The response is too large to be stored for an Idempotency-Key. Send fewer operations per request.",
            ));
        }
        let now = responses.clock.seconds();
        let mut written: Item = item::key(&self.partition, IDEMPOTENCY_SORT);
        written.insert("fp".into(), string(&self.fingerprint));
        written.insert("answer".into(), string(kept));
        written.insert("ttl".into(), item::number(now + KEEP_SECONDS));
        let put = Put::builder()
            .table_name(responses.table.name())
            .set_item(Some(written))
            .condition_expression("attribute_not_exists(pk) OR #ttl <= :now")
            .expression_attribute_names("#ttl", "ttl")
            .expression_attribute_values(":now", item::number(now))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::None)
            .build()
            .map_err(Error::internal)?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Stores the response to a request that had no effect, so that a repeated request has none either.
    ///
    /// # Errors
    /// `Conflict` when a response is already stored.
    pub async fn keep_alone(&self, responses: &StoredResponses, answer: &StoredResponse) -> Result<()> {
        match responses.table.transact(vec![self.keep(responses, answer)?]).await? {
            TransactionOutcome::Done => Ok(()),
            TransactionOutcome::Conflicted(_) | TransactionOutcome::Cancelled(_) => Err(in_progress()),
        }
    }

    /// Commits an effect, in any number of tables, and stores its response: both or neither. `Refused` lists the effect's
    /// reasons first.
    ///
    /// # Errors
    /// `Conflict` when a response for this key is stored or being stored. `Unavailable` when other requests write the same
    /// items.
    pub async fn together(
        &self,
        responses: &StoredResponses,
        mut effect: Vec<TransactWriteItem>,
        answer: &StoredResponse,
    ) -> Result<TransactionOutcome> {
        let ours = effect.len();
        effect.push(self.keep(responses, answer)?);
        match responses.table.transact(effect).await? {
            TransactionOutcome::Conflicted(positions) if positions.contains(&ours) => Err(in_progress()),
            TransactionOutcome::Conflicted(_) => Err(TransactionOutcome::CONFLICT),
            refused if refused.refused_at(ours) => Err(in_progress()),
            ended => Ok(ended),
        }
    }

    /// The response stored for this key, if any.
    ///
    /// # Errors
    /// `Refused` when the stored response belongs to a different payload (draft-ietf-httpapi-idempotency-key-header, section
    /// 2.7).
    pub async fn kept(&self, responses: &StoredResponses) -> Result<Option<StoredResponse>> {
        let Some(found) = responses.table.get(&self.partition, IDEMPOTENCY_SORT, true).await? else { return Ok(None) };
        if item::integer(&found, "ttl").is_none_or(|until| until <= responses.clock.seconds()) {
            return Ok(None);
        }
        if text(&found, "fp") != Some(&self.fingerprint) {
            return Err(Error::refused(
                "key_reused",
                "This Idempotency-Key was used for a different request. Send a new key with a new request.",
            ));
        }
        serde_json::from_str(text(&found, "answer").unwrap_or_default()).map(Some).map_err(Error::internal)
    }
}

/// The error when the same request is being processed.
pub fn in_progress() -> Error {
    Error::conflict("in_progress", "A request with this Idempotency-Key is being processed. Retry in a second.")
}
