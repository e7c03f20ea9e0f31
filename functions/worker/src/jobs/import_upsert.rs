//! Turns a row of a file into an upsert: it replaces the record with the same id or unique value, or is merged into it, and
//! creates a record where there is none. The last of several rows with one key is what stays.

use super::import_row;
use super::tools::Tools;
use serde_json::{Map, Value};
use std::sync::Arc;
use undercroft::error::{Error, Result};
use undercroft::jobs::{Import, ImportMode};
use undercroft::preconditions::Preconditions;
use undercroft::records::upsert::constraint;
use undercroft::schema::Collection;
use undercroft::store::intent::{ImportedRow, Intent, Upsert, UpsertKey, What};
use undercroft::store::jobs::Job;
use undercroft::store::targets::{Referring, targets};

/// The fields that name the record of a row. `None`: its id.
pub fn named_by(import: &Import) -> Option<Vec<String>> {
    let fields = import.unique.as_deref().filter(|fields| *fields != "id")?;
    Some(fields.split(',').map(|field| field.trim().to_owned()).collect())
}

/// What names the record of a row, if the import looks for one. Rows with the same key are written one after the other.
///
/// # Errors
/// The fields are no unique constraint, or the row has no value in one of them.
pub fn key(import: &Import, collection: &Collection, members: &Map<String, Value>) -> Result<Option<UpsertKey>> {
    if import.mode == ImportMode::Create {
        return Ok(None);
    }
    let Some(fields) = named_by(import) else {
        return Ok(members.get("id").and_then(Value::as_str).map(|id| UpsertKey::Id(id.to_owned())));
    };
    let fields = constraint(collection, &fields)?;
    let mut data = members.clone();
    collection.canonicalise(&mut data);
    let key = UpsertKey::of_value(collection, fields, &data);
    key.map(Some).ok_or_else(|| {
        let lacks = |field: &&String| data.get(*field).is_none_or(Value::is_null);
        let missing = fields.iter().find(lacks).map(String::as_str).unwrap_or_default();
        Error::field(format!("/{missing}"), "required", "This value names the record. Send it.")
    })
}

/// The upsert for a row with this key.
///
/// # Errors
/// Why the row is invalid, whether its record exists or not.
pub async fn intent(
    tools: &Tools,
    collection: &Arc<Collection>,
    (job, import): (&Job, &Import),
    line: u64,
    (by, mut data): (UpsertKey, Map<String, Value>),
) -> Result<Intent> {
    let id = match &by {
        UpsertKey::Id(_) => import_row::take_id(tools, job, line, &mut data)?,
        // The record that is there has an id, and a new one is given one.
        UpsertKey::Unique(_) => {
            data.remove("id");
            import_row::leave_out(&mut data);
            import_row::of_line(job, line)?
        }
    };
    let now = tools.clock.millis();
    let grant = tools.system.grant(collection, now);
    let new = match import.mode {
        ImportMode::Merge => data.iter().filter(|(_, value)| !value.is_null()).map(owned).collect(),
        _ => data.clone(),
    };
    // A row may be enough to change a record although it is not enough to create one.
    let create = match import_row::create(tools, collection, id.clone(), new).await {
        Err(error) if !matches!(error, Error::Invalid(_)) => return Err(error),
        create => create,
    };
    let mut whole = data.clone();
    if import.mode == ImportMode::Replace {
        collection.apply_defaults_again(&mut whole);
    }
    collection.canonicalise(&mut whole);
    let unequal = collection.unequal(&whole);
    if !unequal.is_empty() {
        return Err(Error::Invalid(unequal));
    }
    let targets = targets(&tools.definitions, collection, Referring::System(&tools.system), &whole, now).await?;
    let what = if import.mode == ImportMode::Merge { What::Merge(whole) } else { What::Replace(data) };
    let intent = |what: What, targets| Intent {
        grant: grant.clone(),
        id: id.clone(),
        what,
        preconditions: Preconditions::NONE,
        targets,
        cause: None,
    };
    let change = Some(intent(what, targets));
    let row = Some(ImportedRow { job: job.id.clone(), line });
    let upsert = Upsert { by, create, change, restore: vec![grant.clone()], row };
    Ok(intent(What::Upsert(Box::new(upsert)), Vec::new()))
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}
