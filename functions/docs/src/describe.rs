//! `GET /openapi.json` and `GET /docs`: the description of the API as JSON and as HTML. Everybody gets the routes, admins
//! also the collections. The template's `ApiDocs` switches both off.

use crate::{App, openapi, page};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, VARY};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use undercroft::error::{Error, Result};
use undercroft::http::{Bearer, Conditional, HandlerResult, Query};
use undercroft::id;
use undercroft::identity::Caller;
use undercroft::preconditions::Preconditions;
use undercroft::schema::Definition;

/// Maximum size of the document, in bytes. Lambda's maximum answer is 6 MB.
const MAX_BYTES: usize = 5_000_000;

/// Parameters of both.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// Names of collections, separated by commas. All of them when absent.
    collections: Option<String>,
}

/// The document.
pub async fn openapi(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Query(options): Query<Options>,
    Conditional(known): Conditional,
) -> HandlerResult {
    let text = document(&app, &caller, &options).await?.to_string();
    Ok(answer(text, &[(CONTENT_TYPE, "application/json".to_owned())], &known)?)
}

/// The page made of it.
pub async fn docs(
    State(app): State<App>,
    Bearer(caller): Bearer,
    Query(options): Query<Options>,
    Conditional(known): Conditional,
) -> HandlerResult {
    let text = page::page(&document(&app, &caller, &options).await?);
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (CONTENT_SECURITY_POLICY, page::content_security_policy()),
    ];
    Ok(answer(text, &headers, &known)?)
}

async fn document(app: &App, caller: &Caller, options: &Options) -> Result<Value> {
    let visible = if caller.is_admin() { app.catalogue.definitions().await? } else { Arc::default() };
    let Some(asked) = &options.collections else { return Ok(openapi::document(&visible)) };
    let find = |name: &str| visible.iter().find(|definition| definition.name == name).cloned();
    let named: Option<Vec<Definition>> = asked.split(',').map(find).collect();
    Ok(openapi::document(&named.ok_or(Error::NotFound("collection"))?))
}

/// A cache may store it but must revalidate it, because other callers may see less.
fn answer(text: String, headers: &[(HeaderName, String)], known: &Preconditions) -> Result<Response> {
    if text.len() > MAX_BYTES {
        return Err(Error::refused(
            "too_large",
            "The document is too large with every collection. Name the ones you need, as in ?collections=tasks,users.",
        ));
    }
    let tag = format!("\"{}\"", id::sha256(text.as_bytes()));
    let status = if known.if_none_match.matches(&tag) { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let caching = [(ETAG, tag), (CACHE_CONTROL, "private, no-cache".to_owned()), (VARY, "Authorization".to_owned())];
    let mut response = if status == StatusCode::OK { text.into_response() } else { status.into_response() };
    // A browser replaces stored headers by those of a 304, so they are the same, except those about the body.
    let said = headers.iter().filter(|(name, _)| status == StatusCode::OK || *name != CONTENT_TYPE);
    for (name, value) in said.chain(&caching) {
        response.headers_mut().insert(name, value.parse().map_err(Error::internal)?);
    }
    Ok(response)
}
