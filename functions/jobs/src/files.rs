//! The files of imports and exports: what their jobs are asked to work on, and links to them. A link is signed when somebody
//! looks, for a quarter of an hour; it may do what this function's role may.

use crate::App;
use serde_json::{Map, Value};
use std::time::{Duration, SystemTime};
use undercroft::aws::objects::{Link, LinkKind};
use undercroft::clock::rfc3339;
use undercroft::error::{Error, FieldError, Result};
use undercroft::store::definitions::State;
use undercroft::store::files::{EXPORT_JOB, Format, IMPORT_JOB, can_be_imported, is_result};
use undercroft::store::jobs::Job;

/// How long a link is good for.
pub const GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// What an export of CSV may be asked besides.
const ESCAPE_FORMULAS: &str = "escapeFormulas";

/// Whether jobs of this type work on files.
pub fn has_files(kind: &str) -> bool {
    [EXPORT_JOB, IMPORT_JOB].contains(&kind)
}

/// What can be known to fail is refused now, not after five attempts.
pub async fn check(app: &App, kind: &str, payload: &Map<String, Value>) -> Result<()> {
    let mut errors = Vec::new();
    let mut wrong = |name: &str, code, message: &str| {
        errors.push(FieldError::new(format!("/payload/{name}"), code, message));
    };
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let format = text("format").and_then(Format::named);
    if format.is_none() {
        wrong("format", "enum", "ndjson or csv");
    }
    let takes: &[&str] = match (kind, format) {
        (IMPORT_JOB, _) => &["collection", "format", "key"],
        (_, Some(Format::Csv)) => &["collection", "format", ESCAPE_FORMULAS],
        _ => &["collection", "format"],
    };
    if takes.contains(&ESCAPE_FORMULAS) && payload.get(ESCAPE_FORMULAS).is_some_and(|escape| !escape.is_boolean()) {
        wrong(ESCAPE_FORMULAS, "type", "true or false");
    }
    if kind == IMPORT_JOB && !text("key").is_some_and(|key| format.is_none_or(|format| can_be_imported(key, format))) {
        wrong(
            "key",
            "key",
            "the key of an uploaded file of this format, as POST /v1/jobs/uploads gives it, or of an export",
        );
    }
    for unknown in payload.keys().filter(|name| !takes.contains(&name.as_str())) {
        wrong(unknown, "unknown", &format!("{kind} takes {}", takes.join(", ")));
    }
    match text("collection") {
        Some("users") if kind == IMPORT_JOB => wrong("collection", "users", "accounts are made by signing up"),
        Some(name) if has_definition(app, name).await? => {}
        _ => wrong("collection", "unknown_collection", "there is no such collection"),
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::Invalid(errors)) }
}

async fn has_definition(app: &App, name: &str) -> Result<bool> {
    Ok(name == "users" || app.definitions.get(name).await?.is_some_and(|stored| stored.stage != State::Gone))
}

/// Adds to the result of a finished job a link to its file.
pub fn link_result(app: &App, job: &mut Job) -> Result<()> {
    let collection = job.payload.get("collection").and_then(Value::as_str).unwrap_or_default();
    let format = job.payload.get("format").and_then(Value::as_str).unwrap_or_default();
    let saved_as = match job.kind.as_str() {
        EXPORT_JOB => format!("{collection}.{format}"),
        IMPORT_JOB => format!("{collection}-refused.ndjson"),
        _ => return Ok(()),
    };
    let Some(result) = job.result.as_mut().and_then(Value::as_object_mut) else { return Ok(()) };
    let Some(key) = result.get("key").and_then(Value::as_str).filter(|key| is_result(key)) else { return Ok(()) };
    let link = sign(app, LinkKind::Download { saved_as: &saved_as }, key)?;
    result.insert("url".into(), link.into());
    result.insert("expiresAt".into(), expires_at(app).into());
    Ok(())
}

/// Signs a link to a file.
pub fn sign(app: &App, kind: LinkKind<'_>, key: &str) -> Result<String> {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(app.clock.millis());
    app.files.link(&Link { kind, key, good_for: GOOD_FOR }, now).map_err(Error::internal)
}

/// When a link signed now stops to be good.
pub fn expires_at(app: &App) -> String {
    rfc3339(app.clock.millis() + GOOD_FOR.as_secs() * 1000)
}
