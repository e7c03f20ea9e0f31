//! The routes of the function `docs`: the description of this API.

use super::route::Policy::AnyoneByToken;
use super::route::{Route, get};

/// Every route of `docs`.
pub fn docs() -> Vec<Route> {
    vec![
        get("/openapi.json", "openapi", AnyoneByToken)
            .does("This document. For admins it has every collection.")
            .takes(&["Collections", "IfNoneMatch"])
            .answers(200, "OpenApi", "An OpenAPI 3.1 document.")
            .with(&["ETag", "Cache-Control"])
            .refuses(404, "One of the collections asked for does not exist, or is not yours to see.")
            .refuses(422, "With every collection it would be larger than an answer may be: ask for some by name."),
        get("/docs", "docs", AnyoneByToken)
            .does("This document as a page to read.")
            .takes(&["Collections", "IfNoneMatch"])
            .answers_as("text/html", 200, "Html", "The page.")
            .with(&["ETag", "Cache-Control"])
            .refuses(404, "One of the collections asked for does not exist, or is not yours to see.")
            .refuses(422, "With every collection it would be larger than an answer may be: ask for some by name."),
    ]
}
