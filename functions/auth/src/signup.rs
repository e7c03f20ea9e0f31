//! `POST /v1/auth/signup {email, password}` -> 202 `{signupToken}`, whatever the address.

use crate::App;
use crate::password::Password;
use crate::signups::{NewSignUp, code_hash, token_hash};
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use undercroft::cost;
use undercroft::error::Error;
use undercroft::http::{HandlerResult, Json, RequestId};
use undercroft::id;
use undercroft::identity::email::Email;

/// The body of a sign-up.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignUp {
    email: String,
    password: String,
}

/// How often a sign-up is retried after a conflict with another one for the same address.
const TRIES: u32 = 8;

/// Starts a sign-up: mails the code and returns the token. A known address, and one that gets no more mail for now, get the same
/// answer after the same work (R6).
pub async fn signup(
    State(app): State<App>,
    Extension(request): Extension<RequestId>,
    Json(body): Json<SignUp>,
) -> HandlerResult<(StatusCode, axum::Json<Value>)> {
    let email = Email::parse(&body.email)?;
    // The read units depend on what is stored for the address, so the cost is withheld.
    cost::withhold();
    let hash = app.hasher.hash(&Password::new(body.password)?)?;
    let (code, token) = (id::code(), id::base64url(&id::random::<32>()));
    let (code_hash, token_hash) = (code_hash(&email, &code), token_hash(&email, &token));
    for attempt in 0..TRIES {
        let address = app.sign_ups.of(&email).await?;
        let place = address.place(attempt > 0);
        // A known address is handled in the same way, but nobody receives the code.
        let mail = match address.is_known {
            true => app.mail.known(&email, place, &request.0).await?,
            false => app.mail.code(&email, &code, place, &request.0).await?,
        };
        let new = NewSignUp { hash: &hash, code_hash: &code_hash, token_hash: &token_hash };
        if app.sign_ups.begin(&email, place, new, mail).await? {
            return Ok((StatusCode::ACCEPTED, axum::Json(json!({ "signupToken": token }))));
        }
    }
    Err(Error::Unavailable {
        retry_after: 1,
        source: Some("Too many sign-ups for one address ran at the same time.".into()),
    }
    .into())
}
