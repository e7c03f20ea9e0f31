//! `PUT /v1/collections/{collection}`: defines a collection, or changes its definition.
//!
//! 201 for a new collection, 200 for a definition in force, 202 for one that takes something away or waits until every stored record
//! fits it: `inForceAt` says from when nothing is accepted any more that it does not allow. With `dryRun=true`: what the put would do.

use crate::App;
use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::Value;
use undercroft::http::{Admin, Conditional, HandlerResult, IdempotencyKey, Json, Path, Query, RequestId, idempotent};
use undercroft::identity::Caller;

/// Parameters of a put.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Options {
    #[serde(default)]
    dry_run: bool,
}

/// Defines a collection, and answers the definition as it then is.
#[allow(clippy::too_many_arguments, reason = "each argument is one thing the request says")]
pub async fn put(
    State(app): State<App>,
    admin: Admin,
    Path(name): Path<String>,
    Query(options): Query<Options>,
    Conditional(preconditions): Conditional,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    Json(body): Json<Value>,
) -> HandlerResult {
    let (admin, put) = (Caller::User(admin.0), (name.as_str(), body));
    let scoped_key = idempotency_key.of(&admin)?;
    let work = async {
        if options.dry_run {
            return Ok(axum::Json(app.operations.dry_run(&admin, put, &preconditions).await?).into_response());
        }
        let response = app.operations.put(&admin, put, &preconditions, &request.0, scoped_key.as_ref()).await?;
        Ok(response.into_response())
    };
    Ok(idempotent(scoped_key.as_ref(), &app.operations.definitions.stored_responses(), work).await?)
}
