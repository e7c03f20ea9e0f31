//! `POST /v1/jobs/uploads {format, bytes}` -> 201 and a link with which a browser puts the file that an import is to read
//! straight into the bucket: no function carries it.

use crate::{App, files};
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use undercroft::aws::objects::LinkKind;
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, Json};
use undercroft::id;
use undercroft::store::files::{Format, upload_key};

/// Bytes of the largest file that S3 takes in one request.
const MAX_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// The file that is to be uploaded.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upload {
    format: Format,
    bytes: u64,
}

/// Gives a link to upload a file by.
pub async fn upload(
    State(app): State<App>,
    _: Admin,
    Json(file): Json<Upload>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    if !(1..=MAX_BYTES).contains(&file.bytes) {
        return Err(Error::field("/bytes", "range", "a file has from 1 byte to 5 GiB"));
    }
    let key = upload_key(&id::new(&app.clock), file.format);
    let content_type = file.format.content_type();
    let url = files::sign(&app, LinkKind::Upload { length: file.bytes, content_type }, &key)?;
    let link = json!({
        "key": key,
        "url": url,
        "method": "PUT",
        "headers": { "content-type": content_type, "content-length": file.bytes.to_string() },
        "expiresAt": files::expires_at(&app),
    });
    Ok((StatusCode::CREATED, axum::Json(link)))
}
