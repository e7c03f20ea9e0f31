//! The query parameters and conditional headers that each route accepts. The edge refuses others by name before the handler
//! runs, because silently ignoring a parameter or a condition would be misleading.

use crate::error::{Error, Result};
use crate::routes::Route;
use axum::extract::{MatchedPath, Query, Request};
use axum::http::{Method, Uri};
use std::sync::Arc;

/// The inputs that the routes of a function accept, from the columns of the [table](crate::routes) that the edge can check.
#[derive(Debug, Clone, Default)]
pub(super) struct AllowedInputs(Arc<[Allowed]>);

/// The inputs that one route accepts.
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
    /// The inputs that these routes accept.
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

    /// The inputs of a request's route. The names of its query parameters are checked by its handler's
    /// [`Query`](super::Query).
    fn find(&self, request: &Request) -> Option<&Allowed> {
        let path = request.extensions().get::<MatchedPath>()?.as_str();
        let method = if *request.method() == Method::HEAD { &Method::GET } else { request.method() };
        self.0.iter().find(|allowed| allowed.method == method && allowed.path == path)
    }

    /// Whether the route of a request stores its response for an `Idempotency-Key`.
    pub fn take_key(&self, request: &Request) -> bool {
        self.find(request).is_none_or(|allowed| allowed.idempotency_key)
    }

    /// Refuses inputs that the request's route does not accept, independently of the caller and of stored data.
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
            let detail = format!("This request accepts no query parameters. Leave out `{name}`.");
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

/// The maximum length of a parameter name quoted in an error, in characters.
const MAX_NAME: usize = 100;

fn first_parameter(uri: &Uri) -> Option<String> {
    uri.query().filter(|query| !query.is_empty())?;
    let Query(sent) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    sent.first().map(|(name, _)| name.chars().take(MAX_NAME).collect())
}

fn not_offered(header: &str) -> String {
    format!(
        "{header} does not apply to this request. Leave it out. Records and definitions accept it at their own path; to create \
         one only if it does not exist, send PUT with If-None-Match: *."
    )
}
