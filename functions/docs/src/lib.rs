//! The description of the API: the OpenAPI document for programs, and a page made of it for people. Everybody sees the routes; admins
//! see every collection too.

mod app;
mod catalogue;
mod describe;
pub mod openapi;
mod page;

pub use app::App;

use axum::Router;
use axum::routing::get;
use undercroft::config::Env;
use undercroft::http::Edge;

/// Every route of this function, with the edge around them. Switched off by `ApiDocs` (R123) they do not exist at all.
pub fn routes(app: App, env: &Env) -> Router {
    let routes = match env.optional("API_DOCS") {
        Some("off") => Router::new(),
        _ => Router::new().route("/openapi.json", get(describe::openapi)).route("/docs", get(describe::docs)),
    };
    Edge::new("docs", &undercroft::routes::docs(), env).around(routes.with_state(app))
}
