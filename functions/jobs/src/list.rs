//! `GET /v1/jobs?dead=&limit=&cursor=` -> jobs, newest first.

use crate::App;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, HandlerResult, Query};
use undercroft::store::jobs::Job;

/// Jobs on a page unless asked otherwise, and at most.
const PAGE: (i32, i32) = (30, 100);

/// Bytes of jobs after which a page ends, whatever its limit: Lambda answers with 6 MB at most, and a job may have 400 KB.
const PAGE_BYTES: usize = 2_000_000;

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
pub async fn list(
    State(app): State<App>,
    Admin(admin): Admin,
    Query(query): Query<List>,
) -> HandlerResult<axum::Json<Value>> {
    let limit = query.limit.unwrap_or(PAGE.0);
    if !(1..=PAGE.1).contains(&limit) {
        return Err(Error::bad_request("limit", "limit must be between 1 and 100.").into());
    }
    let purpose = format!("jobs:{}:{}", admin.id, query.dead);
    let after = match &query.cursor {
        None => None,
        Some(cursor) => Some(String::from_utf8(app.cursors.open(&purpose, cursor).await?).map_err(Error::internal)?),
    };
    let (jobs, next) = app.jobs.list(query.dead, limit, after.as_deref()).await?;
    let (jobs, cut_after) = fitting(jobs)?;
    let next = cut_after.or(next);
    let mut page = json!({ "items": jobs });
    if let (Some(next), Some(page)) = (next, page.as_object_mut()) {
        page.insert("nextCursor".into(), app.cursors.make(&purpose, next.as_bytes()).await?.into());
    }
    Ok(axum::Json(page))
}

/// As many jobs, from the front, as a page has room for, at least one; and after which it ends, if that is before the last.
fn fitting(jobs: Vec<Job>) -> Result<(Vec<Value>, Option<String>)> {
    let (mut items, mut last, mut bytes): (Vec<Value>, _, usize) = (Vec::new(), None, 0);
    for job in jobs {
        let item = serde_json::to_value(&job).map_err(Error::internal)?;
        bytes += item.to_string().len();
        if bytes > PAGE_BYTES && !items.is_empty() {
            return Ok((items, last));
        }
        items.push(item);
        last = Some(job.id);
    }
    Ok((items, None))
}
