//! `count=true` of a list: how many records it holds, from what the change log counts, where it holds whole partitions.

use super::operations::Operations;
use crate::error::{Error, Result};
use crate::query::{Plan, Range};
use crate::schema::Collection;
use crate::store::change_log::Partition;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The partitions whose counts together are the count of a planned list.
///
/// # Errors
/// `Refused` where the collection is not counted, or the list holds only a part of a partition.
pub fn partitions(collection: &Collection, plan: &Plan) -> Result<Vec<Partition>> {
    let counted = collection.definition().counted_since.ok_or_else(|| Error::Refused {
        code: "counts_off",
        detail: "the records of this collection are not counted: put its definition with what stands in `patch`"
            .to_owned(),
        advice: Map::from_iter([("patch".to_owned(), json!({ "counts": true }))]),
    })?;
    if collection.definition().counting {
        return Err(Error::refused(
            "counts_building",
            "the records from before counting was turned on are being counted: ask again when the collection's job is done",
        ));
    }
    if !is_counted_whole(plan) {
        return Err(Error::refused(
            "count_needs_partition",
            "a count is kept of the whole collection and of each partition of an index: list one of those, with equality on \
             every partition field and nothing besides, or leave out count",
        ));
    }
    let partitions = plan.ranges.iter().flat_map(|range| Partition::of_range(collection, counted, range));
    // Two alternatives may say the same in other words.
    Ok(partitions.collect::<BTreeSet<_>>().into_iter().collect())
}

/// Reads the count of these partitions.
pub async fn counted(operations: &Operations, partitions: &[Partition]) -> Result<Value> {
    Ok(json!({ "records": operations.change_log.count(partitions).await?, "eventual": true }))
}

/// Whether the list is nothing but whole partitions, and no record lies in two of them.
fn is_counted_whole(plan: &Plan) -> bool {
    let index = |range: &Range| match range {
        Range::Records { .. } => None,
        Range::Index { slot, .. } => Some(*slot),
    };
    let first = plan.ranges.first().and_then(index);
    let is_apart = plan.ranges.len() <= 1 || first.is_some();
    let of_one = plan.ranges.iter().all(|range| index(range) == first);
    plan.residual_filter.is_true() && is_apart && of_one && plan.ranges.iter().all(Range::is_whole)
}
