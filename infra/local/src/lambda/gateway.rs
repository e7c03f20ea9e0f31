//! The HTTP API: the template's routes, and Lambda's `Invoke` for programs on this machine.
//!
//! Host check -> origin check (only pages of allowed origins and of this address) -> route -> event -> function -> response.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::api_event;
use super::functions::Lambda;
use super::invocation::InvokeError;
use crate::origin_check;
use crate::template::Route;

/// API Gateway's limit on a request body.
const MAXIMUM_BODY: usize = 10 * 1024 * 1024;
/// Content types that a browser sends without a CORS preflight.
const WITHOUT_PREFLIGHT: [&str; 3] = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

/// The HTTP API.
#[derive(Debug)]
struct Gateway {
    lambda: Arc<Lambda>,
    /// Origins whose pages may send requests.
    origins: Vec<String>,
}

/// Serves these routes for as long as it is polled. `origins` is a comma-separated list.
pub async fn serve(listener: TcpListener, lambda: Arc<Lambda>, routes: &[Route], origins: &str) {
    let origins = origins.split(',').map(|origin| origin.trim().to_owned()).collect();
    let router = router(Arc::new(Gateway { lambda, origins }), routes);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let _ = axum::serve(listener, router).await;
}

fn router(gateway: Arc<Gateway>, routes: &[Route]) -> Router {
    let served = routes.iter().fold(Router::new(), |router, route| {
        let path = route.path.replace("{proxy+}", "{*proxy}");
        let route = Arc::new(route.clone());
        let serve = move |State(gateway): State<Arc<Gateway>>, parameters: RawPathParams, request: Request| async move {
            gateway.respond(&route, &parameters, request).await
        };
        router.route(&path, any(serve))
    });
    served
        .route("/2015-03-31/functions/{function}/invocations", post(invoke))
        .fallback(no_route)
        .layer(middleware::from_fn_with_state(Arc::clone(&gateway), check_origin))
        .with_state(gateway)
}

/// API Gateway's response when no route matches.
async fn no_route() -> Response {
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, "application/json")], r#"{"message":"Not Found"}"#).into_response()
}

/// Rejects requests of foreign pages.
async fn check_origin(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    if !origin_check::is_local_host(request.headers(), request.uri()) {
        return problem(
            StatusCode::FORBIDDEN,
            "foreign_host",
            origin_check::FORBIDDEN_HOST.trim_end(),
            &Uuid::new_v4().to_string(),
        );
    }
    match gateway.allows(request.method(), request.headers()) {
        true => next.run(request).await,
        false => {
            let why = "this origin may not call the API: add it to the parameter AllowedOrigins in template.yaml";
            problem(StatusCode::FORBIDDEN, "foreign_origin", why, &Uuid::new_v4().to_string())
        }
    }
}

impl Gateway {
    fn allows(&self, method: &Method, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match text("origin") {
            Some(origin) => self.lists(origin) || is_same_origin(origin, headers),
            None if headers.contains_key(header::ORIGIN) => false,
            // Without Origin, a browser sends Sec-Fetch-Site. Following a link is allowed: it only reads.
            None => match text("sec-fetch-site") {
                None | Some("same-origin" | "none") => true,
                Some(_) => method == Method::GET && text("sec-fetch-mode") == Some("navigate"),
            },
        }
    }

    fn lists(&self, origin: &str) -> bool {
        !["", "*", "null"].contains(&origin) && self.origins.iter().any(|allowed| allowed == origin)
    }

    async fn respond(&self, route: &Route, parameters: &RawPathParams, request: Request) -> Response {
        let origin = request.headers().get(header::ORIGIN).cloned();
        let mut response = self.invoke(route, parameters, request).await.unwrap_or_else(|problem| problem);
        // Let an allowed page read the gateway's own errors; the functions set the CORS headers of their own responses.
        if let Some(origin) = origin.filter(|_| response.extensions().get::<GatewayResponse>().is_some()) {
            response.headers_mut().insert(header::VARY, HeaderValue::from_static("Origin"));
            if origin.to_str().is_ok_and(|origin| self.lists(origin)) {
                response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                let exposed = HeaderValue::from_static("x-request-id, retry-after");
                response.headers_mut().insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            }
        }
        response
    }

    async fn invoke(&self, route: &Route, parameters: &RawPathParams, request: Request) -> Result<Response, Response> {
        let id = Uuid::new_v4().to_string();
        let (parts, body) = request.into_parts();
        let too_large = |_| problem(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is larger than 10 MB", &id);
        let body = to_bytes(body, MAXIMUM_BODY).await.map_err(too_large)?;
        let parameters = parameters.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let key = format!("{} {}", route.method, route.path);
        let event =
            api_event::from_request(&parts, &body, api_event::RouteMatch { route: &key, parameters, request_id: &id });
        let answer = self.lambda.call(&route.function, &id, event.to_string().into()).await;
        let answer = answer.map_err(|why| invoke_problem(&route.function, &why, &id))?;
        api_event::into_http(&answer).ok_or_else(|| {
            problem(
                StatusCode::INTERNAL_SERVER_ERROR,
                "function_failed",
                "the function's response is not a valid HTTP response of payload format 2.0",
                &id,
            )
        })
    }
}

/// Whether the origin is this address itself, as for the page `/docs`.
fn is_same_origin(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| origin.strip_prefix("http://") == Some(host))
}

/// Marks a response that was made by the gateway and not by a function.
#[derive(Debug, Clone, Copy)]
struct GatewayResponse;

fn invoke_problem(function: &str, error: &InvokeError, id: &str) -> Response {
    match error {
        InvokeError::Function(_) | InvokeError::NotFound => {
            let detail = format!("the function {function} failed: see its log in the output of `cargo dev`");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "function_failed", &detail, id)
        }
        InvokeError::Unavailable | InvokeError::Exited(_) => {
            let detail = format!("{function}: {error}. Retry in a second");
            let mut response = problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &detail, id);
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            response
        }
    }
}

fn problem(status: StatusCode, code: &str, detail: &str, id: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "code": code, "detail": detail,
        "requestId": id });
    let mut response = (status, Body::from(body.to_string())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert("x-request-id", id);
    }
    response.extensions_mut().insert(GatewayResponse);
    response
}

/// Lambda's `Invoke`, for `cargo lambda invoke` and other programs on this machine. Web pages may not use it, whatever their
/// origin: functions trust their events.
async fn invoke(
    State(gateway): State<Arc<Gateway>>,
    Path(function): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if origin_check::is_from_browser(&headers) || WITHOUT_PREFLIGHT.contains(&kind.as_str()) {
        return lambda_error(
            StatusCode::FORBIDDEN,
            "AccessDeniedException",
            "only programs may invoke functions, not browsers",
        );
    }
    if headers.get("x-amz-invocation-type").is_some_and(|kind| kind != "RequestResponse") {
        let why = "only the InvocationType RequestResponse is supported by the local cloud";
        return lambda_error(StatusCode::BAD_REQUEST, "InvalidParameterValueException", why);
    }
    let name = function.rsplit(':').next().unwrap_or_default();
    match gateway.lambda.call(name, &Uuid::new_v4().to_string(), body).await {
        Ok(answer) => (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], answer).into_response(),
        Err(InvokeError::Function(payload)) => {
            let failed = (HeaderName::from_static("x-amz-function-error"), HeaderValue::from_static("Unhandled"));
            (StatusCode::OK, [failed], payload).into_response()
        }
        Err(InvokeError::NotFound) => {
            lambda_error(StatusCode::NOT_FOUND, "ResourceNotFoundException", &format!("Function not found: {name}"))
        }
        Err(why) => lambda_error(StatusCode::SERVICE_UNAVAILABLE, "ServiceException", &why.to_string()),
    }
}

fn lambda_error(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({ "Message": message }).to_string();
    (status, [("x-amzn-errortype", code), ("content-type", "application/json")], body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let names =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        is_admitted(&method, &names.collect())
    }

    fn is_admitted(method: &Method, headers: &HeaderMap) -> bool {
        // No function is invoked in this test.
        let origins = vec!["http://localhost:3000".to_owned(), "*".to_owned(), "null".to_owned(), String::new()];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lambda = Arc::new(runtime.block_on(Lambda::new(Vec::new(), 1)).unwrap());
        Gateway { lambda, origins }.allows(method, headers)
    }

    #[test]
    fn only_pages_of_allowed_origins_and_of_this_address_may_call() {
        let host = ("host", "localhost:9000");
        assert!(admits(Method::POST, &[host]), "a program");
        assert!(admits(Method::POST, &[host, ("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")]));
        assert!(admits(Method::POST, &[host, ("origin", "http://localhost:9000"), ("sec-fetch-site", "same-origin")]));
        assert!(admits(Method::GET, &[host, ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "no-cors")]));
        assert!(admits(Method::GET, &[host, ("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")]));
        assert!(admits(Method::GET, &[host, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
        for origin in ["https://evil.example", "null", "*", "", "http://localhost:3001", "http://localhost:9000.evil"] {
            assert!(!admits(Method::POST, &[host, ("origin", origin)]), "{origin:?}");
            assert!(!admits(Method::OPTIONS, &[host, ("origin", origin)]), "{origin:?}");
        }
        for site in ["cross-site", "same-site"] {
            assert!(!admits(Method::GET, &[host, ("sec-fetch-site", site), ("sec-fetch-mode", "no-cors")]), "{site}");
            assert!(!admits(Method::POST, &[host, ("sec-fetch-site", site), ("sec-fetch-mode", "navigate")]), "{site}");
        }
    }
}
