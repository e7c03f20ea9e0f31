//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): the edge checks the header and computes a fingerprint of
//! the request. [`store::idempotency`](crate::store::idempotency) scopes the key to the caller and stores the response with
//! the effect.

use super::body::read_whole;
use super::method::is_safe;
use crate::error::{Error, Result};
use crate::id;
use crate::identity::Caller;
use crate::operators;
use crate::store::idempotency::{ScopedKey, StoredResponse, StoredResponses};
use axum::body::Body;
use axum::extract::{FromRequestParts, Request};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use percent_encoding::percent_decode_str;
use ring::digest::{Context, SHA256};
use std::future::Future;

/// The header.
pub const HEADER: &str = "idempotency-key";
/// Longest key, in characters.
const MAX_CHARS: usize = 255;

/// The key of a request, if any; a handler argument.
#[derive(Debug, Clone, Default)]
pub struct IdempotencyKey(Option<Key>);

#[derive(Debug, Clone)]
struct Key {
    key: String,
    route: String,
    fingerprint: String,
}

impl IdempotencyKey {
    /// The key in this caller's scope.
    ///
    /// # Errors
    /// `BadRequest` for an anonymous caller, who would share the scope with all others.
    pub fn of(&self, caller: &Caller) -> Result<Option<ScopedKey>> {
        match (&self.0, caller) {
            (None, _) => Ok(None),
            (Some(_), Caller::Anonymous) => Err(Error::bad_request(
                "anonymous_key",
                "An Idempotency-Key needs a signed-in caller. Sign in, or leave it out.",
            )),
            (Some(key), Caller::User(user)) => {
                Ok(Some(ScopedKey::new(&user.id, &key.route, &key.key, &key.fingerprint)))
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Records the key of a writing request, with a fingerprint of everything that identifies the request.
///
/// # Errors
/// `BadRequest` when the header is not a valid key, `TooLarge` when the body is too large.
pub(super) async fn note(request: Request) -> Result<Request> {
    let Some(sent) = request.headers().get(HEADER).filter(|_| !is_safe(request.method())) else { return Ok(request) };
    let key = parse(sent.to_str().unwrap_or_default())?;
    let (mut parts, body) = request.into_parts();
    let body = read_whole(body).await?;
    let fingerprint = fingerprint(&parts, &body);
    // Differently escaped paths name the same resource.
    let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy();
    let route = format!("{} {path}", parts.method);
    parts.extensions.insert(IdempotencyKey(Some(Key { key, route, fingerprint })));
    Ok(Request::from_parts(parts, Body::from(body)))
}

/// A key is a string of RFC 8941: printable ASCII in double quotes, with `\"` and `\\` escaped.
fn parse(sent: &str) -> Result<String> {
    let wrong = || {
        Error::bad_request(
            "idempotency_key",
            "An Idempotency-Key is 1 to 255 characters in double quotes, as in \"8e03978e-40d5-43dd-bc93-6894a57f9324\".",
        )
    };
    let inner = sent.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(wrong)?;
    let mut key = String::new();
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => key.push(chars.next().filter(|char| matches!(char, '"' | '\\')).ok_or_else(wrong)?),
            ' '..='~' if char != '"' => key.push(char),
            _ => return Err(wrong()),
        }
    }
    if key.is_empty() || key.chars().count() > MAX_CHARS { Err(wrong()) } else { Ok(key) }
}

fn fingerprint(parts: &Parts, body: &[u8]) -> String {
    let mut context = Context::new(&SHA256);
    let header =
        |headers: &HeaderMap, name| headers.get(name).map(|value| value.as_bytes().to_vec()).unwrap_or_default();
    for part in [
        parts.uri.query().unwrap_or_default().as_bytes(),
        &header(&parts.headers, IF_MATCH),
        &header(&parts.headers, IF_NONE_MATCH),
        body,
    ] {
        context.update(&part.len().to_be_bytes());
        context.update(part);
    }
    // The same body means something else under another media type.
    let media_type = header(&parts.headers, CONTENT_TYPE);
    if media_type.to_ascii_lowercase().starts_with(operators::MEDIA_TYPE.as_bytes()) {
        context.update(operators::MEDIA_TYPE.as_bytes());
    }
    id::base64url(context.finish().as_ref())
}

/// Runs the work once. If a response is stored for the key, returns that response: an error of a repeated run (changed
/// version, deleted record, stored key) is a consequence of the first run.
///
/// # Errors
/// The errors of the work, if no response is stored. `Refused` if the stored response belongs to a different payload.
pub async fn idempotent<F>(scoped_key: Option<&ScopedKey>, responses: &StoredResponses, work: F) -> Result<Response>
where
    F: Future<Output = Result<Response>>,
{
    match (work.await, scoped_key) {
        (Err(error), Some(scoped_key)) => match scoped_key.kept(responses).await? {
            Some(answer) => Ok(answer.into_response()),
            None => Err(error),
        },
        (outcome, _) => outcome,
    }
}

impl IntoResponse for StoredResponse {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        let mut headers = HeaderMap::new();
        for (name, value) in [(ETAG, self.etag), (LOCATION, self.location)] {
            headers.extend(value.and_then(|value| value.parse().ok()).map(|value| (name, value)));
        }
        match self.body {
            Some(body) => (status, headers, axum::Json(body)).into_response(),
            None => (status, headers).into_response(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_quoted_string_of_printable_ascii() {
        assert_eq!(parse(r#""abc""#).unwrap(), "abc");
        assert_eq!(parse(r#" "a\"b\\c d" "#).unwrap(), r#"a"b\c d"#);
        assert_eq!(parse(&format!("\"{}\"", "k".repeat(255))).unwrap().len(), 255);
        let long = format!("\"{}\"", "k".repeat(256));
        for wrong in ["", "abc", "\"\"", "\"abc", "abc\"", "\"a\"b\"", "\"a\\n\"", "\"\u{fc}\"", "\"", &long] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
