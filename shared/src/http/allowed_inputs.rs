//! What a route takes besides its path, its body and a key. Everything else is refused by name at the edge, before anything is
//! done: a parameter or a condition that was ignored would look as if it had been heard.

use crate::error::{Error, Result};
use axum::extract::{MatchedPath, Query, Request};
use axum::http::{Method, Uri};

/// What a route may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    /// Parameters in the query. Which ones, and that each is sent once, its handler's [`Query`](super::Query) knows.
    Query,
    /// `If-Match`.
    IfMatch,
    /// `If-None-Match`.
    IfNoneMatch,
}

/// What the routes of a function take, by method and path as in its router. A route that is not here takes nothing.
pub type Takes = &'static [(Method, &'static str, &'static [Extra])];

/// The longest name of a parameter that is repeated to whoever sent it, in characters.
const MAX_NAME: usize = 100;

/// Refuses what the route of a request does not take: the same to whoever asks, and whatever is there.
///
/// # Errors
/// `BadRequest`, naming the parameter or the header.
pub(super) fn check(takes: Takes, request: &Request) -> Result<()> {
    // No route, and so nothing to say of what it takes.
    let Some(path) = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str) else { return Ok(()) };
    let method = if *request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let route = takes.iter().find(|(known, route, _)| known == method && *route == path);
    let takes = |extra| route.is_some_and(|(.., extras)| extras.contains(&extra));
    if !takes(Extra::Query)
        && let Some(name) = first_parameter(request.uri())
    {
        let detail = format!("`{name}` is no parameter of this request, which takes none: leave it out");
        return Err(Error::bad_request("query", detail));
    }
    for (name, extra) in [("If-Match", Extra::IfMatch), ("If-None-Match", Extra::IfNoneMatch)] {
        if request.headers().contains_key(name) && !takes(extra) {
            return Err(Error::bad_request("condition_not_offered", not_offered(name)));
        }
    }
    Ok(())
}

fn first_parameter(uri: &Uri) -> Option<String> {
    uri.query().filter(|query| !query.is_empty())?;
    let Query(sent) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    sent.first().map(|(name, _)| name.chars().take(MAX_NAME).collect())
}

fn not_offered(header: &str) -> String {
    format!(
        "{header} has nothing to be held against here: leave it out. Records and definitions take it at their own path; to \
         make one only where there is none, PUT it with If-None-Match: *"
    )
}
