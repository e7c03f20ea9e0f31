//! Multipart uploads: parts are uploaded in any order, possibly several times, and `CompleteMultipartUpload` makes them one
//! object.

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use md5::{Digest as _, Md5};
use rusqlite::{Connection, OptionalExtension as _};
use uuid::Uuid;

use super::body;
use super::request::Target;
use super::store::{self, Object, Store};
use super::writing::{check_conditions, disposition, kind, ok_with_etag};
use super::xml_response::{element, xml};
use crate::aws_error::AwsError;
use crate::signature::hex;

/// Minimum size in bytes of every part but the last.
const SMALLEST: u64 = 5 * 1024 * 1024;
/// Maximum size of the list of parts: enough for 10,000 parts.
const LONGEST_LIST: usize = 4 * 1024 * 1024;

/// An uploaded part.
struct Part {
    number: u32,
    etag: String,
    size: u64,
    blob: i64,
}

/// CreateMultipartUpload.
pub fn start(store: &Store, target: &Target, parts: &Parts, now: u64) -> Result<Response, AwsError> {
    let id = Uuid::new_v4().simple().to_string();
    store.transact(|db| {
        db.execute(
            "INSERT INTO uploads (id, bucket, key, kind, disposition, started) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            (&id, &target.bucket, &target.key, kind(&parts.headers), disposition(&parts.headers), now),
        )?;
        Ok(())
    })?;
    let inside = [element("Bucket", &target.bucket), element("Key", &target.key), element("UploadId", &id)].concat();
    Ok(xml(StatusCode::OK, "InitiateMultipartUploadResult", &inside))
}

/// UploadPart. A part with the same number replaces the earlier one.
pub async fn part(
    store: &Store,
    target: &Target,
    upload: &str,
    number: u32,
    parts: &Parts,
    body: Body,
    now: u64,
) -> Result<Response, AwsError> {
    store.transact(|db| find_upload(db, target, upload))?;
    let stored = body::store_body(store, parts, body, now).await?;
    let etag = hex(&stored.md5);
    store.transact(|db| {
        // The upload may have been completed or aborted while the body was received.
        find_upload(db, target, upload)?;
        let replaced =
            db.query_row("SELECT blob FROM parts WHERE upload = ?1 AND number = ?2", (upload, number), |row| {
                row.get(0)
            });
        if let Some(blob) = replaced.optional()? {
            store::release(db, blob, now)?;
        }
        db.execute(
            "INSERT OR REPLACE INTO parts (upload, number, etag, size, blob) VALUES (?1, ?2, ?3, ?4, ?5)",
            (upload, number, &etag, stored.size, stored.blob),
        )?;
        store::reference(db, stored.blob)
    })?;
    Ok(ok_with_etag(&etag))
}

/// CompleteMultipartUpload: the listed parts become the object, the others are deleted.
pub async fn complete(
    store: &Store,
    target: &Target,
    upload: &str,
    parts: &Parts,
    body: Body,
    now: u64,
) -> Result<Response, AwsError> {
    let body = to_bytes(body, LONGEST_LIST).await.map_err(|_| malformed())?;
    body::check_hash(&parts.headers, &body)?;
    let listed = listed(std::str::from_utf8(&body).map_err(|_| malformed())?)?;
    let etag = store.transact(|db| {
        let (kind, disposition) = find_upload(db, target, upload)?;
        check_conditions(db, target, &parts.headers)?;
        let uploaded = uploaded(db, upload)?;
        let chosen = choose(&listed, &uploaded)?;
        uploaded.iter().try_for_each(|part| store::release(db, part.blob, now))?;
        let object = Object {
            etag: etag_of(&chosen),
            size: chosen.iter().map(|part| part.size).sum(),
            kind,
            disposition,
            modified: now,
            blobs: chosen.iter().map(|part| (part.blob, part.size)).collect(),
        };
        store::replace(db, &target.bucket, &target.key, &object, now)?;
        delete_upload(db, upload)?;
        Ok(object.etag)
    })?;
    let inside =
        [element("Bucket", &target.bucket), element("Key", &target.key), element("ETag", format!("\"{etag}\""))];
    Ok(xml(StatusCode::OK, "CompleteMultipartUploadResult", &inside.concat()))
}

/// AbortMultipartUpload.
pub fn abort(store: &Store, target: &Target, upload: &str, now: u64) -> Result<Response, AwsError> {
    store.transact(|db| {
        find_upload(db, target, upload)?;
        uploaded(db, upload)?.iter().try_for_each(|part| store::release(db, part.blob, now))?;
        delete_upload(db, upload)
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Content type and disposition of the upload, if it is an upload of this object.
fn find_upload(db: &Connection, target: &Target, upload: &str) -> Result<(String, Option<String>), AwsError> {
    let found = db.query_row(
        "SELECT kind, disposition FROM uploads WHERE id = ?1 AND bucket = ?2 AND key = ?3",
        (upload, &target.bucket, &target.key),
        |row| Ok((row.get(0)?, row.get(1)?)),
    );
    let why = "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    found.optional()?.ok_or_else(|| AwsError::new("NoSuchUpload", why))
}

fn uploaded(db: &Connection, upload: &str) -> Result<Vec<Part>, AwsError> {
    let mut select = db.prepare("SELECT number, etag, size, blob FROM parts WHERE upload = ?1 ORDER BY number")?;
    let parts = select.query_map([upload], |row| {
        Ok(Part { number: row.get(0)?, etag: row.get(1)?, size: row.get(2)?, blob: row.get(3)? })
    })?;
    Ok(parts.collect::<Result<_, _>>()?)
}

fn delete_upload(db: &Connection, upload: &str) -> Result<(), AwsError> {
    db.execute("DELETE FROM parts WHERE upload = ?1", [upload])?;
    db.execute("DELETE FROM uploads WHERE id = ?1", [upload])?;
    Ok(())
}

/// The listed parts: in ascending order, with matching ETags, and none too small.
fn choose<'a>(listed: &[(u32, String)], uploaded: &'a [Part]) -> Result<Vec<&'a Part>, AwsError> {
    if listed.windows(2).any(|pair| matches!(pair, [(one, _), (next, _)] if one >= next)) {
        return Err(AwsError::new("InvalidPartOrder", "The list of parts was not in ascending order."));
    }
    let find = |(number, etag): &(u32, String)| {
        let found = uploaded.iter().find(|part| part.number == *number && part.etag == *etag);
        found.ok_or_else(|| AwsError::new("InvalidPart", "One or more of the specified parts could not be found."))
    };
    let chosen = listed.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    match chosen.split_last() {
        None => Err(malformed()),
        Some((_, others)) if others.iter().any(|part| part.size < SMALLEST) => {
            Err(AwsError::new("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"))
        }
        Some(_) => Ok(chosen),
    }
}

/// The ETag: MD5 of the parts' MD5s, and the number of parts.
fn etag_of(parts: &[&Part]) -> String {
    let mut digest = Md5::new();
    for part in parts {
        let pairs = part.etag.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
        digest.update(pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect::<Vec<_>>());
    }
    format!("{}-{}", hex(&digest.finalize()), parts.len())
}

/// Number and ETag of each `<Part>` in the request.
fn listed(text: &str) -> Result<Vec<(u32, String)>, AwsError> {
    let part = |part: &str| {
        let etag = inside(part, "ETag")?.replace("&quot;", "").replace("&#34;", "");
        Some((inside(part, "PartNumber")?.trim().parse().ok()?, etag.trim().trim_matches('"').to_owned()))
    };
    text.split("<Part>").skip(1).map(|one| part(one).ok_or_else(malformed)).collect()
}

fn inside<'a>(text: &'a str, element: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{element}>"))?;
    Some(rest.split_once(&format!("</{element}>"))?.0)
}

fn malformed() -> AwsError {
    AwsError::new(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}
