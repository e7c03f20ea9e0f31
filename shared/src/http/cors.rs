//! Which browsers may call (the Fetch standard's CORS protocol): a fixed list of origins, from one template parameter, the
//! same on the laptop and in the cloud because the functions enforce it themselves.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Seconds a browser may remember a preflight. Two hours is the most that Chromium honours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const REQUEST_HEADERS: HeaderValue =
    HeaderValue::from_static("authorization, content-type, if-match, if-none-match, idempotency-key");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("etag, location, x-request-id, undercroft-cost, retry-after, www-authenticate");

/// The origins that may call, compared exactly (RFC 6454).
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Parses a list separated by commas. `*` and `null` name no origin and are left out.
    pub fn parse(list: &str) -> Self {
        let origins = list.split(',').map(str::trim).filter(|origin| !matches!(*origin, "" | "*" | "null"));
        Self(origins.map(str::to_owned).collect())
    }

    fn contains(&self, origin: Option<&HeaderValue>) -> bool {
        origin.is_some_and(|origin| self.0.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()))
    }

    /// The answer to a preflight, if the request is one. An origin not on the list gets no permission and no explanation.
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

    /// Lets a listed origin read the answer.
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
