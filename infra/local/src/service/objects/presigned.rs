//! Links that were signed beforehand: whether one is as it was signed, and still good.

use axum::http::request::Parts;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use super::super::fault::Fault;
use super::denied;
use crate::permissions::{Caller, is_known};
use crate::service::authentic::Refused;
use crate::signature::{ALGORITHM, DATE, Illegible, Keys, Signed, UNSIGNED, parameters};

/// The longest a link may be good: a week.
const LONGEST: i64 = 604_800;
/// How far a signer's clock may be ahead.
const SKEW: Duration = Duration::minutes(15);

/// Whether the request's signature is in its address.
pub fn is(parts: &Parts) -> bool {
    parts.uri.query().is_some_and(|query| query.contains("X-Amz-Signature="))
}

/// Checks that nothing of the link was changed, and that it is good now. Returns who signed it.
///
/// # Errors
/// As S3 has them: `AccessDenied` for a link from another time, `SignatureDoesNotMatch` for one that was changed.
pub fn check(keys: &Keys, parts: &Parts, now: u64) -> Result<Caller, Fault> {
    let link = Link::read(parts)?;
    link.check_time(now)?;
    let caller = Caller::with(&link.key);
    if !is_known(&caller) {
        return Err(Refused::UnknownKey.into_s3_fault());
    }
    let payload = parts.headers.get("x-amz-content-sha256").and_then(|hash| hash.to_str().ok());
    let signed = Signed {
        date: &link.date,
        scope: &link.scope,
        headers: &link.signed_headers,
        payload: payload.unwrap_or(UNSIGNED),
    };
    let canonical = signed.canonical(&parts.method, &parts.uri, &link.parameters, &parts.headers);
    let canonical = canonical.map_err(|why| match why {
        Illegible::Uri => illegible(),
        Illegible::Header(name) => denied(&format!("There were headers signed that are not in the request: {name}")),
    })?;
    if signed.is_by(&keys.secret(&link.key), &canonical, &link.signature) {
        return Ok(caller);
    }
    let why = "The request signature we calculated does not match the signature you provided. Check your key and signing method.";
    Err(Fault::new("SignatureDoesNotMatch", why))
}

struct Link {
    /// All parameters but the signature, decoded, in order.
    parameters: Vec<(String, String)>,
    key: String,
    date: String,
    expires: i64,
    /// `20260101/us-east-1/s3/aws4_request`
    scope: String,
    signed_headers: String,
    signature: String,
}

impl Link {
    fn read(parts: &Parts) -> Result<Self, Fault> {
        let mut parameters = parameters(&parts.uri).ok_or_else(illegible)?;
        let missing =
            || Fault::new("AuthorizationQueryParametersError", "a presigned link lacks one of its parameters");
        let of = |wanted: &str| {
            let found = parameters.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone()).ok_or_else(missing)
        };
        if of("X-Amz-Algorithm")? != ALGORITHM {
            return Err(missing());
        }
        let expires = of("X-Amz-Expires")?.parse().ok().filter(|seconds| (1..=LONGEST).contains(seconds));
        let expires = expires.ok_or_else(|| {
            Fault::new("AuthorizationQueryParametersError", "X-Amz-Expires must be from 1 to 604800 seconds")
        })?;
        let credential = of("X-Amz-Credential")?;
        let (key, scope) = credential.split_once('/').ok_or_else(missing)?;
        let (key, scope) = (key.to_owned(), scope.to_owned());
        let (date, signed_headers, signature) = (of("X-Amz-Date")?, of("X-Amz-SignedHeaders")?, of("X-Amz-Signature")?);
        parameters.retain(|(name, _)| name != "X-Amz-Signature");
        Ok(Self { parameters, key, date, expires, scope, signed_headers, signature })
    }

    fn check_time(&self, now: u64) -> Result<(), Fault> {
        let signed = PrimitiveDateTime::parse(&self.date, DATE).map(PrimitiveDateTime::assume_utc);
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
}

fn illegible() -> Fault {
    Fault::new("InvalidURI", "Couldn't parse the specified URI.")
}
