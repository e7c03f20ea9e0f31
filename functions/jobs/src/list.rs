//! `GET /v1/jobs?dead=&limit=&cursor=` -> jobs, newest first.

use crate::App;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, Query};

/// Jobs on a page unless asked otherwise, and at most.
const PAGE: (i32, i32) = (30, 100);

/// What to list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Only the dead ones. Otherwise all others.
    #[serde(default)]
    dead: bool,
    limit: Option<i32>,
    cursor: Option<String>,
}

/// Lists jobs.
pub async fn list(State(app): State<App>, Admin(admin): Admin, Query(query): Query<List>) -> Result<axum::Json<Value>> {
    let limit = query.limit.unwrap_or(PAGE.0);
    if !(1..=PAGE.1).contains(&limit) {
        return Err(Error::bad_request("limit", "limit is from 1 to 100"));
    }
    let purpose = format!("jobs:{}:{}", admin.id, query.dead);
    let after = match &query.cursor {
        None => None,
        Some(cursor) => Some(String::from_utf8(app.cursors.open(&purpose, cursor).await?).map_err(Error::internal)?),
    };
    let (jobs, next) = app.jobs.list(query.dead, limit, after.as_deref()).await?;
    let mut page = json!({ "items": jobs });
    if let (Some(next), Some(page)) = (next, page.as_object_mut()) {
        page.insert("nextCursor".into(), app.cursors.make(&purpose, next.as_bytes()).await?.into());
    }
    Ok(axum::Json(page))
}
