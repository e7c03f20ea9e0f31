//! What the design promises under `/v1/auth` and this version does not do. It says so.

use undercroft::error::Error;

pub async fn reset() -> Error {
    Error::NotBuilt("password reset")
}

pub async fn magic_link() -> Error {
    Error::NotBuilt("sign-in by magic link")
}

pub async fn totp() -> Error {
    Error::NotBuilt("a second factor by TOTP")
}

pub async fn passkeys() -> Error {
    Error::NotBuilt("sign-in by passkey")
}

pub async fn oidc() -> Error {
    Error::NotBuilt("sign-in by OpenID Connect")
}

pub async fn api_keys() -> Error {
    Error::NotBuilt("scoped API keys")
}
