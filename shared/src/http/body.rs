//! Extractors whose errors say where a body, a query or a path is wrong and why, as a problem document.

use super::{Problem, json, quoted};
use crate::error::{Error, FieldError};
use crate::json_pointer;
use crate::operators::{self, Operators};
use crate::strict_serde::Strict;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Largest accepted body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// A JSON body of a known shape. Refuses unknown members by name, and an array in place of an object (R73).
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        require_media_type(request.headers(), &["application/json"])?;
        let value = json::parse(&read(request).await?)?;
        serde_path_to_error::deserialize(Strict(value)).map(Self).map_err(|error| {
            let pointer = pointer(error.path());
            Error::Invalid(vec![FieldError::new(pointer, "shape", error.into_inner().to_string())]).into()
        })
    }
}

/// The body of a patch.
#[derive(Debug)]
pub enum Patch {
    /// A JSON Merge Patch (RFC 7396) of an object, also accepted as `application/json`.
    Merge(Map<String, Value>),
    /// Operators, under a media type of their own.
    Operators(Operators),
}

impl<S: Send + Sync> FromRequest<S> for Patch {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if require_media_type(request.headers(), &[operators::MEDIA_TYPE]).is_ok() {
            return Ok(Self::Operators(Operators::parse(json::parse(&read(request).await?)?)?));
        }
        require_media_type(request.headers(), &["application/merge-patch+json", "application/json"])?;
        match json::parse(&read(request).await?)? {
            Value::Object(members) => Ok(Self::Merge(members)),
            _ => Err(Error::field("", "type", "A patch must be a JSON object.").into()),
        }
    }
}

/// The query string, as a shape. Refuses unknown and repeated parameters by name.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::<T>::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| Error::bad_request("query", error.body_text()).into())
    }
}

/// The path parameters.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        axum::extract::Path::<T>::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(path)| Self(path))
            .map_err(|error| Error::bad_request("path", error.body_text()).into())
    }
}

async fn read(request: Request) -> Result<Bytes, Error> {
    let is_plain = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"identity");
    if !request.headers().get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return Err(Error::UnsupportedEncoding);
    }
    read_whole(request.into_body()).await
}

/// The whole body, if it is within the limit.
pub(super) async fn read_whole(body: Body) -> Result<Bytes, Error> {
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Error::TooLarge(MAX_BODY_BYTES)),
        Err(_) => Err(Error::bad_request("body", "The body ended before its Content-Length. Send the request again.")),
    }
}

fn require_media_type(headers: &HeaderMap, accepted: &'static [&'static str]) -> Result<(), Error> {
    let sent = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut parts = quoted::split(sent, b';').map(<[u8]>::trim_ascii);
    let essence = parts.next().unwrap_or_default();
    let is_accepted = accepted.iter().any(|media_type| essence.eq_ignore_ascii_case(media_type.as_bytes()));
    if is_accepted && parts.all(is_utf8_or_unknown) {
        return Ok(());
    }
    Err(Error::UnsupportedMediaType(accepted.first().copied().unwrap_or_default()))
}

/// Whether a parameter of a media type says nothing against UTF-8. Unknown parameters are ignored (RFC 9110 section 8.3.1).
fn is_utf8_or_unknown(parameter: &[u8]) -> bool {
    let (name, value) = parameter.split_at(parameter.iter().position(|byte| *byte == b'=').unwrap_or(parameter.len()));
    !name.eq_ignore_ascii_case(b"charset")
        || [&b"=utf-8"[..], b"=\"utf-8\""].iter().any(|utf8| value.eq_ignore_ascii_case(utf8))
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", json_pointer::escape(key)),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => "/?".to_owned(),
        })
        .collect()
}
