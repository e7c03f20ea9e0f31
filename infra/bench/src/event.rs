//! HTTP requests as API Gateway's HTTP API hands them to a function (payload format 2.0).

use serde_json::{Map, Value, json};

/// The event of a request. `path` may carry a query string, already encoded.
pub fn event(method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Value {
    let (raw_path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut headers = Map::from_iter(
        [("accept", "application/json"), ("host", "api.example.com"), ("x-forwarded-proto", "https")]
            .map(|(name, value)| (name.to_owned(), Value::from(value))),
    );
    if let Some(token) = token {
        headers.insert("authorization".into(), format!("Bearer {token}").into());
    }
    if body.is_some() {
        headers.insert("content-type".into(), "application/json".into());
    }
    let mut event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": raw_path, "rawQueryString": query, "headers": headers,
        "isBase64Encoded": false,
        "requestContext": {
            "accountId": "123456789012", "apiId": "api", "domainName": "api.example.com", "domainPrefix": "api",
            "http": { "method": method, "path": raw_path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "load" },
            "requestId": "gateway", "routeKey": "$default", "stage": "$default",
            "time": "22/Nov/2026:12:00:00 +0000", "timeEpoch": 1_795_348_800_000_u64
        }
    });
    if let (Some(body), Some(members)) = (body, event.as_object_mut()) {
        members.insert("body".into(), body.to_string().into());
    }
    event
}
