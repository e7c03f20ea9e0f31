//! `GET /v1/collections/{collection}/schema` -> the JSON Schema (2020-12) of a record as the caller sees it, for code
//! generators. Whoever may list, read or create records may know what they look like.

use crate::{App, absent};
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::response::IntoResponse;
use serde_json::{Map, Value};
use std::sync::Arc;
use undercroft::expr::{Input, Rule};
use undercroft::http::{Bearer, Conditional, HandlerResult, Path};
use undercroft::identity::Caller;
use undercroft::policy::allow;
use undercroft::preconditions::etag;
use undercroft::schema::Collection;

/// Tells the schema.
pub async fn schema(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Path(name): Path<String>,
    Conditional(preconditions): Conditional,
) -> HandlerResult {
    let collection = app.collection(&name, &caller, Rule::List).await?;
    if !may_know(&caller, &collection, app.clock.millis()) {
        return Err(absent(&caller, Rule::List).into());
    }
    let definition = collection.definition();
    let tag = etag(definition.version, caller.is_admin());
    if preconditions.hold_read(definition.version, &tag)? {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    let mut schema = definition.record_schema(caller.is_admin());
    if let Some(members) = schema.as_object_mut() {
        members.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        members.entry("title").or_insert_with(|| Value::from(name));
    }
    let headers = [(ETAG, tag), (CONTENT_TYPE, "application/schema+json".to_owned())];
    Ok((headers, schema.to_string()).into_response())
}

/// Whether the caller could do any of the three to some record. What a new one would hold is not known yet, so a `create` rule
/// is asked as of a patch that says nothing.
fn may_know(caller: &Caller, collection: &Arc<Collection>, now: u64) -> bool {
    let nothing = Map::new();
    let reads =
        [Rule::List, Rule::Read].into_iter().any(|rule| allow(caller, rule, collection, now, Input::None).is_ok());
    reads || allow(caller, Rule::Create, collection, now, Input::Patch(&nothing)).is_ok()
}
