//! Permission: the rules of the core, and which costs a caller may see.

use crate::cost;
use crate::error::Result;
use crate::expr::{Input, Rule};
use crate::identity::Caller;
use crate::schema::Collection;
use std::sync::Arc;
use undercroft_core::policy;
pub use undercroft_core::policy::{Grant, System, invisible};

/// Grants an action, with `input` being the data to write, if any.
///
/// # Errors
/// As [`policy::allow`].
pub fn allow(
    caller: &Caller,
    action: Rule,
    collection: &Arc<Collection>,
    asked_at: u64,
    input: Input,
) -> Result<Grant> {
    policy::allow(caller, action, collection, asked_at, input).inspect(withhold_hidden)
}

/// Grants references to records of a collection.
pub fn allow_to_refer(caller: &Caller, collection: &Arc<Collection>, asked_at: u64) -> Vec<Grant> {
    let grants = policy::allow_to_refer(caller, collection, asked_at);
    grants.iter().for_each(withhold_hidden);
    let by_refer = |grant: &Grant| grant.is_by(Rule::Refer);
    let is_read_by_all = grants.iter().any(|grant| !by_refer(grant) && grant.residual().is_true());
    if !is_read_by_all && grants.iter().any(by_refer) {
        // The check that the record exists costs by its size, and the caller may not be allowed to read it.
        cost::withhold_units();
    }
    grants
}

/// Hidden fields add to the cost of reading or writing a record.
fn withhold_hidden(grant: &Grant) {
    if !grant.is_admin() && grant.collection().hidden_fields().next().is_some() {
        cost::withhold_units();
    }
}
