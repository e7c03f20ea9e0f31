//! What a foreign web page can do to a developer who has `cargo dev` running: ask every port that its processes listen on,
//! under its own origin or under a name it has pointed at this machine.

use super::dev::Dev;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// Nothing here is worth waiting for longer.
const PATIENCE: Duration = Duration::from_secs(30);
const INVOCATIONS: &str = "/2015-03-31/functions/relay/invocations";
const TABLES: [&str; 3] = ["RecordsTable", "IdentityTable", "JobsTable"];

/// One way to ask: method, path, headers and body.
type Attack = (&'static str, Method, &'static str, Vec<(&'static str, &'static str)>, &'static str);

/// Everything that is known to have worked once.
#[expect(clippy::too_many_lines, reason = "one table of cases, read from top to bottom")]
fn attacks() -> Vec<Attack> {
    let evil = ("origin", "https://evil.example");
    let form = ("content-type", "text/plain");
    let json = ("content-type", "application/x-amz-json-1.0");
    let forged = r#"{"Records":[{"eventID":"1","eventName":"INSERT","eventSource":"aws:dynamodb","dynamodb":{"Keys":{"pk":{"S":"c#tasks#0"},"sk":{"S":"forged"}},"SequenceNumber":"1","StreamViewType":"NEW_AND_OLD_IMAGES"}}]}"#;
    let get = r#"{"TableName":"undercroft-local-RecordsTable","Limit":9}"#;
    let put = r#"{"TableName":"undercroft-local-RecordsTable","Item":{"pk":{"S":"forged"},"sk":{"S":"forged"}}}"#;
    let as_local =
        "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
    let scan = ("x-amz-target", "DynamoDB_20120810.Scan");
    let put_item = ("x-amz-target", "DynamoDB_20120810.PutItem");
    let signed = ("authorization", as_local);
    vec![
        ("a form", Method::POST, INVOCATIONS, vec![evil, form], forged),
        (
            "a request without a question",
            Method::POST,
            INVOCATIONS,
            vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), form],
            forged,
        ),
        ("a form of a browser that says nothing", Method::POST, INVOCATIONS, vec![form], forged),
        ("another name", Method::POST, INVOCATIONS, vec![("host", "evil.example")], forged),
        ("another name", Method::GET, "/", vec![("host", "evil.example")], ""),
        ("another name", Method::GET, "/mail", vec![("host", "evil.example:9001")], ""),
        ("another name", Method::GET, "/v1/collections", vec![("host", "evil.example")], ""),
        ("another name", Method::POST, "/", vec![("host", "evil.example"), json, scan, signed], get),
        ("a foreign page", Method::GET, "/v1/collections", vec![evil], ""),
        ("a foreign page", Method::GET, "/mail", vec![evil], ""),
        (
            "a question beforehand",
            Method::OPTIONS,
            "/",
            vec![
                evil,
                ("access-control-request-method", "POST"),
                ("access-control-request-headers", "x-amz-target,authorization"),
            ],
            "",
        ),
        (
            "a question beforehand",
            Method::OPTIONS,
            "/v1/collections",
            vec![evil, ("access-control-request-method", "PUT")],
            "",
        ),
        (
            "a question beforehand",
            Method::OPTIONS,
            "/mail",
            vec![evil, ("access-control-request-method", "DELETE")],
            "",
        ),
        ("an unsigned call", Method::POST, "/", vec![json, scan], get),
        ("an unsigned call", Method::POST, "/", vec![json, put_item], put),
        ("an unsigned call of a page", Method::POST, "/", vec![evil, json, put_item], put),
        ("a well-known key", Method::POST, "/", vec![json, put_item, signed], put),
        ("an unsigned object", Method::GET, "/undercroft-local-files/x", vec![], ""),
        ("the Runtime API", Method::GET, "/2018-06-01/runtime/invocation/next", vec![], ""),
        ("the Runtime API of cargo-lambda", Method::GET, "/.rt/records/2018-06-01/runtime/invocation/next", vec![], ""),
        ("a function's own address", Method::POST, "/lambda-url/relay/x", vec![evil, form], forged),
    ]
}

/// Asks all of it of every port, and holds what is stored against what was.
pub async fn get_nothing(dev: &Dev) {
    let ports = listening(dev);
    assert!(ports.contains(&dev.port) && ports.contains(&dev.dashboard_port), "{ports:?}");
    assert_eq!(ports.len(), 4, "the API, the dashboard, the services and the Runtime API: {ports:?}");
    let before = stored(dev).await;
    for port in ports {
        for (what, method, path, headers, body) in attacks() {
            let (status, said, answer) = ask(port, method, path, &headers, body).await;
            let described = format!("{what} at {port}{path}: {status} {answer}");
            assert!((400..500).contains(&status), "{described}");
            assert!(!said.contains_key("access-control-allow-origin"), "{described}");
            assert!(
                !["argon2", "ada@example.org", "privateKey", "Items"].iter().any(|kept| answer.contains(kept)),
                "{described}"
            );
        }
    }
    assert_eq!(stored(dev).await, before, "something was written");
    programs_and_own_pages_are_served(dev).await;
}

/// What is to work goes on working: tools, and pages of the template's origins.
async fn programs_and_own_pages_are_served(dev: &Dev) {
    let (status, _, answer) = ask(dev.port, Method::POST, INVOCATIONS, &[], r#"{"Records":[]}"#).await;
    assert_eq!((status, answer.as_str()), (200, r#"{"batchItemFailures":[]}"#), "as `cargo lambda invoke` asks");
    let page = [("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")];
    let (status, said, _) = ask(dev.port, Method::GET, "/.well-known/jwks.json", &page, "").await;
    assert_eq!((status, &said["access-control-allow-origin"]), (200, &page[0].1.parse().unwrap()));
    for host in ["localhost:1", "127.0.0.1:1", "[::1]:1"] {
        assert_eq!(ask(dev.port, Method::GET, "/docs", &[("host", host)], "").await.0, 200, "{host}");
        assert_eq!(ask(dev.dashboard_port, Method::GET, "/", &[("host", host)], "").await.0, 200, "{host}");
    }
}

async fn stored(dev: &Dev) -> Vec<Value> {
    let mut all = Vec::new();
    for table in TABLES {
        all.push(dev.ask(Method::GET, &format!("/tables/undercroft-local-{table}"), None, None).await.1);
    }
    all
}

async fn ask(
    port: u16,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) -> (u16, HeaderMap, String) {
    let request = Request::builder().method(method).uri(format!("http://127.0.0.1:{port}{path}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let exchange = async {
        let (parts, body) = client.request(request.body(Body::from(body)).unwrap()).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        (parts.status.as_u16(), parts.headers, String::from_utf8_lossy(&body).into_owned())
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| panic!("{port}{path} {headers:?} is not answered"))
}

/// The ports on which the command and all it has started listen: the sockets of its processes, looked up in the system's table.
fn listening(dev: &Dev) -> BTreeSet<u16> {
    let sockets: BTreeSet<String> = dev
        .processes()
        .iter()
        .filter_map(|process| fs::read_dir(format!("/proc/{}/fd", process.id)).ok())
        .flat_map(|descriptors| descriptors.flatten())
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let port = |line: &str| {
        // number, local address, remote address, state (0A is listening), ..., inode
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_ours = *fields.get(3)? == "0A" && sockets.contains(*fields.get(9)?);
        is_ours.then(|| u16::from_str_radix(fields[1].rsplit(':').next()?, 16).ok())?
    };
    tables.iter().flat_map(|table| table.lines().filter_map(port)).collect()
}
