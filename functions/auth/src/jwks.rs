//! `GET /.well-known/jwks.json`: the public keys that verify access tokens.

use crate::App;
use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::response::IntoResponse;
use undercroft::http::HandlerResult;

/// The JWK set (RFC 7517). May be cached for five minutes.
pub async fn jwks(State(app): State<App>) -> HandlerResult {
    let keys = app.signing.jwks().await?;
    Ok(([(CACHE_CONTROL, "public, max-age=300")], axum::Json(keys)).into_response())
}
