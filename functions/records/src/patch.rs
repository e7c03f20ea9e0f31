//! `PATCH /v1/collections/{collection}/records/{id}`: a JSON Merge Patch (RFC 7396) -> the changed record and its `ETag`.
//!
//! One round trip where schema and rule can be held without the stored record; else it is read first.

use crate::{App, answer, intent};
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use undercroft::error::Result;
use undercroft::http::{Keyed, MergePatch, Path, Preconditions, RequestId};
use undercroft::identity::Caller;

/// Changes some members of a record.
pub async fn patch(
    State(app): State<App>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
    preconditions: Preconditions,
    keyed: Keyed,
    Extension(request): Extension<RequestId>,
    MergePatch(patch): MergePatch,
) -> Result<Response> {
    let intent = intent::merge(&app, &caller, (&name, &id), patch, preconditions);
    answer::write(&app, &caller, &keyed, &request.0, intent).await
}
