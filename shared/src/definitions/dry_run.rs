//! `PUT /v1/collections/{collection}?dryRun=true`: reports what a put would do and writes nothing.
//!
//! `{"effect": "none" | "compatible" | "job" | "refused", "changes": [...], "job"?, "changed"?, "disagree"?}`. Among the first
//! [`MOST_CHECKED`] records, `changed` counts those whose data the job would change, and `disagree` those that do not fit;
//! `complete` says whether those are all records.

use super::operations::Operations;
use super::stalled::is_stalled;
use crate::error::{Error, Result};
use crate::schema::{Change, Collection, Definition, SchemaChange, Work};
use serde_json::{Value, json};

/// Maximum number of records that a dry run reads.
const MOST_CHECKED: usize = 1_000;
/// Maximum number of listed records that do not fit.
const LISTED: usize = 20;

/// The answer for a new collection.
pub fn of_new() -> Value {
    json!({ "effect": "compatible", "changes": [{ "change": "collection", "effect": "made" }] })
}

/// The answer for replacing `old` by `new`.
pub async fn of_change(operations: &Operations, old: &Definition, new: &Definition) -> Result<Value> {
    let stalled = is_stalled(operations, old).await?;
    if new.as_put() == old.last_put() && !stalled {
        return Ok(json!({ "effect": "none", "changes": [] }));
    }
    let change = Change::between(old, new);
    let mut answer = json!({ "effect": "compatible", "changes": change.explain() });
    if !change.needs_job() && !stalled {
        return Ok(answer);
    }
    let work = as_checked(old, new, &change);
    let kind = work.kind();
    let collection = Collection::compile(Definition { work: Some(work), ..new.clone() }).map_err(Error::Invalid)?;
    let disagree = operations.records.disagreements(&operations.definitions, &collection, MOST_CHECKED, LISTED).await?;
    let is_refused = disagree.count > 0;
    if let Some(members) = answer.as_object_mut() {
        members.insert("effect".into(), if is_refused { "refused" } else { "job" }.into());
        members.insert("job".into(), kind.into());
        if !change.steps.is_empty() {
            members.insert("changed".into(), json!({ "count": disagree.changed, "complete": disagree.complete }));
        }
        members.insert("disagree".into(), json!(disagree));
    }
    Ok(answer)
}

/// All checks of stored records, as one piece of work.
fn as_checked(old: &Definition, new: &Definition, change: &Change) -> Work {
    let unclaimed = |fields: &&Vec<String>| change.claimed.contains(fields) || old.claims().contains(fields);
    Work {
        claims: new.unique.iter().filter(unclaimed).cloned().collect(),
        references: change.restricting.clone(),
        relations: change.related.clone(),
        steps: change.steps.clone(),
        next: (change.schema == SchemaChange::Narrower).then(|| new.as_put()),
        ..Work::default()
    }
}
