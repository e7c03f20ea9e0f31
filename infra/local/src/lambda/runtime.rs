//! Lambda's Runtime API: a function asks here for its next event, and brings its answer. Every instance has an address of its
//! own, which holds a secret of this run: no page and no other program knows where to ask.

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

use super::pool::{Handed, Outcome};
use super::{Failed, Function, Lambda};
use crate::host;
use crate::mapping::MAXIMUM_EVENT;
use crate::template::{ACCOUNT, REGION};

/// Which instance asks: the secret, the function, and its number.
type Instance = (String, String, u64);

/// Serves for as long as it is polled.
pub async fn serve(listener: TcpListener, lambda: Arc<Lambda>) {
    let base = "/{secret}/{function}/{instance}/2018-06-01/runtime";
    let router = Router::new()
        .route(&format!("{base}/invocation/next"), get(next))
        .route(&format!("{base}/invocation/{{id}}/response"), post(response))
        .route(&format!("{base}/invocation/{{id}}/error"), post(error))
        .route(&format!("{base}/init/error"), post(init_error))
        .layer(axum::middleware::from_fn(for_functions))
        .with_state(lambda);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    let _ = axum::serve(listener, router).await;
}

impl Lambda {
    /// Where an instance asks.
    pub(super) fn runtime_address(&self, function: &str, number: u64) -> String {
        format!("{}/{}/{function}/{number}", self.runtime, self.secret)
    }

    fn asking(&self, (secret, function, _): &Instance) -> Result<&Function, StatusCode> {
        self.functions.get(function).filter(|_| *secret == self.secret).ok_or(StatusCode::FORBIDDEN)
    }
}

async fn for_functions(request: Request, next: axum::middleware::Next) -> Response {
    if !host::is_this_machine(request.headers(), request.uri()) || host::is_from_a_page(request.headers()) {
        return (StatusCode::FORBIDDEN, "this address is for functions\n").into_response();
    }
    next.run(request).await
}

async fn next(State(lambda): State<Arc<Lambda>>, Path(instance): Path<Instance>) -> Result<Response, StatusCode> {
    let function = lambda.asking(&instance)?;
    let asked = function.pool.next(instance.2).ok_or(StatusCode::FORBIDDEN)?;
    // The channel closes with the instance.
    let handed = asked.await.map_err(|_| StatusCode::GONE)?;
    Ok(event(&instance.1, handed))
}

fn event(function: &str, handed: Handed) -> Response {
    let deadline = handed.deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let trace = Uuid::new_v4().simple().to_string();
    let (time, rest) = trace.split_at(8);
    let headers = [
        ("lambda-runtime-aws-request-id", handed.id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("lambda-runtime-invoked-function-arn", format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}")),
        ("lambda-runtime-trace-id", format!("Root=1-{time}-{rest};Sampled=0")),
        (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
    ];
    let mut response = Response::new(Body::from(handed.event));
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
    let function = lambda.asking(&(secret, function, number))?;
    match to_bytes(request.into_body(), MAXIMUM_EVENT).await {
        Ok(answer) => Ok(settle(function, number, &id, Ok(answer))),
        Err(_) => {
            let why = json!({ "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": format!("Response payload size exceeded maximum allowed payload size ({MAXIMUM_EVENT} bytes).") });
            settle(function, number, &id, Err(Failed::Function(why.to_string().into())));
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        }
    }
}

async fn error(
    State(lambda): State<Arc<Lambda>>,
    Path((secret, function, number, id)): Path<(String, String, u64, String)>,
    body: Bytes,
) -> Result<Response, StatusCode> {
    let function = lambda.asking(&(secret, function, number))?;
    Ok(settle(function, number, &id, Err(Failed::Function(body))))
}

/// The process is about to end; why is in its log as well.
async fn init_error(
    State(lambda): State<Arc<Lambda>>,
    Path(instance): Path<Instance>,
    body: Bytes,
) -> Result<Response, StatusCode> {
    lambda.asking(&instance)?;
    eprintln!("undercroft: {} cannot start: {}", instance.1, String::from_utf8_lossy(&body));
    Ok(accepted())
}

fn settle(function: &Function, number: u64, id: &str, outcome: Outcome) -> Response {
    function.pool.settle(number, id, outcome);
    accepted()
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, r#"{"status":"OK"}"#).into_response()
}
