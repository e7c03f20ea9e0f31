//! `POST /v1/auth/signup {email, password}` -> 202, whatever the address.

use crate::App;
use crate::password::{self, Password};
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use undercroft::error::Result;
use undercroft::http::{Json, RequestId};
use undercroft::id;
use undercroft::identity::email::Email;

/// Who wants an account.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignUp {
    email: String,
    password: String,
}

/// Starts a sign-up: its code goes out by mail. A known address gets the same answer after the same work, and a mail that
/// says so (R6).
///
/// Whoever signs up last decides the password that the mailed code makes an account with. So that nobody puts theirs under
/// somebody else's address while that person waits for a code, sign-ups with different passwords are marked as contested, and
/// verifying one asks for its password besides.
pub async fn signup(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    Json(body): Json<SignUp>,
) -> Result<(StatusCode, axum::Json<Value>)> {
    let email = Email::parse(&body.email)?;
    let password = Password::new(body.password)?;
    let hash = password.hash()?;
    let earlier = app.accounts.pending(&email).await?;
    let is_same = password::verify(password.as_str(), earlier.as_ref().map(|earlier| earlier.hash.as_str()))?;
    let is_contested = earlier.is_some_and(|earlier| earlier.is_contested || !is_same);
    if app.accounts.find(&email).await?.is_some() {
        let mail = app.mail.known(&email, &request.0).await?;
        app.accounts.notice(&email, mail).await?;
    } else {
        let code = id::code();
        let mail = app.mail.code(&email, &code, &request.0).await?;
        app.accounts.sign_up(&email, hash, is_contested, code_hash(&email, &code), mail).await?;
    }
    Ok((
        StatusCode::ACCEPTED,
        axum::Json(json!({ "status": "accepted", "next": "verify with the code we have mailed" })),
    ))
}

/// What is kept of a code. Bound to purpose and address, so that it is good for nothing else.
pub fn code_hash(email: &Email, code: &str) -> String {
    id::sha256(format!("signup:{}:{code}", email.as_str()).as_bytes())
}
