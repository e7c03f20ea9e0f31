//! Who sees which part of the API description: the document, the page made from it, and the schemas of collections.

use crate::cross_cutting::openapi::{operations, rich};
use crate::cross_cutting::response_contract::compiled;
use crate::world::{World, tasks};
use axum::http::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tower::ServiceExt;

const TASKS: &str = "/v1/collections/tasks/records";

#[tokio::test]
async fn only_admins_see_collections_in_the_document() {
    let world = World::new().await;
    let (admin, user) = (world.admin().await, world.user("user").await);
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    world.advance(Duration::from_secs(6));
    let public = world.stranger().get("/openapi.json").await.expect(200);
    let users = user.get("/openapi.json").await.expect(200);
    assert_eq!(public.text, users.text);
    assert!(!public.text.contains("tasks") && !public.text.contains("users_record"), "no collection");
    for caller in [&world.stranger(), &user] {
        for page in ["/openapi.json", "/docs"] {
            let hidden = caller.get(&format!("{page}?collections=tasks")).await.expect(404);
            let absent = caller.get(&format!("{page}?collections=nothing")).await.expect(404);
            assert_eq!(hidden.body["detail"], absent.body["detail"]);
        }
    }
    let reported = admin.get("/openapi.json").await.expect(200);
    for path in [TASKS, "/v1/collections/users/records/{id}", "/v1/collections/tasks/schema"] {
        assert!(reported.body["paths"][path].is_object(), "{path}");
    }
    let rules = &reported.body["paths"][TASKS]["get"]["x-rules"];
    assert_eq!(*rules, json!({ "list": "record.owner == auth.id" }));
    let only = admin.get("/openapi.json?collections=tasks").await.expect(200);
    assert!(only.body["paths"][TASKS].is_object() && only.body["paths"]["/v1/collections/users/records"].is_null());
    admin.get("/openapi.json?collections=tasks,nothing").await.expect(404);
    admin.get("/openapi.json?collection=tasks").await.expect(400);
}

#[tokio::test]
async fn the_document_is_sent_again_only_when_it_has_changed() {
    let world = World::new().await;
    let admin = world.admin().await;
    for page in ["/openapi.json", "/docs"] {
        let first = admin.get(page).await.expect(200);
        assert_eq!(first.header("cache-control"), "private, no-cache");
        assert_eq!(first.header("vary"), "Authorization, Origin");
        let again = |tag: &str| admin.request(Method::GET, page).header("if-none-match", tag).send();
        again(first.header("etag")).await.expect(304);
        again("\"another\"").await.expect(200);
        let mut named = tasks();
        named["name"] = json!(if page == "/docs" { "tasks" } else { "others" });
        admin.put(&format!("/v1/collections/{}", named["name"].as_str().unwrap()), named).await.expect(201);
        world.advance(Duration::from_secs(6));
        let changed = again(first.header("etag")).await.expect(200);
        assert_ne!(changed.header("etag"), first.header("etag"));
        let trips = [admin.get(page).await.cost().2, admin.get(page).await.cost().2];
        assert_eq!(trips, [0, 0], "definitions are remembered for five seconds");
    }
}

/// A browser stores the headers of a 304 over those of the 200 it keeps: with another policy the page would lose its style.
#[tokio::test]
async fn a_304_repeats_the_headers_of_the_200() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    let records = "/v1/collections/tasks/records";
    let made = admin.post(records, json!({ "title": "t", "owner": admin.user["id"] })).await.expect(201);
    let record = format!("{records}/{}", made.body["id"].as_str().unwrap());
    let expanded = format!("{record}?expand=owner");
    let paths = ["/docs", "/openapi.json", "/v1/collections/tasks", "/v1/collections/tasks/schema", &record, &expanded];
    for path in paths {
        let first = admin.get(path).await.expect(200);
        let tag = first.header("etag");
        let again = admin.request(Method::GET, path).header("if-none-match", tag).send().await.expect(304);
        for name in again.headers.keys().filter(|name| !["x-request-id", "undercroft-cost"].contains(&name.as_str())) {
            let values =
                |answer: &crate::world::Answer| answer.headers.get_all(name).iter().cloned().collect::<Vec<_>>();
            assert_eq!(values(&again), values(&first), "{path}: {name}");
        }
        // RFC 9110 section 15.4.5: these must be on both, where they are on one.
        for name in ["cache-control", "content-security-policy", "etag", "vary"] {
            assert_eq!(again.header(name), first.header(name), "{path}: {name}");
        }
        let of_a_body = ["content-type", "content-length"];
        assert!(again.text.is_empty() && of_a_body.iter().all(|name| !again.headers.contains_key(*name)), "{path}");
    }
}

#[tokio::test]
async fn records_match_the_published_schema() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/tasks", tasks()).await.expect(201);
    admin.put("/v1/collections/rich", rich()).await.expect(201);
    let ada = world.user("ada").await;
    let document = admin.get("/openapi.json").await.expect(200).body;
    let fits =
        |schema: &str, value: &Value| compiled(&document, &format!("#/components/schemas/{schema}")).is_valid(value);

    let input = json!({ "title": "t", "owner": ada.id(), "priority": 3 });
    assert!(fits("tasks_input", &input));
    assert!(!fits("tasks_input", &json!({ "owner": ada.id() })), "a title is required");
    assert!(!fits("tasks_input", &json!({ "title": "t", "nothing": 1 })));
    let made = ada.post(TASKS, input).await.expect(201).body;
    assert!(fits("tasks_record", &made), "{made}");
    let listed = ada.get(TASKS).await.expect(200).body;
    assert!(fits("tasks_list", &listed) && fits("tasks_page", &listed));
    assert!(!fits("tasks_page", &json!({ "items": [{ "id": made["id"] }] })));
    let patch = json!({ "priority": null, "status": "done" });
    assert!(fits("tasks_patch", &patch) && !fits("tasks_patch", &json!({ "title": null })));
    ada.patch(&format!("{TASKS}/{}", made["id"].as_str().unwrap()), patch).await.expect(200);

    let schemas = &document["components"]["schemas"];
    for schema in ["tasks_record", "tasks_input", "tasks_patch"] {
        assert!(!schemas[schema].to_string().contains("\"default\""), "a generated client would send it: {schema}");
    }
    assert_eq!(schemas["tasks_input"]["properties"]["status"]["x-default"], "open");

    let place = json!({ "city": "Ur", "near": { "city": "Uruk" } });
    let input = json!({ "name": "n", "place": place, "places": [place], "secret": "s", "at": "2026-01-01T00:00:00Z" });
    assert!(fits("rich_input", &input));
    assert!(
        !fits("rich_input", &json!({ "name": "n", "secret": "s", "place": { "near": { "city": 1 } } })),
        "references hold"
    );
    let made = ada.post("/v1/collections/rich/records", input).await.expect(201).body;
    assert!(fits("rich_record", &made) && made["secret"].is_null());
    assert!(document["components"]["schemas"]["rich_record"]["properties"]["secret"].is_null());
    assert_eq!(document["components"]["schemas"]["rich_input"]["properties"]["secret"]["writeOnly"], true);
    assert!(document["components"]["schemas"]["rich_input"]["properties"]["checked"].is_null());
}

#[tokio::test]
async fn a_schema_is_shown_to_readers_of_records_with_the_fields_they_see() {
    let world = World::new().await;
    let (admin, ada, stranger) = (world.admin().await, world.user("ada").await, world.stranger());
    admin.put("/v1/collections/rich", rich()).await.expect(201);
    let schema = "/v1/collections/rich/schema";
    let reported = ada.get(schema).await.expect(200);
    assert_eq!(reported.header("content-type"), "application/schema+json");
    assert!(!reported.text.contains("secret"));
    assert_eq!((&reported.body["title"], &reported.body["type"]), (&json!("rich"), &json!("object")));
    let validator = jsonschema::options().should_validate_formats(true).offline().build(&reported.body).unwrap();
    let place = json!({ "city": "Ur" });
    let made = ada.post("/v1/collections/rich/records", json!({ "name": "n", "secret": "s", "place": place })).await;
    assert!(validator.is_valid(&made.expect(201).body));
    assert!(!validator.is_valid(&json!({ "name": "n" })), "the server's members are required");
    assert_eq!(reported.body["properties"]["name"]["$comment"], json!("{\"x-writeOnce\":true}"));
    assert_eq!(
        reported.body["properties"]["name"].get("x-writeOnce"),
        None,
        "a strict validator knows no such keyword"
    );
    let whole = admin.get(schema).await.expect(200);
    assert!(whole.text.contains("secret"));
    assert_ne!(whole.header("etag"), reported.header("etag"));
    ada.request(Method::GET, schema).header("if-none-match", reported.header("etag")).send().await.expect(304);

    for (rules, [for_stranger, for_ada]) in [
        (json!({}), [401, 404]),
        (json!({ "update": "true", "delete": "true" }), [401, 404]),
        (json!({ "create": "auth.id != '' && input.name == 'n'" }), [401, 200]),
        (json!({ "create": "input.name == 'n'" }), [200, 200]),
        (json!({ "list": "auth.verified" }), [401, 200]),
        (json!({ "read": "'staff' in auth.roles" }), [401, 404]),
    ] {
        let mut definition = rich();
        definition["rules"] = rules.clone();
        admin.put("/v1/collections/rich", definition).await.expect(202);
        world.advance(Duration::from_secs(6));
        for (caller, status) in [(&stranger, for_stranger), (&ada, for_ada)] {
            let answer = caller.get(schema).await;
            assert_eq!(answer.status, status, "{rules}: {}", answer.text);
            if status >= 400 {
                let absent = caller.get("/v1/collections/nothing/schema").await.expect(status);
                assert_eq!((absent.code(), &absent.body["detail"]), (answer.code(), &answer.body["detail"]));
            }
        }
    }
}

#[tokio::test]
async fn the_page_shows_the_whole_document_and_loads_nothing() {
    let world = World::new().await;
    let admin = world.admin().await;
    admin.put("/v1/collections/rich", rich()).await.expect(201);
    let page = admin.get("/docs").await.expect(200);
    let document = admin.get("/openapi.json").await.expect(200).body;
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(
            page.text.contains(&format!("<article id=\"{id}\"><h3><b>{method}</b> {path}</h3>")),
            "{method} {path}"
        );
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(page.text.contains(&format!("id=\"schema-{name}\"")), "{name}");
    }
    let links: BTreeSet<&str> =
        page.text.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    for link in links {
        let target = link.strip_prefix('#').map(|id| page.text.contains(&format!("id=\"{id}\"")));
        assert!(target.unwrap_or(link == "/openapi.json"), "{link} leads nowhere");
    }
    assert!(page.text.contains("&lt;script&gt;alert(&#39;name&#39;)"));
    for loaded in ["<script", "<link", "<img", "<iframe", "src=", "@import", "url(", "http-equiv"] {
        assert!(!page.text.contains(loaded), "{loaded}");
    }
    let style = page.text.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, style.as_bytes());
    let hash = digest.as_ref().chunks(3).map(base64).collect::<String>();
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none'; ") && policy.contains(&format!("'sha256-{hash}'")),
        "{policy} {hash}"
    );
    assert!(!policy.contains("unsafe") && page.headers.get_all("content-security-policy").iter().count() == 1);
    assert!(!world.stranger().get("/docs").await.expect(200).text.contains("rich"));
}

/// Plain base64 of up to three bytes (RFC 4648 section 4).
fn base64(bytes: &[u8]) -> String {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let number = (0..3).fold(0_usize, |number, at| number << 8 | usize::from(*bytes.get(at).unwrap_or(&0)));
    let symbol = |at: usize| if at > bytes.len() { '=' } else { char::from(SYMBOLS[number >> (18 - 6 * at) & 63]) };
    (0..4).map(symbol).collect()
}

#[tokio::test]
async fn switched_off_the_document_and_the_page_are_404() {
    let world = World::new().await;
    let mut env = world.env("docs");
    assert_eq!(env["API_DOCS"], "on", "the template's default");
    env.insert("API_DOCS".into(), "off".into());
    let env = env.into_iter().collect();
    let app = undercroft_docs::App::from_env(&env).unwrap();
    let function = undercroft_docs::routes(app, &env);
    let ask = async |path: &str| {
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap();
        let response = function.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let mut body: Value = serde_json::from_slice(&body).unwrap();
        body["requestId"] = Value::Null;
        (status, body)
    };
    let nothing = ask("/nothing").await;
    assert_eq!(nothing.0, 404);
    assert_eq!(ask("/openapi.json").await, nothing);
    assert_eq!(ask("/docs").await, nothing);
    let production = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../samconfig.toml")).unwrap();
    assert!(production.split("[prod.").nth(1).unwrap().contains("\"ApiDocs=off\""), "samconfig.toml switches it off");
}
