//! `POST /v1/jobs/uploads {format, bytes}` -> 201 and a link by which a browser uploads the file of an import directly to the
//! bucket. With an `Idempotency-Key` the same file gets a new link: a link is valid for 15 minutes, a key for a day.

use crate::{App, files};
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use undercroft::aws::objects::LinkKind;
use undercroft::error::{Error, Result};
use undercroft::files::{Format, upload_key};
use undercroft::http::{Admin, HandlerResult, IdempotencyKey, Json};
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::store::idempotency::{ScopedKey, StoredResponse};

/// Maximum bytes of a file that S3 accepts in one request.
const MAX_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// The file to upload.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    format: Format,
    bytes: u64,
}

/// Returns a link to upload a file.
pub async fn upload(
    State(app): State<App>,
    admin: Admin,
    idempotency_key: IdempotencyKey,
    Json(file): Json<Upload>,
) -> HandlerResult {
    if !(1..=MAX_BYTES).contains(&file.bytes) {
        return Err(Error::field("/bytes", "range", "A file must have between 1 byte and 5 GiB.").into());
    }
    let new = upload_key(&id::new(&app.clock), file.format);
    let key = match idempotency_key.of(&Caller::User(admin.0))? {
        None => new,
        Some(scoped_key) => first(&app, &scoped_key, new).await?,
    };
    Ok(StoredResponse { body: Some(link(&app, &file, &key)?), ..created() }.into_response())
}

/// The file of this idempotency key: the stored one, or otherwise this one.
async fn first(app: &App, scoped_key: &ScopedKey, new: String) -> Result<String> {
    let answer = StoredResponse { body: Some(json!({ "key": new })), ..created() };
    let Err(error) = scoped_key.keep_alone(&app.responses, &answer).await else { return Ok(new) };
    let kept = scoped_key.kept(&app.responses).await?.and_then(|kept| kept.body).ok_or(error)?;
    let key = kept.get("key").and_then(Value::as_str);
    key.map(str::to_owned).ok_or_else(|| Error::internal("The stored answer of an upload has no key."))
}

fn created() -> StoredResponse {
    StoredResponse { status: 201, ..StoredResponse::default() }
}

fn link(app: &App, file: &Upload, key: &str) -> Result<Value> {
    let content_type = file.format.content_type();
    let url = files::sign(app, LinkKind::Upload { length: file.bytes, content_type }, key)?;
    Ok(json!({
        "key": key,
        "url": url,
        "method": "PUT",
        "headers": { "content-type": content_type, "content-length": file.bytes.to_string() },
        "expiresAt": files::expires_at(app),
    }))
}
