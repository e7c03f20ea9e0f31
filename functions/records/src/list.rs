//! `GET /v1/collections/{collection}/records?filter=&sort=&limit=&cursor=&fields=&expand=&scan=&count=&deleted=&explain=` -> a
//! page, or the refusal that names the index it needs.

use crate::App;
use axum::extract::State;
use serde_json::Value;
use undercroft::http::{Bearer, HandlerResult, Path, Query};
use undercroft::records::ListRequest;

/// Lists records.
pub async fn list(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path(name): Path<String>,
    Query(request): Query<ListRequest>,
) -> HandlerResult<axum::Json<Value>> {
    Ok(axum::Json(app.operations.list(&caller, &name, &request).await?))
}
