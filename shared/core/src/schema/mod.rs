//! Schemas: a collection's definition as stored, and its compiled form.
//!
//! [`Definition::parse`] checks everything an admin may get wrong and reports all errors at once. A valid definition is
//! compiled into a [`Collection`], which validates records, computes their index keys and contains the typed rules. A
//! [`Change`] describes the effect of one definition put over another.

mod bound;
mod change;
mod collection;
mod compatibility;
mod compiled;
mod contradictions;
mod definition;
mod field;
mod formats;
mod index;
mod joined;
mod keywords;
mod limits;
mod migration;
mod operator_checks;
mod parse;
mod places;
mod published_schema;
mod read_reasons;
mod renames;
mod rules;
mod transition;
mod types;
mod unique_items;
mod users;
mod validate;
mod well_formed;
mod withdrawal;

pub use change::{Change, Put, SchemaChange};
pub use collection::Collection;
pub use definition::{Definition, Referrer, ShardsSince, Work};
pub use field::{Field, OnDelete, Relation, related_ids};
pub use formats::Formats;
pub use limits::{MAX_DEFINITION_BYTES, MAX_PROPERTIES, MAX_SHARDS, MAX_UNIQUE, is_collection_name};
pub use migration::Step;
pub use operator_checks::{StoredCheck, ValueTests};
pub use published_schema::{refer, without_extensions};
pub use read_reasons::{MOST_UNREAD, ReadReason};
pub use rules::unserved;
pub use transition::{Blocked, Withdrawal};
pub use validate::{of_merged, unstorable};

#[cfg(test)]
mod tests;
