//! PutObject and DeleteObject. A new object is stored completely before it replaces the old one.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rusqlite::Connection;

use super::body;
use super::request::Target;
use super::store::{self, Object, Store};
use crate::aws_error::AwsError;
use crate::signature::hex;

/// PutObject.
pub async fn put(store: &Store, target: &Target, parts: &Parts, body: Body, now: u64) -> Result<Response, AwsError> {
    let stored = body::store_body(store, parts, body, now).await?;
    let object = Object {
        etag: hex(&stored.md5),
        size: stored.size,
        kind: kind(&parts.headers),
        disposition: disposition(&parts.headers),
        modified: now,
        blobs: vec![(stored.blob, stored.size)],
    };
    store.transact(|db| {
        check_conditions(db, target, &parts.headers)?;
        store::replace(db, &target.bucket, &target.key, &object, now)
    })?;
    Ok(ok_with_etag(&object.etag))
}

/// DeleteObject, which also succeeds if the object does not exist.
pub fn delete(store: &Store, target: &Target, now: u64) -> Result<Response, AwsError> {
    store.transact(|db| store::remove(db, &target.bucket, &target.key, now))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Checks a write's conditions: `If-None-Match: *` requires that no object exists, `If-Match` an object with this ETag.
pub fn check_conditions(db: &Connection, target: &Target, headers: &HeaderMap) -> Result<(), AwsError> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let failed =
        || AwsError::new("PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
    let existing = store::find(db, &target.bucket, &target.key)?;
    match (text(header::IF_NONE_MATCH), text(header::IF_MATCH)) {
        (None, None) => Ok(()),
        (Some("*"), None) => existing.is_none().then_some(()).ok_or_else(failed),
        (Some(_), _) => Err(AwsError::new("NotImplemented", "If-None-Match of a write must be *")),
        (None, Some(tag)) => match existing {
            Some(object) if tag.trim_matches('"') == object.etag => Ok(()),
            Some(_) => Err(failed()),
            None => Err(AwsError::new("NoSuchKey", "The specified key does not exist.")),
        },
    }
}

/// The request's content type.
pub fn kind(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    given.unwrap_or("binary/octet-stream").to_owned()
}

/// The request's content disposition.
pub fn disposition(headers: &HeaderMap) -> Option<String> {
    headers.get(header::CONTENT_DISPOSITION).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Status 200 with an ETag.
pub fn ok_with_etag(etag: &str) -> Response {
    let mut response = StatusCode::OK.into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{etag}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}
