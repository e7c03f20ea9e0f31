//! Turns a row of a file into a create: parsed by the same strict rules as a body, then checked like a record created by an
//! admin.

use super::csv::{self, Cell};
use super::tools::Tools;
use serde_json::{Map, Value};
use std::sync::Arc;
use undercroft::error::{Error, FieldError, Result};
use undercroft::http::parse_json;
use undercroft::id;
use undercroft::preconditions::Preconditions;
use undercroft::records::input::{check_new_id, validate_new};
use undercroft::schema::Collection;
use undercroft::store::intent::{Intent, What};
use undercroft::store::jobs::Job;
use undercroft::store::targets::{Referring, targets};

/// Fields of an export that the server sets again for an imported record.
const KEPT_ANEW: [&str; 3] = ["createdAt", "updatedAt", "version"];
/// The members in a line of NDJSON.
///
/// # Errors
/// Why the row is invalid.
pub fn of_json(line: &[u8]) -> Result<Map<String, Value>> {
    match parse_json(line)? {
        Value::Object(members) => Ok(members),
        _ => Err(Error::field("", "type", "Each line must hold one JSON object.")),
    }
}

/// The members in a row of CSV.
///
/// # Errors
/// The errors of each cell.
pub fn of_csv(row: &[u8], columns: &[String], collection: &Collection) -> Result<Map<String, Value>> {
    let (mut members, mut errors) = (Map::new(), Vec::new());
    let cells = cells(row)?;
    if cells.len() != columns.len() {
        let message = format!("The header has {} columns, but this row has {}.", columns.len(), cells.len());
        return Err(Error::field("", "columns", message));
    }
    for (name, cell) in columns.iter().zip(&cells) {
        let Some(field) = collection.layout().fields.get(name) else {
            errors.push(FieldError::new(
                format!("/{name}"),
                "unknown_field",
                "The collection no longer has this field.",
            ));
            continue;
        };
        match csv::read_value(name, field, cell) {
            Ok(value) => members.extend(value.map(|value| (name.clone(), value))),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(members) } else { Err(Error::Invalid(errors)) }
}

/// The cells of a row of CSV.
///
/// # Errors
/// Why the row is malformed.
pub fn cells(row: &[u8]) -> Result<Vec<Cell>> {
    let row = std::str::from_utf8(row).map_err(|_| Error::field("", "utf_8", "The row is not UTF-8."))?;
    csv::cells(row).map_err(|reason| Error::field("", "csv", reason))
}

/// The create for a row. The id is that of the row, or otherwise derived from the line, so a repeated row has the same id.
///
/// # Errors
/// Why the row is invalid.
pub async fn intent(
    tools: &Tools,
    collection: &Arc<Collection>,
    job: &Job,
    line: u64,
    mut data: Map<String, Value>,
) -> Result<Intent> {
    let id = take_id(tools, job, line, &mut data)?;
    create(tools, collection, id, data).await
}

/// Takes the id of a row's record out of its members, and those that the server sets again.
///
/// # Errors
/// Why the row is invalid.
pub fn take_id(tools: &Tools, job: &Job, line: u64, data: &mut Map<String, Value>) -> Result<String> {
    let id = match data.remove("id") {
        Some(id) => own_id(&id, tools.clock.millis())?,
        None => of_line(job, line)?,
    };
    if has_own_id(job, line, &id) {
        leave_out(data);
    }
    let kept = KEPT_ANEW.iter().filter(|name| data.contains_key(**name));
    let message = "The server sets this field. It is ignored only in a row with an `id`, as in an export; otherwise leave it \
     out.";
    let kept: Vec<FieldError> = kept.map(|name| FieldError::new(format!("/{name}"), "read_only", message)).collect();
    if !kept.is_empty() {
        return Err(Error::Invalid(kept));
    }
    Ok(id)
}

/// Leaves out what the server sets again.
pub fn leave_out(data: &mut Map<String, Value>) {
    KEPT_ANEW.iter().for_each(|name| drop(data.remove(*name)));
}

/// The create of a record with this id.
///
/// # Errors
/// Why the data is invalid.
pub async fn create(
    tools: &Tools,
    collection: &Arc<Collection>,
    id: String,
    mut data: Map<String, Value>,
) -> Result<Intent> {
    let now = tools.clock.millis();
    validate_new(collection, &mut data)?;
    let targets = targets(&tools.definitions, collection, Referring::System(&tools.system), &data, now).await?;
    let grant = tools.system.grant(collection, now);
    Ok(Intent { grant, id, what: What::Create(data), preconditions: Preconditions::NONE, targets, cause: None })
}

/// Whether a row has its own id.
pub fn has_own_id(job: &Job, line: u64, id: &str) -> bool {
    of_line(job, line).is_ok_and(|of_line| of_line != id)
}

fn own_id(id: &Value, now: u64) -> Result<String> {
    let id = id.as_str().unwrap_or_default();
    match check_new_id(id, now) {
        Ok(()) => Ok(id.to_owned()),
        Err(reason) => Err(Error::field(
            "/id",
            "id",
            format!("The id is not valid ({reason}). Leave it out to have one assigned."),
        )),
    }
}

/// The id of a line without one.
///
/// # Errors
/// The file has too many lines.
pub fn of_line(job: &Job, line: u64) -> Result<String> {
    let line =
        u32::try_from(line).map_err(|_| Error::field("", "too_many", "A file has at most 4,294,967,295 lines."))?;
    Ok(id::numbered(id::millis(&job.id).unwrap_or_default(), &job.id, line))
}
