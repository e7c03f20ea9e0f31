//! Exiting processes and concurrent requests. The function's process only writes its id and the Runtime API's address to a file;
//! the test sends the requests to the Runtime API itself, so that it controls every step.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Child;

use super::*;
use crate::event_source::Invoke as _;
use crate::template::Route;

struct NoRegistry;

impl ProcessRegistry for NoRegistry {
    async fn register(&self, _: &Child) {}
}

/// A function that writes its process id and the Runtime API's address to a file.
fn program(folder: &Path) -> Program {
    let path = folder.join("function");
    let script = format!(
        "#!/bin/sh\necho \"$$ $AWS_LAMBDA_RUNTIME_API\" >> {}\nexec sleep 600\n",
        folder.join("started").display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    Program { name: "f".into(), path, environment: BTreeMap::new(), timeout: Duration::from_secs(60) }
}

/// The process id and the Runtime API's address of the `nth` process, once it was started.
async fn started(folder: &Path, nth: usize) -> (u32, String) {
    loop {
        let text = std::fs::read_to_string(folder.join("started")).unwrap_or_default();
        if let Some((id, address)) = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .nth(nth)
            .and_then(|line| line.trim().split_once(' '))
        {
            return (id.parse().unwrap(), address.to_owned());
        }
        tokio::task::yield_now().await;
    }
}

async fn ask(
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) -> (StatusCode, HeaderMap, String) {
    let request = headers
        .iter()
        .fold(Request::builder().method(method).uri(uri), |request, (name, value)| request.header(*name, *value));
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let (parts, body) = client.request(request.body(body.into()).unwrap()).await.unwrap().into_parts();
    (parts.status, parts.headers, String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap())
}

fn next(address: &str) -> String {
    format!("{address}/2018-06-01/runtime/invocation/next")
}

/// The response to a request for the next event.
type NextEvent = tokio::task::JoinHandle<(StatusCode, HeaderMap, String)>;

/// Runs `test` with the API's URL, and a running function that has requested its first event.
async fn with_function(test: impl AsyncFnOnce(&Path, &Arc<Lambda>, String, NextEvent)) {
    let folder = tempfile::tempdir().unwrap();
    let lambda = Arc::new(Lambda::new(vec![program(folder.path())], 1).await.unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    let routes = [Route { path: "/v1/{proxy+}".into(), method: "ANY".into(), function: "f".into() }];
    let tested = async {
        let beginning = async {
            let (_, address) = started(folder.path(), 0).await;
            next(&address)
        };
        let starting = lambda.start("f");
        let mut starting = std::pin::pin!(starting);
        let uri = tokio::select! {
            uri = beginning => uri,
            _ = &mut starting => panic!("it is ready before it has requested an event"),
        };
        #[expect(clippy::disallowed_methods, reason = "no function: the request waits during the test")]
        let asked = tokio::spawn(async move { ask(Method::GET, &uri, &[], "").await });
        assert!(starting.await);
        test(folder.path(), &lambda, api.clone(), asked).await;
    };
    tokio::select! {
        () = tested => {}
        () = run(Arc::clone(&lambda), &NoRegistry) => panic!("the Runtime API ended"),
        () = gateway::serve(listener, Arc::clone(&lambda), &routes, "http://localhost:3000") => panic!("the API ended"),
    }
}

#[tokio::test]
async fn a_process_that_exits_is_restarted_and_requests_are_answered_503_until_then() {
    with_function(async |folder, lambda, api, asked| {
        let (id, address) = started(folder, 0).await;
        let page = [("origin", "http://localhost:3000")];
        let call = format!("{api}/v1/x");
        // It is killed while it processes the event.
        let (answer, _) = tokio::join!(ask(Method::GET, &call, &page, ""), async {
            let (status, headers, event) = asked.await.unwrap();
            assert_eq!(status, 200);
            assert!(event.contains("/v1/x") && headers.contains_key("lambda-runtime-aws-request-id"));
            crate::dev::processes::send("KILL", [id]).await;
        });
        // The next process runs, and has not requested an event yet.
        let (again, other) = started(folder, 1).await;
        assert_ne!((again, &other), (id, &address));
        let refused = ask(Method::GET, &call, &page, "").await;
        for (status, headers, body) in [answer, refused] {
            assert_eq!(status, 503, "{body}");
            assert_eq!(headers["content-type"], "application/problem+json");
            assert_eq!(headers["retry-after"], "1");
            assert_eq!(headers["access-control-allow-origin"], "http://localhost:3000");
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert_eq!((&problem["code"], &problem["status"]), (&json!("unavailable"), &json!(503)));
            assert_eq!(problem["requestId"], headers["x-request-id"].to_str().unwrap());
        }
        assert_eq!(ask(Method::GET, &next(&address), &[], "").await.0, 403, "an exited process gets no event");

        // An event source waits, and its attempt is not counted.
        let source = async { lambda.invoke("f", json!({ "Records": [] })).await.unwrap() };
        let (answer, ()) = tokio::join!(source, async {
            let (_, headers, _) = ask(Method::GET, &next(&other), &[], "").await;
            let invocation = headers["lambda-runtime-aws-request-id"].to_str().unwrap();
            let uri = format!("{other}/2018-06-01/runtime/invocation/{invocation}/response");
            assert_eq!(ask(Method::POST, &uri, &[], "{\"batchItemFailures\":[]}").await.0, 202);
        });
        assert_eq!(answer, "{\"batchItemFailures\":[]}");
        crate::dev::processes::send("KILL", [again]).await;
    })
    .await;
}

#[tokio::test]
async fn web_pages_cannot_use_the_runtime_api_or_invoke_a_function() {
    with_function(async |folder, _, api, asked| {
        let (_, address) = started(folder, 0).await;
        let port = address.split('/').nth(2).unwrap().to_owned();
        for headers in [
            vec![("origin", "https://evil.example")],
            vec![("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
            vec![("host", "evil.example")],
        ] {
            let (status, headers_back, _) = ask(Method::GET, &next(&address), &headers, "").await;
            assert_eq!(status, 403, "{headers:?}");
            assert!(!headers_back.contains_key("access-control-allow-origin"));
        }
        let guessed = format!("http://{port}/{}/f/1", "0".repeat(32));
        assert_eq!(ask(Method::GET, &next(&guessed), &[], "").await.0, 403);
        assert_eq!(ask(Method::GET, &next(&format!("http://{port}")), &[], "").await.0, 404);

        let invocations = format!("{api}/2015-03-31/functions/f/invocations");
        for (headers, planned) in [
            (vec![("origin", "https://evil.example"), ("content-type", "text/plain")], 403),
            (vec![("origin", "http://localhost:3000")], 403),
            (vec![("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")], 403),
            (vec![("sec-fetch-site", "same-origin")], 403),
            (vec![("content-type", "text/plain;charset=UTF-8")], 403),
            (vec![("content-type", "application/x-www-form-urlencoded")], 403),
            (vec![("host", "evil.example:80")], 403),
            (vec![("x-amz-invocation-type", "Event")], 400),
        ] {
            let (status, _, body) = ask(Method::POST, &invocations, &headers, "{\"Records\":[]}").await;
            assert_eq!(status, planned, "{headers:?}: {body}");
        }
        assert_eq!(ask(Method::POST, &format!("{api}/2015-03-31/functions/g/invocations"), &[], "{}").await.0, 404);

        // Like `cargo lambda invoke`.
        let (answer, ()) = tokio::join!(ask(Method::POST, &invocations, &[], "{\"a\":1}"), async {
            let (_, headers, event) = asked.await.unwrap();
            assert_eq!(event, "{\"a\":1}", "no rejected request was passed to the function");
            let invocation = headers["lambda-runtime-aws-request-id"].to_str().unwrap();
            let uri = format!("{address}/2018-06-01/runtime/invocation/{invocation}/error");
            assert_eq!(ask(Method::POST, &uri, &[], "{\"errorMessage\":\"boom\"}").await.0, 202);
        });
        assert_eq!((answer.0.as_u16(), answer.2.as_str()), (200, "{\"errorMessage\":\"boom\"}"));
        assert_eq!(answer.1["x-amz-function-error"], "Unhandled");
    })
    .await;
}
