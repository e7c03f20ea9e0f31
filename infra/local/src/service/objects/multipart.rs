//! Objects put in parts: an upload is begun, its parts arrive in any order and any number of times, and one call makes them
//! an object, or none of them.

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use md5::{Digest as _, Md5};
use rusqlite::{Connection, OptionalExtension as _};
use uuid::Uuid;

use super::super::fault::Fault;
use super::answer::{element, xml};
use super::body;
use super::request::Target;
use super::store::{self, Object, Store};
use super::writing::{check, disposition, kind, tagged};
use crate::signature::hex;

/// Every part but the last has at least this many bytes.
const SMALLEST: u64 = 5 * 1024 * 1024;
/// 10,000 parts and their tags fit into this with room to spare.
const LONGEST_LIST: usize = 4 * 1024 * 1024;

/// A part that has arrived.
struct Part {
    number: u32,
    etag: String,
    size: u64,
    blob: i64,
}

/// Answers CreateMultipartUpload.
pub fn start(store: &Store, target: &Target, parts: &Parts, now: u64) -> Result<Response, Fault> {
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

/// Answers UploadPart. A part that comes again takes the place of the one before.
pub async fn part(
    store: &Store,
    target: &Target,
    upload: &str,
    number: u32,
    parts: &Parts,
    body: Body,
    now: u64,
) -> Result<Response, Fault> {
    store.transact(|db| known(db, target, upload))?;
    let kept = body::keep(store, parts, body, now).await?;
    let etag = hex(&kept.md5);
    store.transact(|db| {
        // It may have been completed or aborted while the body arrived.
        known(db, target, upload)?;
        let replaced =
            db.query_row("SELECT blob FROM parts WHERE upload = ?1 AND number = ?2", (upload, number), |row| {
                row.get(0)
            });
        if let Some(blob) = replaced.optional()? {
            store::let_go(db, blob, now)?;
        }
        db.execute(
            "INSERT OR REPLACE INTO parts (upload, number, etag, size, blob) VALUES (?1, ?2, ?3, ?4, ?5)",
            (upload, number, &etag, kept.size, kept.blob),
        )?;
        store::hold(db, kept.blob)
    })?;
    Ok(tagged(&etag))
}

/// Answers CompleteMultipartUpload: the parts listed become the object, and the others are let go of.
pub async fn complete(
    store: &Store,
    target: &Target,
    upload: &str,
    parts: &Parts,
    body: Body,
    now: u64,
) -> Result<Response, Fault> {
    let body = to_bytes(body, LONGEST_LIST).await.map_err(|_| malformed())?;
    body::check_hash(&parts.headers, &body)?;
    let listed = listed(std::str::from_utf8(&body).map_err(|_| malformed())?)?;
    let etag = store.transact(|db| {
        let (kind, disposition) = known(db, target, upload)?;
        check(db, target, &parts.headers)?;
        let arrived = arrived(db, upload)?;
        let chosen = choose(&listed, &arrived)?;
        arrived.iter().try_for_each(|part| store::let_go(db, part.blob, now))?;
        let object = Object {
            etag: tag_of(&chosen),
            size: chosen.iter().map(|part| part.size).sum(),
            kind,
            disposition,
            modified: now,
            blobs: chosen.iter().map(|part| (part.blob, part.size)).collect(),
        };
        store::replace(db, &target.bucket, &target.key, &object, now)?;
        forget(db, upload)?;
        Ok(object.etag)
    })?;
    let inside =
        [element("Bucket", &target.bucket), element("Key", &target.key), element("ETag", format!("\"{etag}\""))];
    Ok(xml(StatusCode::OK, "CompleteMultipartUploadResult", &inside.concat()))
}

/// Answers AbortMultipartUpload.
pub fn abort(store: &Store, target: &Target, upload: &str, now: u64) -> Result<Response, Fault> {
    store.transact(|db| {
        known(db, target, upload)?;
        arrived(db, upload)?.iter().try_for_each(|part| store::let_go(db, part.blob, now))?;
        forget(db, upload)
    })?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What the upload was begun with, if it is one of this object's.
fn known(db: &Connection, target: &Target, upload: &str) -> Result<(String, Option<String>), Fault> {
    let found = db.query_row(
        "SELECT kind, disposition FROM uploads WHERE id = ?1 AND bucket = ?2 AND key = ?3",
        (upload, &target.bucket, &target.key),
        |row| Ok((row.get(0)?, row.get(1)?)),
    );
    let why = "The specified multipart upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.";
    found.optional()?.ok_or_else(|| Fault::new("NoSuchUpload", why))
}

fn arrived(db: &Connection, upload: &str) -> Result<Vec<Part>, Fault> {
    let mut select = db.prepare("SELECT number, etag, size, blob FROM parts WHERE upload = ?1 ORDER BY number")?;
    let parts = select.query_map([upload], |row| {
        Ok(Part { number: row.get(0)?, etag: row.get(1)?, size: row.get(2)?, blob: row.get(3)? })
    })?;
    Ok(parts.collect::<Result<_, _>>()?)
}

fn forget(db: &Connection, upload: &str) -> Result<(), Fault> {
    db.execute("DELETE FROM parts WHERE upload = ?1", [upload])?;
    db.execute("DELETE FROM uploads WHERE id = ?1", [upload])?;
    Ok(())
}

/// The parts that arrived, as they are listed: rising, with the very tags they were answered with, none too small.
fn choose<'a>(listed: &[(u32, String)], arrived: &'a [Part]) -> Result<Vec<&'a Part>, Fault> {
    if listed.windows(2).any(|pair| matches!(pair, [(one, _), (next, _)] if one >= next)) {
        return Err(Fault::new("InvalidPartOrder", "The list of parts was not in ascending order."));
    }
    let find = |(number, etag): &(u32, String)| {
        let found = arrived.iter().find(|part| part.number == *number && part.etag == *etag);
        found.ok_or_else(|| Fault::new("InvalidPart", "One or more of the specified parts could not be found."))
    };
    let chosen = listed.iter().map(find).collect::<Result<Vec<_>, _>>()?;
    match chosen.split_last() {
        None => Err(malformed()),
        Some((_, others)) if others.iter().any(|part| part.size < SMALLEST) => {
            Err(Fault::new("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"))
        }
        Some(_) => Ok(chosen),
    }
}

/// The MD5 of the parts' MD5s, and how many they are.
fn tag_of(parts: &[&Part]) -> String {
    let mut digest = Md5::new();
    for part in parts {
        let pairs = part.etag.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok());
        digest.update(pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect::<Vec<_>>());
    }
    format!("{}-{}", hex(&digest.finalize()), parts.len())
}

/// Number and tag of each `<Part>` in the list a client sends.
fn listed(text: &str) -> Result<Vec<(u32, String)>, Fault> {
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

fn malformed() -> Fault {
    Fault::new(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}
