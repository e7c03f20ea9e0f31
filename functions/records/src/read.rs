//! `GET /v1/collections/{collection}/records/{id}?expand=&consistent=` -> the record and its `ETag`. One round trip, half a
//! read unit, and one more trip for each level of `expand`.

use crate::expand::Expand;
use crate::{App, input};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::ETAG;
use axum::response::IntoResponse;
use serde::Deserialize;
use undercroft::error::Error;
use undercroft::expr::{Input, Rule};
use undercroft::http::{Bearer, Conditional, HandlerResult, Path, Query};
use undercroft::policy::allow;
use undercroft::preconditions::{Preconditions, etag, etag_of};

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
    Bearer(caller): Bearer,
    Path((name, id)): Path<(String, String)>,
    Query(options): Query<Options>,
    Conditional(Preconditions { if_match, if_none_match }): Conditional,
) -> HandlerResult {
    let collection = app.collection(&name, &caller, Rule::Read).await?;
    let grant = allow(&caller, Rule::Read, &collection, app.clock.millis(), Input::None)?;
    let expand = Expand::read(&app, &caller, &collection, options.expand.as_deref(), 1).await?;
    let record =
        app.records.get(&grant, input::record_id(&id)?, options.consistent).await?.ok_or(Error::NotFound("record"))?;
    // RFC 9110 section 13.2.2: If-Match first, then If-None-Match.
    if !if_match.allows(record.version) {
        return Err(Error::PreconditionFailed("the record is not of the version in If-Match: read it again").into());
    }
    let shown = vec![record.shown(&grant)];
    let shown = expand.onto(&app, std::slice::from_ref(&record), shown).await?.pop().unwrap_or_default();
    let tag = match expand.is_empty() {
        true => etag(record.version, grant.is_admin()),
        false => etag_of(record.version, grant.is_admin(), shown.to_string().as_bytes()),
    };
    if if_none_match.matches(&tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(([(ETAG, tag)], axum::Json(shown)).into_response())
}
