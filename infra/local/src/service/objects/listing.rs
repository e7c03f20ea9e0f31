//! ListObjectsV2: by prefix, in the order of the keys, one page at a time.

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::request::Target;
use super::store::{Store, Summary};
use super::xml_response::{element, xml};
use crate::aws_error::AwsError;

/// Maximum number of keys in one page.
const PAGE: usize = 1000;

/// ListObjectsV2.
pub fn list(store: &Store, target: &Target) -> Result<Response, AwsError> {
    let invalid = |name: &str| AwsError::new("InvalidArgument", format!("{name} is malformed"));
    let limit = match target.parameter("max-keys") {
        None => PAGE,
        Some(text) => text.parse::<usize>().map_err(|_| invalid("max-keys"))?.min(PAGE),
    };
    let after = match target.parameter("continuation-token") {
        None => target.parameter("start-after").unwrap_or_default().to_owned(),
        Some(token) => {
            let bytes = STANDARD.decode(token).ok();
            bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| invalid("continuation-token"))?
        }
    };
    let prefix = target.parameter("prefix").unwrap_or_default();
    let mut found = store.list(&target.bucket, prefix, &after, limit + 1)?;
    let more = found.len() > limit;
    found.truncate(limit);
    let mut inside = [
        element("Name", &target.bucket),
        element("Prefix", prefix),
        element("MaxKeys", limit),
        element("KeyCount", found.len()),
        element("IsTruncated", more),
    ]
    .concat();
    if let Some(last) = found.last().filter(|_| more) {
        inside.push_str(&element("NextContinuationToken", STANDARD.encode(&last.key)));
    }
    inside.extend(found.iter().map(line));
    Ok(xml(StatusCode::OK, "ListBucketResult", &inside))
}

fn line(object: &Summary) -> String {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(object.modified) * 1_000_000);
    let modified = moment.ok().and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default();
    let inside = [
        element("Key", &object.key),
        element("LastModified", modified),
        element("ETag", format!("\"{}\"", object.etag)),
        element("Size", object.size),
    ];
    format!("<Contents>{}</Contents>", inside.concat())
}
