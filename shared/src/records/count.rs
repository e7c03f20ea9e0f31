//! `count=true`: the number of records in a list that consists of whole partitions, from the change log.

use super::operations::Operations;
use crate::error::{Error, Result};
use crate::query::{Plan, Range};
use crate::schema::Collection;
use crate::store::change_log::Partition;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// The partitions whose counts add up to the count of a planned list.
///
/// # Errors
/// `Refused` if the collection is not counted, or if the list covers only part of a partition.
pub fn partitions(collection: &Collection, plan: &Plan) -> Result<Vec<Partition>> {
    let counted = collection.definition().counted_since.ok_or_else(|| Error::Refused {
        code: "counts_off",
        detail: "The records of this collection are not counted. Add the members in `patch` to its definition."
            .to_owned(),
        advice: Map::from_iter([("patch".to_owned(), json!({ "counts": true }))]),
    })?;
    if collection.definition().counting {
        return Err(Error::refused(
            "counts_building",
            "A job is still counting the existing records of this collection. Retry when the collection's job is done.",
        ));
    }
    if !is_counted_whole(plan) {
        return Err(Error::refused(
            "count_needs_partition",
            "Only the whole collection and each partition of an index are counted. List one of those, with equality on every \
             partition field and no other filter, or leave out count.",
        ));
    }
    let partitions = plan.ranges.iter().flat_map(|range| Partition::of_range(collection, counted, range));
    // Two alternatives may select the same partition.
    Ok(partitions.collect::<BTreeSet<_>>().into_iter().collect())
}

/// Reads the total count of these partitions.
pub async fn counted(operations: &Operations, partitions: &[Partition]) -> Result<Value> {
    Ok(json!({ "records": operations.change_log.count(partitions).await?, "eventual": true }))
}

/// Whether the list consists of whole partitions that do not overlap.
fn is_counted_whole(plan: &Plan) -> bool {
    let index = |range: &Range| match range {
        Range::Records { .. } => None,
        Range::Index { slot, .. } => Some(*slot),
    };
    let first = plan.ranges.first().and_then(index);
    // Several elements of one record may lie in different ranges.
    let overlaps = |range: &Range| matches!(range, Range::Index { of_elements: true, .. });
    let is_apart = plan.ranges.len() <= 1 || (first.is_some() && !plan.ranges.iter().any(overlaps));
    let of_one = plan.ranges.iter().all(|range| index(range) == first);
    plan.ids.is_none()
        && plan.residual_filter.is_true()
        && is_apart
        && of_one
        && plan.ranges.iter().all(Range::is_whole)
}
