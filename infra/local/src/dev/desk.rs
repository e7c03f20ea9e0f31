//! The desk: a few plain pages on which mail, queues and tables can be seen. For this machine alone.

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
use crate::host;

/// What the front page is called; also how another `cargo dev` recognises it.
pub const TITLE: &str = "Undercroft desk";

/// Most messages or items shown at once.
const SHOWN: usize = 50;
/// Attributes whose values nobody needs to see, even here.
const SECRETS: &[&str] = &["code", "hash", "password", "sealed", "secret"];

struct Desk {
    cloud: Arc<LocalCloud>,
    api: String,
}

/// Serves the desk for as long as it is polled.
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
        .layer(middleware::from_fn(only_this_machine))
        .with_state(Arc::new(Desk { cloud, api }))
}

/// No page but the desk's own gets anything, and no other name than this machine's leads here. Whoever follows a link only looks.
async fn only_this_machine(request: Request, next: Next) -> Response {
    let headers = request.headers();
    if !host::is_this_machine(headers, request.uri()) {
        return (StatusCode::FORBIDDEN, host::REFUSAL).into_response();
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_own = match headers.contains_key(header::ORIGIN) {
        true => text("origin").strip_prefix("http://") == Some(text("host")),
        false => ["", "same-origin", "none"].contains(&text("sec-fetch-site")),
    };
    if !is_own && (request.method() != Method::GET || text("sec-fetch-mode") != "navigate") {
        return (StatusCode::FORBIDDEN, "the desk is for its own pages only\n").into_response();
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

async fn front_page(State(desk): State<Arc<Desk>>) -> Result<Html<String>, Broken> {
    let mails = desk.cloud.mails().map_err(broken)?.len();
    let depths = desk.cloud.queue_depths().await.map_err(broken)?;
    let queues = depths.iter().map(|depth| {
        let name = &depth.queue;
        let counts = format!("{} visible, {} in flight, {} delayed", depth.visible, depth.in_flight, depth.delayed);
        format!("<li><a href=\"/queues/{name}\">{name}</a> {counts}</li>")
    });
    let tables = desk.cloud.tables().iter().map(|name| format!("<li><a href=\"/tables/{name}\">{name}</a></li>"));
    let api = &desk.api;
    Ok(Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{TITLE}</title>\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}}</style>\
         <h1>{TITLE}</h1>\
         <h2><a href=\"/mail\">Mail</a> ({mails})</h2>\
         <h2><a href=\"/queues\">Queues</a></h2><ul>{}</ul>\
         <h2><a href=\"/files\">Files</a></h2>\
         <h2><a href=\"/tables\">Tables</a></h2><ul>{}</ul>\
         <h2>API</h2><ul><li><a href=\"{api}/docs\">all of it as a page</a></li>\
         <li><a href=\"{api}/openapi.json\">the same for code generators</a></li>\
         <li><a href=\"{api}/.well-known/jwks.json\">signing keys</a></li></ul></html>",
        queues.collect::<String>(),
        tables.collect::<String>(),
    )))
}

async fn mail(State(desk): State<Arc<Desk>>) -> Result<Json<Value>, Broken> {
    Ok(Json(json!(desk.cloud.mails().map_err(broken)?)))
}

async fn clear_mail(State(desk): State<Arc<Desk>>) -> Result<StatusCode, Broken> {
    desk.cloud.clear_mails().map_err(broken)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn queues(State(desk): State<Arc<Desk>>) -> Result<Json<Value>, Broken> {
    Ok(Json(json!(desk.cloud.queue_depths().await.map_err(broken)?)))
}

async fn messages(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Result<Json<Value>, Broken> {
    Ok(Json(json!(desk.cloud.peek(&name, SHOWN).map_err(broken)?)))
}

async fn files(State(desk): State<Arc<Desk>>) -> Result<Json<Value>, Broken> {
    Ok(Json(json!(desk.cloud.objects(SHOWN).map_err(broken)?)))
}

async fn tables(State(desk): State<Arc<Desk>>) -> Json<Value> {
    Json(json!(desk.cloud.tables()))
}

async fn items(State(desk): State<Arc<Desk>>, Path(name): Path<String>) -> Result<Json<Value>, Broken> {
    let request = json!({ "TableName": name, "Limit": SHOWN });
    let answer = desk.cloud.call("DynamoDB_20120810.Scan", &request).await.map_err(broken)?;
    Ok(Json(without_secrets(answer.get("Items").cloned().unwrap_or_default())))
}

/// The same items, with nothing in them that opens anything.
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

type Broken = (StatusCode, String);

fn broken(error: impl std::fmt::Display) -> Broken {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request as HttpRequest;
    use http_body_util::Full;

    use super::*;
    use crate::client::Client;
    use crate::cloud::Options;
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

    async fn desk() -> (Arc<LocalCloud>, String) {
        let cloud = LocalCloud::start(Options::in_memory(Template::parse(TEMPLATE).unwrap())).await.unwrap();
        let cloud = Arc::new(cloud);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        #[expect(clippy::disallowed_methods, reason = "no function: the desk is asked while it serves")]
        tokio::spawn(serve(listener, Arc::clone(&cloud), "http://127.0.0.1:9000".into()));
        (cloud, address)
    }

    async fn get(address: &str, path: &str, host: &str) -> (u16, String) {
        let request = HttpRequest::get(format!("{address}{path}")).header("host", host).body(Full::default()).unwrap();
        let (status, body) = Client::default().exchange(request).await.unwrap();
        (status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_page_of_the_desk_shows_what_is_there_and_no_secret() {
        let (cloud, address) = desk().await;
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
        assert_eq!(cloud.peek("undercroft-local-Work", 9).unwrap()[0]["receives"], 0, "looking is not receiving");
    }

    #[tokio::test]
    async fn a_page_that_calls_itself_localhost_only_by_its_own_dns_gets_nothing() {
        let (_cloud, address) = desk().await;
        for host in ["evil.example", "localhost.evil.example:9001", "0.0.0.0:9001"] {
            assert_eq!(get(&address, "/mail", host).await.0, 403, "{host}");
        }
        assert_eq!(get(&address, "/mail", "127.0.0.1:9001").await.0, 200);
    }

    #[tokio::test]
    async fn a_foreign_page_gets_nothing_and_throws_nothing_away() {
        let (_cloud, address) = desk().await;
        let ask = async |method: &str, headers: &[(&str, &str)]| {
            let request = HttpRequest::builder().method(method).uri(format!("{address}/mail"));
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            Client::default().exchange(request.body(Full::default()).unwrap()).await.unwrap().0.as_u16()
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
