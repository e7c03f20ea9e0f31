//! The document that tells clients what there is (OpenAPI 3.1): every route of every function, and for admins every
//! collection.
//!
//! It is made from the one table of routes, and tests hold it to what the functions do: every route is in it, every response that any
//! test receives is one it names, every policy is the one that is kept.

mod each_collection;
mod refusals;

use serde_json::{Map, Value, json};
use undercroft::routes::{self, Policy, Route};
use undercroft::schema::Definition;

const ABOUT: &str = "A complete backend in your own AWS account. Every answer says what it cost (`Undercroft-Cost`); every \
refusal is a problem document (RFC 9457) with a stable `code`. HEAD is answered wherever GET is. What the caller may not see \
does not exist. Two answers come from API Gateway itself and are no problem documents: 404 for a path under no route, and 503 \
while a function cannot start.";

/// The header of a price that is not always told.
const NOT_ALWAYS: &str = "CostForAdmins";

/// The document with these collections.
pub fn document(collections: &[Definition]) -> Value {
    let mut paths = Map::new();
    for (function, routes) in routes::all() {
        for route in routes {
            let operation = operation(&route, function, &Naming::plain());
            add(&mut paths, route.path, route.method, operation);
        }
    }
    let mut schemas = part(include_str!("schemas.json"));
    for collection in collections {
        each_collection::add_to(&mut paths, &mut schemas, collection);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Undercroft", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/", "description": "where this document is" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": part(include_str!("parameters.json")),
            "headers": part(include_str!("headers.json")),
            "responses": refusals(),
            "securitySchemes": { "bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "the accessToken of sign-in",
            } },
        },
    })
}

/// How the operations of one collection differ from those of any.
struct Naming<'a> {
    collection: Option<&'a Definition>,
}

impl Naming<'_> {
    /// Those of any collection.
    fn plain() -> Self {
        Self { collection: None }
    }

    fn schema(&self, name: &str) -> String {
        each_collection::schema(self.collection.map(|collection| collection.name.as_str()), name)
    }
}

fn add(paths: &mut Map<String, Value>, path: &str, method: &str, operation: Value) {
    let item = paths.entry(path).or_insert_with(|| Value::Object(Map::new()));
    if let Some(operations) = item.as_object_mut() {
        operations.insert(method.to_owned(), operation);
    }
}

fn operation(route: &Route, tag: &str, naming: &Naming<'_>) -> Value {
    let mut operation = Map::new();
    let mut set = |name: &str, value: Value| operation.insert(name.to_owned(), value);
    set("operationId", route.id.into());
    set("tags", json!([tag]));
    set("summary", route.summary.into());
    set("x-policy", route.policy.to_string().into());
    set("security", security(route.policy));
    set("responses", responses(route, naming));
    if !route.description.is_empty() {
        set("description", route.description.into());
    }
    let parameters: Vec<Value> = parameters(route, naming).map(|name| reference("parameters", name)).collect();
    if !parameters.is_empty() {
        set("parameters", parameters.into());
    }
    if let Some(body) = &route.body {
        let schema = reference("schemas", &naming.schema(body.schema));
        let content: Map<String, Value> =
            body.media.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect();
        set("requestBody", json!({ "required": !body.optional, "content": content }));
    }
    Value::Object(operation)
}

fn security(policy: Policy) -> Value {
    match policy {
        Policy::Anyone => json!([]),
        Policy::AnyoneByToken | Policy::Session | Policy::EachOperation | Policy::Rules(_) => {
            json!([{ "bearer": [] }, {}])
        }
        Policy::SignedIn | Policy::Admin => json!([{ "bearer": [] }]),
    }
}

/// Those of the path first.
fn parameters<'a>(route: &'a Route, naming: &Naming<'_>) -> impl Iterator<Item = &'static str> + use<'a> {
    let of_any = naming.collection.is_none() && route.path.contains("{collection}");
    let id = match route.path {
        path if !path.contains("{id}") => None,
        path if path.starts_with("/v1/jobs/") => Some("JobId"),
        _ => Some("RecordId"),
    };
    of_any.then_some("Collection").into_iter().chain(id).chain(route.parameters.iter().copied())
}

fn responses(route: &Route, naming: &Naming<'_>) -> Value {
    let mut responses = Map::new();
    for answer in &route.answers {
        let headers = headers(cost(route, answer.status), &answer.headers);
        let mut response = json!({ "description": answer.means, "headers": headers });
        if let (Some((media, schema)), Some(members)) = (answer.body, response.as_object_mut()) {
            let schema = reference("schemas", &naming.schema(schema));
            members.insert("content".into(), json!({ media: { "schema": schema } }));
        }
        responses.insert(answer.status.to_string(), response);
    }
    if route.is_safe() && route.parameters.contains(&"IfNoneMatch") {
        let response =
            if route.withholds_cost() { unchanged(NOT_ALWAYS) } else { reference("responses", "NotModified") };
        responses.insert("304".into(), response);
    }
    for (status, reason) in refusals::of(route) {
        let mut response = match is_priced_as_most(route, status) {
            true => reference("responses", refusals::name(status)),
            false => refusal(status, NOT_ALWAYS, refusals::reason(status)),
        };
        if let (Some(reason), Some(members)) = (reason, response.as_object_mut()) {
            members.insert("description".into(), reason.into());
        }
        responses.insert(status.to_string(), response);
    }
    Value::Object(responses)
}

fn refusals() -> Value {
    let routes: Vec<Route> = routes::all().into_iter().flat_map(|(_, routes)| routes).collect();
    let mut all: Map<String, Value> = refusals::among(&routes, is_priced_as_most)
        .map(|(status, name, reason)| (name.to_owned(), refusal(status, cost_of(status), reason)))
        .collect();
    all.insert("NotModified".into(), unchanged(cost_of(304)));
    Value::Object(all)
}

fn refusal(status: u16, cost: &str, reason: &str) -> Value {
    let content = json!({ "application/problem+json": { "schema": reference("schemas", "Problem") } });
    json!({ "description": reason, "headers": headers(cost, refusals::headers(status)), "content": content })
}

fn unchanged(cost: &str) -> Value {
    json!({ "description": "The caller has it already.", "headers": headers(cost, &["ETag"]) })
}

/// The header that tells the price of a route's answer.
fn cost(route: &Route, status: u16) -> &'static str {
    if route.withholds_cost() { NOT_ALWAYS } else { cost_of(status) }
}

fn is_priced_as_most(route: &Route, status: u16) -> bool {
    cost(route, status) == cost_of(status)
}

/// The same of any route: that something is not there, or not the caller's, costs what it costs to find out. A stranger hears of
/// both that they should sign in.
fn cost_of(status: u16) -> &'static str {
    if matches!(status, 401 | 403 | 404) { NOT_ALWAYS } else { "Cost" }
}

fn headers(cost: &str, own: &[&str]) -> Value {
    let every = [("X-Request-Id", "Request-Id"), ("Undercroft-Cost", cost)];
    // A part that is not always there is another part under the same name.
    let own = own.iter().map(|part| (part.strip_suffix("OfRecord").unwrap_or(part), *part));
    every.into_iter().chain(own).map(|(name, part)| (name.to_owned(), reference("headers", part))).collect()
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn part(text: &'static str) -> Map<String, Value> {
    serde_json::from_str(text).expect("a part of the document is a JSON object")
}
