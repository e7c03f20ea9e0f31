//! `POST /v1/auth/verify {email, code}` -> tokens: the account exists from here on.

use crate::App;
use crate::signup::code_hash;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use undercroft::error::{Error, Result};
use undercroft::http::Json;
use undercroft::id;
use undercroft::identity::email::Email;

/// The code that came by mail.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    email: String,
    code: String,
}

/// Spends a code: makes the account, its profile and its first session.
pub async fn verify(State(app): State<App>, Json(body): Json<Verify>) -> Result<axum::Json<Value>> {
    let email = Email::parse(&body.email)?;
    let code = body.code.trim().to_ascii_uppercase();
    let refused = || {
        Error::bad_request(
            "code_refused",
            "the code is wrong, spent, replaced by a newer one, or older than ten minutes",
        )
    };
    let pending = app.accounts.pending(&email, &code_hash(&email, &code)).await?.ok_or_else(refused)?;
    let id = id::new(&app.clock);
    let session = app.sessions.begin(&id).await?;
    let admin = email == *app.admin;
    let user = app.accounts.verify(&email, pending, id, admin, &session).await?.ok_or_else(refused)?;
    Ok(axum::Json(app.signing.first_tokens(&user, &session, app.clock.seconds()).await?))
}
