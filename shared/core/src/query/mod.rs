//! Says how a list is read: from a rule, a filter and a sort to ranges of keys, or to a refusal that names the index.
//!
//! A page costs a page: [`plan()`] answers only with ranges that hold exactly the records asked for, in the order asked
//! for, unless the caller allows a scan. [`keys`] is what makes that possible, a codec whose bytes sort as the values
//! do. [`condition()`] says the same of a single write: what must be true of the stored record for it to happen.

mod condition;
pub mod keys;
mod layout;
mod list_query;
mod ordering;
mod plan;
mod ranges;
mod refuse;

pub use condition::{Condition, condition};
pub use layout::{Index, IndexKey, KeyTooLong, Layout};
pub use list_query::ListQuery;
pub use ordering::{SortField, parse_fields, parse_sort};
pub use plan::{MAX_RANGES, Plan, plan};
pub use ranges::Range;
pub use refuse::Refusal;

#[cfg(test)]
mod tests;
