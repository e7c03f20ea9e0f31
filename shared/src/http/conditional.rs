//! Conditional requests (RFC 9110 section 13), as a handler argument.

use super::Problem;
use axum::extract::FromRequestParts;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use undercroft_core::preconditions::Preconditions;

/// The conditions of a request.
#[derive(Debug, Clone)]
pub struct Conditional(pub Preconditions);

impl<S: Send + Sync> FromRequestParts<S> for Conditional {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let joined = |name: HeaderName| {
            let lines: Vec<&str> =
                parts.headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?")).collect();
            (!lines.is_empty()).then(|| lines.join(","))
        };
        let (if_match, if_none_match) = (joined(IF_MATCH), joined(IF_NONE_MATCH));
        let conditions = Preconditions::parse(
            (IF_MATCH.as_str(), if_match.as_deref()),
            (IF_NONE_MATCH.as_str(), if_none_match.as_deref()),
        );
        Ok(Self(conditions?))
    }
}
