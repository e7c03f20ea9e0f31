//! The OpenAPI 3.1 document: every route of every function, and for admins every
//! collection.
//!
//! It is made from the table of routes. Tests compare it with the functions: it has every route, every response that a test
//! receives matches it, and every policy is enforced.

mod each_collection;
mod operation;
mod refusals;

use operation::{Naming, add, all_refusals, operation};
use serde_json::{Map, Value, json};
use undercroft::routes;
use undercroft::schema::Definition;

const ABOUT: &str = "A complete backend in your own AWS account. Every answer states its cost (`Undercroft-Cost`); every \
error is a problem document (RFC 9457) with a stable `code`. HEAD is accepted wherever GET is. What the caller may not see is \
treated as absent. Two answers come from API Gateway itself and are not problem documents: 404 for a path under no route, and \
503 while a function cannot start.";

/// Builds the document with these collections.
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
        "servers": [{ "url": "/", "description": "the origin of this document" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": part(include_str!("parameters.json")),
            "headers": part(include_str!("headers.json")),
            "responses": all_refusals(),
            "securitySchemes": { "bearer": {
                "type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": "the accessToken from sign-in",
            } },
        },
    })
}

fn part(text: &'static str) -> Map<String, Value> {
    serde_json::from_str(text).expect("a part of the document is a JSON object")
}
