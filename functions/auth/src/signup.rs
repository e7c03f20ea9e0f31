//! `POST /v1/auth/signup {email, password}` -> 202, whatever the address.

use crate::App;
use crate::accounts::NewPending;
use crate::password::{self, Password};
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use undercroft::error::{Error, Result};
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

/// How often a sign-up looks again because another one for the same address came between.
const TRIES: u32 = 5;

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
    for _ in 0..TRIES {
        if attempt(&app, &email, &password, &hash, &request.0).await? {
            return Ok((
                StatusCode::ACCEPTED,
                axum::Json(json!({ "status": "accepted", "next": "verify with the code we have mailed" })),
            ));
        }
    }
    Err(Error::Unavailable { retry_after: 1, source: Some("an address is signed up many times at once".into()) })
}

/// Writes the sign-up in place of the one that is there now, unless yet another comes between; returns whether it did. For a
/// known address it is a sign-up like any other but for its code, which nobody is told.
async fn attempt(app: &App, email: &Email, password: &Password, hash: &str, request_id: &str) -> Result<bool> {
    let earlier = app.accounts.pending(email).await?;
    let is_same = password::verify(password.as_str(), earlier.as_ref().map(|earlier| earlier.hash.as_str()))?;
    let is_contested = earlier.as_ref().is_some_and(|earlier| earlier.is_contested || !is_same);
    let code = id::code();
    let mail = match app.accounts.find(email).await? {
        Some(_) => app.mail.known(email, request_id).await?,
        None => app.mail.code(email, &code, request_id).await?,
    };
    let newer = NewPending { hash: hash.to_owned(), is_contested, code_hash: code_hash(email, &code) };
    app.accounts.sign_up(email, earlier.as_ref(), newer, mail).await
}

/// What is kept of a code. Bound to purpose and address, so that it is good for nothing else.
pub fn code_hash(email: &Email, code: &str) -> String {
    id::sha256(format!("signup:{}:{code}", email.as_str()).as_bytes())
}
