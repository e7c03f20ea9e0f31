//! The description of the API: the OpenAPI document, and an HTML page made from it. Everybody sees the routes, admins also every
//! collection.

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

/// The router of this function with its middleware. If `ApiDocs` is off (R123), the routes do not exist.
pub fn routes(app: App, env: &Env) -> Router {
    let routes = match env.optional("API_DOCS") {
        Some("off") => Router::new(),
        _ => Router::new().route("/openapi.json", get(describe::openapi)).route("/docs", get(describe::docs)),
    };
    Edge::new("docs", &undercroft::routes::docs(), env).around(routes.with_state(app))
}
