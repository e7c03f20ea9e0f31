//! Allowed browser origins (the Fetch standard's CORS protocol): a fixed list from one template parameter. The functions
//! enforce it themselves, so it works the same locally and in the cloud.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// How long a browser may cache a preflight, in seconds. Chromium caps it at two hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, if-match, if-none-match, idempotency-key");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("etag, location, x-request-id, undercroft-cost, retry-after, www-authenticate");

/// The allowed origins, compared exactly (RFC 6454).
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Parses a comma-separated list. Leaves out `*` and `null`, which name no origin.
    pub fn parse(list: &str) -> Self {
        let origins = list.split(',').map(str::trim).filter(|origin| !matches!(*origin, "" | "*" | "null"));
        Self(origins.map(str::to_owned).collect())
    }

    fn contains(&self, origin: Option<&HeaderValue>) -> bool {
        origin.is_some_and(|origin| self.0.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()))
    }

    /// The response to a preflight, if the request is one. An origin that is not allowed gets no CORS headers.
    pub fn preflight(&self, request: &Request) -> Option<Response> {
        let headers = request.headers();
        let asks = request.method() == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        asks.then(|| {
            let mut response = StatusCode::NO_CONTENT.into_response();
            if self.contains(headers.get(header::ORIGIN)) {
                let answer = response.headers_mut();
                answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
                answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
                answer.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            }
            response
        })
    }

    /// Allows a listed origin to read the response.
    pub fn allow(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        if let Some(origin) = origin
            && self.contains(Some(origin))
        {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}
