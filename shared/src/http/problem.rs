//! Problem documents (RFC 9457), and the table from error kinds to status codes.

use super::method::is_safe;
use crate::error::Error;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};

/// A handler's error, to be rendered as a problem document.
#[derive(Debug)]
pub struct Problem(pub Error);

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// The result of a handler.
pub type HandlerResult<T = Response> = Result<T, Problem>;

/// The response for a path without a route.
pub async fn not_found() -> Problem {
    Problem(Error::NotFound("route"))
}

/// A handler's error, carried in the response to the edge, which renders it.
#[derive(Clone)]
struct Failed(Arc<Mutex<Option<Error>>>);

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = status(&self.0).into_response();
        response.extensions_mut().insert(Failed(Arc::new(Mutex::new(Some(self.0)))));
        response
    }
}

/// The only table from error kinds to status codes.
fn status(error: &Error) -> StatusCode {
    match error {
        Error::BadRequest { .. } | Error::Invalid(_) => StatusCode::BAD_REQUEST,
        Error::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
        Error::Forbidden(_) => StatusCode::FORBIDDEN,
        Error::NotFound(_) => StatusCode::NOT_FOUND,
        Error::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Error::Conflict { .. } => StatusCode::CONFLICT,
        Error::Gone { .. } => StatusCode::GONE,
        Error::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
        Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::UnsupportedMediaType(_) | Error::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Error::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Error::Batch(errors) => errors.first().map_or(StatusCode::BAD_REQUEST, |(_, error)| status(error)),
        Error::PreconditionRequired(_) => StatusCode::PRECONDITION_REQUIRED,
        Error::NotBuilt(_) => StatusCode::NOT_IMPLEMENTED,
        Error::Unavailable { .. } | Error::OutcomeUnknown(_) => StatusCode::SERVICE_UNAVAILABLE,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Writes the problem document of a failed response and logs its internal cause. Also returns the outcome for the log.
pub fn finish(response: Response, request_id: &str, method: &Method) -> (Response, &'static str) {
    let failed = response.extensions().get::<Failed>().cloned();
    let error = failed.and_then(|failed| failed.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    let error = error.or_else(|| unrouted(&response));
    let Some(error) = error else { return (response, "ok") };
    if let Error::Internal(source) | Error::OutcomeUnknown(source) | Error::Unavailable { source: Some(source), .. } =
        &error
    {
        tracing::error!(requestId = request_id, cause = %chain(source.as_ref()), "failed");
    }
    (document(&error, request_id, method), code(&error))
}

/// axum itself answers a known path with an unknown method, and adds `Allow` outside this code. This turns that answer into a
/// problem document.
fn unrouted(response: &Response) -> Option<Error> {
    (response.status() == StatusCode::METHOD_NOT_ALLOWED).then_some(Error::MethodNotAllowed)
}

fn document(error: &Error, request_id: &str, method: &Method) -> Response {
    let status = status(error);
    let mut body = Map::new();
    body.insert("type".into(), "about:blank".into());
    body.insert("title".into(), status.canonical_reason().unwrap_or("Error").into());
    body.insert("status".into(), status.as_u16().into());
    body.insert("code".into(), code(error).into());
    body.insert("detail".into(), detail(error).into());
    body.insert("requestId".into(), request_id.into());
    match error {
        Error::Invalid(errors) => {
            body.insert("errors".into(), json!(errors));
        }
        Error::Refused { advice, .. } => body.extend(advice.clone()),
        Error::Batch(errors) => {
            body.insert("operations".into(), errors.iter().map(|(at, error)| of_operation(*at, error)).collect());
        }
        _ => {}
    }
    let mut response = (status, Value::Object(body).to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    add_hints(error, headers, method);
    response
}

/// The error of one operation of a batch.
fn of_operation(position: usize, error: &Error) -> Value {
    let mut problem = json!({
        "pointer": format!("/operations/{position}"),
        "status": status(error).as_u16(),
        "code": code(error),
        "detail": detail(error),
    });
    let errors = match error {
        Error::Invalid(errors) => Some(json!(errors)),
        _ => None,
    };
    if let (Some(members), Some(errors)) = (problem.as_object_mut(), errors) {
        members.insert("errors".into(), errors);
    }
    problem
}

fn add_hints(error: &Error, headers: &mut header::HeaderMap, method: &Method) {
    if let Error::Batch(errors) = error {
        return errors.iter().take(1).for_each(|(_, first)| add_hints(first, headers, method));
    }
    let hint = match error {
        Error::Unauthenticated(_) => Some((header::WWW_AUTHENTICATE, "Bearer".to_owned())),
        Error::Unavailable { retry_after, .. } => Some((header::RETRY_AFTER, retry_after.to_string())),
        Error::OutcomeUnknown(_) => Some((header::RETRY_AFTER, "1".to_owned())),
        Error::UnsupportedMediaType(accepted) if !is_safe(method) => Some((header::ACCEPT, (*accepted).to_owned())),
        Error::UnsupportedEncoding => Some((header::ACCEPT_ENCODING, "identity".to_owned())),
        _ => None,
    };
    if let Some((name, value)) = hint
        && let Ok(value) = HeaderValue::from_str(&value)
    {
        headers.insert(name, value);
    }
}

/// The stable code of an error.
pub fn code(error: &Error) -> &'static str {
    match error {
        Error::BadRequest { code, .. } | Error::Conflict { code, .. } | Error::Refused { code, .. } => code,
        Error::Gone { code, .. } => code,
        Error::Invalid(_) => "invalid",
        Error::Unauthenticated(_) => "unauthenticated",
        Error::Forbidden(_) => "forbidden",
        Error::NotFound(_) => "not_found",
        Error::MethodNotAllowed => "method_not_allowed",
        Error::PreconditionFailed(_) => "precondition_failed",
        Error::TooLarge(_) => "too_large",
        Error::UnsupportedMediaType(_) => "unsupported_media_type",
        Error::UnsupportedEncoding => "unsupported_encoding",
        Error::Batch(_) => "batch",
        Error::PreconditionRequired(_) => "precondition_required",
        Error::NotBuilt(_) => "not_built",
        Error::Unavailable { .. } => "unavailable",
        Error::OutcomeUnknown(_) => "outcome_unknown",
        Error::Internal(_) => "internal",
    }
}

fn detail(error: &Error) -> String {
    match error {
        Error::BadRequest { detail, .. } | Error::Conflict { detail, .. } | Error::Refused { detail, .. } => {
            detail.clone()
        }
        Error::Gone { detail, .. } => detail.clone(),
        Error::Invalid(errors) if errors.len() == 1 => "One member of the body is wrong; see errors.".to_owned(),
        Error::Invalid(errors) => format!("{} members of the body are wrong; see errors.", errors.len()),
        Error::Unauthenticated(why) | Error::PreconditionFailed(why) => (*why).to_owned(),
        Error::Forbidden(why) => why.clone().into_owned(),
        Error::NotFound(kind) => format!("This {kind} does not exist, or you may not see it."),
        Error::MethodNotAllowed => {
            "This path does not support this method; use one listed in the Allow header.".to_owned()
        }
        Error::TooLarge(limit) => format!("The body may be at most {limit} bytes; send less."),
        Error::UnsupportedMediaType(accepted) => {
            format!("The Content-Type is not supported. Send the body as {accepted} in UTF-8.")
        }
        Error::UnsupportedEncoding => {
            "The body has a Content-Encoding. Send it uncompressed, without that header.".to_owned()
        }
        Error::Batch(_) => "Nothing was written; see operations for the error of each failed operation.".to_owned(),
        Error::PreconditionRequired(how) => (*how).to_owned(),
        Error::NotBuilt(what) => format!("This feature is designed and not built yet: {what}."),
        Error::Unavailable { .. } => {
            "The request cannot be served right now. Retry it after the time in Retry-After.".to_owned()
        }
        Error::OutcomeUnknown(_) => {
            "It is unknown whether the change was made. Read the record before you send the request again. With an \
             Idempotency-Key a request can be repeated safely."
                .to_owned()
        }
        Error::Internal(_) => {
            "The server failed to process this request. Report the request id to its operator.".to_owned()
        }
    }
}

fn chain(source: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(source), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
