//! The routes of the function `docs`: the description of this API.

use super::route::Policy::AnyoneByToken;
use super::route::{Route, get};

/// Every route of `docs`.
pub fn docs() -> Vec<Route> {
    vec![
        get("/openapi.json", "openapi", AnyoneByToken)
            .does("Reads this document. For admins it includes every collection.")
            .takes(&["Collections", "IfNoneMatch"])
            .answers(200, "OpenApi", "An OpenAPI 3.1 document.")
            .with(&["ETag", "Cache-Control"])
            .refuses(404, "One of the requested collections does not exist, or the caller may not see it.")
            .refuses(
                422,
                "With every collection the document is larger than the maximum answer. Request some collections by \
             name.",
            ),
        get("/docs", "docs", AnyoneByToken)
            .does("Reads this document as an HTML page.")
            .takes(&["Collections", "IfNoneMatch"])
            .answers_as("text/html", 200, "Html", "The page.")
            .with(&["ETag", "Cache-Control"])
            .refuses(404, "One of the requested collections does not exist, or the caller may not see it.")
            .refuses(
                422,
                "With every collection the document is larger than the maximum answer. Request some collections by \
             name.",
            ),
    ]
}
