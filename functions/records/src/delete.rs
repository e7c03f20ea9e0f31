//! `DELETE /v1/collections/{collection}/records/{id}` -> 204. The record is gone for everybody at once.

use crate::{App, input};
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use undercroft::error::{Error, Result};
use undercroft::expr::Rule;
use undercroft::http::{IfMatch, Path, RequestId, no_content};
use undercroft::identity::Caller;
use undercroft::policy::allow;

/// Deletes a record.
pub async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
    if_match: IfMatch,
    Extension(request): Extension<RequestId>,
) -> Result<Response> {
    let collection = app.writable(&name, &caller, Rule::Delete).await?;
    let grant = allow(&caller, Rule::Delete, &collection, app.clock.millis())?;
    if name == "users" {
        return Err(Error::NotBuilt("erasing a user"));
    }
    app.records.delete(&grant, input::record_id(&id)?, &if_match, &request.0).await?;
    Ok(no_content())
}
