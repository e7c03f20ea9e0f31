//! The query planner: from a rule, a filter and a sort to key ranges, or to a refusal that names the missing index.
//!
//! A page costs a page: [`plan()`] returns only ranges that contain exactly the requested records in the requested order,
//! unless the caller allows a scan. [`keys`] makes that possible with a codec whose bytes sort like the values.
//! [`condition()`] expresses a rule for a single write: what the stored record must satisfy.

mod advice;
mod condition;
mod element;
pub mod keys;
mod layout;
mod list_query;
mod named;
mod ordering;
mod plan;
mod ranges;
mod refuse;

pub use advice::free_index_name;
pub use condition::{Condition, condition, operator_count};
pub use element::{MAX_ELEMENTS, each_of, element_of, stored_field};
pub use layout::{Index, IndexKey, KeyTooLong, Layout, MAX_INDEX_FIELDS, MAX_INDEXES, serves};
pub use list_query::ListQuery;
pub use named::MAX_IDS;
pub use ordering::{SortField, parse_fields, parse_sort};
pub use plan::{MAX_RANGES, Plan, plan};
pub use ranges::Range;
pub use refuse::Refusal;

#[cfg(test)]
mod tests;
