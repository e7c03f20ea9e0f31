//! `PUT /v1/collections/{collection}?dryRun=true`: what a put would do, without doing it.
//!
//! `{"effect": "none" | "compatible" | "job" | "refused", "changes": [...], "job"?, "disagree"?}`. `disagree` counts the records
//! that stand in the way among the first [`MOST_CHECKED`], and says by `complete` whether those are all.

use crate::App;
use crate::stalled::is_stalled;
use serde_json::{Value, json};
use std::collections::HashMap;
use undercroft::error::{Error, Result};
use undercroft::schema::{Change, Collection, Definition, SchemaChange, Work};
use undercroft::store::backfill::disagreement;
use undercroft::store::item;
use undercroft::store::record::Record;

/// Most records a dry run reads.
const MOST_CHECKED: usize = 1_000;
/// How many of the records that disagree are listed.
const LISTED: usize = 20;

/// What making a new collection would do.
pub fn of_new() -> Value {
    json!({ "effect": "compatible", "changes": [{ "change": "collection", "effect": "made" }] })
}

/// What putting `new` over `old` would do.
pub async fn of_change(app: &App, old: &Definition, new: &Definition) -> Result<Value> {
    let stalled = is_stalled(app, old).await?;
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
    let disagree = disagreeing(app, &collection).await?;
    let refused = disagree.get("count").and_then(Value::as_u64) != Some(0);
    if let Some(members) = answer.as_object_mut() {
        members.insert("effect".into(), if refused { "refused" } else { "job" }.into());
        members.insert("job".into(), kind.into());
        members.insert("disagree".into(), disagree);
    }
    Ok(answer)
}

/// All that stored records would be asked, as one piece of work.
fn as_checked(old: &Definition, new: &Definition, change: &Change) -> Work {
    let unclaimed = |fields: &&Vec<String>| change.claimed.contains(fields) || old.claims().contains(fields);
    Work {
        job: String::new(),
        since: 0,
        claims: new.unique.iter().filter(unclaimed).cloned().collect(),
        references: change.restricting.clone(),
        next: (change.schema == SchemaChange::Narrower).then(|| new.as_put()),
        rules_before: Default::default(),
        blocked: None,
    }
}

async fn disagreeing(app: &App, collection: &Collection) -> Result<Value> {
    let (mut checked, mut count, mut first, mut claimed) = (0, 0_u64, Vec::new(), HashMap::new());
    let mut complete = true;
    for shard in 0..u16::from(collection.definition().shards_ever()) {
        let mut after: Option<String> = None;
        loop {
            let room = i32::try_from(MOST_CHECKED - checked).unwrap_or(0);
            if room == 0 {
                complete = false;
                break;
            }
            let page = app.records.in_shard(collection, shard, after.as_deref(), room).await?;
            checked += page.items.len();
            for record in page.items.iter().filter_map(Record::from_item).filter(|record| !record.deleted) {
                let against = disagreement(collection, &record, &mut claimed)?;
                count += u64::from(!against.errors.is_empty());
                if !against.errors.is_empty() && first.len() < LISTED {
                    first.push(json!({ "id": record.id, "errors": against.errors }));
                }
            }
            // Tombstones count as read, and may fill a page alone.
            match page.last_key.as_ref().and_then(|key| item::text(key, "sk")) {
                Some(last) => after = Some(last.to_owned()),
                None => break,
            }
        }
    }
    Ok(json!({ "count": count, "first": first, "checked": checked, "complete": complete }))
}
