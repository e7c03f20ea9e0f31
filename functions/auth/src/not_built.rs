//! Routes under `/v1/auth` that are designed but not built. They answer 501.

use undercroft::error::Error;
use undercroft::http::Problem;

pub async fn reset() -> Problem {
    Error::NotBuilt("password reset").into()
}

pub async fn magic_link() -> Problem {
    Error::NotBuilt("sign-in by magic link").into()
}

pub async fn totp() -> Problem {
    Error::NotBuilt("a second factor by TOTP").into()
}

pub async fn passkeys() -> Problem {
    Error::NotBuilt("sign-in by passkey").into()
}

pub async fn oidc() -> Problem {
    Error::NotBuilt("sign-in by OpenID Connect").into()
}

pub async fn api_keys() -> Problem {
    Error::NotBuilt("scoped API keys").into()
}
