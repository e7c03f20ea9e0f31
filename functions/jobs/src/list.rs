//! `GET /v1/jobs?dead=&limit=&cursor=` -> jobs, newest first.

use crate::App;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use undercroft::error::{Error, Result};
use undercroft::http::{Admin, HandlerResult, Query};
use undercroft::store::jobs::Job;

/// Default and maximum number of jobs on a page.
const PAGE: (i32, i32) = (30, 100);

/// Maximum bytes of jobs on a page: Lambda's maximum answer is 6 MB, and a job may have 400 KB.
const PAGE_BYTES: usize = 2_000_000;

/// Parameters of a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct List {
    /// Lists only dead jobs; otherwise all others.
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

/// The first jobs that fit on a page, at least one, and the last of them if more follow.
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
