//! Properties of HTTP methods.

use axum::http::Method;

/// Whether a method is safe (RFC 9110 section 9.2.1).
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}
