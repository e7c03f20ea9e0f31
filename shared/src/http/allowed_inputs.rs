//! What a route takes besides its path, its body and a key. Everything else is refused by name at the edge, before anything is
//! done: a parameter or a condition that was ignored would look as if it had been heard.

use crate::error::{Error, Result};
use crate::routes::Route;
use axum::extract::{MatchedPath, Query, Request};
use axum::http::{Method, Uri};
use std::sync::Arc;

/// What the routes of a function take: of each row of the [table](crate::routes) what can be checked at the edge.
#[derive(Debug, Clone, Default)]
pub(super) struct AllowedInputs(Arc<[Allowed]>);

/// What one route takes.
#[derive(Debug)]
struct Allowed {
    method: Method,
    path: &'static str,
    query: bool,
    if_match: bool,
    if_none_match: bool,
    idempotency_key: bool,
}

impl AllowedInputs {
    /// What these routes take.
    pub fn of(routes: &[Route]) -> Self {
        let allowed = |route: &Route| Allowed {
            method: route.method.to_uppercase().parse().unwrap_or_default(),
            path: route.path,
            query: route.takes_query(),
            if_match: route.takes_parameter("IfMatch"),
            if_none_match: route.takes_parameter("IfNoneMatch"),
            idempotency_key: route.takes_parameter("IdempotencyKey"),
        };
        Self(routes.iter().map(allowed).collect())
    }

    /// What the route of a request takes. Which parameters a query may have, its handler's [`Query`](super::Query) knows.
    fn find(&self, request: &Request) -> Option<&Allowed> {
        let path = request.extensions().get::<MatchedPath>()?.as_str();
        let method = if *request.method() == Method::HEAD { &Method::GET } else { request.method() };
        self.0.iter().find(|allowed| allowed.method == method && allowed.path == path)
    }

    /// Whether the route of a request stores its response for an `Idempotency-Key`.
    pub fn take_key(&self, request: &Request) -> bool {
        self.find(request).is_none_or(|allowed| allowed.idempotency_key)
    }

    /// Refuses what the route of a request does not take: the same whoever asks, and whatever is stored.
    ///
    /// # Errors
    /// `BadRequest`, naming the parameter or the header.
    pub fn check(&self, request: &Request) -> Result<()> {
        if request.extensions().get::<MatchedPath>().is_none() {
            return Ok(());
        }
        let allowed = self.find(request);
        if !allowed.is_some_and(|allowed| allowed.query)
            && let Some(name) = first_parameter(request.uri())
        {
            let detail = format!("`{name}` is no parameter of this request, which takes none: leave it out");
            return Err(Error::bad_request("query", detail));
        }
        let conditions = [
            ("If-Match", allowed.is_some_and(|allowed| allowed.if_match)),
            ("If-None-Match", allowed.is_some_and(|allowed| allowed.if_none_match)),
        ];
        match conditions.into_iter().find(|(name, is_taken)| request.headers().contains_key(*name) && !is_taken) {
            Some((name, _)) => Err(Error::bad_request("condition_not_offered", not_offered(name))),
            None => Ok(()),
        }
    }
}

/// The longest name of a parameter that is repeated to whoever sent it, in characters.
const MAX_NAME: usize = 100;

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
