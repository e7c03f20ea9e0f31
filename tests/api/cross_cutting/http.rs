//! HTTP: preconditions, methods, media types, browsers, failures.

use crate::world::{Caller, World, rounds, tasks};
use axum::http::Method;
use serde_json::json;

const TASKS: &str = "/v1/collections/tasks/records";

async fn one_task<'a>(world: &'a World) -> (Caller<'a>, String) {
    world.admin().await.put("/v1/collections/tasks", tasks()).await.expect(201);
    let ada = world.user("ada").await;
    let made = ada.post(TASKS, json!({ "title": "t", "owner": ada.id() })).await.expect(201);
    let path = made.header("location").to_owned();
    (ada, path)
}

/// A header to send, if any.
type Header<'a> = Option<(&'static str, &'a str)>;

#[tokio::test]
async fn conditions_are_evaluated_as_rfc_9110_orders_them() {
    let world = World::new().await;
    let (ada, path) = one_task(&world).await;
    let absent = format!("{TASKS}/017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    let tag = ada.get(&path).await.expect(200).header("etag").to_owned();
    let body = json!({ "title": "changed", "owner": ada.id(), "status": "open" });
    let table: &[(Method, &str, Header<'_>, u16)] = &[
        (Method::GET, &path, Some(("if-none-match", &tag)), 304),
        (Method::GET, &path, Some(("if-none-match", "\"0\"")), 200),
        (Method::GET, &path, Some(("if-none-match", "*")), 304),
        (Method::GET, &path, Some(("if-match", "\"0\"")), 412),
        (Method::GET, &path, Some(("if-match", &tag)), 200),
        (Method::GET, &absent, Some(("if-match", "*")), 404),
        (Method::PATCH, &path, Some(("if-match", "\"0\"")), 412),
        (Method::PATCH, &path, Some(("if-match", "W/\"1-v\"")), 412),
        (Method::PATCH, &path, Some(("if-match", "nonsense")), 400),
        (Method::PUT, &path, None, 428),
        (Method::PUT, &path, Some(("if-none-match", "*")), 412),
        (Method::DELETE, &path, Some(("if-match", "\"0\"")), 412),
        (Method::PATCH, &path, Some(("if-match", &tag)), 200),
        (Method::PUT, &path, Some(("if-match", &tag)), 412),
        (Method::PUT, &path, Some(("if-match", "*")), 200),
        (Method::DELETE, &absent, Some(("if-match", "*")), 404),
        (Method::DELETE, &path, Some(("if-match", "\"7\", \"3-v\"")), 204),
    ];
    for (method, path, condition, status) in table {
        let mut knock = ada.request(method.clone(), path);
        if let Some((name, value)) = condition {
            knock = knock.header(name, value);
        }
        if matches!(*method, Method::PATCH | Method::PUT) {
            knock = knock.json(body.clone());
        }
        let answer = knock.send().await;
        assert_eq!(answer.status, *status, "{method} {condition:?}: {}", answer.text);
        if *status == 304 {
            assert!(answer.text.is_empty());
            assert_eq!(answer.header("etag"), tag);
        }
    }
}

#[tokio::test]
async fn if_match_comes_before_if_none_match() {
    let world = World::new().await;
    let (ada, path) = one_task(&world).await;
    let tag = ada.get(&path).await.expect(200).header("etag").to_owned();
    let both = |first: &str| ada.request(Method::GET, &path).header("if-match", first).header("if-none-match", &tag);
    both("\"0\"").send().await.expect(412);
    both(&tag).send().await.expect(304);
}

#[tokio::test]
async fn a_client_creates_a_record_under_its_own_id_once() {
    let world = World::new().await;
    let (ada, _) = one_task(&world).await;
    let id = "01900000-0000-7000-8000-000000000001";
    let put = |id: &str| {
        let body = json!({ "id": id, "title": "mine", "owner": ada.id() });
        ada.request(Method::PUT, &format!("{TASKS}/{id}")).header("if-none-match", "*").json(body)
    };
    let made = put(id).send().await.expect(201);
    assert_eq!(
        (made.body["id"].as_str(), made.body["createdAt"].as_str()),
        (Some(id), Some("2024-06-10T02:35:18.400Z"))
    );
    put(id).send().await.expect(412);
    put("not-an-id").send().await.expect(400);
    put("f1900000-0000-7000-8000-000000000001").send().await.expect(400);
}

/// An id chosen by the client dates its record (decision 25): any time in the past, and at most 60 seconds in the future.
#[tokio::test]
async fn an_id_chosen_by_the_client_dates_its_record_and_is_not_in_the_future() {
    let world = World::new().await;
    let (ada, _) = one_task(&world).await;
    let body = json!({ "title": "mine", "owner": ada.id() });
    for (millis, is_taken) in
        [(0, true), (world.now() + 60_000, true), (world.now() + 60_001, false), ((1 << 48) - 1, false)]
    {
        for name in ["alone", "in a batch"] {
            let path = format!("{TASKS}/{}", undercroft::id::derived(millis, name));
            let answer = match name {
                "alone" => ada.request(Method::PUT, &path).header("if-none-match", "*").json(body.clone()).send().await,
                _ => {
                    let write = json!({ "method": "PUT", "path": path, "body": body, "ifNoneMatch": "*" });
                    ada.post("/v1/batch", json!({ "operations": [write] })).await
                }
            };
            assert_eq!(answer.status < 300, is_taken, "{millis} {name}: {}", answer.text);
            if !is_taken {
                assert!(answer.status == 400 && answer.text.contains("is in the future"), "{}", answer.text);
                ada.get(&path).await.expect(404);
                continue;
            }
            let made = ada.get(&path).await.expect(200).body;
            assert_eq!(made["createdAt"], undercroft::clock::rfc3339(millis));
            let updated = undercroft::clock::rfc3339(millis.max(world.now()));
            assert_eq!(made["updatedAt"], updated, "the server's to say, and never before it was created");
        }
    }
}

#[tokio::test]
async fn the_tag_of_what_an_admin_sees_is_not_the_tag_of_what_a_user_sees() {
    let world = World::new().await;
    let (ada, path) = one_task(&world).await;
    let users = ada.get(&path).await.expect(200).header("etag").to_owned();
    let admins = world.admin().await.get(&path).await.expect(200).header("etag").to_owned();
    assert_ne!(users, admins);
}

#[tokio::test]
async fn methods_and_media_types_are_stated_and_head_is_get_without_a_body() {
    let world = World::new().await;
    let (ada, path) = one_task(&world).await;
    for method in [Method::POST, Method::TRACE] {
        let refused = ada.request(method, &path).json(json!({})).send().await.expect(405);
        for allowed in ["GET", "PUT", "PATCH", "DELETE"] {
            assert!(refused.header("allow").contains(allowed), "{:?}", refused.headers);
        }
    }
    let get = ada.get(&path).await.expect(200);
    let head = ada.request(Method::HEAD, &path).send().await.expect(200);
    assert_eq!(
        (head.text.as_str(), head.header("etag"), head.header("content-type")),
        ("", get.header("etag"), "application/json")
    );
    let missing = ada.request(Method::HEAD, &format!("{TASKS}/x")).send().await;
    assert_eq!((missing.status, missing.text.as_str()), (404, ""));
    // A HEAD has the length of the body that a GET has (RFC 9110 section 8.6), also of an error.
    let nobody = world.stranger();
    for (caller, path) in
        [(&ada, &path), (&ada, &format!("{TASKS}/x")), (&nobody, &path), (&ada, &format!("{TASKS}?x=1"))]
    {
        let head = caller.request(Method::HEAD, path).send().await;
        let get = caller.get(path).await;
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.header("content-length"), get.text.len().to_string(), "{path}");
    }

    for wrong in [
        "text/plain",
        "application/xml",
        "application/json; charset=latin-1",
        "application/json; odata=verbose; charset=utf-16",
        "application/json; charset=utf-8; charset=latin-1",
        "application/json; charset=",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "; application/json",
    ] {
        let knock = ada.request(Method::POST, TASKS).header("content-type", wrong).raw("{}");
        knock.send().await.expect(415);
    }
    ada.request(Method::POST, TASKS).raw("{}").send().await.expect(415);
    for right in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        "application/json; odata=verbose",
        "application/json;odata=verbose;charset=\"utf-8\"; IEEE754Compatible=true",
        "application/json; profile=\"https://example.org/a;b,c charset=latin-1\"",
        "application/json; ",
        "application/json ;v=2",
    ] {
        let body = json!({ "title": "t", "owner": ada.id() }).to_string();
        ada.request(Method::POST, TASKS).header("content-type", right).raw(body).send().await.expect(201);
    }
    let patch = ada
        .request(Method::PATCH, &path)
        .header("content-type", "application/merge-patch+json")
        .raw("{\"title\":\"m\"}");
    patch.send().await.expect(200);
}

#[tokio::test]
async fn a_body_with_a_content_coding_is_refused_as_such() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    world.admin().await.put("/v1/collections/tasks", tasks()).await.expect(201);
    let encoded = ada.request(Method::POST, TASKS).header("content-encoding", "gzip").json(json!({ "title": "x" }));
    let refused = encoded.send().await.expect(415);
    assert_eq!((refused.code(), refused.header("accept-encoding")), ("unsupported_encoding", "identity"));
    let plain = ada
        .request(Method::POST, TASKS)
        .header("content-encoding", "identity")
        .json(json!({ "title": "x", "owner": ada.id() }));
    plain.send().await.expect(201);
}

#[tokio::test]
async fn every_failure_is_a_problem_document_without_internals() {
    let world = World::new().await;
    let (ada, path) = one_task(&world).await;
    let huge = format!("{{\"title\":\"{}\"}}", "x".repeat(1_100_000));
    let answers = [
        ada.get("/v1/nothing").await,
        ada.get("/v1/collections/tasks/nothing").await,
        ada.get("/v1/jobs").await,
        ada.request(Method::POST, TASKS).header("content-type", "application/json").raw("{").send().await,
        ada.request(Method::POST, TASKS).header("content-type", "application/json").raw(vec![0xff, 0xfe]).send().await,
        ada.request(Method::POST, TASKS).header("content-type", "application/json").raw(huge).send().await,
        ada.post("/v1/batch", json!({ "operations": [] })).await,
        ada.get("/v1/changes").await,
        ada.get(&format!("{path}?expand=nothing")).await,
        ada.request(Method::POST, TASKS).header("idempotency-key", "\"k\"").json(json!({})).send().await,
        ada.get("/v1/collections/%ff/records").await,
        ada.get("/v1/collections/..%2f..%2fetc/records").await,
    ];
    for answer in answers {
        // A path that no route of the template matches never reaches a function: API Gateway answers that one.
        if answer.asked == "GET /v1/nothing" {
            assert_eq!(answer.status, 404);
            continue;
        }
        let status = answer.status;
        assert!((400..=501).contains(&status) && status != 500, "{}: {}", answer.asked, answer.text);
        let answer = answer.expect(status);
        for member in ["type", "title", "status", "code", "detail", "requestId"] {
            assert!(!answer.body[member].is_null(), "{}: {}", answer.asked, answer.text);
        }
        assert_eq!(answer.body["requestId"], answer.header("x-request-id"));
        for inside in ["arn:", "recordstable", "undercroft-local", "dynamodb", ".rs:", "panicked", "c#tasks"] {
            assert!(!answer.text.to_lowercase().contains(inside), "{}: {}", answer.asked, answer.text);
        }
    }
}

#[tokio::test]
async fn a_repeated_header_or_parameter_is_refused() {
    let world = World::new().await;
    let (ada, path) = one_task(&world).await;
    let token = format!("Bearer {}", ada.token.clone().unwrap());
    ada.request(Method::GET, &path).header("authorization", &token).send().await.expect(400);
    let stranger = world.stranger();
    stranger.request(Method::GET, &path).header("authorization", &format!("{token},{token}")).send().await.expect(400);
    // Each of the two would be accepted alone, and both would be if they were equal.
    for (first, second) in [("\"a\"", "\"b\""), ("\"a\"", "\"a\"")] {
        let make = || ada.request(Method::POST, TASKS).json(json!({ "title": "t", "owner": ada.id() }));
        let twice = make().header("idempotency-key", first).header("idempotency-key", second);
        assert_eq!(twice.send().await.expect(400).code(), "duplicate_header");
        make().header("idempotency-key", &format!("{first},{second}")).send().await.expect(400);
    }
    let once = ada.request(Method::POST, TASKS).json(json!({ "title": "t", "owner": ada.id() }));
    once.header("idempotency-key", "\"a\"").send().await.expect(201);
    for parameter in ["limit=1", "sort=title", "filter=owner%20==%20'x'", "fields=title"] {
        ada.get(&format!("{TASKS}?{parameter}&{parameter}")).await.expect(400);
    }
    ada.get(&format!("{TASKS}?limit=1&limit=100")).await.expect(400);
    // A comma in quotes separates nothing.
    let quoted = ada.request(Method::POST, TASKS).json(json!({ "title": "t", "owner": ada.id() }));
    quoted.header("idempotency-key", "\"a,b\"").send().await.expect(201);
    for wrong in ["Basic YWRtaW46YWRtaW4=", "Bearer", "Bearer ", "Bearer  ", ""] {
        stranger.request(Method::GET, &path).header("authorization", wrong).send().await.expect(401);
    }
    let token = ada.token.clone().unwrap();
    for (status, right) in
        [(200, format!("Bearer   {token}")), (200, format!("bEARER {token}")), (401, format!("Bearer\t{token}"))]
    {
        stranger.request(Method::GET, &path).header("authorization", &right).send().await.expect(status);
    }
}

#[tokio::test]
async fn identity_claims_outside_the_token_are_ignored() {
    let world = World::new().await;
    let (ada, path) = one_task(&world).await;
    let stranger = world.stranger();
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-user-id", ada.id()),
        ("x-user-roles", "admin"),
        ("x-forwarded-user", "admin@example.com"),
        ("x-amzn-oidc-identity", ada.id()),
        ("x-http-method-override", "DELETE"),
    ] {
        stranger.request(Method::GET, &path).header(name, value).send().await.expect(401);
    }
    let named = ada.request(Method::GET, &path).header("x-request-id", "forged\" injected").send().await.expect(200);
    assert!(!named.header("x-request-id").contains("forged"));
}

#[tokio::test]
async fn browsers_of_listed_origins_may_call_and_no_others() {
    let world = World::new().await;
    let (ada, path) = one_task(&world).await;
    let preflight = |origin: &str| {
        world
            .stranger()
            .request(Method::OPTIONS, &path)
            .header("access-control-request-method", "PATCH")
            .header("origin", origin)
            .send()
    };
    let listed = preflight("http://localhost:5173").await;
    assert_eq!(listed.status, 204);
    assert_eq!(listed.header("access-control-allow-origin"), "http://localhost:5173");
    assert!(listed.header("access-control-allow-methods").contains("PATCH"));
    assert!(listed.header("access-control-allow-headers").contains("if-match"));
    for origin in ["http://localhost:5174", "https://localhost:5173", "http://localhost:5173.evil.example", "null", "*"]
    {
        let other = preflight(origin).await;
        assert!(!other.headers.contains_key("access-control-allow-origin"), "{origin}");
        assert!(!other.headers.contains_key("access-control-allow-methods"), "{origin}");
        let read = ada.request(Method::GET, &path).header("origin", origin).send().await.expect(200);
        assert!(!read.headers.contains_key("access-control-allow-origin"), "{origin}");
    }
    let read = ada.request(Method::GET, &path).header("origin", "http://localhost:3000").send().await.expect(200);
    assert_eq!(read.header("access-control-allow-origin"), "http://localhost:3000");
    assert!(read.header("access-control-expose-headers").contains("etag"));
    assert!(!read.headers.contains_key("access-control-allow-credentials"));
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_browsers_safe() {
    let world = World::new().await;
    let (ada, path) = one_task(&world).await;
    for answer in
        [ada.get(&path).await, ada.get("/v1/auth/me").await, world.stranger().get("/.well-known/jwks.json").await]
    {
        assert!(answer.header("strict-transport-security").starts_with("max-age=63072000"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
        assert_eq!(answer.header("vary"), "Origin");
        assert!(!answer.header("x-request-id").is_empty() && answer.header("undercroft-cost").starts_with("rru="));
        let public = answer.asked.contains("jwks");
        assert_eq!(answer.header("cache-control"), if public { "public, max-age=300" } else { "no-store" });
        for reported in ["server", "x-powered-by"] {
            assert!(!answer.headers.contains_key(reported));
        }
    }
}

#[tokio::test]
async fn two_users_on_one_warm_function_share_nothing() {
    let world = World::new().await;
    world.admin().await.put("/v1/collections/tasks", tasks()).await.expect(201);
    let (ada, bob) = (world.user("ada").await, world.user("bob").await);
    for caller in [&ada, &bob] {
        caller.post(TASKS, json!({ "title": caller.id(), "owner": caller.id() })).await.expect(201);
    }
    for turn in 0..rounds(1_000) {
        let caller = if turn.is_multiple_of(2) { &ada } else { &bob };
        let items = caller.get(TASKS).await.expect(200).body["items"].clone();
        let items = items.as_array().unwrap();
        assert_eq!((items.len(), &items[0]["owner"], &items[0]["title"]), (1, &caller.user["id"], &caller.user["id"]));
        if turn.is_multiple_of(10) {
            world.stranger().get("/v1/auth/me").await.expect(401);
            world.stranger().get(TASKS).await.expect(401);
        }
    }
}

#[tokio::test]
async fn a_handler_that_panics_fails_its_request_and_no_other() {
    use tower::ServiceExt;
    async fn panics() -> &'static str {
        panic!("on purpose, at line 42 of secret.rs")
    }
    let env = undercroft::config::Env::default();
    let routes = axum::Router::new()
        .route("/panics", axum::routing::get(panics))
        .route("/works", axum::routing::get(async || "fine"));
    let function = undercroft::http::Edge::new("test", &[], &env).around(routes);
    let ask = async |path: &str| {
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = function.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let (status, body) = ask("/panics").await;
    assert_eq!(status, 500);
    assert!(body.contains("\"code\":\"internal\"") && !body.contains("secret"), "{body}");
    assert_eq!(ask("/works").await, (200, "fine".to_owned()));
}
