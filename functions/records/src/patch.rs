//! `PATCH /v1/collections/{collection}/records/{id}?explain=`: a JSON Merge Patch (RFC 7396) -> the changed record and its
//! `ETag`, or how it would be written.
//!
//! One round trip where schema and rule can be held without the stored record; else it is read first.

use crate::{App, intent, response};
use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;
use undercroft::http::{Bearer, Conditional, HandlerResult, IdempotencyKey, MergePatch, Path, Query, RequestId};

/// What may be asked besides.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    #[serde(default)]
    explain: bool,
}

/// Changes some members of a record, or says how it would.
pub async fn patch(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path((name, id)): Path<(String, String)>,
    (Conditional(preconditions), Query(asked)): (Conditional, Query<Asked>),
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    MergePatch(patch): MergePatch,
) -> HandlerResult {
    let begun = intent::merge(&app, &caller, (&name, &id), patch, preconditions);
    if asked.explain {
        let intent = intent::ended(&app, &caller, begun.await?).await?;
        let planned = app.records.plan(&intent, idempotency_key.of(&caller)?.is_some());
        return Ok(axum::Json(json!({ "plan": planned, "expected": { "trips": planned.trips() } })).into_response());
    }
    Ok(response::write(&app, &caller, &idempotency_key, &request.0, begun).await?)
}
