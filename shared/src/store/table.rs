//! One table. Every call reports its consumed capacity, every failure becomes an error kind that a client can act on, and a
//! failed condition returns the stored item, so no separate read is needed.

use super::Expression;
use super::item::{self, Item};
use super::table_errors::{TOO_LARGE, failed, is_refusal};
use crate::cost;
use crate::error::{Error, Result};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::TransactWriteItem;
use aws_sdk_dynamodb::types::{
    CancellationReason, ReturnConsumedCapacity, ReturnValue, ReturnValuesOnConditionCheckFailure,
};

/// The outcome of a conditional write.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteOutcome<T = ()> {
    /// Written.
    Done(T),
    /// The condition did not hold. Contains the stored item, if there is one.
    ConditionFailed(Option<Item>),
}

/// A page of a query.
#[derive(Debug, Default)]
pub struct Page {
    /// The items, in key order.
    pub items: Vec<Item>,
    /// The key after which DynamoDB stopped, if it stopped before the end.
    pub last_key: Option<Item>,
}

/// What to read from a table or an index.
#[derive(Debug, Clone, Default)]
pub struct TableQuery {
    /// The index, or `None` for the table.
    pub index: Option<String>,
    /// Key condition with its placeholders.
    pub key: Expression,
    /// Filter text with further placeholders. Filtered items are still charged.
    pub filter: Option<Expression>,
    /// Ascending by sort key.
    pub forward: bool,
    /// Most items to read.
    pub limit: i32,
    /// The exclusive start key.
    pub after: Option<Item>,
    /// Whether the read is strongly consistent, at twice the price. Tables only.
    pub consistent: bool,
}

/// A DynamoDB table.
#[derive(Debug, Clone)]
pub struct Table {
    pub(super) client: Client,
    pub(super) name: String,
    /// Whether a write is sent once.
    once: bool,
}

impl Table {
    /// The table with this name.
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name, once: false }
    }

    /// The same table for a write that must not be made twice: it is sent once, and an unknown outcome is an error of its own.
    /// A transaction is still repeated, because DynamoDB recognises it by its token.
    pub(super) fn once(&self) -> Self {
        Self { once: true, ..self.clone() }
    }

    /// The error of a write that failed.
    fn not_written<E>(&self, error: SdkError<E>) -> Error
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
        if self.once && !code.is_some_and(is_refusal) {
            return Error::OutcomeUnknown(error.into());
        }
        failed(error)
    }

    /// The table's name, for transactions over several tables.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An item by partition and sort key.
    ///
    /// # Errors
    /// As for every call here: `Unavailable` when a retry may help, `Internal` otherwise.
    pub async fn get(&self, pk: &str, sk: &str, consistent: bool) -> Result<Option<Item>> {
        self.get_by(item::key(pk, sk), consistent).await
    }

    /// An item by its full key.
    pub async fn get_by(&self, key: Item, consistent: bool) -> Result<Option<Item>> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key))
            .consistent_read(consistent)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
            .await
            .map_err(failed)?;
        // Counts a missing item the same as an existing one: the cost must not reveal whether a hidden item exists.
        cost::read(answer.consumed_capacity(), 1);
        Ok(answer.item)
    }

    /// Writes a whole item if the condition holds.
    pub async fn put(&self, item: Item, condition: Expression) -> Result<WriteOutcome> {
        let call = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(item))
            .set_condition_expression(Some(condition.text.clone()).filter(|text| !text.is_empty()))
            .set_expression_attribute_names(condition.names())
            .set_expression_attribute_values(condition.values())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes);
        let sent = match self.once {
            true => call.customize().config_override(Builder::new().retry_config(RetryConfig::disabled())).send().await,
            false => call.send().await,
        };
        match sent {
            Ok(answer) => {
                cost::write(answer.consumed_capacity());
                Ok(WriteOutcome::Done(()))
            }
            Err(error) => {
                let refused = error.as_service_error().and_then(|error| match error {
                    aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(refused) => {
                        Some(refused.item.clone())
                    }
                    _ => None,
                });
                refused.map(WriteOutcome::ConditionFailed).ok_or_else(|| self.not_written(error))
            }
        }
    }

    /// Updates an item if the condition holds, and returns the updated item. `change` and `condition` share one namespace of
    /// placeholders.
    pub async fn update(&self, key: Item, change: Expression, condition: Expression) -> Result<WriteOutcome<Item>> {
        let all = change.clone().with_placeholders_of(&condition);
        let call = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key))
            .update_expression(&change.text)
            .set_condition_expression(Some(condition.text).filter(|text| !text.is_empty()))
            .set_expression_attribute_names(all.names())
            .set_expression_attribute_values(all.values())
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes);
        let sent = match self.once {
            true => call.customize().config_override(Builder::new().retry_config(RetryConfig::disabled())).send().await,
            false => call.send().await,
        };
        match sent {
            Ok(answer) => {
                cost::write(answer.consumed_capacity());
                Ok(WriteOutcome::Done(answer.attributes.unwrap_or_default()))
            }
            Err(error) => {
                let refused = error.as_service_error().and_then(|error| match error {
                    aws_sdk_dynamodb::operation::update_item::UpdateItemError::ConditionalCheckFailedException(
                        refused,
                    ) => Some(refused.item.clone()),
                    _ => None,
                });
                refused.map(WriteOutcome::ConditionFailed).ok_or_else(|| self.not_written(error))
            }
        }
    }

    /// Deletes an item if the condition holds.
    pub async fn delete(&self, key: Item, condition: Expression) -> Result<WriteOutcome> {
        let sent = self
            .client
            .delete_item()
            .table_name(&self.name)
            .set_key(Some(key))
            .set_condition_expression(Some(condition.text.clone()).filter(|text| !text.is_empty()))
            .set_expression_attribute_names(condition.names())
            .set_expression_attribute_values(condition.values())
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
            .await;
        match sent {
            Ok(answer) => {
                cost::write(answer.consumed_capacity());
                Ok(WriteOutcome::Done(()))
            }
            Err(error) => {
                let refused = error.as_service_error().and_then(|error| match error {
                    aws_sdk_dynamodb::operation::delete_item::DeleteItemError::ConditionalCheckFailedException(
                        refused,
                    ) => Some(refused.item.clone()),
                    _ => None,
                });
                refused.map(WriteOutcome::ConditionFailed).ok_or_else(|| failed(error))
            }
        }
    }

    /// One page of a query.
    pub async fn query(&self, query: &TableQuery) -> Result<Page> {
        let all = query.filter.iter().fold(query.key.clone(), Expression::with_placeholders_of);
        let answer = self
            .client
            .query()
            .table_name(&self.name)
            .set_index_name(query.index.clone())
            .key_condition_expression(&query.key.text)
            .set_filter_expression(query.filter.as_ref().map(|filter| filter.text.clone()))
            .set_expression_attribute_names(all.names())
            .set_expression_attribute_values(all.values())
            .scan_index_forward(query.forward)
            .set_consistent_read(query.consistent.then_some(true))
            .limit(query.limit)
            .set_exclusive_start_key(query.after.clone())
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
            .await
            .map_err(failed)?;
        cost::read(answer.consumed_capacity(), usize::try_from(answer.scanned_count()).unwrap_or(0));
        Ok(Page { items: answer.items.unwrap_or_default(), last_key: answer.last_evaluated_key })
    }

    /// Writes several items, in this and other tables, all or none. A refusal carries a reason for each item.
    pub async fn transact(&self, items: Vec<TransactWriteItem>) -> Result<TransactionOutcome> {
        let sent = self
            .client
            .transact_write_items()
            .set_transact_items(Some(items))
            .return_consumed_capacity(ReturnConsumedCapacity::Indexes)
            .send()
            .await;
        match sent {
            Ok(answer) => {
                cost::write(answer.consumed_capacity());
                Ok(TransactionOutcome::Done)
            }
            Err(error) => match error.as_service_error().and_then(cancellation) {
                Some(reasons) if reasons.iter().any(|reason| reason.code() == Some("ValidationError")) => {
                    Err(TOO_LARGE())
                }
                Some(reasons) if reasons.iter().any(is_conflict) => {
                    let positions = reasons.iter().enumerate().filter(|(_, reason)| is_conflict(reason));
                    Ok(TransactionOutcome::Conflicted(positions.map(|(position, _)| position).collect()))
                }
                Some(reasons) => Ok(TransactionOutcome::Cancelled(reasons.iter().map(condition_failed).collect())),
                None => Err(self.not_written(error)),
            },
        }
    }
}

/// The outcome of a transaction.
#[derive(Debug, PartialEq)]
pub enum TransactionOutcome {
    /// Everything was written.
    Done,
    /// Nothing was written because other requests were writing the items at these positions. A retry may succeed.
    Conflicted(Vec<usize>),
    /// Nothing was written. For each item: whether its condition failed, with the stored item.
    Cancelled(Vec<Option<Option<Item>>>),
}

impl TransactionOutcome {
    /// The error when other requests write the same items.
    pub const CONFLICT: Error = Error::Unavailable { retry_after: 1, source: None };

    /// Whether the condition of the item at `position` was one that failed.
    pub fn refused_at(&self, position: usize) -> bool {
        matches!(self, Self::Cancelled(reasons) if reasons.get(position).is_some_and(Option::is_some))
    }
}

type TransactError = aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;

fn cancellation(error: &TransactError) -> Option<&[CancellationReason]> {
    match error {
        TransactError::TransactionCanceledException(canceled) => Some(canceled.cancellation_reasons()),
        _ => None,
    }
}

fn is_conflict(reason: &CancellationReason) -> bool {
    !matches!(reason.code(), None | Some("None" | "ConditionalCheckFailed"))
}

fn condition_failed(reason: &CancellationReason) -> Option<Option<Item>> {
    (reason.code() == Some("ConditionalCheckFailed")).then(|| reason.item.clone())
}
