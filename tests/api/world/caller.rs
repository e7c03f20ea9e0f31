//! Callers, requests and answers.

use super::World;
use crate::cross_cutting::response_contract;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use std::sync::atomic::Ordering;
use tower::ServiceExt;
use undercroft::response_size;

/// The caller.
#[derive(Clone)]
pub struct Caller<'a> {
    pub(super) world: &'a World,
    pub token: Option<String>,
    pub user: Value,
    pub refresh_token: String,
}

impl<'a> Caller<'a> {
    pub fn id(&self) -> &str {
        self.user["id"].as_str().unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).send().await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.request(Method::POST, path).json(body).send().await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.request(Method::PUT, path).json(body).send().await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.request(Method::PATCH, path).json(body).send().await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.request(Method::DELETE, path).send().await
    }

    /// A request to be refined.
    pub fn request(&self, method: Method, path: &str) -> Knock<'a> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Knock { world: self.world, method, path: path.to_owned(), headers, body: Vec::new() }
    }
}

/// A sent request.
pub struct Knock<'a> {
    world: &'a World,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Knock<'_> {
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.append(name, value.parse().unwrap());
        self
    }

    pub fn json(self, body: Value) -> Self {
        let knock = if self.headers.contains_key("content-type") {
            self
        } else {
            self.header("content-type", "application/json")
        };
        knock.raw(body.to_string())
    }

    pub fn raw(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub async fn send(self) -> Answer {
        if !self.method.is_safe() && (self.path.starts_with("/v1/auth/signup") || self.path.starts_with("/v1/jobs")) {
            self.world.unsettled.store(true, Ordering::Relaxed);
        }
        self.world.canaries.sent(&self.headers, &self.body);
        let mut request =
            Request::builder().method(self.method.clone()).uri(&self.path).body(Body::from(self.body)).unwrap();
        *request.headers_mut() = self.headers;
        let response = self.world.api().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let answer = Answer {
            asked: format!("{} {}", self.method, self.path),
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
        };
        assert!(response_size::of_body(&bytes) <= response_size::MOST, "{}: Lambda would not carry this", answer.asked);
        self.world.canaries.answered(&self.path, &answer);
        response_contract::hold(&self.method, &self.path, &answer);
        answer
    }
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub asked: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
    pub text: String,
}

impl Answer {
    /// The answer, if it has this status. Failures must be problem documents.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text);
        if StatusCode::from_u16(status).unwrap().as_u16() >= 400 && !self.text.is_empty() {
            assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.asked);
            assert_eq!(self.body["status"], status, "{}", self.asked);
        }
        self
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.asked)).to_str().unwrap()
    }

    /// The problem's stable code.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Read units, write units and round trips of `Undercroft-Cost`.
    pub fn cost(&self) -> (f64, f64, u32) {
        let parts: Vec<f64> = self
            .header("undercroft-cost")
            .split("; ")
            .map(|part| part.split_once('=').unwrap().1.parse().unwrap())
            .collect();
        (parts[0], parts[1], parts[2] as u32)
    }
}
