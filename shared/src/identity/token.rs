//! Access tokens: JWTs of type `at+jwt` (RFC 9068), signed with Ed25519, valid for ten minutes (RFC 8725 throughout).

use super::{User, signature};
use crate::id;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// Lifetime of an access token, in seconds. Ending a session ends its access tokens within this time.
pub const ACCESS_TOKEN_SECONDS: u64 = 600;
/// The tolerated clock difference, in seconds.
pub const LEEWAY_SECONDS: u64 = 30;
/// Maximum length of a token.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

const AUDIENCE: &str = "undercroft";
const TYPE: &str = "at+jwt";

/// The claims of an access token. Each member must be present exactly once with this type; no other is allowed (R48, R49).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Issuer: this stack.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// The account.
    pub sub: String,
    /// The session.
    pub sid: String,
    /// Canonical address.
    pub email: String,
    /// Whether the address is verified.
    pub email_verified: bool,
    /// The roles when issued.
    pub roles: Vec<String>,
    /// Issued at, seconds since the epoch.
    pub iat: u64,
    /// Not before, seconds since the epoch.
    pub nbf: u64,
    /// Expires at, seconds since the epoch.
    pub exp: u64,
    /// Identifies this token in logs.
    pub jti: String,
}

/// The header of an access token: exactly three members, so it cannot contain a key or a key's address (R45).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictHeader {
    alg: String,
    typ: String,
    kid: String,
}

/// The issuer of a stack's tokens.
pub fn issuer(stack: &str) -> String {
    format!("urn:undercroft:{stack}")
}

/// Signs a token for `user`, issued at `now` (seconds since the epoch).
///
/// # Errors
/// When the key is not an Ed25519 key in PKCS#8.
pub fn sign(
    user: &User,
    issuer: &str,
    kid: &str,
    pkcs8: &[u8],
    now: u64,
    jti: String,
) -> Result<String, crate::error::Source> {
    signature::install();
    let claims = Claims {
        iss: issuer.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: user.id.clone(),
        sid: user.session.clone(),
        email: user.email.clone(),
        email_verified: user.verified,
        roles: user.roles.clone(),
        iat: now,
        nbf: now,
        exp: now + ACCESS_TOKEN_SECONDS,
        jti,
    };
    let header = Header { typ: Some(TYPE.to_owned()), kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
    Ok(jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ed_der(pkcs8))?)
}

/// The key id of a token, if its header has exactly our format. Checked before any key lookup.
pub fn key_id(token: &str) -> Option<String> {
    if token.len() > MAX_TOKEN_BYTES || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return None;
    }
    // Both parts must be objects and so begin with these bytes; the deserializer would also accept an array of members.
    if !token.split('.').take(2).all(|part| part.starts_with("ey")) {
        return None;
    }
    let header = id::from_base64url(token.split('.').next()?)?;
    let header: StrictHeader = serde_json::from_slice(&header).ok()?;
    (header.alg == "EdDSA" && header.typ == TYPE).then_some(header.kid)
}

/// The user of a token at `now`, if signature, issuer, audience and times are valid.
pub fn verify(token: &str, issuer: &str, public_key: &[u8], now: u64) -> Option<(User, u64)> {
    signature::install();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[issuer]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // Times are checked below with our own clock and leeway.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    let claims = jsonwebtoken::decode::<Claims>(token, &DecodingKey::from_ed_der(public_key), &validation).ok()?.claims;
    let until = claims.exp.saturating_add(LEEWAY_SECONDS);
    let in_time = claims.nbf.max(claims.iat) <= now + LEEWAY_SECONDS && now < until;
    in_time.then(|| {
        let user = User {
            id: claims.sub,
            session: claims.sid,
            email: claims.email,
            verified: claims.email_verified,
            roles: claims.roles,
        };
        (user, until)
    })
}
