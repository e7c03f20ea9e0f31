//! Accounts and sessions: sign-up, verification, sign-in, tokens.
//!
//! By IAM this is the only function that may read password hashes: they are in the `Identity` table, which no other role can
//! read. Other functions receive only access tokens and the public keys that verify them.

mod accounts;
mod app;
mod mail;
mod not_built;
mod password;
mod sessions;
mod signing;
mod signups;

mod jwks;
mod me;
mod refresh;
mod signin;
mod signout;
mod signup;
mod verify;

pub use app::App;

use axum::Router;
use axum::routing::{get, post};
use undercroft::config::Env;
use undercroft::http::Edge;

/// The router of this function with its middleware.
pub fn routes(app: App, env: &Env) -> Router {
    let routes = Router::new()
        .route("/v1/auth/signup", post(signup::signup))
        .route("/v1/auth/verify", post(verify::verify))
        .route("/v1/auth/signin", post(signin::signin))
        .route("/v1/auth/refresh", post(refresh::refresh))
        .route("/v1/auth/signout", post(signout::signout))
        .route("/v1/auth/me", get(me::me))
        .route("/v1/auth/sessions", get(me::sessions))
        .route("/v1/auth/reset", post(not_built::reset))
        .route("/v1/auth/magic", post(not_built::magic_link))
        .route("/v1/auth/totp", post(not_built::totp))
        .route("/v1/auth/passkeys", post(not_built::passkeys))
        .route("/v1/auth/oidc", post(not_built::oidc))
        .route("/v1/auth/keys", post(not_built::api_keys))
        .route("/.well-known/jwks.json", get(jwks::jwks))
        .with_state(app);
    Edge::new("auth", &undercroft::routes::auth(), env).around(routes)
}
