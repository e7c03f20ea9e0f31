//! What is going to be done and what that costs, for `explain=true`: said before anything is read, so in items and not yet in
//! the bytes that DynamoDB charges for.

use super::intent::{Intent, Target, What};
use super::list::{allowance, readers};
use super::records::Records;
use crate::policy::Grant;
use crate::query::Plan;
use crate::schema::ReadReason;
use serde::Serialize;

/// How DynamoDB counts a query.
const QUERY: &str = "for each trip half a unit for every 4 KB, begun or full, of the items it reads taken together";
/// How DynamoDB counts a batch read.
const BATCH: &str =
    "half a unit for every 4 KB, begun or full, of each record by itself; half a unit for one that is not there";

/// What a read is going to cost.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    /// Round trips, side by side, as long as nothing is in the way.
    pub trips: usize,
    /// Items read, at most, as long as nothing is in the way.
    pub items: usize,
    /// Items read, at most, where tombstones are in the way, or a scan has to look for what it wants.
    pub most_items: usize,
    /// Read units for `items` of 1 KB each.
    pub rru_at_1kb: f64,
    /// How to reckon with other sizes.
    pub rru: &'static str,
}

impl Records {
    /// What a page of `limit` records by `plan` is going to cost.
    pub fn expected(&self, grant: &Grant, plan: &Plan, limit: usize) -> Expected {
        let readers = readers::<()>(grant.collection(), plan, None);
        let trips = readers.len();
        let most_items = allowance(plan, trips, limit);
        let items = readers.iter().map(|reader| reader.first_step(limit)).sum::<usize>().min(most_items);
        let rru_at_1kb = trips as f64 * units(items.div_ceil(trips.max(1)));
        Expected { trips, items, most_items, rru_at_1kb, rru: QUERY }
    }
}

impl Expected {
    /// What reading up to `records` records by id is going to cost.
    pub fn batch(records: usize) -> Self {
        let trips = records.div_ceil(100);
        Self { trips, items: records, most_items: records, rru_at_1kb: records as f64 * units(1), rru: BATCH }
    }
}

/// How a patch is going to be written.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PatchPlan {
    /// Why the record is read first. Nothing: it is not.
    pub read_because: Vec<String>,
    /// Why records that it points at are read before it is written. Nothing: they are not.
    pub targets_read_because: Vec<String>,
    /// DynamoDB's operation that writes it.
    pub write: &'static str,
}

impl Records {
    /// How a patch is going to be written; with or without an answer to keep for an `Idempotency-Key`.
    pub fn plan(&self, patch: &Intent, keeps_answer: bool) -> PatchPlan {
        let kept = keeps_answer.then_some(ReadReason::Kept);
        let looks: Vec<ReadReason> = self.read_reasons(patch).into_iter().chain(kept).collect();
        let write = match looks.is_empty() {
            true => "UpdateItem",
            false if keeps_answer || looks_at_others(patch) || may_claim(patch) => "TransactWriteItems",
            false => "PutItem",
        };
        let others = patch.targets.iter().filter(|target| is_another(patch, target));
        let read = others.filter(|target| target.right().is_none());
        let because = |target: &Target| {
            format!(
                "whether the caller may point at what `{}` names is no single condition that DynamoDB can check",
                target.field
            )
        };
        PatchPlan {
            read_because: looks.iter().map(ReadReason::to_string).collect(),
            targets_read_because: read.map(because).collect(),
            write,
        }
    }
}

impl PatchPlan {
    /// Round trips, once definitions and keys are known, and as long as nobody else writes the same meanwhile. Two more where a
    /// unique value was another record's before, one less where the record points there already.
    pub fn trips(&self) -> usize {
        1 + usize::from(!self.read_because.is_empty()) + usize::from(!self.targets_read_because.is_empty())
    }
}

/// Whether it will point at records other than itself.
fn looks_at_others(patch: &Intent) -> bool {
    patch.targets.iter().any(|target| is_another(patch, target))
}

fn is_another(patch: &Intent, target: &Target) -> bool {
    target.id != patch.id || target.collection.name() != patch.grant.collection().name()
}

/// Whether it may come to hold unique values that it does not hold now: those it changes, and those that are still to be claimed
/// by every record.
fn may_claim(patch: &Intent) -> bool {
    let definition = patch.grant.collection().definition();
    let What::Merge(patch) = &patch.what else { return false };
    let is_set = |fields: &[String]| {
        let mut sent = fields.iter().filter_map(|field| patch.get(field)).peekable();
        sent.peek().is_some() && sent.all(|value| !value.is_null())
    };
    definition.unique.iter().any(|fields| is_set(fields))
}

/// Read units for so many kilobytes in one reading.
fn units(kilobytes: usize) -> f64 {
    kilobytes.div_ceil(4) as f64 / 2.0
}
