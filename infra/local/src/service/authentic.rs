//! Who a call is from, proven: its signature held against the secret behind the access key it names.

use axum::http::header;
use axum::http::request::Parts;
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use super::fault::Fault;
use crate::permissions::{Caller, is_known};
use crate::signature::{ALGORITHM, DATE, Illegible, Keys, Signed, hex, parameters};

/// How far a signer's clock may be off.
const SKEW: Duration = Duration::minutes(15);

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
                        Access Key and signing method. Consult the service documentation for details.";

/// Why a call is not taken to be from whom it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// It is not signed.
    Missing,
    /// A part of the signature is missing, or does not cover what it must.
    Incomplete(String),
    /// No such access key.
    UnknownKey,
    /// The signature is not of this request, of this time, or by this key.
    Mismatch(String),
}

impl Refused {
    /// As services that speak JSON refuse it.
    pub fn into_fault(self) -> Fault {
        match self {
            Self::Missing => {
                Fault::new("MissingAuthenticationTokenException", "Request is missing Authentication Token")
            }
            Self::Incomplete(why) => Fault::new("IncompleteSignatureException", why),
            Self::UnknownKey => {
                Fault::new("UnrecognizedClientException", "The security token included in the request is invalid.")
            }
            Self::Mismatch(why) => Fault::new("InvalidSignatureException", why),
        }
    }

    /// As S3 refuses it.
    pub fn into_s3_fault(self) -> Fault {
        match self {
            Self::Missing => Fault::new("AccessDenied", "Access Denied"),
            Self::Incomplete(why) => Fault::new("AuthorizationHeaderMalformed", why),
            Self::UnknownKey => {
                Fault::new("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
            }
            Self::Mismatch(why) => Fault::new("SignatureDoesNotMatch", why),
        }
    }
}

/// Who signed a request to one of these services. `body` is hashed here; where it is `None`, the request's own
/// `x-amz-content-sha256` is believed, and whoever reads the body holds it against that.
///
/// # Errors
/// See [`Refused`].
pub fn check(keys: &Keys, services: &[&str], parts: &Parts, body: Option<&[u8]>) -> Result<Caller, Refused> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = text(header::AUTHORIZATION.as_str()).ok_or(Refused::Missing)?;
    let claim = Claim::read(authorization)?;
    let date =
        text("x-amz-date").ok_or_else(|| incomplete("Authorization header requires existence of 'X-Amz-Date'."))?;
    claim.check_scope(services, date)?;
    claim.check_coverage(parts)?;
    let caller = Caller::with(claim.key);
    if !is_known(&caller) {
        return Err(Refused::UnknownKey);
    }
    let hashed = body.map(|body| hex(&Sha256::digest(body)));
    let payload = match &hashed {
        Some(hashed) => hashed,
        None => text("x-amz-content-sha256").ok_or_else(|| incomplete("'x-amz-content-sha256' is missing."))?,
    };
    let signed = Signed { date, scope: claim.scope, headers: claim.headers, payload };
    let parameters = parameters(&parts.uri).ok_or_else(|| incomplete("the query is not legible"))?;
    let canonical =
        signed.canonical(&parts.method, &parts.uri, &parameters, &parts.headers).map_err(|why| match why {
            Illegible::Uri => incomplete("the path is not legible"),
            Illegible::Header(name) => incomplete(&format!("the header {name} is signed and not in the request")),
        })?;
    if !signed.is_by(&keys.secret(claim.key), &canonical, claim.signature) {
        return Err(Refused::Mismatch(MISMATCH.into()));
    }
    check_time(date, OffsetDateTime::now_utc())?;
    Ok(caller)
}

/// What an `Authorization` header says.
struct Claim<'a> {
    key: &'a str,
    scope: &'a str,
    headers: &'a str,
    signature: &'a str,
}

impl<'a> Claim<'a> {
    fn read(authorization: &'a str) -> Result<Self, Refused> {
        let Some(rest) = authorization.strip_prefix(ALGORITHM) else { return Err(Refused::Missing) };
        let of = |name: &str| {
            let mut parts = rest.split(',').map(str::trim);
            let found = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.ok_or_else(|| incomplete(&format!("Authorization header requires '{name}' parameter.")))
        };
        let (credential, headers, signature) = (of("Credential")?, of("SignedHeaders")?, of("Signature")?);
        let (key, scope) = credential.split_once('/').ok_or_else(|| incomplete("'Credential' has no scope."))?;
        Ok(Self { key, scope, headers, signature })
    }

    fn check_scope(&self, services: &[&str], date: &str) -> Result<(), Refused> {
        let mismatch = |why: String| Err(Refused::Mismatch(why));
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

    /// The address and whatever changes what a call means must be signed, or anybody on the way could change it.
    fn check_coverage(&self, parts: &Parts) -> Result<(), Refused> {
        let must = |name: &&str| *name == "host" || name.starts_with("x-amz-");
        let mut names = parts.headers.keys().map(|name| name.as_str()).filter(must);
        let missing = names.find(|name| !self.headers.split(';').any(|signed| signed == *name));
        match missing {
            Some(name) => {
                Err(Refused::Mismatch(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")))
            }
            None => Ok(()),
        }
    }
}

fn check_time(date: &str, now: OffsetDateTime) -> Result<(), Refused> {
    let signed = PrimitiveDateTime::parse(date, DATE).map(PrimitiveDateTime::assume_utc);
    let signed = signed.map_err(|_| incomplete("'X-Amz-Date' is not legible."))?;
    if (now - signed).abs() > SKEW {
        let by = if signed < now { "expired" } else { "not yet current" };
        return Err(Refused::Mismatch(format!("Signature {by}: {date} is more than 15 minutes from now")));
    }
    Ok(())
}

fn incomplete(why: &str) -> Refused {
    Refused::Incomplete(why.to_owned())
}
