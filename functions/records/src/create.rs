//! `POST /v1/collections/{collection}/records` -> 201, `Location`, `ETag` and the record.

use crate::{App, input};
use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{ETAG, LOCATION};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};
use std::sync::Arc;
use undercroft::error::{Error, Result};
use undercroft::expr::{Input, Rule};
use undercroft::http::{Json, Path, RequestId, etag};
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::policy::{Grant, allow_write};
use undercroft::schema::Collection;

/// Creates a record with an id of the server's.
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Path(name): Path<String>,
    Extension(request): Extension<RequestId>,
    Json(body): Json<Map<String, Value>>,
) -> Result<Response> {
    let id = id::new(&app.clock);
    make(&app, &caller, &name, id, body, &request.0).await
}

/// Creates a record with this id.
pub async fn make(
    app: &App,
    caller: &Caller,
    name: &str,
    id: String,
    body: Map<String, Value>,
    request: &str,
) -> Result<Response> {
    let collection = app.writable(name, caller, Rule::Create).await?;
    let (grant, data) = grant(app, caller, &collection, body)?;
    let targets = input::targets(app, &collection, caller, &data).await?;
    let record = app.records.create(&grant, id, data, &targets, request).await?;
    let location = format!("/v1/collections/{name}/records/{}", record.id);
    let headers = [(LOCATION, location), (ETAG, etag(record.version, grant.sees_all()))];
    Ok((StatusCode::CREATED, headers, axum::Json(record.shown(&grant))).into_response())
}

/// Validates the data and asks for the grant to write it. Who could never create hears nothing of the schema.
fn grant(
    app: &App,
    caller: &Caller,
    collection: &Arc<Collection>,
    mut data: Map<String, Value>,
) -> Result<(Grant, Map<String, Value>)> {
    let now = app.clock.millis();
    let ask = |data: &Map<String, Value>| allow_write(caller, Rule::Create, collection, now, Input::Whole(data));
    if let Err(error @ (Error::Unauthenticated(_) | Error::NotFound(_))) = ask(&data) {
        return Err(error);
    }
    input::strip(collection, caller, None, &mut data)?;
    collection.apply_defaults(&mut data);
    collection.validate(&data).map_err(Error::Invalid)?;
    collection.canonicalise(&mut data);
    Ok((ask(&data)?, data))
}
