//! The last check of a response body: whether it fits into Lambda's limit.

use super::Problem;
use crate::error::Error;
use crate::response_size;
use axum::body::{Body, HttpBody as _};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;

/// The response, or an error if Lambda could not return it and API Gateway would answer 502.
pub async fn carried(response: Response) -> Response {
    let is_light = |bytes: u64| response_size::at_most(bytes) <= response_size::MOST;
    if response.body().size_hint().upper().is_some_and(is_light) {
        return response;
    }
    let (parts, body) = response.into_parts();
    match body.collect().await.map(|body| body.to_bytes()) {
        Ok(body) if response_size::of_body(&body) <= response_size::MOST => {
            Response::from_parts(parts, Body::from(body))
        }
        Ok(_) => Problem(response_size::TOO_LARGE()).into_response(),
        Err(error) => Problem(Error::internal(error)).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    #[tokio::test]
    async fn a_body_is_sent_unchanged_or_refused() {
        for (body, status) in [
            ("x".repeat(response_size::MOST), StatusCode::OK),
            ("x".repeat(response_size::MOST + 1), StatusCode::UNPROCESSABLE_ENTITY),
            ("\"".repeat(response_size::MOST / 2), StatusCode::OK),
            ("\"".repeat(response_size::MOST / 2 + 1), StatusCode::UNPROCESSABLE_ENTITY),
            ("{}".to_owned(), StatusCode::OK),
        ] {
            let answered = carried(body.clone().into_response()).await;
            assert_eq!(answered.status(), status, "{} bytes", body.len());
            let left = answered.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(left == body.as_bytes(), status == StatusCode::OK, "{} bytes", body.len());
        }
    }
}
