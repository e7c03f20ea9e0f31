//! DynamoDB, one table at a time. Every call reports its consumed capacity, and every failure becomes an error kind that a
//! client can act on. A failed condition returns the stored item, so no separate read is needed.
//!
//! The store never uses `Scan`: a page costs a page.

pub mod backfill;
mod batch;
mod batch_read;
pub mod change_log;
mod commit;
mod conditions;
mod dangling;
pub mod definitions;
pub mod deleted;
pub mod deleted_span;
mod entries;
mod entry_changes;
pub mod explain;
mod expression;
pub mod followers;
pub mod idempotency;
pub mod intent;
pub mod item;
mod job;
pub mod jobs;
pub mod keys;
pub mod lease;
pub mod list;
mod merge_ranges;
mod merging;
mod migrate;
pub mod named;
pub mod purge;
pub mod record;
pub mod records;
mod references;
mod size_shares;
mod soft_delete;
mod table;
mod table_errors;
mod target_checks;
pub mod targets;
mod undelete;
mod unique;
mod unread_operators;
mod unread_writes;
pub mod upsert;
mod write;
mod write_limits;

pub use aws_sdk_dynamodb::types::TransactWriteItem;
pub use expression::Expression;
pub use table::{Page, Table, TableQuery, TransactionOutcome, WriteOutcome};
pub use unique::unique_values;
