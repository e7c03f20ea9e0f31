//! Presigned URLs: verifies their signature and expiry.

use axum::http::request::Parts;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::aws_error::AwsError;
use crate::iam::{Caller, is_known};
use crate::service::authentication::AuthenticationError;
use crate::signature::{ALGORITHM, CanonicalError, DATE, SecretKeys, Signed, UNSIGNED, parameters};

/// Maximum validity in seconds: a week.
const LONGEST: i64 = 604_800;
/// How far the signer's clock may be ahead.
const SKEW: Duration = Duration::minutes(15);

/// Whether the request's signature is in its URL.
pub fn is_presigned(parts: &Parts) -> bool {
    parts.uri.query().is_some_and(|query| query.contains("X-Amz-Signature="))
}

/// Verifies a presigned URL. Returns its signer.
///
/// # Errors
/// `AccessDenied` for an expired URL, `SignatureDoesNotMatch` for a changed one.
pub fn verify(keys: &SecretKeys, parts: &Parts, now: u64) -> Result<Caller, AwsError> {
    let url = PresignedUrl::read(parts)?;
    url.check_time(now)?;
    url.check_coverage(parts)?;
    let caller = Caller::with(&url.key);
    if !is_known(&caller) {
        return Err(AuthenticationError::UnknownKey.into_s3_error());
    }
    let payload = parts.headers.get("x-amz-content-sha256").and_then(|hash| hash.to_str().ok());
    let signed = Signed {
        date: &url.date,
        scope: &url.scope,
        headers: &url.signed_headers,
        payload: payload.unwrap_or(UNSIGNED),
    };
    let canonical = signed.canonical(&parts.method, &parts.uri, &url.parameters, &parts.headers);
    let canonical = canonical.map_err(|why| match why {
        CanonicalError::Uri => malformed_uri(),
        CanonicalError::Header(name) => {
            AwsError::access_denied(&format!("There were headers signed that are not in the request: {name}"))
        }
    })?;
    if signed.matches_secret(&keys.secret(&url.key), &canonical, &url.signature) {
        return Ok(caller);
    }
    let why = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    Err(AwsError::new("SignatureDoesNotMatch", why))
}

/// The parts of a presigned URL.
struct PresignedUrl {
    /// All parameters but the signature, decoded and sorted.
    parameters: Vec<(String, String)>,
    key: String,
    date: String,
    expires: i64,
    /// `20260101/us-east-1/s3/aws4_request`
    scope: String,
    signed_headers: String,
    signature: String,
}

impl PresignedUrl {
    fn read(parts: &Parts) -> Result<Self, AwsError> {
        let mut parameters = parameters(&parts.uri).ok_or_else(malformed_uri)?;
        let missing = || {
            AwsError::new(
                "AuthorizationQueryParametersError",
                "a required query parameter of the presigned URL is missing",
            )
        };
        let of = |wanted: &str| {
            let found = parameters.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).ok_or_else(missing)
        };
        if of("X-Amz-Algorithm")? != ALGORITHM {
            return Err(missing());
        }
        let expires = of("X-Amz-Expires")?.parse().ok().filter(|seconds| (1..=LONGEST).contains(seconds));
        let expires = expires.ok_or_else(|| {
            AwsError::new("AuthorizationQueryParametersError", "X-Amz-Expires must be from 1 to 604800 seconds")
        })?;
        let credential = of("X-Amz-Credential")?;
        let (key, scope) = credential.split_once('/').ok_or_else(missing)?;
        let (key, scope) = (key.to_owned(), scope.to_owned());
        let (date, signed_headers, signature) = (of("X-Amz-Date")?, of("X-Amz-SignedHeaders")?, of("X-Amz-Signature")?);
        parameters.retain(|(name, _)| name != "X-Amz-Signature");
        Ok(Self { parameters, key, date, expires, scope, signed_headers, signature })
    }

    /// Every `x-amz-` header must be signed, or whoever has the URL could add an access list or other metadata. The hash of the
    /// payload is signed by itself.
    fn check_coverage(&self, parts: &Parts) -> Result<(), AwsError> {
        let must = |name: &&str| name.starts_with("x-amz-") && *name != "x-amz-content-sha256";
        let mut names = parts.headers.keys().map(|name| name.as_str()).filter(must);
        match names.find(|name| !self.signed_headers.split(';').any(|signed| signed == *name)) {
            Some(name) => Err(AwsError::access_denied(&format!(
                "There were headers present in the request which were not signed: {name}"
            ))),
            None => Ok(()),
        }
    }

    fn check_time(&self, now: u64) -> Result<(), AwsError> {
        let signed = PrimitiveDateTime::parse(&self.date, DATE).map(PrimitiveDateTime::assume_utc);
        let signed =
            signed.map_err(|_| AwsError::new("AuthorizationQueryParametersError", "X-Amz-Date is malformed"))?;
        let now = OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(i64::try_from(now).unwrap_or(i64::MAX));
        if now > signed + Duration::seconds(self.expires) {
            return Err(AwsError::new("AccessDenied", "Request has expired"));
        }
        if signed > now + SKEW {
            return Err(AwsError::new("AccessDenied", "Request is not valid yet"));
        }
        Ok(())
    }
}

fn malformed_uri() -> AwsError {
    AwsError::new("InvalidURI", "Couldn't parse the specified URI.")
}
