//! The dashboard: pages that show mail, queues, files and tables.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::cloud::LocalCloud;
use crate::origin_check;

/// Title of the front page. Another `cargo dev` recognizes the dashboard by it.
pub const TITLE: &str = "Undercroft dashboard";

/// Maximum number of messages, files or items on a page.
const SHOWN: usize = 50;
/// Attributes whose values are hidden.
const SECRETS: &[&str] = &["code", "hash", "password", "sealed", "secret"];

struct Dashboard {
    cloud: Arc<LocalCloud>,
    api: String,
}

/// Serves the dashboard for as long as it is polled.
pub async fn serve(listener: TcpListener, cloud: Arc<LocalCloud>, api: String) {
    let _ = axum::serve(listener, router(cloud, api)).await;
}

fn router(cloud: Arc<LocalCloud>, api: String) -> Router {
    Router::new()
        .route("/", get(front_page))
        .route("/mail", get(mail).delete(clear_mail))
        .route("/queues", get(queues))
        .route("/queues/{name}", get(messages))
        .route("/files", get(files))
        .route("/tables", get(tables))
        .route("/tables/{name}", get(items))
        .layer(middleware::from_fn(check_origin))
        .with_state(Arc::new(Dashboard { cloud, api }))
}

/// Rejects requests with a foreign `Host` and requests of foreign pages. Following a link is allowed: it only reads.
async fn check_origin(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !origin_check::is_local_host(headers, request.uri()) {
        return (StatusCode::FORBIDDEN, origin_check::FORBIDDEN_HOST).into_response();
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_same_origin = match headers.contains_key(header::ORIGIN) {
        true => text("origin").strip_prefix("http://") == Some(text("host")),
        false => ["", "same-origin", "none"].contains(&text("sec-fetch-site")),
    };
    if !is_same_origin && (request.method() != Method::GET || text("sec-fetch-mode") != "navigate") {
        return (StatusCode::FORBIDDEN, "only the dashboard's own pages may send requests to it\n").into_response();
    }
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    response
}

async fn front_page(State(dashboard): State<Arc<Dashboard>>) -> Result<Html<String>, InternalError> {
    let mails = dashboard.cloud.mails().map_err(internal_error)?.len();
    let depths = dashboard.cloud.queue_depths().await.map_err(internal_error)?;
    let queues = depths.iter().map(|depth| {
        let name = &depth.queue;
        let counts = format!("{} visible, {} in flight, {} delayed", depth.visible, depth.in_flight, depth.delayed);
        format!("<li><a href=\"/queues/{name}\">{name}</a> {counts}</li>")
    });
    let tables = dashboard.cloud.tables().iter().map(|name| format!("<li><a href=\"/tables/{name}\">{name}</a></li>"));
    let api = &dashboard.api;
    Ok(Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{TITLE}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}}</style>\
         <h1>{TITLE}</h1>\
         <h2><a href=\"/mail\">Mail</a> ({mails})</h2>\
         <h2><a href=\"/queues\">Queues</a></h2><ul>{}</ul>\
         <h2><a href=\"/files\">Files</a></h2>\
         <h2><a href=\"/tables\">Tables</a></h2><ul>{}</ul>\
         <h2>API</h2><ul><li><a href=\"{api}/docs\">reference</a></li>\
         <li><a href=\"{api}/openapi.json\">OpenAPI document</a></li>\
         <li><a href=\"{api}/.well-known/jwks.json\">signing keys</a></li></ul></html>",
        queues.collect::<String>(),
        tables.collect::<String>(),
    )))
}

async fn mail(State(dashboard): State<Arc<Dashboard>>) -> Result<Json<Value>, InternalError> {
    Ok(Json(json!(dashboard.cloud.mails().map_err(internal_error)?)))
}

async fn clear_mail(State(dashboard): State<Arc<Dashboard>>) -> Result<StatusCode, InternalError> {
    dashboard.cloud.clear_mails().map_err(internal_error)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn queues(State(dashboard): State<Arc<Dashboard>>) -> Result<Json<Value>, InternalError> {
    Ok(Json(json!(dashboard.cloud.queue_depths().await.map_err(internal_error)?)))
}

async fn messages(
    State(dashboard): State<Arc<Dashboard>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, InternalError> {
    Ok(Json(json!(dashboard.cloud.peek(&name, SHOWN).map_err(internal_error)?)))
}

async fn files(State(dashboard): State<Arc<Dashboard>>) -> Result<Json<Value>, InternalError> {
    Ok(Json(json!(dashboard.cloud.objects(SHOWN).map_err(internal_error)?)))
}

async fn tables(State(dashboard): State<Arc<Dashboard>>) -> Json<Value> {
    Json(json!(dashboard.cloud.tables()))
}

async fn items(
    State(dashboard): State<Arc<Dashboard>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, InternalError> {
    let request = json!({ "TableName": name, "Limit": SHOWN });
    let answer = dashboard.cloud.call("DynamoDB_20120810.Scan", &request).await.map_err(internal_error)?;
    Ok(Json(without_secrets(answer.get("Items").cloned().unwrap_or_default())))
}

/// The same items, with hidden secrets.
fn without_secrets(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let hide = |name: &str| SECRETS.iter().any(|secret| name.to_lowercase().contains(secret));
            let fields = fields.into_iter().map(|(name, value)| {
                let value = if hide(&name) { Value::from("(hidden)") } else { without_secrets(value) };
                (name, value)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(without_secrets).collect(),
        plain => plain,
    }
}

type InternalError = (StatusCode, String);

fn internal_error(error: impl std::fmt::Display) -> InternalError {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request as HttpRequest;
    use http_body_util::Full;

    use super::*;
    use crate::cloud::Options;
    use crate::http_client::HttpClient;
    use crate::template::Template;

    const TEMPLATE: &str = "
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
  Work: { Type: AWS::SQS::Queue }
";

    async fn dashboard() -> (Arc<LocalCloud>, String) {
        let cloud = LocalCloud::start(Options::in_memory(Template::parse(TEMPLATE).unwrap())).await.unwrap();
        let cloud = Arc::new(cloud);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        #[expect(
            clippy::disallowed_methods,
            reason = "no function: the test sends requests while the dashboard serves"
        )]
        tokio::spawn(serve(listener, Arc::clone(&cloud), "http://127.0.0.1:9000".into()));
        (cloud, address)
    }

    async fn get(address: &str, path: &str, host: &str) -> (u16, String) {
        let request = HttpRequest::get(format!("{address}{path}")).header("host", host).body(Full::default()).unwrap();
        let (status, body) = HttpClient::default().exchange(request).await.unwrap();
        (status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_page_shows_its_data_and_no_secrets() {
        let (cloud, address) = dashboard().await;
        let item = json!({ "id": { "S": "seen" }, "passwordHash": { "S": "unseen" }, "m": { "M": { "secret": { "S": "unseen" } } } });
        cloud
            .call("DynamoDB_20120810.PutItem", &json!({ "TableName": "undercroft-local-Things", "Item": item }))
            .await
            .unwrap();
        cloud
            .call("AmazonSQS.SendMessage", &json!({ "QueueUrl": "undercroft-local-Work", "MessageBody": "waiting" }))
            .await
            .unwrap();
        let cases = [
            ("/", "undercroft-local-Work"),
            ("/", "href=\"http://127.0.0.1:9000/docs\""),
            ("/", "href=\"http://127.0.0.1:9000/openapi.json\""),
            ("/mail", "[]"),
            ("/queues", "\"visible\":1"),
            ("/queues/undercroft-local-Work", "waiting"),
            ("/files", "[]"),
            ("/tables", "undercroft-local-Things"),
            ("/tables/undercroft-local-Things", "seen"),
        ];
        for (path, expected) in cases {
            let (status, body) = get(&address, path, "localhost:9001").await;
            assert_eq!(status, 200, "{path}: {body}");
            assert!(body.contains(expected), "{path}: {body}");
            assert!(!body.contains("unseen"), "{path}: {body}");
        }
        assert_eq!(cloud.peek("undercroft-local-Work", 9).unwrap()[0]["receives"], 0, "the message was not received");
    }

    #[tokio::test]
    async fn a_request_with_a_foreign_host_is_rejected() {
        let (_cloud, address) = dashboard().await;
        for host in ["evil.example", "localhost.evil.example:9001", "0.0.0.0:9001"] {
            assert_eq!(get(&address, "/mail", host).await.0, 403, "{host}");
        }
        assert_eq!(get(&address, "/mail", "127.0.0.1:9001").await.0, 200);
    }

    #[tokio::test]
    async fn requests_of_foreign_pages_are_rejected() {
        let (_cloud, address) = dashboard().await;
        let ask = async |method: &str, headers: &[(&str, &str)]| {
            let request = HttpRequest::builder().method(method).uri(format!("{address}/mail"));
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            HttpClient::default().exchange(request.body(Full::default()).unwrap()).await.unwrap().0.as_u16()
        };
        let own = address.clone();
        for (method, headers, expected) in [
            ("GET", vec![("origin", "https://evil.example")], 403),
            ("DELETE", vec![("origin", "https://evil.example")], 403),
            ("DELETE", vec![("origin", "null")], 403),
            ("OPTIONS", vec![("origin", "https://evil.example"), ("access-control-request-method", "DELETE")], 403),
            ("GET", vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], 403),
            ("GET", vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], 200),
            ("GET", vec![("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")], 200),
            ("DELETE", vec![("origin", own.as_str()), ("sec-fetch-site", "same-origin")], 204),
            ("DELETE", vec![], 204),
        ] {
            assert_eq!(ask(method, &headers).await, expected, "{method} {headers:?}");
        }
    }
}
