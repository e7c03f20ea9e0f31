//! `POST /v1/auth/refresh {refreshToken}` -> new tokens; the old refresh token is spent. One round trip, one write.

use crate::App;
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use undercroft::http::{HandlerResult, Json};

/// The token to exchange.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Refresh {
    refresh_token: String,
}

/// Exchanges a refresh token.
pub async fn refresh(State(app): State<App>, Json(body): Json<Refresh>) -> HandlerResult<axum::Json<Value>> {
    let (user, successor) = app.sessions.rotate(&body.refresh_token).await?;
    Ok(axum::Json(app.signing.tokens(&user, &successor, app.clock.seconds()).await?))
}
