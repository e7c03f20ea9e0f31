//! `GET /v1/changes?collection=&after=&limit=` -> the changes of records in the caller's list, in order within each
//! partition, and the cursor to continue from.

use crate::App;
use axum::extract::State;
use serde_json::Value;
use undercroft::http::{Bearer, HandlerResult, Query};
use undercroft::records::ChangesRequest;

/// Reads the change feed.
pub async fn changes(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Query(request): Query<ChangesRequest>,
) -> HandlerResult<axum::Json<Value>> {
    Ok(axum::Json(app.operations.changes(&caller, &request).await?))
}
