//! `POST /v1/auth/signout` -> 204: this session ends. Its refresh token is void at once; an access token already issued
//! runs out within ten minutes.

use crate::App;
use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use serde::Deserialize;
use undercroft::error::{Error, Result};
use undercroft::http::{Json, no_content};
use undercroft::identity::Caller;

/// A client whose access token has run out says by its refresh token which session it means.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignOut {
    refresh_token: String,
}

/// Ends the session of the access token, or of the refresh token in the body.
pub async fn signout(State(app): State<App>, caller: Caller, request: Request) -> Result<Response> {
    if let Caller::User(user) = caller {
        app.sessions.end(&user.id, &user.session).await?;
        return Ok(no_content());
    }
    if request.headers().get(axum::http::header::CONTENT_TYPE).is_none() {
        return Err(Error::Unauthenticated("send the access token, or the refresh token in the body"));
    }
    let Json(body) = Json::<SignOut>::from_request(request, &app).await?;
    let (user, session) = app
        .sessions
        .of_token(&body.refresh_token)
        .await?
        .ok_or(Error::Unauthenticated("the refresh token is not valid, or no longer"))?;
    app.sessions.end(&user, &session).await?;
    Ok(no_content())
}
