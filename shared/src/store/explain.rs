//! `explain=true`: how a request will run and what it will cost, computed before anything is read. The unit is items, because
//! the bytes that DynamoDB charges for are not known yet.

use super::entry_changes::moves_entries;
use super::intent::{Intent, Target, What};
use super::list::{allowance, readers};
use super::records::Records;
use crate::policy::Grant;
use crate::query::Plan;
use crate::schema::ReadReason;
use serde::Serialize;

/// How DynamoDB charges for a query.
const QUERY: &str = "Each round trip costs half a unit per started 4 KB of the total size of the items it reads.";
/// How DynamoDB charges for a batch read.
const BATCH: &str =
    "Each record costs half a unit per started 4 KB of its own size; a missing record costs half a unit.";

/// How DynamoDB charges for a list through an index over elements.
const ENTRIES: &str = "The query of the entries costs half a unit per started 4 KB of their total size, and each record of an \
                       entry half a unit per started 4 KB of its own size.";
/// The usual size of an entry.
const ENTRY_BYTES: usize = 160;

/// The expected cost of a read.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expected {
    /// Round trips, made in parallel, if nothing has to be skipped.
    pub trips: usize,
    /// Items read at most, if nothing has to be skipped.
    pub items: usize,
    /// Items read at most, if tombstones or a scan's mismatches have to be skipped.
    pub most_items: usize,
    /// Read units for `items` of 1 KB each.
    pub rru_at_1kb: f64,
    /// How to calculate the units for other sizes.
    pub rru: &'static str,
}

impl Records {
    /// The expected cost of a page of `limit` records by `plan`.
    pub fn expected(&self, grant: &Grant, plan: &Plan, limit: usize) -> Expected {
        if let Some(ids) = &plan.ids {
            let page = if plan.order.is_empty() { ids.len().min(limit + 1) } else { ids.len() };
            return Expected { most_items: ids.len(), ..Expected::batch(page) };
        }
        let readers = readers::<()>(grant.collection(), plan, None);
        let queries = readers.len();
        let most_read = allowance(plan, queries, limit);
        let read = readers.iter().map(|reader| reader.first_step(limit)).sum::<usize>().min(most_read);
        let each = read.div_ceil(queries.max(1));
        let of_entries = readers.iter().filter(|reader| reader.has_entries()).count();
        if of_entries == 0 {
            let rru_at_1kb = queries as f64 * units(each);
            return Expected { trips: queries, items: read, most_items: most_read, rru_at_1kb, rru: QUERY };
        }
        // Each entry is an item beside its record.
        let (trips, items, most_items) = (queries + of_entries, read + of_entries * each, 2 * most_read);
        let of_entry = units((each * ENTRY_BYTES).div_ceil(1_024)) + each as f64 * units(1);
        let rru_at_1kb = (queries - of_entries) as f64 * units(each) + of_entries as f64 * of_entry;
        Expected { trips, items, most_items, rru_at_1kb, rru: ENTRIES }
    }
}

impl Expected {
    /// The expected cost of reading up to `records` records by id.
    pub fn batch(records: usize) -> Self {
        let trips = records.div_ceil(100);
        Self { trips, items: records, most_items: records, rru_at_1kb: records as f64 * units(1), rru: BATCH }
    }
}

/// How a patch will be written.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PatchPlan {
    /// Why the record is read first. `None`: it is not.
    pub read_because: Vec<String>,
    /// Why the records it points at are read before the write. `None`: they are not.
    pub targets_read_because: Vec<String>,
    /// The DynamoDB operation that writes it.
    pub write: &'static str,
}

impl Records {
    /// How a patch will be written, with or without a response to store for an `Idempotency-Key`.
    pub fn plan(&self, patch: &Intent, keeps_answer: bool) -> PatchPlan {
        let kept = keeps_answer.then_some(ReadReason::Kept);
        let looks: Vec<ReadReason> = self.read_reasons(patch).into_iter().chain(kept).collect();
        let write = match looks.is_empty() {
            true => "UpdateItem",
            false if keeps_answer || looks_at_others(patch) || may_claim(patch) || moves_entries(patch) => {
                "TransactWriteItems"
            }
            false => "PutItem",
        };
        let others = patch.targets.iter().filter(|target| is_another(patch, target));
        let read = others.filter(|target| target.right().is_none());
        let because = |target: &Target| {
            format!(
                "DynamoDB cannot check in one condition whether the caller may refer to the record in `{}`.",
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
    /// Round trips once definitions and keys are cached, without concurrent writes. Two more if a unique value belonged to
    /// another record before; one less if the record already points there.
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

/// Whether it may come to hold unique values that it does not hold now: the values it changes, and those of constraints that
/// are still being built.
fn may_claim(patch: &Intent) -> bool {
    let definition = patch.grant.collection().definition();
    let patch = match &patch.what {
        What::Merge(patch) => patch,
        What::Operate(operators) => {
            return definition.unique.iter().flatten().any(|field| operators.names().contains_key(field));
        }
        _ => return false,
    };
    let is_set = |fields: &[String]| {
        let mut sent = fields.iter().filter_map(|field| patch.get(field)).peekable();
        sent.peek().is_some() && sent.all(|value| !value.is_null())
    };
    definition.unique.iter().any(|fields| is_set(fields))
}

/// Read units for this many kilobytes in one read.
fn units(kilobytes: usize) -> f64 {
    kilobytes.div_ceil(4) as f64 / 2.0
}
