//! `PATCH /v1/collections/{collection}/records/{id}?explain=`: a JSON Merge Patch (RFC 7396) or operators -> the changed record
//! and its `ETag`, or the plan of the write.
//!
//! It takes one round trip if schema and rule can be checked without the stored record; otherwise the record is read first.

use crate::{App, response};
use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;
use undercroft::http::{Bearer, Conditional, HandlerResult, IdempotencyKey, Patch, Path, Query, RequestId};
use undercroft::records::{Operation, OperationKind};

/// The parameters of a patch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    #[serde(default)]
    explain: bool,
}

/// Changes some members of a record, or returns the plan of the change.
pub async fn patch(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path((collection, id)): Path<(String, String)>,
    (Conditional(preconditions), Query(options)): (Conditional, Query<Options>),
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    patch: Patch,
) -> HandlerResult {
    let kind = match patch {
        Patch::Merge(patch) => OperationKind::Patch(id, patch),
        Patch::Operators(operators) => OperationKind::Operate(id, operators),
    };
    let patch = Operation { collection, kind, preconditions };
    if options.explain {
        let intent = app.operations.intent(&caller, patch).await?;
        let plan = app.operations.records.plan(&intent, idempotency_key.of(&caller)?.is_some());
        return Ok(axum::Json(json!({ "plan": plan, "expected": { "trips": plan.trips() } })).into_response());
    }
    response::write(&app, &caller, &idempotency_key, &request.0, patch).await
}
