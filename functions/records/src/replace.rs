//! `PUT /v1/collections/{collection}/records/{id}`: replaces a record (`If-Match`) or makes one with an id of the client's
//! (`If-None-Match: *`). One of the two must be said: a replacement that did not look first loses somebody's update.

use crate::intent::Begun;
use crate::{App, intent, response};
use axum::Extension;
use axum::extract::State;
use serde_json::{Map, Value};
use undercroft::error::{Error, Result};
use undercroft::http::{Bearer, Conditional, HandlerResult, IdempotencyKey, Json, Path, RequestId};
use undercroft::identity::Caller;
use undercroft::preconditions::{IfNoneMatch, Preconditions};

/// Replaces or makes a record.
pub async fn replace(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path((name, id)): Path<(String, String)>,
    Conditional(preconditions): Conditional,
    idempotency_key: IdempotencyKey,
    Extension(request): Extension<RequestId>,
    Json(body): Json<Map<String, Value>>,
) -> HandlerResult {
    let begun = begun(&app, &caller, (&name, &id), body, preconditions);
    Ok(response::write(&app, &caller, &idempotency_key, &request.0, begun).await?)
}

/// What the conditions make of a PUT.
///
/// # Errors
/// As [`check`], and as either has them.
pub async fn begun(
    app: &App,
    caller: &Caller,
    (name, id): (&str, &str),
    body: Map<String, Value>,
    preconditions: Preconditions,
) -> Result<Begun> {
    check(app, id, &preconditions)?;
    match preconditions.if_match.is_sent() {
        true => intent::replace(app, caller, (name, id), body, preconditions).await,
        false => intent::create_as(app, caller, name, id, body).await,
    }
}

/// Whether it is said which of both is meant, and the id of a record to be made may be its.
///
/// # Errors
/// `PreconditionRequired` when there is no condition.
pub fn check(app: &App, id: &str, preconditions: &Preconditions) -> Result<()> {
    match (preconditions.if_match.is_sent(), &preconditions.if_none_match) {
        (true, _) => Ok(()),
        (false, IfNoneMatch::Any) => intent::check_new_id(app, id),
        _ => Err(Error::PreconditionRequired(
            "send If-Match with the record's ETag to replace it, or If-None-Match: * to make it",
        )),
    }
}
