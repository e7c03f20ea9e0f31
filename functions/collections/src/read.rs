//! `GET /v1/collections` and `GET /v1/collections/{collection}`: definitions as they were put, with their version.

use crate::App;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, IfNoneMatch, Path, etag};
use undercroft::schema::Definition;
use undercroft::store::definitions::{State as Stage, Stored};

/// All definitions, by name. The built-in `users` is among them.
pub async fn list(State(app): State<App>, _: Admin) -> Result<axum::Json<Value>> {
    let mut items: Vec<Value> = app.definitions.all().await?.iter().map(shown).collect();
    items.push(shown(&users()));
    items.sort_by_key(|item| item.get("name").and_then(Value::as_str).unwrap_or_default().to_owned());
    Ok(axum::Json(json!({ "items": items })))
}

/// One definition.
pub async fn one(
    State(app): State<App>,
    _: Admin,
    Path(name): Path<String>,
    if_none_match: IfNoneMatch,
) -> Result<Response> {
    let stored = if name == "users" { Some(users()) } else { app.definitions.get(&name).await? };
    let stored = stored.filter(|stored| stored.stage != Stage::Gone).ok_or(Error::NotFound("collection"))?;
    let tag = etag(stored.definition.version, true);
    if if_none_match.matches(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag)], axum::Json(shown(&stored))).into_response())
}

fn users() -> Stored {
    Stored { definition: Definition::users(), stage: Stage::Ready }
}

/// A definition as the API shows it: what was put, its version, and whether it is being changed.
pub fn shown(stored: &Stored) -> Value {
    let mut shown = stored.definition.as_put();
    if let Some(members) = shown.as_object_mut() {
        members.insert("version".into(), stored.definition.version.into());
        members.insert("status".into(), if stored.stage == Stage::Changing { "changing" } else { "ready" }.into());
    }
    shown
}
