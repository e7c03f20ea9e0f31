//! What payloads hold. A payload is checked when the job is asked for, so that what can be known to fail is refused then and not
//! after every attempt; the worker reads it as the same type.

use crate::email::Email;
use crate::error::FieldError;
use crate::files::{Format, can_be_imported};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A mail to send. Its text is in the clear or sealed, never both.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EmailPayload {
    /// The recipient.
    pub to: String,
    /// The subject.
    pub subject: String,
    /// The text.
    pub text: Option<String>,
    /// The text, sealed for the worker. Only the system seals one.
    pub sealed_text: Option<String>,
    /// The same as HTML.
    pub html: Option<String>,
}

/// What an export works on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Export {
    /// The collection.
    pub collection: String,
    /// How its records are to be written.
    pub format: Format,
    /// Whether text that a spreadsheet would take for a formula gets an apostrophe before it. For CSV.
    #[serde(default)]
    pub escape_formulas: bool,
}

/// What an import works on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The collection.
    pub collection: String,
    /// The file, as whoever gave the link for the upload named it.
    pub key: String,
    /// How its records stand in it.
    pub format: Format,
}

/// What an export of CSV may be asked besides.
const ESCAPE_FORMULAS: &str = "escapeFormulas";

pub(super) fn check_email(payload: &Map<String, Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    let mut wrong = |name: &str, code, message: &str| errors.push(error(name, code, message));
    if payload.contains_key("sealedText") {
        wrong("sealedText", "unknown", "send text");
    }
    if text("to").is_none_or(|to| Email::parse(to).is_err()) {
        wrong("to", "email", "an address such as name@example.com");
    }
    if text("subject").is_none_or(|subject| subject.is_empty() || subject.contains(['\r', '\n'])) {
        wrong("subject", "required", "one line of text");
    }
    if text("text").is_none() && text("html").is_none() {
        wrong("text", "required", "text, or html, or both");
    }
    let known = ["to", "subject", "text", "html", "sealedText"];
    errors.extend(unknown(payload, &known, "email.send takes to, subject, text and html"));
    errors
}

pub(super) fn check_export(payload: &Map<String, Value>) -> Vec<FieldError> {
    let (format, mut errors) = format_of(payload);
    let takes: &[&str] = match format {
        Some(Format::Csv) => &["collection", "format", ESCAPE_FORMULAS],
        _ => &["collection", "format"],
    };
    if takes.contains(&ESCAPE_FORMULAS) && payload.get(ESCAPE_FORMULAS).is_some_and(|escape| !escape.is_boolean()) {
        errors.push(error(ESCAPE_FORMULAS, "type", "true or false"));
    }
    errors.extend(unknown(payload, takes, &format!("records.export takes {}", takes.join(", "))));
    errors
}

pub(super) fn check_import(payload: &Map<String, Value>) -> Vec<FieldError> {
    let (format, mut errors) = format_of(payload);
    let key = payload.get("key").and_then(Value::as_str);
    if !key.is_some_and(|key| format.is_none_or(|format| can_be_imported(key, format))) {
        let message = "the key of an uploaded file of this format, as POST /v1/jobs/uploads gives it, or of an export";
        errors.push(error("key", "key", message));
    }
    if payload.get("collection").and_then(Value::as_str) == Some("users") {
        errors.push(error("collection", "users", "accounts are made by signing up"));
    }
    let takes = ["collection", "format", "key"];
    errors.extend(unknown(payload, &takes, &format!("records.import takes {}", takes.join(", "))));
    errors
}

fn format_of(payload: &Map<String, Value>) -> (Option<Format>, Vec<FieldError>) {
    let format = payload.get("format").and_then(Value::as_str).and_then(Format::named);
    let errors = if format.is_none() { vec![error("format", "enum", "ndjson or csv")] } else { Vec::new() };
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
