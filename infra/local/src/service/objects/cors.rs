//! A bucket's CORS rules.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::iam::matches;
use crate::template::{TemplateError, plain_text};

/// A CORS rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsRule {
    origins: Vec<String>,
    methods: Vec<String>,
    /// Request headers, in lower case.
    headers: Vec<String>,
    exposed: Vec<String>,
    max_age: Option<String>,
}

impl CorsRule {
    /// Reads the rules of a bucket's resolved properties.
    ///
    /// # Errors
    /// A rule contains something that is not supported.
    pub fn read_all(properties: &Value) -> Result<Vec<Self>, TemplateError> {
        let rules = properties.pointer("/CorsConfiguration/CorsRules").and_then(Value::as_array);
        rules.into_iter().flatten().map(Self::read).collect()
    }

    fn read(rule: &Value) -> Result<Self, TemplateError> {
        let known = ["AllowedHeaders", "AllowedMethods", "AllowedOrigins", "ExposedHeaders", "Id", "MaxAge"];
        let unknown = rule.as_object().and_then(|fields| fields.keys().find(|key| !known.contains(&key.as_str())));
        if let Some(unknown) = unknown {
            return Err(TemplateError::new("CorsConfiguration", unknown, "is not supported by the local cloud"));
        }
        let texts = |name: &str| -> Vec<String> {
            rule.get(name).and_then(Value::as_array).into_iter().flatten().map(plain_text).collect()
        };
        Ok(Self {
            origins: texts("AllowedOrigins"),
            methods: texts("AllowedMethods"),
            headers: texts("AllowedHeaders").iter().map(|name| name.to_lowercase()).collect(),
            exposed: texts("ExposedHeaders"),
            max_age: rule.get("MaxAge").map(plain_text),
        })
    }

    fn allows(&self, origin: &str, method: &str) -> bool {
        self.origins.iter().any(|allowed| matches(allowed, origin))
            && self.methods.iter().any(|allowed| allowed == method)
    }

    fn allows_headers(&self, wanted: &str) -> bool {
        let mut names = wanted.split(',').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty());
        names.all(|name| self.headers.iter().any(|allowed| matches(allowed, &name)))
    }
}

/// The response to a CORS preflight.
pub fn preflight(rules: &[CorsRule], headers: &HeaderMap) -> Response {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (origin, method) = (text(header::ORIGIN), text(header::ACCESS_CONTROL_REQUEST_METHOD));
    let wanted = text(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let Some(rule) = rules.iter().find(|rule| rule.allows(origin, method) && rule.allows_headers(wanted)) else {
        return (StatusCode::FORBIDDEN, "CORSResponse: This CORS request is not allowed.").into_response();
    };
    let mut response = StatusCode::OK.into_response();
    let out = response.headers_mut();
    insert(out, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    insert(out, header::ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
    insert(out, header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
    insert(out, header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
    if let Some(seconds) = &rule.max_age {
        insert(out, header::ACCESS_CONTROL_MAX_AGE, seconds);
    }
    response
}

/// Adds the headers that let a page of an allowed origin read the response.
pub fn allow(rules: &[CorsRule], origin: &str, method: &Method, out: &mut HeaderMap) {
    let Some(rule) = rules.iter().find(|rule| rule.allows(origin, method.as_str())) else { return };
    insert(out, header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    insert(out, header::VARY, "Origin, Access-Control-Request-Headers, Access-Control-Request-Method");
    if !rule.exposed.is_empty() {
        insert(out, header::ACCESS_CONTROL_EXPOSE_HEADERS, &rule.exposed.join(", "));
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
