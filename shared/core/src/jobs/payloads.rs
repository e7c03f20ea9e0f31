//! Job payloads. A payload is checked when the job is created, so a payload that cannot succeed is refused at once and not
//! after every attempt. The worker reads it as the same type.

use crate::email::Email;
use crate::error::FieldError;
use crate::expr::moment;
use crate::files::{Format, can_be_imported};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A mail to send. Its text is either plain or sealed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmailPayload {
    /// The recipient.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// The plain text.
    pub text: Option<String>,
    /// The text, sealed for the worker. Only the system creates it.
    pub sealed_text: Option<String>,
    /// The HTML version.
    pub html: Option<String>,
}

/// The payload of an export.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Export {
    /// The collection.
    pub collection: String,
    /// The file format.
    pub format: Format,
    /// For CSV: whether text that a spreadsheet would read as a formula gets an apostrophe in front.
    #[serde(default)]
    pub escape_formulas: bool,
}

/// The payload of an import.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The collection.
    pub collection: String,
    /// The key of the file, as the upload link returned it.
    pub key: String,
    /// The file format.
    pub format: Format,
    /// What happens where a record exists.
    #[serde(default)]
    pub mode: ImportMode,
    /// The fields whose values name the record of a row, separated by commas, instead of its `id`.
    pub unique: Option<String>,
}

/// What an import does where the record of a row exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ImportMode {
    /// Refuses the row.
    #[default]
    Create,
    /// Replaces the record by the row.
    Replace,
    /// Merges the row into the record (RFC 7396).
    Merge,
}

/// The payload of an undelete by time.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Undelete {
    /// The collection.
    pub collection: String,
    /// Undeletes what was deleted at this time or later.
    pub since: String,
    /// Undeletes what was deleted at this time or earlier: by default, when the job was enqueued.
    pub until: Option<String>,
    /// Whether to write nothing and say what would be undeleted.
    #[serde(default)]
    pub dry_run: bool,
}

/// The additional option of CSV exports.
const ESCAPE_FORMULAS: &str = "escapeFormulas";

pub(super) fn check_email(payload: &Map<String, Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let mut wrong = |name: &str, code, message: &str| errors.push(error(name, code, message));
    if payload.contains_key("sealedText") {
        wrong("sealedText", "unknown", "Send text instead of sealedText.");
    }
    if text("to").is_none_or(|to| Email::parse(to).is_err()) {
        wrong("to", "email", "Send an address such as name@example.com.");
    }
    if text("subject").is_none_or(|subject| subject.is_empty() || subject.contains(['\r', '\n'])) {
        wrong("subject", "required", "Send a subject of one line.");
    }
    if text("text").is_none() && text("html").is_none() {
        wrong("text", "required", "Send text, html or both.");
    }
    let known = ["to", "subject", "text", "html", "sealedText"];
    errors.extend(unknown(payload, &known, "This member is unknown. email.send accepts to, subject, text and html."));
    errors
}

pub(super) fn check_export(payload: &Map<String, Value>) -> Vec<FieldError> {
    let (format, mut errors) = format_of(payload);
    let takes: &[&str] = match format {
        Some(Format::Csv) => &["collection", "format", ESCAPE_FORMULAS],
        _ => &["collection", "format"],
    };
    if takes.contains(&ESCAPE_FORMULAS) && payload.get(ESCAPE_FORMULAS).is_some_and(|escape| !escape.is_boolean()) {
        errors.push(error(ESCAPE_FORMULAS, "type", "Send true or false."));
    }
    errors.extend(unknown(
        payload,
        takes,
        &format!("This member is unknown. records.export accepts {}.", takes.join(", ")),
    ));
    errors
}

pub(super) fn check_import(payload: &Map<String, Value>) -> Vec<FieldError> {
    let (format, mut errors) = format_of(payload);
    let key = payload.get("key").and_then(Value::as_str);
    if !key.is_some_and(|key| format.is_none_or(|format| can_be_imported(key, format))) {
        let message =
            "Send the key of an uploaded file of this format, as POST /v1/jobs/uploads returns it, or of an export.";
        errors.push(error("key", "key", message));
    }
    if payload.get("collection").and_then(Value::as_str) == Some("users") {
        errors.push(error("collection", "users", "Users cannot be imported. Accounts are created by signing up."));
    }
    let mode = payload.get("mode").map(|mode| ImportMode::deserialize(mode).ok());
    if mode == Some(None) {
        errors.push(error("mode", "enum", "Send create, replace or merge."));
    }
    let is_name =
        |unique: &Value| unique.as_str().is_some_and(|fields| fields.split(',').all(|field| !field.is_empty()));
    match (payload.get("unique"), mode) {
        (Some(unique), _) if !is_name(unique) => {
            let message = "Send `id` or the fields of a unique constraint, separated by commas.";
            errors.push(error("unique", "type", message));
        }
        (Some(_), None | Some(Some(ImportMode::Create))) => {
            errors.push(error(
                "unique",
                "unexpected",
                "Only the modes replace and merge look for a record. Leave it out.",
            ));
        }
        _ => {}
    }
    let takes = ["collection", "format", "key", "mode", "unique"];
    errors.extend(unknown(
        payload,
        &takes,
        &format!("This member is unknown. records.import accepts {}.", takes.join(", ")),
    ));
    errors
}

pub(super) fn check_undelete(payload: &Map<String, Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let time = |name: &str| payload.get(name).map(|time| time.as_str().and_then(moment::canonical));
    let mut wrong = |name: &str, code, message: &str| errors.push(error(name, code, message));
    let (since, until) = (time("since"), time("until"));
    for (name, is_wrong) in [("since", !matches!(since, Some(Some(_)))), ("until", until == Some(None))] {
        if is_wrong {
            wrong(name, "format", "Send a time in RFC 3339 of at most milliseconds, such as 2026-03-01T12:00:00.000Z.");
        }
    }
    if matches!((&since, &until), (Some(Some(since)), Some(Some(until))) if until < since) {
        wrong("until", "range", "This time is before since. Send a later one, or leave it out.");
    }
    if payload.get("dryRun").is_some_and(|dry_run| !dry_run.is_boolean()) {
        wrong("dryRun", "type", "Send true or false.");
    }
    if payload.get("collection").and_then(Value::as_str) == Some("users") {
        wrong("collection", "users", "Users are not deleted, so they cannot be undeleted.");
    }
    let takes = ["collection", "since", "until", "dryRun"];
    let message = format!("This member is unknown. records.undelete accepts {}.", takes.join(", "));
    errors.extend(unknown(payload, &takes, &message));
    errors
}

fn format_of(payload: &Map<String, Value>) -> (Option<Format>, Vec<FieldError>) {
    let format = payload.get("format").and_then(Value::as_str).and_then(Format::named);
    let errors = if format.is_none() { vec![error("format", "enum", "Send ndjson or csv.")] } else { Vec::new() };
    (format, errors)
}

fn unknown<'a>(
    payload: &'a Map<String, Value>,
    known: &'a [&str],
    message: &'a str,
) -> impl Iterator<Item = FieldError> + 'a {
    payload.keys().filter(|name| !known.contains(&name.as_str())).map(move |name| error(name, "unknown", message))
}

fn error(name: &str, code: &'static str, message: &str) -> FieldError {
    FieldError::new(format!("/payload/{name}"), code, message)
}
