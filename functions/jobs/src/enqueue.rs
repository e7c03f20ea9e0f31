//! `POST /v1/jobs {type, payload, group?, delaySeconds?, maxAttempts?}` -> 202 and the job. One write; the stream, the relay,
//! the queue and the worker do the rest.

use crate::{App, answer, files};
use axum::Extension;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};
use undercroft::error::{Error, FieldError, Result};
use undercroft::http::{Admin, HandlerResult, IdempotencyKey, Json, RequestId};
use undercroft::id;
use undercroft::identity::email::Email;
use undercroft::job_kinds::SYSTEM_JOBS;
use undercroft::schema::unstorable;
use undercroft::store::TransactionOutcome;
use undercroft::store::idempotency::{ScopedKey, StoredResponse};
use undercroft::store::jobs::{Job, MAX_ATTEMPTS, MAX_DELAY_SECONDS};

/// Largest payload, in bytes of JSON. The job's item and its stream record must hold it.
const MAX_PAYLOAD_BYTES: usize = 100_000;

/// Types the design names that no worker of this version runs.
const NOT_BUILT: [&str; 2] = ["webhook.deliver", "user.erase"];

/// The job asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Enqueue {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    payload: Map<String, Value>,
    group: Option<String>,
    delay_seconds: Option<u32>,
    max_attempts: Option<u32>,
}

/// Enqueues a job.
pub async fn enqueue(
    State(app): State<App>,
    admin: Admin,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    Json(body): Json<Enqueue>,
) -> HandlerResult {
    answer::once(&app, admin, &idempotency_key, |scoped_key| wanted(&app, body, &request.0, scoped_key)).await
}

async fn wanted(app: &App, body: Enqueue, request: &str, scoped_key: Option<ScopedKey>) -> Result<StoredResponse> {
    if NOT_BUILT.contains(&body.kind.as_str()) {
        return Err(Error::NotBuilt("this type of job"));
    }
    check(&body)?;
    if files::has_files(&body.kind) {
        files::check(app, &body.kind, &body.payload).await?;
    }
    let mut job = Job::new(id::new(&app.clock), &body.kind, body.payload, request, app.clock.millis());
    job.group = body.group;
    job.delay_seconds = body.delay_seconds.unwrap_or(0);
    job.max_attempts = body.max_attempts.unwrap_or(job.max_attempts);
    let answer = StoredResponse { location: Some(format!("/v1/jobs/{}", job.id)), ..answer::shown(202, &job)? };
    match scoped_key {
        None => app.jobs.enqueue(&job).await?,
        Some(scoped_key) => {
            let enqueuing = vec![app.jobs.enqueuing(&job)?];
            if let TransactionOutcome::Cancelled(_) = scoped_key.together(&app.responses, enqueuing, &answer).await? {
                return Err(Error::conflict("exists", "a job with this id exists"));
            }
        }
    }
    Ok(answer)
}

fn check(body: &Enqueue) -> Result<()> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, code, message: &str| errors.push(FieldError::new(pointer, code, message));
    if !is_name(&body.kind) {
        wrong("/type", "name", "a type is words of a-z, 0-9 and _ joined by dots, as in email.send");
    }
    if SYSTEM_JOBS.contains(&body.kind.as_str()) {
        wrong("/type", "reserved", "such a job follows from what is put or deleted");
    }
    if serde_json::to_vec(&body.payload).map_or(true, |bytes| bytes.len() > MAX_PAYLOAD_BYTES) {
        wrong("/payload", "too_large", "a payload may be at most 100,000 bytes; put more into a record and name it");
    }
    errors.extend(unstorable(&Value::Object(body.payload.clone()), "/payload"));
    let mut wrong = |pointer: &str, code, message: &str| errors.push(FieldError::new(pointer, code, message));
    if body.payload.contains_key("sealedText") {
        wrong("/payload/sealedText", "unknown", "send text");
    }
    if body.group.as_ref().is_some_and(|group| !is_group(group)) {
        wrong("/group", "name", "a group is 1 to 128 letters, digits and -_.");
    }
    if body.group.is_some() && files::has_files(&body.kind) {
        wrong(
            "/group",
            "excluded",
            "a job of many slices takes no turn in a group: each of them would be a turn of its own",
        );
    }
    match (body.delay_seconds, &body.group) {
        (Some(delay), _) if delay > MAX_DELAY_SECONDS => {
            wrong("/delaySeconds", "not_built", "delays past 900 seconds are not built yet");
        }
        (Some(1..), Some(_)) => {
            wrong("/delaySeconds", "excluded", "a job of a group takes its turn and cannot be delayed")
        }
        _ => {}
    }
    if body.max_attempts.is_some_and(|attempts| !(1..=MAX_ATTEMPTS).contains(&attempts)) {
        wrong("/maxAttempts", "range", "from 1 to 20");
    }
    if body.kind == "email.send" {
        check_email(&body.payload, &mut errors);
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::Invalid(errors)) }
}

/// What can be known to fail is refused now, not after five attempts.
fn check_email(payload: &Map<String, Value>, errors: &mut Vec<FieldError>) {
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    if text("to").is_none_or(|to| Email::parse(to).is_err()) {
        errors.push(FieldError::new("/payload/to", "email", "an address such as name@example.com"));
    }
    if text("subject").is_none_or(|subject| subject.is_empty() || subject.contains(['\r', '\n'])) {
        errors.push(FieldError::new("/payload/subject", "required", "one line of text"));
    }
    if text("text").is_none() && text("html").is_none() {
        errors.push(FieldError::new("/payload/text", "required", "text, or html, or both"));
    }
    for unknown in
        payload.keys().filter(|name| !["to", "subject", "text", "html", "sealedText"].contains(&name.as_str()))
    {
        errors.push(FieldError::new(
            format!("/payload/{unknown}"),
            "unknown",
            "email.send takes to, subject, text and html",
        ));
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.split('.').count() >= 2
        && name.split('.').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        })
}

fn is_group(group: &str) -> bool {
    (1..=128).contains(&group.len()) && group.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}
