//! `PUT /v1/collections/{collection}/records/{id}`: replaces a record (`If-Match`) or makes one with an id of the client's
//! (`If-None-Match: *`). One of the two must be said: a replacement that did not look first loses somebody's update.

use crate::{App, create, input};
use axum::Extension;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use undercroft::error::{Error, Result};
use undercroft::expr::{Input, Rule};
use undercroft::http::{IfMatch, IfNoneMatch, Json, Path, RequestId, etag};
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::policy::allow_write;
use undercroft::store::records::Change;

/// How far a client's clock may be ahead of ours, in milliseconds.
const CLOCK_DIFFERENCE: u64 = 60_000;

/// Replaces or makes a record.
#[allow(clippy::too_many_arguments, reason = "each argument is one thing the request says")]
pub async fn replace(
    State(app): State<App>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
    if_match: IfMatch,
    if_none_match: IfNoneMatch,
    Extension(request): Extension<RequestId>,
    Json(mut body): Json<Map<String, Value>>,
) -> Result<Response> {
    match (if_match.is_sent(), if_none_match) {
        (true, _) => {}
        (false, IfNoneMatch::Any) => return make(&app, &caller, &name, id, body, &request.0).await,
        _ => {
            return Err(Error::PreconditionRequired(
                "send If-Match with the record's ETag to replace it, or If-None-Match: * to make it",
            ));
        }
    }
    let collection = app.writable(&name, &caller, Rule::Update).await?;
    let ask = |body: &Map<String, Value>| {
        allow_write(&caller, Rule::Update, &collection, app.clock.millis(), Input::Whole(body))
    };
    ask(&body)?;
    let id = input::record_id(&id)?;
    input::strip(&collection, &caller, Some(id), &mut body)?;
    let targets = input::targets(&app, &collection, &caller, &body).await?;
    let grant = ask(&body)?;
    let record = app.records.change(&grant, id, Change::Replace(&body), &if_match, &targets, &request.0).await?;
    let tag = etag(record.version, grant.sees_all());
    Ok(([(ETAG, tag)], axum::Json(record.shown(&grant))).into_response())
}

async fn make(
    app: &App,
    caller: &Caller,
    name: &str,
    id: String,
    mut body: Map<String, Value>,
    request: &str,
) -> Result<Response> {
    match id::millis(&id) {
        None => return Err(Error::bad_request("id", "an id is a UUIDv7 in lower case with hyphens (RFC 9562)")),
        Some(made) if made > app.clock.millis() + CLOCK_DIFFERENCE => {
            return Err(Error::bad_request("id", "the time in this id has not come yet: createdAt is taken from it"));
        }
        Some(_) => {}
    }
    if body.get("id").and_then(Value::as_str) == Some(&id) {
        body.remove("id");
    }
    create::make(app, caller, name, id, body, request).await
}
