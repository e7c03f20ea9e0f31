//! Lambda's Runtime API: a function's process requests its next event here and posts its response. Each execution environment
//! has its own address, which contains a secret, so that web pages and other programs cannot use it.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::functions::{Lambda, LambdaFunction};
use super::invocation::{InvokeError, InvokeResult};
use super::pool::Invocation;
use crate::event_source::MAXIMUM_EVENT;
use crate::origin_check;
use crate::template::{ACCOUNT, REGION};

/// The path parameters of an execution environment's address: secret, function, and number.
type EnvironmentPath = (String, String, u64);

/// Serves for as long as it is polled.
pub async fn serve(listener: TcpListener, lambda: Arc<Lambda>) {
    let base = "/{secret}/{function}/{environment}/2018-06-01/runtime";
    let router = Router::new()
        .route(&format!("{base}/invocation/next"), get(next))
        .route(&format!("{base}/invocation/{{id}}/response"), post(response))
        .route(&format!("{base}/invocation/{{id}}/error"), post(error))
        .route(&format!("{base}/init/error"), post(init_error))
        .layer(axum::middleware::from_fn(functions_only))
        .with_state(lambda);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let _ = axum::serve(listener, router).await;
}

fn authorize<'a>(
    lambda: &'a Lambda,
    (secret, function, _): &EnvironmentPath,
) -> Result<&'a LambdaFunction, StatusCode> {
    lambda.authorized_function(secret, function).ok_or(StatusCode::FORBIDDEN)
}

async fn functions_only(request: Request, next: axum::middleware::Next) -> Response {
    if !origin_check::is_local_host(request.headers(), request.uri())
        || origin_check::is_from_browser(request.headers())
    {
        return (StatusCode::FORBIDDEN, "only functions may use this address\n").into_response();
    }
    next.run(request).await
}

async fn next(
    State(lambda): State<Arc<Lambda>>,
    Path(environment): Path<EnvironmentPath>,
) -> Result<Response, StatusCode> {
    let function = authorize(&lambda, &environment)?;
    let event = function.pool.next(environment.2).ok_or(StatusCode::FORBIDDEN)?;
    // The channel is closed when the execution environment is removed.
    let invocation = event.await.map_err(|_| StatusCode::GONE)?;
    Ok(next_event(&environment.1, invocation))
}

fn next_event(function: &str, invocation: Invocation) -> Response {
    let deadline = invocation.deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let trace = Uuid::new_v4().simple().to_string();
    let (time, rest) = trace.split_at(8);
    let headers = [
        ("lambda-runtime-aws-request-id", invocation.id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}")),
        ("lambda-runtime-trace-id", format!("Root=1-{time}-{rest};Sampled=0")),
        (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
    ];
    let mut response = Response::new(Body::from(invocation.event));
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

async fn response(
    State(lambda): State<Arc<Lambda>>,
    Path((secret, function, number, id)): Path<(String, String, u64, String)>,
    request: Request,
) -> Result<Response, StatusCode> {
    let function = authorize(&lambda, &(secret, function, number))?;
    match to_bytes(request.into_body(), MAXIMUM_EVENT).await {
        Ok(answer) => Ok(complete(function, number, &id, Ok(answer))),
        Err(_) => {
            let error = json!({ "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": format!("Response payload size exceeded maximum allowed payload size ({MAXIMUM_EVENT} bytes).") });
            complete(function, number, &id, Err(InvokeError::Function(error.to_string().into())));
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        }
    }
}

async fn error(
    State(lambda): State<Arc<Lambda>>,
    Path((secret, function, number, id)): Path<(String, String, u64, String)>,
    body: Bytes,
) -> Result<Response, StatusCode> {
    let function = authorize(&lambda, &(secret, function, number))?;
    Ok(complete(function, number, &id, Err(InvokeError::Function(body))))
}

/// The process will exit. It has logged the reason as well.
async fn init_error(
    State(lambda): State<Arc<Lambda>>,
    Path(environment): Path<EnvironmentPath>,
    body: Bytes,
) -> Result<Response, StatusCode> {
    authorize(&lambda, &environment)?;
    eprintln!("undercroft: {} cannot start: {}", environment.1, String::from_utf8_lossy(&body));
    Ok(accepted())
}

fn complete(function: &LambdaFunction, number: u64, id: &str, result: InvokeResult) -> Response {
    function.pool.complete(number, id, result);
    accepted()
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, r#"{"status":"OK"}"#).into_response()
}
