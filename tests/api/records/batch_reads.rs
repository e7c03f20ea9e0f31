//! Batch reads through a proxy that returns unprocessed keys, as a throttled DynamoDB does.

use crate::records::pages::encoded;
use crate::world::{Caller, World};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tower::ServiceExt;
use undercroft_local::Signer;

/// How many keys of its next batches the proxy gives back, then none; and what each batch asked for.
#[derive(Clone, Default)]
struct Proxy {
    give_back: Arc<Mutex<Vec<usize>>>,
    batches: Arc<Mutex<Vec<usize>>>,
    engine: String,
    client: Option<Arc<Forward>>,
    signer: Option<Signer>,
}

type Forward = dyn Fn(Request<Body>) -> std::pin::Pin<Box<dyn Future<Output = (u16, Vec<u8>)> + Send>> + Send + Sync;

/// Passes a call on to the engine as it is, but for the keys it keeps from it.
async fn pass(State(proxy): State<Proxy>, headers: HeaderMap, body: axum::body::Bytes) -> Response {
    let is_batch = headers["x-amz-target"].to_str().unwrap().ends_with("BatchGetItem");
    let mut asked: Value = serde_json::from_slice(&body).unwrap();
    let mut kept = Value::Null;
    if is_batch {
        let table = asked["RequestItems"].as_object().unwrap().keys().next().unwrap().clone();
        let keys = asked["RequestItems"][&table]["Keys"].as_array_mut().unwrap();
        proxy.batches.lock().unwrap().push(keys.len());
        let mut give_back = proxy.give_back.lock().unwrap();
        let back = if give_back.is_empty() { 0 } else { give_back.remove(0) }.min(keys.len());
        let back: Vec<Value> = keys.drain(..back).collect();
        if !back.is_empty() {
            kept = json!({ &table: { "Keys": back } });
        }
        if keys.is_empty() {
            return json_answer(200, json!({ "Responses": {}, "UnprocessedKeys": kept }).to_string().into_bytes());
        }
    }
    let mut request = Request::post(&proxy.engine).body(asked.to_string().into()).unwrap();
    for name in ["x-amz-target", "content-type"] {
        request.headers_mut().insert(name, headers[name].clone());
    }
    // The proxy changes the request, so the signature no longer matches.
    let request = proxy.signer.as_ref().unwrap().sign("dynamodb", request);
    let (status, answer) = proxy.client.as_ref().unwrap()(request.map(Body::from)).await;
    let mut answer: Value = serde_json::from_slice(&answer).unwrap();
    if !kept.is_null() {
        answer["UnprocessedKeys"] = kept;
    }
    json_answer(status, answer.to_string().into_bytes())
}

fn json_answer(status: u16, body: Vec<u8>) -> Response {
    let status = axum::http::StatusCode::from_u16(status).unwrap();
    (status, [("content-type", "application/x-amz-json-1.0")], body).into_response()
}

async fn forward(request: Request<Body>) -> (u16, Vec<u8>) {
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let answer = client.request(request).await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.into_body().collect().await.unwrap().to_bytes().to_vec())
}

/// Serves the proxy, and says where.
async fn serve(proxy: &Proxy) -> (String, tokio::task::JoinHandle<std::io::Result<()>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(pass).with_state(proxy.clone());
    #[expect(clippy::disallowed_methods, reason = "no function: the proxy answers while the test asks")]
    let serving = tokio::spawn(axum::serve(listener, router).into_future());
    (address, serving)
}

/// Eight pairs of records, of which one points at the other.
async fn pairs(ada: &Caller<'_>, path: &str) -> BTreeSet<String> {
    let mut roots = BTreeSet::new();
    for _ in 0..8 {
        let root = ada.post(path, json!({})).await.expect(201).body["id"].clone();
        ada.post(path, json!({ "up": root })).await.expect(201);
        roots.insert(root.as_str().unwrap().to_owned());
    }
    roots
}

#[tokio::test]
async fn unprocessed_keys_are_requested_again_until_they_arrive_or_the_answer_is_503() {
    let world = World::new().await;
    crate::records::crud::with_tasks(&world).await;
    let (admin, ada) = (world.admin().await, world.user("ada").await);
    let tree = json!({ "name": "trees", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "up": { "type": "string", "relation": { "collection": "trees" } } } }, "rules": { "list": "true", "read": "true", "create": "true" } });
    admin.put("/v1/collections/trees", tree).await.expect(201);
    let path = "/v1/collections/trees/records";
    let roots = pairs(&ada, path).await;

    let proxy = Proxy {
        engine: world.cloud.endpoint().to_owned(),
        client: Some(Arc::new(|request| Box::pin(forward(request)))),
        signer: Some(world.cloud.signer().clone()),
        ..Proxy::default()
    };
    let (address, serving) = serve(&proxy).await;
    let mut env = world.env("records");
    env.insert("AWS_ENDPOINT_URL_DYNAMODB".into(), address);
    let env: undercroft::config::Env = env.into_iter().collect();
    let records = undercroft_records::routes(undercroft_records::App::from_env(&env).unwrap(), &env);
    let list = async |query: &str| {
        let request = Request::get(format!("{path}?{query}"))
            .header("authorization", format!("Bearer {}", ada.token.clone().unwrap()));
        let answer = records.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status.as_u16(), parts.headers, serde_json::from_slice::<Value>(&body).unwrap())
    };
    list("expand=up").await;

    // If any keys are returned as unprocessed, once or several times, all records arrive in the end and every trip is counted.
    for give_back in (1..=8).map(|back| vec![back]).chain([vec![7, 6, 5, 4, 3, 2, 1], vec![8, 8, 8], vec![8, 4, 4, 1]])
    {
        proxy.batches.lock().unwrap().clear();
        *proxy.give_back.lock().unwrap() = give_back.clone();
        let (status, headers, body) = list("expand=up").await;
        assert_eq!(status, 200, "{give_back:?}: {body}");
        let expanded: Vec<&Value> =
            body["items"].as_array().unwrap().iter().map(|item| &item["expanded"]["up"]).collect();
        let found = expanded.iter().filter(|up| !up.is_null()).map(|up| up["id"].as_str().unwrap().to_owned());
        assert_eq!(found.collect::<BTreeSet<_>>(), roots, "{give_back:?}");
        let batches = proxy.batches.lock().unwrap().clone();
        let expected: Vec<usize> = std::iter::once(8).chain(give_back.iter().copied()).collect();
        assert_eq!(batches, expected);
        let cost = headers["undercroft-cost"].to_str().unwrap();
        assert!(cost.contains(&format!("trips={};", 1 + expected.len())), "{give_back:?}: {cost}");
    }
    // A list of ids is such a read too.
    let ids = encoded(&format!("id in {}", json!(roots)));
    *proxy.give_back.lock().unwrap() = vec![5, 2];
    proxy.batches.lock().unwrap().clear();
    let (status, headers, body) = list(&format!("filter={ids}")).await;
    let found = body["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned());
    assert_eq!((status, found.collect::<BTreeSet<_>>()), (200, roots));
    assert_eq!(*proxy.batches.lock().unwrap(), [8, 5, 2]);
    assert_eq!(headers["undercroft-cost"], "rru=4; wru=0; trips=3; scanned=8");
    // A key that stays unprocessed is not answered as a missing record.
    *proxy.give_back.lock().unwrap() = vec![1; 100];
    proxy.batches.lock().unwrap().clear();
    let (status, headers, body) = list("expand=up").await;
    assert_eq!((status, &body["code"], &headers["retry-after"]), (503, &json!("unavailable"), &"1".parse().unwrap()));
    assert_eq!(proxy.batches.lock().unwrap().len(), 8, "retries are limited");
    serving.abort();
}

#[tokio::test]
async fn deleted_records_come_back_together_in_three_trips() {
    let world = World::new().await;
    let admin = world.admin().await;
    let notes = json!({ "name": "notes", "schema": { "type": "object", "additionalProperties": false, "properties": {
        "n": { "type": "integer" } } }, "rules": { "read": "true", "create": "true", "delete": "true" } });
    admin.put("/v1/collections/notes", notes).await.expect(201);
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    let mut paths = Vec::new();
    for nth in 0..20 {
        let made = ada.post("/v1/collections/notes/records", json!({ "n": nth })).await.expect(201);
        paths.push(made.header("location").to_owned());
        ada.delete(&paths[nth]).await.expect(204);
    }
    let undelete = |path: &String| json!({ "method": "POST", "path": format!("{path}/undelete") });
    let all = json!({ "operations": paths.iter().map(undelete).collect::<Vec<_>>() });
    let refused = bob.post("/v1/batch", all.clone()).await.expect(404);
    assert_eq!(refused.body["operations"].as_array().unwrap().len(), 20, "{}", refused.text);
    let done = ada.post("/v1/batch", all.clone()).await.expect(200);
    let numbers: Vec<&Value> = done.body["results"].as_array().unwrap().iter().map(|one| &one["body"]["n"]).collect();
    assert_eq!(json!(numbers), json!((0..20).collect::<Vec<_>>()), "each is its own");
    assert_eq!(done.cost(), (40.0, 40.0, 3), "what was deleted, what is there, and the write");
    assert_eq!(ada.post("/v1/batch", all).await.expect(409).body["operations"][19]["code"], "not_deleted");
}
