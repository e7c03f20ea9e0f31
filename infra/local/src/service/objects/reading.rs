//! GetObject and HeadObject, with ranges and conditions.

use std::ops::Range;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use time::OffsetDateTime;
use time::macros::format_description;

use super::request::Target;
use super::store::{Object, PIECE, Store};
use crate::aws_error::AwsError;

/// Query parameters that override a response header.
const OVERRIDES: &[(&str, HeaderName)] = &[
    ("response-cache-control", header::CACHE_CONTROL),
    ("response-content-disposition", header::CONTENT_DISPOSITION),
    ("response-content-type", header::CONTENT_TYPE),
];

/// GetObject.
pub fn get(store: &Store, target: &Target, parts: &Parts) -> Result<Response, AwsError> {
    let object = find(store, target, &parts.headers)?;
    let asked = parts.headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let range = match asked.and_then(|text| parse_range(text, object.size)) {
        None => None,
        Some(range) if range.is_empty() => {
            return Err(AwsError::new("InvalidRange", "The requested range is not satisfiable"));
        }
        Some(range) => Some(range),
    };
    let sent = range.clone().unwrap_or(0..object.size);
    let mut response =
        Body::from_stream(stream_bytes(store.share(), object.blobs.clone(), sent.clone())).into_response();
    describe(&object, target, sent.end - sent.start, response.headers_mut());
    if let Some(range) = range {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let place = format!("bytes {}-{}/{}", range.start, range.end - 1, object.size);
        insert(response.headers_mut(), header::CONTENT_RANGE, &place);
    }
    Ok(response)
}

/// HeadObject.
pub fn head(store: &Store, target: &Target, parts: &Parts) -> Result<Response, AwsError> {
    let object = find(store, target, &parts.headers)?;
    let mut response = StatusCode::OK.into_response();
    describe(&object, target, object.size, response.headers_mut());
    Ok(response)
}

/// The object, if it exists and the request's conditions hold.
fn find(store: &Store, target: &Target, headers: &HeaderMap) -> Result<Object, AwsError> {
    let object = store.find(&target.bucket, &target.key)?;
    let object = object.ok_or_else(|| AwsError::new("NoSuchKey", "The specified key does not exist."))?;
    let matches = |tags: &HeaderValue| {
        let tags = tags.to_str().unwrap_or_default();
        tags.split(',').any(|tag| tag.trim() == "*" || tag.trim().trim_matches('"') == object.etag)
    };
    if headers.get(header::IF_MATCH).is_some_and(|tags| !matches(tags)) {
        let why = "At least one of the pre-conditions you specified did not hold";
        return Err(AwsError::new("PreconditionFailed", why));
    }
    if headers.get(header::IF_NONE_MATCH).is_some_and(matches) {
        return Err(AwsError::new("NotModified", ""));
    }
    Ok(object)
}

/// The requested range. `None` if the header is not a single range; empty if it is outside of the object.
fn parse_range(text: &str, size: u64) -> Option<Range<u64>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => Some(first.min(size)..(last + 1).min(size)),
        (Ok(first), Err(_)) if last.is_empty() => Some(first.min(size)..size),
        (Err(_), Ok(length)) if first.is_empty() => Some(size.saturating_sub(length)..size),
        _ => None,
    }
}

/// A stream of these bytes of concatenated blobs.
fn stream_bytes(
    store: Store,
    blobs: Vec<(i64, u64)>,
    range: Range<u64>,
) -> impl futures_util::Stream<Item = Result<Bytes, AwsError>> {
    stream::unfold((store, blobs, range), |(store, blobs, range)| async move {
        let read = read_piece(&store, &blobs, &range).transpose()?;
        let rest = match &read {
            Ok(bytes) => range.start + bytes.len() as u64..range.end,
            Err(_) => range.end..range.end,
        };
        Some((read, (store, blobs, rest)))
    })
}

/// The first bytes of `range`, up to the end of their piece. `None` when the range is empty.
fn read_piece(store: &Store, blobs: &[(i64, u64)], range: &Range<u64>) -> Result<Option<Bytes>, AwsError> {
    if range.is_empty() {
        return Ok(None);
    }
    let (mut at, mut left) = (range.start, blobs.iter());
    let missing = || AwsError {
        code: "InternalError".into(),
        message: "the object's bytes no longer exist".into(),
        by_sender: false,
    };
    let blob = loop {
        match left.next() {
            Some((blob, size)) if at < *size => break *blob,
            Some((_, size)) => at -= size,
            None => return Err(missing()),
        }
    };
    let piece = PIECE as u64;
    let bytes = Bytes::from(store.piece(blob, at / piece)?.ok_or_else(missing)?);
    let from = usize::try_from(at % piece).unwrap_or(usize::MAX).min(bytes.len());
    let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let to = from.saturating_add(wanted).min(bytes.len());
    if from == to { Err(missing()) } else { Ok(Some(bytes.slice(from..to))) }
}

fn describe(object: &Object, target: &Target, length: u64, headers: &mut HeaderMap) {
    insert(headers, header::ETAG, &format!("\"{}\"", object.etag));
    insert(headers, header::CONTENT_TYPE, &object.kind);
    insert(headers, header::CONTENT_LENGTH, &length.to_string());
    insert(headers, header::ACCEPT_RANGES, "bytes");
    insert(headers, header::LAST_MODIFIED, &http_date(object.modified));
    if let Some(disposition) = &object.disposition {
        insert(headers, header::CONTENT_DISPOSITION, disposition);
    }
    for (parameter, name) in OVERRIDES {
        if let Some(value) = target.parameter(parameter) {
            insert(headers, name.clone(), value);
        }
    }
}

fn http_date(millis: u64) -> String {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    let moment = OffsetDateTime::from_unix_timestamp(i64::try_from(millis / 1000).unwrap_or_default());
    moment.ok().and_then(|moment| moment.format(format).ok()).unwrap_or_default()
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_limited_to_the_object() {
        let cases = [
            ("bytes=0-0", Some(0..1)),
            ("bytes=2-", Some(2..10)),
            ("bytes=-3", Some(7..10)),
            ("bytes=-30", Some(0..10)),
            ("bytes=5-50", Some(5..10)),
            ("bytes=10-", Some(10..10)),
            ("bytes=4-2", None),
            ("bytes=0-1,3-4", None),
            ("lines=1-2", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_range(text, 10), expected, "{text}");
        }
        assert_eq!(http_date(1_767_225_600_000), "Thu, 01 Jan 2026 00:00:00 GMT");
    }
}
