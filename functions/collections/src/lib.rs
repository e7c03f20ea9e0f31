//! Definitions of collections, with their schemas, indexes and rules. For admins.

mod app;
mod delete;
mod put;
mod read;

pub use app::App;

use axum::Router;
use axum::routing::get;
use undercroft::config::Env;
use undercroft::http::Edge;

/// The router of this function with its middleware.
pub fn routes(app: App, env: &Env) -> Router {
    let routes = Router::new()
        .route("/v1/collections", get(read::list))
        .route("/v1/collections/{collection}", get(read::one).put(put::put).delete(delete::delete))
        .with_state(app);
    Edge::new("collections", &undercroft::routes::collections(), env).around(routes)
}
