//! Links that were signed beforehand: whether one is as it was signed, and still good. AWS's Signature Version 4, reckoned
//! here from its specification, so that it does not agree with the signer by being the signer.

use axum::http::HeaderMap;
use axum::http::header;
use axum::http::request::Parts;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use super::super::fault::Fault;
use super::request::decode;
use crate::cloud::SECRET;

/// The longest a link may be good: a week.
const LONGEST: i64 = 604_800;
/// How far a signer's clock may be ahead.
const SKEW: Duration = Duration::minutes(15);

/// Whether the request's signature is in its address.
pub fn is(parts: &Parts) -> bool {
    parts.uri.query().is_some_and(|query| query.contains("X-Amz-Signature="))
}

/// Checks that nothing of the link was changed, and that it is good now.
///
/// # Errors
/// As S3 has them: `AccessDenied` for a link from another time, `SignatureDoesNotMatch` for one that was changed.
pub fn check(parts: &Parts, now: u64) -> Result<(), Fault> {
    let link = Link::read(parts)?;
    link.check_time(now)?;
    let canonical = link.canonical_request(parts)?;
    if link.signature_of(&canonical) == link.signature {
        return Ok(());
    }
    let why = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    Err(Fault::new("SignatureDoesNotMatch", why))
}

struct Link {
    /// All parameters but the signature, decoded, in order.
    parameters: Vec<(String, String)>,
    date: String,
    expires: i64,
    /// `20260101/us-east-1/s3/aws4_request`
    scope: String,
    signed_headers: String,
    signature: String,
}

impl Link {
    fn read(parts: &Parts) -> Result<Self, Fault> {
        let mut parameters = Vec::new();
        for pair in parts.uri.query().unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters.push((decode(name)?, decode(value)?));
        }
        parameters.sort();
        let missing =
            || Fault::new("AuthorizationQueryParametersError", "a presigned link lacks one of its parameters");
        let of = |wanted: &str| {
            let found = parameters.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).ok_or_else(missing)
        };
        if of("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
            return Err(missing());
        }
        let expires = of("X-Amz-Expires")?.parse().ok().filter(|seconds| (1..=LONGEST).contains(seconds));
        let expires = expires.ok_or_else(|| {
            Fault::new("AuthorizationQueryParametersError", "X-Amz-Expires must be from 1 to 604800 seconds")
        })?;
        let scope = of("X-Amz-Credential")?.split_once('/').ok_or_else(missing)?.1.to_owned();
        let (date, signed_headers, signature) = (of("X-Amz-Date")?, of("X-Amz-SignedHeaders")?, of("X-Amz-Signature")?);
        parameters.retain(|(name, _)| name != "X-Amz-Signature");
        Ok(Self { parameters, date, expires, scope, signed_headers, signature })
    }

    fn check_time(&self, now: u64) -> Result<(), Fault> {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let signed = PrimitiveDateTime::parse(&self.date, format).map(PrimitiveDateTime::assume_utc);
        let signed =
            signed.map_err(|_| Fault::new("AuthorizationQueryParametersError", "X-Amz-Date is not legible"))?;
        let now = OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(i64::try_from(now).unwrap_or(i64::MAX));
        if now > signed + Duration::seconds(self.expires) {
            return Err(Fault::new("AccessDenied", "Request has expired"));
        }
        if signed > now + SKEW {
            return Err(Fault::new("AccessDenied", "Request is not valid yet"));
        }
        Ok(())
    }

    fn canonical_request(&self, parts: &Parts) -> Result<String, Fault> {
        let path = encode(&decode(parts.uri.path())?, true);
        let query: Vec<_> = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false)))
            .collect();
        let headers: Result<String, Fault> = self
            .signed_headers
            .split(';')
            .map(|name| Ok(format!("{name}:{}\n", signed_value(name, &parts.headers)?)))
            .collect();
        let payload = parts.headers.get("x-amz-content-sha256").and_then(|hash| hash.to_str().ok());
        Ok(format!(
            "{}\n{path}\n{}\n{}\n{}\n{}",
            parts.method,
            query.join("&"),
            headers?,
            self.signed_headers,
            payload.unwrap_or("UNSIGNED-PAYLOAD")
        ))
    }

    fn signature_of(&self, canonical: &str) -> String {
        let text =
            format!("AWS4-HMAC-SHA256\n{}\n{}\n{}", self.date, self.scope, hex(&Sha256::digest(canonical.as_bytes())));
        let secret = format!("AWS4{SECRET}").into_bytes();
        // The scope's parts are, one after the other, what the key is derived from.
        let key = self.scope.split('/').fold(secret, |key, part| sign(&key, part));
        hex(&sign(&key, &text))
    }
}

/// A header as it was signed: what it says, its blanks made one.
fn signed_value(name: &str, headers: &HeaderMap) -> Result<String, Fault> {
    let found = headers.get(if name == "host" { header::HOST.as_str() } else { name });
    let value = found.and_then(|value| value.to_str().ok());
    let value = value.ok_or_else(|| {
        Fault::new("AccessDenied", format!("There were headers signed that are not in the request: {name}"))
    })?;
    Ok(value.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length will do for HMAC.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// Percent-encoding as signatures have it: everything but letters, digits and `-._~`.
fn encode(text: &str, keeps_slashes: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keeps_slashes && byte == b'/');
    let each = text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    each.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
