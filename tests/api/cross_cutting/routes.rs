//! Every route with every kind of caller, from one table. A route without a row fails, and so does a row without a route.

use crate::cross_cutting::openapi::operations;
use crate::world::{Answer, Caller, World, tasks};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What each kind of caller gets: stranger, user, admin.
pub type Row = (&'static str, &'static str, [u16; 3]);

/// Methods with a body send `{}`, which is always invalid, so 400 means that the caller has the right.
pub const ROUTES: &[Row] = &[
    ("POST", "/v1/auth/signup", [400, 400, 400]),
    ("POST", "/v1/auth/verify", [400, 400, 400]),
    ("POST", "/v1/auth/signin", [400, 400, 400]),
    ("POST", "/v1/auth/refresh", [400, 400, 400]),
    ("POST", "/v1/auth/signout", [401, 204, 204]),
    ("GET", "/v1/auth/me", [401, 401, 401]),
    ("GET", "/v1/auth/sessions", [401, 401, 401]),
    ("POST", "/v1/auth/reset", [501, 501, 501]),
    ("POST", "/v1/auth/magic", [501, 501, 501]),
    ("POST", "/v1/auth/totp", [501, 501, 501]),
    ("POST", "/v1/auth/passkeys", [501, 501, 501]),
    ("POST", "/v1/auth/oidc", [501, 501, 501]),
    ("POST", "/v1/auth/keys", [501, 501, 501]),
    ("GET", "/.well-known/jwks.json", [200, 200, 200]),
    ("GET", "/openapi.json", [200, 200, 200]),
    ("GET", "/docs", [200, 200, 200]),
    ("GET", "/v1/collections", [401, 403, 200]),
    ("GET", "/v1/collections/{collection}", [401, 403, 200]),
    ("PUT", "/v1/collections/{collection}", [401, 403, 400]),
    ("DELETE", "/v1/collections/{collection}", [401, 403, 409]),
    ("GET", "/v1/collections/{collection}/records", [401, 200, 200]),
    ("POST", "/v1/collections/{collection}/records", [401, 400, 400]),
    ("PUT", "/v1/collections/{collection}/records", [400, 400, 400]),
    ("GET", "/v1/collections/{collection}/records/{id}", [401, 404, 200]),
    ("PUT", "/v1/collections/{collection}/records/{id}", [428, 428, 428]),
    ("PATCH", "/v1/collections/{collection}/records/{id}", [401, 404, 200]),
    ("POST", "/v1/collections/{collection}/records/{id}/undelete", [401, 404, 409]),
    ("GET", "/v1/collections/{collection}/schema", [401, 200, 200]),
    ("DELETE", "/v1/collections/{collection}/records/{id}", [401, 404, 204]),
    ("POST", "/v1/batch", [400, 400, 400]),
    ("GET", "/v1/changes", [400, 400, 400]),
    ("GET", "/v1/jobs", [401, 403, 200]),
    ("POST", "/v1/jobs", [401, 403, 400]),
    ("POST", "/v1/jobs/uploads", [401, 403, 400]),
    ("POST", "/v1/jobs/redrive", [401, 403, 200]),
    ("GET", "/v1/jobs/{id}", [401, 403, 404]),
    ("POST", "/v1/jobs/{id}/cancel", [401, 403, 404]),
    ("POST", "/v1/jobs/{id}/redrive", [401, 403, 404]),
];

pub async fn knock(caller: &Caller<'_>, method: &str, path: &str) -> Answer {
    knock_with(caller, method, path, &[]).await
}

/// The same with these headers.
pub async fn knock_with(caller: &Caller<'_>, method: &str, path: &str, headers: &[(&'static str, &str)]) -> Answer {
    let method: Method = method.parse().unwrap();
    let knock = caller.request(method.clone(), path);
    let knock = headers.iter().fold(knock, |knock, (name, value)| knock.header(name, value));
    let knock = if method == Method::GET || method == Method::DELETE { knock } else { knock.json(json!({})) };
    knock.send().await
}

#[tokio::test]
async fn every_route_answers_every_kind_of_caller_as_the_table_says() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    let owner = world.user("owner").await;
    let made =
        owner.post("/v1/collections/tasks/records", json!({ "title": "t", "owner": owner.id() })).await.expect(201);
    let id = made.body["id"].as_str().unwrap().to_owned();
    let (stranger, user) = (world.stranger(), world.user("user").await);
    for (method, route, expected) in ROUTES {
        let path = route.replace("{collection}", "tasks").replace("{id}", &id);
        for (caller, status) in [&stranger, &user, &admin].into_iter().zip(expected) {
            let answer = knock(caller, method, &path).await;
            assert_eq!(answer.status, *status, "{method} {path} as {}: {}", caller.user["email"], answer.text);
            answer.expect(*status);
        }
    }
    world.settle().await;
}

/// The identity comes only from the token: naming a user in query, header or body gives no access (R71).
#[tokio::test]
async fn no_route_accepts_an_identity_that_a_stranger_claims() {
    let world = World::new().await;
    world.admin().await.put("/v1/collections/tasks", tasks()).await.expect(201);
    let owner = world.user("owner").await;
    let made =
        owner.post("/v1/collections/tasks/records", json!({ "title": "t", "owner": owner.id() })).await.expect(201);
    let id = made.body["id"].as_str().unwrap().to_owned();
    let stranger = world.stranger();
    for (method, route, [expected, ..]) in ROUTES {
        let path = route.replace("{collection}", "tasks").replace("{id}", &id);
        let method: Method = method.parse().unwrap();
        let has_body = method != Method::GET && method != Method::DELETE;
        for name in ["userId", "ownerId", "sub"] {
            let plain = || stranger.request(method.clone(), &path);
            let in_query = stranger.request(method.clone(), &format!("{path}?{name}={}", owner.id()));
            let in_header = plain().header("x-user-id", owner.id()).header("x-sub", owner.id());
            let mut asked = vec![("query", in_query), ("header", in_header)];
            if has_body {
                asked = asked.into_iter().map(|(place, knock)| (place, knock.json(json!({})))).collect();
                asked.push(("body", plain().json(json!({ name: owner.id() }))));
            }
            for (place, knock) in asked {
                let answer = knock.send().await;
                // An unexpected header may be refused; it never gives access.
                let is_refused = answer.status == 400 && place != "header";
                assert!(
                    answer.status == *expected || is_refused,
                    "{method} {path}, {name} in {place}: {}",
                    answer.text
                );
                assert!(answer.status >= 400 || !answer.text.contains(owner.id()), "{method} {path}: {}", answer.text);
            }
        }
    }
    owner.get(&format!("/v1/collections/tasks/records/{id}")).await.expect(200);
    world.settle().await;
}

/// Whether the document says that an operation takes a parameter of this place, and of this name if one is given.
pub fn takes(document: &Value, operation: &Value, place: &str, name: Option<&str>) -> bool {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let mut parameters = parameters.filter_map(|parameter| document.pointer(&parameter["$ref"].as_str()?[1..]));
    parameters.any(|parameter| parameter["in"] == place && name.is_none_or(|name| parameter["name"] == name))
}

/// Every route refuses an unknown parameter by name, for every caller and every target.
#[tokio::test]
async fn every_route_refuses_an_unknown_parameter_by_name_and_does_nothing() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    let owner = world.user("owner").await;
    let body = json!({ "title": "t", "owner": owner.id() });
    let made = owner.post("/v1/collections/tasks/records", body.clone()).await.expect(201);
    let (there, absent) = (made.body["id"].as_str().unwrap(), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    // Every function has fetched its public keys, which costs the first request of each a trip.
    for path in ["/openapi.json", "/v1/jobs", "/v1/auth/me"] {
        admin.get(path).await.expect(200);
    }
    let document = undercroft_docs::openapi::document(&[]);
    let (stranger, user) = (world.stranger(), world.user("user").await);
    for (method, route, operation) in operations(&document) {
        let has_query = takes(&document, operation, "query", None);
        // On routes with parameters, only admins get the list of them.
        let is_closed = has_query && operation["x-policy"] == "admin";
        for caller in [&stranger, &user, &owner, &admin] {
            let ask = async |collection: &str, id: &str| {
                let path = route.replace("{collection}", collection).replace("{id}", id);
                let answer = knock(caller, &method, &format!("{path}?surprise=1")).await;
                let named = answer.body["detail"].as_str().unwrap_or_default().contains("`surprise`");
                let is_told = (answer.status, answer.code(), named) == (400, "query", true);
                let is_turned_away = is_closed && matches!(answer.status, 401 | 403);
                assert!(is_told || is_turned_away, "{} as {}: {}", answer.asked, caller.user["email"], answer.text);
                assert!(has_query || answer.cost() == (0.0, 0.0, 0), "{}", answer.asked);
                (answer.status, answer.body["detail"].clone(), answer.headers.get("undercroft-cost").cloned())
            };
            let reported = ask("tasks", there).await;
            assert_eq!(ask("tasks", absent).await, reported, "{method} {route}: no word of the record");
            assert_eq!(ask("ghosts", there).await, reported, "{method} {route}: no word of the collection");
        }
    }
    let records = "/v1/collections/tasks/records";
    for query in ["dryRun=true", "x", "a=1&b=2", "%73urprise=1", "=", "+", &"x".repeat(5_000)] {
        let answer = owner.post(&format!("{records}?{query}"), body.clone()).await.expect(400);
        assert!(answer.code() == "query" && answer.text.len() < 1_000, "{query}: {}", answer.text);
    }
    // Nobody was signed out, and nothing was created, changed or deleted. An empty query string is accepted.
    let left = owner.get(&format!("{records}?")).await.expect(200).body;
    assert_eq!(left["items"], json!([made.body]));
    admin.request(Method::GET, "/v1/auth/me?").send().await.expect(200);
    world.settle().await;
}

/// The routes in the sources, from `.route("...", get(..).post(..))`.
fn routes_of(function: &str) -> BTreeSet<(String, String)> {
    let file = format!("{}/../functions/{function}/src/lib.rs", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(file).unwrap();
    let mut routes = BTreeSet::new();
    for call in source.split(".route(").skip(1) {
        let path = call.split('"').nth(1).unwrap().to_owned();
        let handlers = call.split(".with_state").next().unwrap();
        for (name, method) in [
            ("get(", "GET"),
            ("post(", "POST"),
            ("put(", "PUT"),
            ("patch(", "PATCH"),
            ("delete(", "DELETE"),
            ("any(", "ANY"),
        ] {
            if handlers
                .split(|char: char| !(char.is_ascii_alphanumeric() || char == '(' || char == '_'))
                .any(|word| word.starts_with(name))
            {
                routes.insert((path.clone(), method.to_owned()));
            }
        }
    }
    routes
}

#[tokio::test]
async fn the_table_lists_exactly_the_existing_routes() {
    let world = World::new().await;
    let serving = world.cloud.functions().iter().filter(|function| function.routes().next().is_some());
    let routed: BTreeSet<(String, String)> = serving.flat_map(|function| routes_of(&function.binary)).collect();
    assert!(routed.len() > 25, "the sources were read: {routed:?}");
    let any: BTreeSet<&String> = routed.iter().filter(|(_, method)| method == "ANY").map(|(path, _)| path).collect();
    let table: BTreeSet<(String, String)> = ROUTES
        .iter()
        .map(|(method, path, _)| {
            (path.to_string(), if any.contains(&path.to_string()) { "ANY" } else { method }.to_string())
        })
        .collect();
    let missing: Vec<_> = routed.difference(&table).collect();
    let gone: Vec<_> = table.difference(&routed).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "not in the table ROUTES: {missing:?}; in the table, but no function of template.yaml serves it: {gone:?}"
    );
}

#[tokio::test]
async fn a_path_under_no_route_is_404() {
    let world = World::new().await;
    let admin = world.admin().await;
    for path in [
        "/v0/auth/signin",
        "/v2/auth/signin",
        "/v1/auth/",
        "/v1/auth/admin",
        "/v1/jobs/x/y/z",
        "/v1/collections/tasks/records/x/y",
        "/debug",
        "/metrics",
        "/docs/",
        "/openapi.yaml",
    ] {
        for method in [Method::GET, Method::POST] {
            let answer = admin.request(method, path).json(json!({})).send().await;
            assert_eq!(answer.status, 404, "{path}: {}", answer.text);
        }
    }
    world.settle().await;
}
