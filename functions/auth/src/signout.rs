//! `POST /v1/auth/signout` -> 204: ends the session. Its refresh token is invalid at once; an issued access token expires within
//! ten minutes.

use crate::App;
use axum::extract::{FromRequest, Request, State};
use axum::http::header::CONTENT_TYPE;
use serde::Deserialize;
use undercroft::error::Error;
use undercroft::http::{Bearer, HandlerResult, Json, no_content};
use undercroft::identity::Caller;

/// A client whose access token has expired identifies its session by the refresh token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SignOut {
    refresh_token: Option<String>,
}

/// Ends the session of the access token, or of the refresh token in the body.
pub async fn signout(State(app): State<App>, Bearer(caller): Bearer, request: Request) -> HandlerResult {
    let named = named(&app, request).await?;
    let (user, session) = match (caller, named) {
        (Caller::User(user), _) => (user.id, user.session),
        (Caller::Anonymous, Some(token)) => app
            .sessions
            .of_token(&token)
            .await?
            .ok_or(Error::Unauthenticated("The refresh token is invalid or expired."))?,
        (Caller::Anonymous, None) => {
            return Err(Error::Unauthenticated(
                "Send the access token in Authorization, or the refresh token in the body.",
            )
            .into());
        }
    };
    app.sessions.end(&user, &session).await?;
    Ok(no_content())
}

/// The refresh token in the body, if there is a body.
async fn named(app: &App, request: Request) -> HandlerResult<Option<String>> {
    if request.headers().get(CONTENT_TYPE).is_none() {
        return Ok(None);
    }
    let Json(body) = Json::<SignOut>::from_request(request, app).await?;
    Ok(body.refresh_token)
}
