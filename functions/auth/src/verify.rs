//! `POST /v1/auth/verify {email, code, password?}` -> tokens: the account exists from here on. The password is asked for where
//! the address was signed up with different ones.

use crate::App;
use crate::password;
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
    password: Option<String>,
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
    let pending = app.accounts.pending(&email).await?;
    let pending = pending.filter(|pending| pending.waits_for(&code_hash(&email, &code))).ok_or_else(refused)?;
    match &body.password {
        Some(password) if !password::verify(password, Some(&pending.hash))? => return Err(refused()),
        None if pending.is_contested => return Err(contested()),
        _ => {}
    }
    let id = id::new(&app.clock);
    let session = app.sessions.begin(&id).await?;
    let admin = email == *app.admin;
    let user = app.accounts.verify(&email, pending, id, admin, &session).await?.ok_or_else(refused)?;
    Ok(axum::Json(app.signing.tokens(&user, &session.token, app.clock.seconds()).await?))
}

fn contested() -> Error {
    Error::bad_request(
        "password_required",
        "this address was signed up with different passwords: send yours as password, or sign up again if it is refused",
    )
}
