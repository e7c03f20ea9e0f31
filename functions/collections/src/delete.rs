//! `DELETE /v1/collections/{collection}` -> 202 `{name, status, inForceAt}`. A collection that holds records goes only with
//! `?records=delete`.

use crate::App;
use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use undercroft::http::{Admin, Conditional, HandlerResult, IdempotencyKey, Path, Query, RequestId, idempotent};
use undercroft::identity::Caller;

/// Parameters of a delete.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    records: Option<RecordsToo>,
}

/// That the records are deleted with the collection.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum RecordsToo {
    Delete,
}

/// Deletes a collection.
pub async fn delete(
    State(app): State<App>,
    admin: Admin,
    Path(name): Path<String>,
    Query(options): Query<Options>,
    Conditional(preconditions): Conditional,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
) -> HandlerResult {
    let admin = Caller::User(admin.0);
    let scoped_key = idempotency_key.of(&admin)?;
    let what = (name.as_str(), matches!(options.records, Some(RecordsToo::Delete)));
    let work = async {
        let response = app.operations.delete(&admin, what, &preconditions, &request.0, scoped_key.as_ref()).await?;
        Ok(response.into_response())
    };
    Ok(idempotent(scoped_key.as_ref(), &app.operations.definitions.stored_responses(), work).await?)
}
