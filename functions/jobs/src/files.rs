//! The files of imports and exports, and links to them. A link is signed when a job is read and is valid for 15 minutes; it has
//! the permissions of this function's role.

use crate::App;
use serde_json::Value;
use std::time::{Duration, SystemTime};
use undercroft::aws::objects::{Link, LinkKind};
use undercroft::clock::rfc3339;
use undercroft::error::{Error, Result};
use undercroft::files::is_result;
use undercroft::jobs::{EXPORT_JOB, IMPORT_JOB};
use undercroft::store::jobs::Job;

/// How long a link is valid.
pub const GOOD_FOR: Duration = Duration::from_secs(15 * 60);

/// Adds a link to the file to the result of a finished job.
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

/// When a link signed now expires.
pub fn expires_at(app: &App) -> String {
    rfc3339(app.clock.millis() + GOOD_FOR.as_secs() * 1000)
}
