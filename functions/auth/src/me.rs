//! `GET /v1/auth/me` and `GET /v1/auth/sessions`: the signed-in user and their sessions.

use crate::App;
use axum::extract::State;
use serde_json::{Value, json};
use undercroft::error::{Error, Result};
use undercroft::http::{Bearer, HandlerResult};
use undercroft::identity::{Caller, User};

/// Returns the signed-in user. It reads the session, so a sign-out takes effect at once.
pub async fn me(State(app): State<App>, Bearer(caller): Bearer) -> HandlerResult<axum::Json<Value>> {
    let user = signed_in(&app, caller).await?;
    Ok(axum::Json(json!({ "id": user.id, "email": user.email, "verified": user.verified, "roles": user.roles })))
}

/// Lists the sessions of the user and marks the current one.
pub async fn sessions(State(app): State<App>, Bearer(caller): Bearer) -> HandlerResult<axum::Json<Value>> {
    let user = signed_in(&app, caller).await?;
    let items = app.sessions.of_user(&user.id, &user.session).await?;
    Ok(axum::Json(json!({ "items": items })))
}

async fn signed_in(app: &App, caller: Caller) -> Result<User> {
    let Caller::User(user) = caller else { return Err(Error::Unauthenticated("Sign in first.")) };
    if app.sessions.is_alive(&user.id, &user.session).await? {
        Ok(user)
    } else {
        Err(Error::Unauthenticated("This session has ended. Sign in again."))
    }
}
