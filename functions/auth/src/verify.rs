//! `POST /v1/auth/verify {email, code, signupToken | password}` -> tokens: creates the account.
//!
//! A code proves the address, but not who chose the password of the sign-up. So the client also sends the signupToken, which only
//! the client that signed up has, and the account gets the password of that sign-up; or it sends a new password, and the account
//! gets this one. A code alone is refused.

use crate::App;
use crate::password::Password;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use undercroft::cost;
use undercroft::error::Error;
use undercroft::http::{HandlerResult, Json};
use undercroft::id;
use undercroft::identity::email::Email;

/// The mailed code, with a signupToken or a new password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Verify {
    email: String,
    code: String,
    signup_token: Option<String>,
    password: Option<String>,
}

/// Verifies a code and creates the account, its profile and its first session.
pub async fn verify(State(app): State<App>, Json(body): Json<Verify>) -> HandlerResult<axum::Json<Value>> {
    let email = Email::parse(&body.email)?;
    // The read units depend on what is stored for the address, so the cost is withheld.
    cost::withhold();
    let code = body.code.trim().to_ascii_uppercase();
    let sign_up = match (body.signup_token, body.password) {
        (Some(token), None) => app.sign_ups.try_code(&email, &token, &code).await?.ok_or_else(token_refused)?,
        (None, Some(password)) => {
            let password = Password::new(password)?;
            let mut sign_up = app.sign_ups.with_code(&email, &code).await?.ok_or_else(code_refused)?;
            sign_up.hash = app.hasher.hash(&password)?;
            sign_up
        }
        _ => return Err(one_of_both().into()),
    };
    let session = app.sessions.begin(&id::new(&app.clock)).await?;
    let admin = email == *app.admin;
    let user = app.accounts.verify(&email, sign_up, admin, &session).await?.ok_or_else(code_refused)?;
    Ok(axum::Json(app.signing.tokens(&user, &session.token, app.clock.seconds()).await?))
}

fn one_of_both() -> Error {
    Error::bad_request(
        "signup_token_or_password",
        "Send either the signupToken from the answer to the sign-up, or a new password for the account. Do not send both.",
    )
}

fn code_refused() -> Error {
    Error::bad_request("code_refused", "The code is wrong, already used or older than ten minutes. Sign up again.")
}

fn token_refused() -> Error {
    Error::bad_request(
        "code_refused",
        "The code is wrong, already used, older than ten minutes, of another sign-up, or was tried too often. Send a new \
         password instead of signupToken, or sign up again.",
    )
}
