//! `PATCH /v1/collections/{collection}/records/{id}?explain=`: a JSON Merge Patch (RFC 7396) -> the changed record and its
//! `ETag`, or how it would be written.
//!
//! One round trip where schema and rule can be held without the stored record; else it is read first.

use crate::{App, answer, intent};
use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use undercroft::error::Result;
use undercroft::http::{Keyed, MergePatch, Path, Preconditions, Query, RequestId};
use undercroft::identity::Caller;

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
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
    (preconditions, Query(asked)): (Preconditions, Query<Asked>),
    keyed: Keyed,
    Extension(request): Extension<RequestId>,
    MergePatch(patch): MergePatch,
) -> Result<Response> {
    let begun = intent::merge(&app, &caller, (&name, &id), patch, preconditions);
    if asked.explain {
        let intent = intent::ended(&app, &caller, begun.await?).await?;
        let planned = app.records.plan(&intent, keyed.of(&caller)?.is_some());
        return Ok(axum::Json(json!({ "plan": planned, "expected": { "trips": planned.trips() } })).into_response());
    }
    answer::write(&app, &caller, &keyed, &request.0, begun).await
}
