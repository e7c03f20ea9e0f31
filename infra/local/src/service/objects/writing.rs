//! PutObject and DeleteObject. What replaces an object is kept whole before the old one is let go of.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rusqlite::Connection;

use super::super::fault::Fault;
use super::body;
use super::request::Target;
use super::store::{self, Object, Store};
use crate::signature::hex;

/// Answers PutObject.
pub async fn put(store: &Store, target: &Target, parts: &Parts, body: Body, now: u64) -> Result<Response, Fault> {
    let kept = body::keep(store, parts, body, now).await?;
    let object = Object {
        etag: hex(&kept.md5),
        size: kept.size,
        kind: kind(&parts.headers),
        disposition: disposition(&parts.headers),
        modified: now,
        blobs: vec![(kept.blob, kept.size)],
    };
    store.transact(|db| {
        check(db, target, &parts.headers)?;
        store::replace(db, &target.bucket, &target.key, &object, now)
    })?;
    Ok(tagged(&object.etag))
}

/// Answers DeleteObject, which is as glad of an object that is not there.
pub fn delete(store: &Store, target: &Target, now: u64) -> Result<Response, Fault> {
    store.transact(|db| store::remove(db, &target.bucket, &target.key, now))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Holds a write against its conditions: `If-None-Match: *` wants nothing to be there, `If-Match` this very object.
pub fn check(db: &Connection, target: &Target, headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let failed = || Fault::new("PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
    let existing = store::find(db, &target.bucket, &target.key)?;
    match (text(header::IF_NONE_MATCH), text(header::IF_MATCH)) {
        (None, None) => Ok(()),
        (Some("*"), None) => existing.is_none().then_some(()).ok_or_else(failed),
        (Some(_), _) => Err(Fault::new("NotImplemented", "a write's If-None-Match can only be *")),
        (None, Some(tag)) => match existing {
            Some(object) if tag.trim_matches('"') == object.etag => Ok(()),
            Some(_) => Err(failed()),
            None => Err(Fault::new("NoSuchKey", "The specified key does not exist.")),
        },
    }
}

/// The content type an object is put with.
pub fn kind(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    given.unwrap_or("binary/octet-stream").to_owned()
}

/// The content disposition an object is put with.
pub fn disposition(headers: &HeaderMap) -> Option<String> {
    headers.get(header::CONTENT_DISPOSITION).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// A plain yes, with the tag of what is there now.
pub fn tagged(etag: &str) -> Response {
    let mut response = StatusCode::OK.into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
