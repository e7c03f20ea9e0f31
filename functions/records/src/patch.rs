//! `PATCH /v1/collections/{collection}/records/{id}`: a JSON Merge Patch (RFC 7396) -> the changed record and its `ETag`.
//!
//! One round trip where schema and rule can be held without the stored record; else it is read first.

use crate::{App, input};
use axum::Extension;
use axum::extract::State;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use undercroft::error::{Error, Result};
use undercroft::expr::{Input, Rule};
use undercroft::http::{IfMatch, MergePatch, Path, RequestId, etag};
use undercroft::identity::Caller;
use undercroft::policy::allow_write;
use undercroft::store::records::Change;

/// Changes some members of a record.
pub async fn patch(
    State(app): State<App>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
    if_match: IfMatch,
    Extension(request): Extension<RequestId>,
    MergePatch(mut patch): MergePatch,
) -> Result<Response> {
    let collection = app.writable(&name, &caller, Rule::Update).await?;
    let now = app.clock.millis();
    allow_write(&caller, Rule::Update, &collection, now, Input::Patch(&patch))?;
    let id = input::record_id(&id)?;
    input::strip(&collection, &caller, Some(id), &mut patch)?;

    let targets = input::targets(&app, &collection, &caller, &patch).await?;
    let is_blind = targets.is_empty()
        && collection.can_patch_blind(&patch)
        && !patch.keys().any(|name| collection.write_once(name));
    if is_blind {
        collection.validate_patch(&patch).map_err(Error::Invalid)?;
        collection.canonicalise(&mut patch);
    }
    let grant = allow_write(&caller, Rule::Update, &collection, now, Input::Patch(&patch))?;
    let blind = if is_blind { app.records.patch_blind(&grant, id, &patch, &if_match, &request.0).await? } else { None };
    let record = match blind {
        Some(record) => record,
        None => app.records.change(&grant, id, Change::Merge(&patch), &if_match, &targets, &request.0).await?,
    };
    let tag = etag(record.version, grant.sees_all());
    Ok(([(ETAG, tag)], axum::Json(record.shown(&grant))).into_response())
}
