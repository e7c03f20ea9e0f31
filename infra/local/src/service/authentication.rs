//! Authentication: verifies a request's signature with the secret of the access key it names.

use axum::http::header;
use axum::http::request::Parts;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use crate::aws_error::AwsError;
use crate::iam::{Caller, is_known};
use crate::signature::{ALGORITHM, CanonicalError, DATE, SecretKeys, Signed, hex, parameters};

/// Maximum difference to the signer's clock.
const SKEW: Duration = Duration::minutes(15);

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                        Access Key and signing method. Consult the service documentation for details.";

/// Why authentication failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthenticationError {
    /// The request is not signed.
    Missing,
    /// A part of the signature is missing or malformed.
    Incomplete(String),
    /// The access key does not exist.
    UnknownKey,
    /// The signature does not match the request, the time, or the access key.
    Mismatch(String),
}

impl AuthenticationError {
    /// The error of the JSON protocols.
    pub fn into_error(self) -> AwsError {
        match self {
            Self::Missing => {
                AwsError::new("MissingAuthenticationTokenException", "Request is missing Authentication Token")
            }
            Self::Incomplete(why) => AwsError::new("IncompleteSignatureException", why),
            Self::UnknownKey => {
                AwsError::new("UnrecognizedClientException", "The security token included in the request is invalid.")
            }
            Self::Mismatch(why) => AwsError::new("InvalidSignatureException", why),
        }
    }

    /// The error of S3.
    pub fn into_s3_error(self) -> AwsError {
        match self {
            Self::Missing => AwsError::new("AccessDenied", "Access Denied"),
            Self::Incomplete(why) => AwsError::new("AuthorizationHeaderMalformed", why),
            Self::UnknownKey => {
                AwsError::new("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
            }
            Self::Mismatch(why) => AwsError::new("SignatureDoesNotMatch", why),
        }
    }
}

/// Returns the signer of a request to one of these services. If `body` is `None`, the header `x-amz-content-sha256` is used as
/// the body's hash, and the reader of the body must verify it.
///
/// # Errors
/// See [`AuthenticationError`].
pub fn check(
    keys: &SecretKeys,
    services: &[&str],
    parts: &Parts,
    body: Option<&[u8]>,
) -> Result<Caller, AuthenticationError> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = text(header::AUTHORIZATION.as_str()).ok_or(AuthenticationError::Missing)?;
    let authorization = AuthorizationHeader::read(authorization)?;
    let date =
        text("x-amz-date").ok_or_else(|| incomplete("Authorization header requires existence of 'X-Amz-Date'."))?;
    authorization.check_scope(services, date)?;
    authorization.check_coverage(parts)?;
    let caller = Caller::with(authorization.key);
    if !is_known(&caller) {
        return Err(AuthenticationError::UnknownKey);
    }
    let hashed = body.map(|body| hex(&Sha256::digest(body)));
    let payload = match &hashed {
        Some(hashed) => hashed,
        None => text("x-amz-content-sha256").ok_or_else(|| incomplete("'x-amz-content-sha256' is missing."))?,
    };
    let signed = Signed { date, scope: authorization.scope, headers: authorization.headers, payload };
    let parameters = parameters(&parts.uri).ok_or_else(|| incomplete("the query string is malformed"))?;
    let canonical =
        signed.canonical(&parts.method, &parts.uri, &parameters, &parts.headers).map_err(|why| match why {
            CanonicalError::Uri => incomplete("the path is malformed"),
            CanonicalError::Header(name) => incomplete(&format!("the signed header {name} is missing")),
        })?;
    if !signed.matches_secret(&keys.secret(authorization.key), &canonical, authorization.signature) {
        return Err(AuthenticationError::Mismatch(MISMATCH.into()));
    }
    check_time(date, OffsetDateTime::now_utc())?;
    Ok(caller)
}

/// The parts of an `Authorization` header.
struct AuthorizationHeader<'a> {
    key: &'a str,
    scope: &'a str,
    headers: &'a str,
    signature: &'a str,
}

impl<'a> AuthorizationHeader<'a> {
    fn read(authorization: &'a str) -> Result<Self, AuthenticationError> {
        let Some(rest) = authorization.strip_prefix(ALGORITHM) else { return Err(AuthenticationError::Missing) };
        let of = |name: &str| {
            let mut parts = rest.split(',').map(str::trim);
            let found = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| incomplete(&format!("Authorization header requires '{name}' parameter.")))
        };
        let (credential, headers, signature) = (of("Credential")?, of("SignedHeaders")?, of("Signature")?);
        let (key, scope) = credential.split_once('/').ok_or_else(|| incomplete("'Credential' has no scope."))?;
        Ok(Self { key, scope, headers, signature })
    }

    fn check_scope(&self, services: &[&str], date: &str) -> Result<(), AuthenticationError> {
        let mismatch = |why: String| Err(AuthenticationError::Mismatch(why));
        match self.scope.split('/').collect::<Vec<_>>().as_slice() {
            [day, _, service, "aws4_request"] => match () {
                () if !services.contains(service) => {
                    mismatch(format!("Credential should be scoped to correct service: '{}'.", services.join("' or '")))
                }
                () if date.get(..8) != Some(*day) => mismatch(
                    "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP".into(),
                ),
                () => Ok(()),
            },
            _ => Err(incomplete("Credential must have exactly 5 slash-delimited elements.")),
        }
    }

    /// The host and all `x-amz-` headers must be signed.
    fn check_coverage(&self, parts: &Parts) -> Result<(), AuthenticationError> {
        let must = |name: &&str| *name == "host" || name.starts_with("x-amz-");
        let mut names = parts.headers.keys().map(|name| name.as_str()).filter(must);
        let missing = names.find(|name| !self.headers.split(';').any(|signed| signed == *name));
        match missing {
            Some(name) => Err(AuthenticationError::Mismatch(format!(
                "'{name}' must be a 'SignedHeader' in the AWS Authorization."
            ))),
            None => Ok(()),
        }
    }
}

fn check_time(date: &str, now: OffsetDateTime) -> Result<(), AuthenticationError> {
    let signed = PrimitiveDateTime::parse(date, DATE).map(PrimitiveDateTime::assume_utc);
    let signed = signed.map_err(|_| incomplete("'X-Amz-Date' is malformed."))?;
    if (now - signed).abs() > SKEW {
        let by = if signed < now { "expired" } else { "not yet current" };
        return Err(AuthenticationError::Mismatch(format!("Signature {by}: {date} is more than 15 minutes from now")));
    }
    Ok(())
}

fn incomplete(why: &str) -> AuthenticationError {
    AuthenticationError::Incomplete(why.to_owned())
}
