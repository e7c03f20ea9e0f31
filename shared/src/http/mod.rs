//! The edge: what every HTTP function does before and after its handlers.
//!
//! `edge` assigns the request id, counts the cost, answers CORS preflights, turns every failure into a problem document, adds
//! the common headers, and writes one log line. Handlers do none of this.

mod allowed_inputs;
mod body;
mod caller;
mod conditional;
mod cors;
mod idempotency;
mod json;
mod method;
mod problem;
mod quoted;
mod response_limit;

pub use body::{Json, Patch, Path, Query};
pub use caller::{Admin, Bearer};
pub use conditional::Conditional;
pub use cors::Origins;
pub use idempotency::{IdempotencyKey, idempotent};
pub use json::parse as parse_json;
pub use problem::{HandlerResult, Problem, not_found};

use self::allowed_inputs::AllowedInputs;
use self::method::is_safe;
use crate::config::Env;
use crate::cost::{self, Cost};
use crate::error::{Error, Source};
use crate::id;
use crate::identity::Caller;
use crate::routes::Route;
use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{FutureExt as _, stream};
use lambda_http::{Context, RequestExt};
use std::cell::Cell;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

/// The id of the request, in its extensions: handlers store it with what they write.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// What the edge needs to know about its function.
#[derive(Debug, Clone)]
pub struct Edge {
    function: &'static str,
    origins: Origins,
    allowed: AllowedInputs,
}

impl Edge {
    /// The edge of `function` and its routes, with the origins in `ALLOWED_ORIGINS`.
    pub fn new(function: &'static str, routes: &[Route], env: &Env) -> Self {
        let origins = Origins::parse(env.optional("ALLOWED_ORIGINS").unwrap_or_default());
        Self { function, origins, allowed: AllowedInputs::of(routes) }
    }

    /// Accepts a request without duplicate headers and without inputs that its route does not accept.
    async fn admit(&self, request: Request) -> Result<Request, Error> {
        check_duplicates(request.headers())?;
        self.allowed.check(&request)?;
        let is_keyed = request.headers().contains_key(idempotency::HEADER) && !is_safe(request.method());
        // A route that stores no responses refuses a key instead of ignoring it.
        if is_keyed && !self.allowed.take_key(&request) { Err(NOT_OFFERED()) } else { idempotency::note(request).await }
    }

    /// Wraps the edge around a function's routes.
    pub fn around(self, routes: Router) -> Router {
        routes.fallback(not_found).layer(from_fn_with_state(self, edge))
    }
}

/// The error for a key on a route that stores no responses: see decision 24.
const NOT_OFFERED: fn() -> Error = || {
    Error::refused(
        "idempotency_not_offered",
        "This route accepts no Idempotency-Key because its responses contain tokens, which are never stored. Leave it out. \
         Signing up, refreshing and signing out can be sent again as they are; after a lost sign-in or verification, sign in.",
    )
};

/// Serves a function's routes to the Lambda runtime until the environment ends.
///
/// # Errors
/// When the runtime API cannot be reached.
pub async fn serve(routes: Router) -> Result<(), Source> {
    lambda_http::run(routes).await
}

/// The kind of caller, recorded when a handler extracts it.
struct Seen(Cell<&'static str>);

tokio::task_local! {
    static CALLER: Seen;
}

/// Records the kind of caller for the log line.
fn note_caller(kind: &'static str) {
    let _ = CALLER.try_with(|caller| caller.0.set(kind));
}

async fn edge(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(&request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let origin = request.headers().get(header::ORIGIN).cloned();
    request.extensions_mut().insert(RequestId(request_id.clone()));

    let preflight = edge.origins.preflight(&request);
    let work = CALLER.scope(Seen(Cell::new("unknown")), async {
        let response = match (preflight, edge.admit(request).await) {
            (Some(answer), _) => answer,
            (None, Err(error)) => Problem(error).into_response(),
            (None, Ok(request)) => response_limit::carried(run(request, next).await).await,
        };
        (response, CALLER.with(|caller| caller.0.get()))
    });
    let ((response, caller), cost) = cost::counted(work).await;

    let (response, outcome) = problem::finish(response, &request_id, &method);
    let mut response = without_length(response);
    edge.origins.allow(origin.as_ref(), response.headers_mut());
    join(response.headers_mut());
    // The cost of something hidden would reveal whether it exists.
    let absent = match response.status() {
        StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => true,
        // An invalid token was refused before any lookup; an anonymous request may have caused one.
        StatusCode::UNAUTHORIZED => caller == Caller::Anonymous.kind(),
        _ => false,
    };
    let hidden = caller != "admin" && (absent || cost.is_withheld());
    add_headers(response.headers_mut(), &request_id, (!hidden).then_some(&cost));
    let status = response.status().as_u16();
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        requestId = request_id,
        function = edge.function,
        caller,
        method = method.as_str(),
        route = route.as_deref().unwrap_or("none"),
        status,
        outcome,
        durationMs = millis,
        trips = cost.trips,
        rru = cost.rru,
        wru = cost.wru,
        "request"
    );
    response
}

/// Runs the handlers. A panic fails only this request (R121).
async fn run(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => Problem(Error::internal(panic_message(panic.as_ref()))).into_response(),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&'static str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panic: {}", text.unwrap_or("no message"))
}

/// Lambda's request id. A client's `x-request-id` is ignored (R90).
fn request_id(request: &Request) -> String {
    request
        .extensions()
        .get::<Context>()
        .map(|context| context.request_id.clone())
        .or_else(|| request.lambda_context_ref().map(|context| context.request_id.clone()))
        .filter(|id| !id.is_empty())
        .unwrap_or_else(|| id::new(&crate::clock::Clock::default()))
}

/// Refuses duplicates of headers that decide identity or idempotency instead of choosing one. API Gateway joins duplicate
/// headers with commas, so a comma outside quotes means the same (R89).
fn check_duplicates(headers: &HeaderMap) -> Result<(), Error> {
    for name in ["authorization", idempotency::HEADER, "content-type"] {
        let mut values = headers.get_all(name).iter();
        let first = values.next();
        if values.next().is_some() || first.is_some_and(|value| quoted::split(value.as_bytes(), b',').nth(1).is_some())
        {
            return Err(Error::bad_request(
                "duplicate_header",
                format!("The header {name} was sent more than once. Send it once."),
            ));
        }
    }
    Ok(())
}

fn add_headers(headers: &mut HeaderMap, request_id: &str, cost: Option<&Cost>) {
    let fixed = [
        (header::STRICT_TRANSPORT_SECURITY, "max-age=63072000; includeSubDomains"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in fixed {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let values = [("x-request-id", Some(request_id.to_owned())), ("undercroft-cost", cost.map(ToString::to_string))];
    for (name, value) in values {
        if let Some(Ok(value)) = value.as_deref().map(HeaderValue::from_str) {
            headers.insert(name, value);
        }
    }
}

/// Joins the values of each header, because Lambda's response to API Gateway has one for each name (RFC 9110 section 5.3).
fn join(headers: &mut HeaderMap) {
    let names: Vec<_> = headers.keys().filter(|name| headers.get_all(*name).iter().nth(1).is_some()).cloned().collect();
    for name in names {
        let values: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&values.join(&b", "[..])) {
            headers.insert(name, joined);
        }
    }
}

/// RFC 9110 section 8.6: a Content-Length in a 304 would be that of the omitted body. A body of unknown length keeps the
/// server from sending 0.
fn without_length(response: Response) -> Response {
    match response.status() {
        StatusCode::NOT_MODIFIED => {
            response.map(|_| Body::from_stream(stream::empty::<std::result::Result<Bytes, Infallible>>()))
        }
        _ => response,
    }
}

/// 204, for a request that succeeded without a response body.
pub fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}
