//! `PUT /v1/collections/{collection}/records?unique=`: replaces the record that has the same value of a unique constraint, or
//! the same id (200), or creates it (201).

use crate::{App, response};
use axum::Extension;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};
use undercroft::error::{Error, Result};
use undercroft::http::{Bearer, Conditional, HandlerResult, IdempotencyKey, Json, Path, Query, RequestId};
use undercroft::records::{Operation, OperationKind};

/// The parameters of an upsert.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The fields that name the record, separated by commas.
    unique: Option<String>,
}

/// Replaces or creates a record.
pub async fn upsert(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path(collection): Path<String>,
    (Conditional(preconditions), Query(options)): (Conditional, Query<Options>),
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    Json(body): Json<Map<String, Value>>,
) -> HandlerResult {
    let unique = options.unique.ok_or_else(no_fields)?;
    let upsert = Operation { collection, kind: OperationKind::Upsert(named(&unique), body), preconditions };
    response::write(&app, &caller, &idempotency_key, &request.0, upsert).await
}

/// The fields in the query of an operation of a batch.
///
/// # Errors
/// `Invalid` when the query is not `unique=` and names.
pub fn fields(query: Option<&str>) -> Result<Vec<String>> {
    let fields = query.and_then(|query| query.strip_prefix("unique=")).filter(|fields| !fields.contains('&'));
    fields.map(|fields| named(&fields.replace("%2C", ","))).ok_or_else(|| {
        Error::field("/path", "operation", "PUT .../records needs `?unique=` and the fields that name the record.")
    })
}

fn no_fields() -> Error {
    let detail = "PUT .../records needs ?unique= with `id` or the fields of a unique constraint, separated by commas. To replace \
                  a record by its path, send PUT .../records/{id}.";
    Error::bad_request("query", detail)
}

fn named(fields: &str) -> Vec<String> {
    fields.split(',').map(|field| field.trim().to_owned()).collect()
}
