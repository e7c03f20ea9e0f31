//! API Gateway's payload format 2.0: an HTTP request as an event, and a function's response as an HTTP response.

use std::collections::BTreeMap;
use std::convert::Infallible;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::template::ACCOUNT;

/// Headers that are not in the event: they belong to the connection, or have a field of their own.
const NOT_PASSED_ON: [HeaderName; 8] = [
    header::CONNECTION,
    header::COOKIE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The route that a request matched.
#[derive(Debug)]
pub struct RouteMatch<'a> {
    /// `ANY /v1/jobs/{proxy+}`
    pub route: &'a str,
    /// The path parameters.
    pub parameters: Vec<(String, String)>,
    /// Id of the request.
    pub request_id: &'a str,
}

/// The event of a request.
pub fn from_request(parts: &Parts, body: &Bytes, matched: RouteMatch<'_>) -> Value {
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let host = text(header::HOST);
    let now = OffsetDateTime::now_utc();
    let time = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    let mut event = json!({
        "version": "2.0",
        "routeKey": matched.route,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers(&parts.headers, host),
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": host,
            "domainPrefix": host.split(['.', ':']).next(),
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": text(header::USER_AGENT),
            },
            "requestId": matched.request_id,
            "routeKey": matched.route,
            "stage": "$default",
            "time": now.format(time).unwrap_or_default(),
            "timeEpoch": now.unix_timestamp() * 1000 + i64::from(now.millisecond()),
        },
        "isBase64Encoded": false,
    });
    let mut more = Map::new();
    let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|cookie| cookie.to_str().ok());
    let cookies: Vec<&str> = cookies.flat_map(|all| all.split("; ")).collect();
    more.extend((!cookies.is_empty()).then(|| ("cookies".to_owned(), json!(cookies))));
    let asked = joined(crate::signature::parameters(&parts.uri).unwrap_or_default());
    more.extend((!asked.is_empty()).then(|| ("queryStringParameters".to_owned(), json!(asked))));
    let named = joined(matched.parameters);
    more.extend((!named.is_empty()).then(|| ("pathParameters".to_owned(), json!(named))));
    if !body.is_empty() {
        let plain = std::str::from_utf8(body).ok().filter(|_| is_text(text(header::CONTENT_TYPE)));
        more.insert("isBase64Encoded".to_owned(), plain.is_none().into());
        more.insert("body".to_owned(), plain.map_or_else(|| STANDARD.encode(body), str::to_owned).into());
    }
    if let Some(members) = event.as_object_mut() {
        members.extend(more);
    }
    event
}

/// Lower-case names; several values of a header are joined with commas. Bytes that are not UTF-8 are replaced: without the
/// header, the function would treat the request as if it had not been sent.
fn headers(headers: &HeaderMap, host: &str) -> Map<String, Value> {
    let value = |name: &HeaderName| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        values.collect::<Vec<_>>().join(",")
    };
    let passed = headers.keys().filter(|name| !NOT_PASSED_ON.contains(name));
    let mut all: Map<_, _> = passed.map(|name| (name.as_str().to_owned(), value(name).into())).collect();
    let port = host.rsplit_once(':').map_or("80", |(_, port)| port);
    let forwarded = [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-port", port), ("x-forwarded-proto", "http")];
    all.extend(forwarded.map(|(name, value)| (name.to_owned(), value.into())));
    all
}

fn joined(pairs: Vec<(String, String)>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in pairs {
        all.entry(name).and_modify(|known| *known = format!("{known},{value}")).or_insert(value);
    }
    all
}

/// Whether API Gateway passes a body of this content type as text. Other bodies are Base64-encoded.
fn is_text(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let known = ["application/json", "application/javascript", "application/xml", "application/x-www-form-urlencoded"];
    kind.is_empty()
        || kind.starts_with("text/")
        || known.contains(&kind.as_str())
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
}

/// A function's response.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionResponse {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    #[serde(default)]
    multi_value_headers: BTreeMap<String, Vec<Value>>,
    #[serde(default)]
    cookies: Vec<String>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// The HTTP response for a function's response. `None` when it is malformed.
pub fn into_http(answer: &[u8]) -> Option<Response> {
    let answer: FunctionResponse = serde_json::from_slice(answer).ok()?;
    let body = answer.body.unwrap_or_default();
    let body = if answer.is_base64_encoded { STANDARD.decode(body).ok()? } else { body.into_bytes() };
    let status = StatusCode::from_u16(answer.status_code).ok()?;
    // The Content-Length of a 304 would be that of the cached representation (RFC 9110, section 8.6). A stream has none.
    let body = if status == StatusCode::NOT_MODIFIED {
        Body::from_stream(stream::empty::<Result<Bytes, Infallible>>())
    } else {
        Body::from(body)
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let single = answer.headers.into_iter().map(|(name, value)| (name, vec![value]));
    let lists = answer.multi_value_headers.into_iter().filter(|(_, values)| !values.is_empty());
    // If a header is in both maps, multiValueHeaders wins.
    let all: BTreeMap<String, Vec<Value>> = single.chain(lists).map(|(name, v)| (name.to_lowercase(), v)).collect();
    for (name, values) in all {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        for value in values {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            response.headers_mut().append(&name, HeaderValue::from_str(&value).ok()?);
        }
    }
    for cookie in answer.cookies {
        response.headers_mut().append(header::SET_COOKIE, HeaderValue::from_str(&cookie).ok()?);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use axum::http::request::Builder;

    use super::*;

    fn event(request: Builder, body: &'static [u8]) -> Value {
        let (parts, ()) = request.header("host", "localhost:9000").body(()).unwrap().into_parts();
        let parameters = vec![("proxy".to_owned(), "a b/c".to_owned())];
        from_request(
            &parts,
            &Bytes::from_static(body),
            RouteMatch { route: "ANY /v1/{proxy+}", parameters, request_id: "r" },
        )
    }

    #[test]
    fn a_request_becomes_an_event_of_payload_format_2() {
        let request = Request::post("/v1/a%20b/c?x=1&x=2&filter=a%20%3D%3D%20%22b%22&empty")
            .header("Content-Type", "application/merge-patch+json; charset=utf-8")
            .header("If-Match", "\"1\"")
            .header("If-Match", "\"2\"")
            .header("Cookie", "a=1; b=2")
            .header("Connection", "keep-alive")
            .header("X-Forwarded-Proto", "https")
            .header("X-Odd", HeaderValue::from_bytes(b"\xff").unwrap())
            .header("User-Agent", "curl");
        let event = event(request, b"{\"a\":1}");
        assert_eq!(event["rawPath"], "/v1/a%20b/c");
        assert_eq!(event["rawQueryString"], "x=1&x=2&filter=a%20%3D%3D%20%22b%22&empty");
        assert_eq!(event["queryStringParameters"], json!({ "x": "1,2", "filter": "a == \"b\"", "empty": "" }));
        assert_eq!(event["pathParameters"], json!({ "proxy": "a b/c" }));
        assert_eq!(event["cookies"], json!(["a=1", "b=2"]));
        assert_eq!(event["headers"]["if-match"], "\"1\",\"2\"");
        assert_eq!(event["headers"]["x-forwarded-proto"], "http", "the caller cannot set this header");
        assert_eq!(event["headers"]["x-forwarded-port"], "9000");
        assert_eq!(event["headers"]["x-odd"], "\u{fffd}", "a header that is not UTF-8 is not dropped");
        assert!(event["headers"].get("connection").is_none() && event["headers"].get("cookie").is_none());
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{\"a\":1}"), &json!(false)));
        assert_eq!(event["requestContext"]["http"]["method"], "POST");
        assert_eq!(event["requestContext"]["routeKey"], "ANY /v1/{proxy+}");
    }

    #[test]
    fn a_binary_body_is_encoded_and_an_empty_one_is_omitted() {
        for (kind, body) in [("application/octet-stream", &b"text"[..]), ("application/json", b"\xff\xfe")] {
            let event = event(Request::post("/").header("content-type", kind), body);
            assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!(STANDARD.encode(body)), &json!(true)));
        }
        assert!(event(Request::get("/"), b"").get("body").is_none());
    }

    #[tokio::test]
    async fn a_response_becomes_http_with_every_value_of_a_header() {
        let answer = json!({ "statusCode": 201, "headers": { "etag": "\"1\"", "vary": "Origin" },
            "multiValueHeaders": { "vary": ["Origin", "Accept"] }, "cookies": ["a=1", "b=2"],
            "body": STANDARD.encode([0xff, 0]), "isBase64Encoded": true });
        let response = into_http(answer.to_string().as_bytes()).unwrap();
        assert_eq!(response.status(), 201);
        let values = |name: &str| {
            response.headers().get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(
            (values("vary"), values("etag"), values("set-cookie")),
            (vec!["Origin", "Accept"], vec!["\"1\""], vec!["a=1", "b=2"])
        );
        assert_eq!(axum::body::to_bytes(response.into_body(), 9).await.unwrap()[..], [0xff, 0]);
        for broken in
            [json!("text"), json!({ "statusCode": 99 }), json!({ "statusCode": 200, "headers": { "a b": "c" } })]
        {
            assert!(super::into_http(broken.to_string().as_bytes()).is_none(), "{broken}");
        }
    }
}
