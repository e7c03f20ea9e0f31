//! `POST /v1/auth/signin {email, password}` -> tokens. Two round trips and one hash.

use crate::App;
use crate::password::{self, Password};
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use undercroft::cost;
use undercroft::error::Error;
use undercroft::http::{HandlerResult, Json};
use undercroft::identity::email::Email;

/// Who signs in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignIn {
    email: String,
    password: String,
}

/// Starts a session. A wrong password, an unknown address and an unverified address get the same answer after the same time.
pub async fn signin(State(app): State<App>, Json(body): Json<SignIn>) -> HandlerResult<axum::Json<Value>> {
    let email = Email::parse(&body.email)?;
    let account = app.accounts.find(&email).await?;
    let right = app.hasher.verify(&body.password, account.as_ref().map(|account| account.hash.as_str()))?;
    let Some(account) = account.filter(|_| right) else {
        // The caller has not proven the address, so the cost of reading it is withheld.
        cost::withhold();
        return Err(Error::Unauthenticated("No verified account has this address and password.").into());
    };
    if password::is_outdated(&account.hash)
        && let Ok(password) = Password::new(body.password)
    {
        app.accounts.rehash(&email, &account.hash, app.hasher.hash(&password)?).await?;
    }
    let session = app.sessions.begin(&account.id).await?;
    let user = session.user(&email, account.roles);
    app.sessions.write(&session, &user).await?;
    Ok(axum::Json(app.signing.tokens(&user, &session.token, app.clock.seconds()).await?))
}
