//! `GET /v1/collections/{collection}/records/{id}` -> the record and its `ETag`. One round trip, half a read unit.

use crate::{App, input};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use undercroft::error::{Error, Result};
use undercroft::expr::Rule;
use undercroft::http::{IfMatch, IfNoneMatch, Path, Query, etag};
use undercroft::identity::Caller;
use undercroft::policy::allow;

/// Parameters of a read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Sees every write that was answered before, at twice the price.
    #[serde(default)]
    consistent: bool,
    expand: Option<String>,
}

/// Reads a record.
pub async fn read(
    State(app): State<App>,
    caller: Caller,
    Path((name, id)): Path<(String, String)>,
    Query(options): Query<Options>,
    if_match: IfMatch,
    if_none_match: IfNoneMatch,
) -> Result<Response> {
    if options.expand.is_some() {
        return Err(Error::NotBuilt("expand"));
    }
    let collection = app.collection(&name, &caller, Rule::Read).await?;
    let grant = allow(&caller, Rule::Read, &collection, app.clock.millis())?;
    let record =
        app.records.get(&grant, input::record_id(&id)?, options.consistent).await?.ok_or(Error::NotFound("record"))?;
    // RFC 9110 section 13.2.2: If-Match first, then If-None-Match.
    if !if_match.allows(record.version) {
        return Err(Error::PreconditionFailed("the record is not of the version in If-Match: read it again"));
    }
    let tag = etag(record.version, grant.sees_all());
    if if_none_match.matches(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag)], axum::Json(record.shown(&grant))).into_response())
}
