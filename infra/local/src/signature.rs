//! AWS Signature Version 4. The services verify requests with it, and the cloud signs its own calls.
//!
//! [`SecretKeys`] derives the secret of each access key; [`Signer`] signs a request; [`Signed`] computes and verifies signatures.

use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::template::REGION;

/// The supported algorithm.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Format of `X-Amz-Date`.
pub const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");
/// Replaces the hash of a body that is not signed.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
/// Access key of the cloud's own calls, which no role restricts.
pub const CLOUD: &str = "local";

/// The secrets of this cloud's access keys, derived from one random root so that they cannot be guessed.
#[derive(Clone)]
pub struct SecretKeys {
    root: Arc<[u8; 32]>,
}

impl SecretKeys {
    /// The keys derived from this root.
    pub fn new(root: [u8; 32]) -> Self {
        Self { root: Arc::new(root) }
    }

    /// The secret of an access key.
    pub fn secret(&self, access_key: &str) -> String {
        hex(&mac(self.root.as_slice(), access_key))
    }

    /// A signer with this access key.
    pub fn signer(&self, access_key: &str) -> Signer {
        Signer { key: access_key.to_owned(), secret: self.secret(access_key) }
    }
}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Keys")
    }
}

/// An access key with its secret.
#[derive(Clone)]
pub struct Signer {
    key: String,
    secret: String,
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signer({})", self.key)
    }
}

impl Signer {
    /// Signs a request to `service` (`dynamodb`, `sqs`, `s3` ...) as an SDK does: adds the date, the hash of the body (unless it
    /// is set) and `Authorization`. A request whose URL is malformed is left unsigned.
    pub fn sign(&self, service: &str, mut request: Request<Bytes>) -> Request<Bytes> {
        let date = OffsetDateTime::now_utc().format(DATE).unwrap_or_default();
        let hash = HeaderName::from_static("x-amz-content-sha256");
        let given = request.headers().get(&hash).and_then(|hash| hash.to_str().ok()).map(str::to_owned);
        let payload = given.unwrap_or_else(|| hex(&Sha256::digest(request.body())));
        let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
        let headers = request.headers_mut();
        insert(headers, header::HOST, host.as_deref());
        insert(headers, HeaderName::from_static("x-amz-date"), Some(&date));
        insert(headers, hash, Some(&payload));
        let is_signed = |name: &&str| ["host", "content-type"].contains(name) || name.starts_with("x-amz-");
        let mut names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).filter(is_signed).collect();
        names.sort_unstable();
        let day = date.get(..8).unwrap_or_default();
        let scope = format!("{day}/{REGION}/{service}/aws4_request");
        let names = names.join(";");
        let signed = Signed { date: &date, scope: &scope, headers: &names, payload: &payload };
        let parameters = parameters(request.uri()).unwrap_or_default();
        let Ok(canonical) = signed.canonical(request.method(), request.uri(), &parameters, request.headers()) else {
            return request;
        };
        let signature = hex(&signed.signature(&self.secret, &canonical));
        let text = format!("{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}", self.key);
        insert(request.headers_mut(), header::AUTHORIZATION, Some(&text));
        request
    }
}

/// The parts of a signature besides the request.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `X-Amz-Date`.
    pub date: &'a str,
    /// `20260101/us-east-1/s3/aws4_request`
    pub scope: &'a str,
    /// Names of the signed headers, separated by semicolons.
    pub headers: &'a str,
    /// The hash of the body, or [`UNSIGNED`].
    pub payload: &'a str,
}

/// Why a request has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanonicalError {
    /// The path or the query string is malformed.
    Uri,
    /// A signed header is missing.
    Header(String),
}

impl Signed<'_> {
    /// The canonical request.
    ///
    /// # Errors
    /// See [`CanonicalError`].
    pub fn canonical(
        &self,
        method: &Method,
        uri: &Uri,
        parameters: &[(String, String)],
        headers: &HeaderMap,
    ) -> Result<String, CanonicalError> {
        let path = encode(&decode(uri.path()).ok_or(CanonicalError::Uri)?, true);
        let pair = |(name, value): &(String, String)| format!("{}={}", encode(name, false), encode(value, false));
        let query: Vec<_> = parameters.iter().map(pair).collect();
        let line = |name: &str| Ok(format!("{name}:{}\n", signed_value(name, headers)?));
        let lines: String = self.headers.split(';').map(line).collect::<Result<_, CanonicalError>>()?;
        Ok(format!("{method}\n{path}\n{}\n{lines}\n{}\n{}", query.join("&"), self.headers, self.payload))
    }

    /// Verifies the signature of a canonical request, in constant time.
    pub fn matches_secret(&self, secret: &str, canonical: &str, signature: &str) -> bool {
        let claimed: Option<Vec<u8>> = (0..signature.len())
            .step_by(2)
            .map(|at| signature.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
            .collect();
        let Ok(expected) = Hmac::<Sha256>::new_from_slice(&self.key(secret)) else { return false };
        let expected = expected.chain_update(self.text(canonical));
        claimed.is_some_and(|claimed| expected.verify_slice(&claimed).is_ok())
    }

    fn signature(&self, secret: &str, canonical: &str) -> Vec<u8> {
        mac(&self.key(secret), &self.text(canonical))
    }

    /// The signing key, derived from the parts of the scope.
    fn key(&self, secret: &str) -> Vec<u8> {
        self.scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| mac(&key, part))
    }

    fn text(&self, canonical: &str) -> String {
        format!("{ALGORITHM}\n{}\n{}\n{}", self.date, self.scope, hex(&Sha256::digest(canonical.as_bytes())))
    }
}

/// The query parameters, decoded and sorted as they are signed.
pub fn parameters(uri: &Uri) -> Option<Vec<(String, String)>> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let each = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decode(name)?, decode(value)?))
    });
    let mut all = each.collect::<Option<Vec<_>>>()?;
    all.sort();
    Some(all)
}

/// Decodes percent-encoded text.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(match byte {
            b'%' => u8::try_from(digit()? * 16 + digit()?).ok()?,
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A header's value in canonical form: runs of spaces become one space.
fn signed_value(name: &str, headers: &HeaderMap) -> Result<String, CanonicalError> {
    let values = headers.get_all(name).iter().map(|value| value.to_str().ok());
    let values = values.collect::<Option<Vec<_>>>().filter(|values| !values.is_empty());
    let values = values.ok_or_else(|| CanonicalError::Header(name.to_owned()))?;
    let plain = |value: &&str| value.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(values.iter().map(plain).collect::<Vec<_>>().join(","))
}

/// Percent-encodes everything but letters, digits and `-._~`.
fn encode(text: &str, keeps_slashes: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keeps_slashes && byte == b'/');
    let each = text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    each.collect()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    // HMAC accepts keys of any length.
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example in AWS's documentation: GetObject with a range.
    #[test]
    fn the_documented_example_has_the_documented_signature() {
        const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let request = Request::get("https://examplebucket.s3.amazonaws.com/test.txt")
            .header("host", "examplebucket.s3.amazonaws.com")
            .header("range", "bytes=0-9")
            .header("x-amz-content-sha256", EMPTY)
            .header("x-amz-date", "20130524T000000Z")
            .body(())
            .unwrap();
        let signed = Signed {
            date: "20130524T000000Z",
            scope: "20130524/us-east-1/s3/aws4_request",
            headers: "host;range;x-amz-content-sha256;x-amz-date",
            payload: EMPTY,
        };
        let canonical = signed.canonical(request.method(), request.uri(), &[], request.headers()).unwrap();
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        assert!(signed.matches_secret(secret, &canonical, signature));
        assert!(!signed.matches_secret("another", &canonical, signature));
        for wrong in ["", "f0", &signature[1..], &signature.replacen('f', "e", 1), "zz", "é"] {
            assert!(!signed.matches_secret(secret, &canonical, wrong), "{wrong}");
        }
    }

    #[test]
    fn secrets_differ_between_access_keys_and_between_clouds() {
        let keys = SecretKeys::new([7; 32]);
        assert_eq!(keys.secret("A"), SecretKeys::new([7; 32]).secret("A"));
        assert_ne!(keys.secret("A"), keys.secret("B"));
        assert_ne!(keys.secret("A"), SecretKeys::new([8; 32]).secret("A"));
        assert!(!format!("{keys:?}{:?}", keys.signer("A")).contains(&keys.secret("A")));
    }
}
