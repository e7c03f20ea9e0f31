//! What may be stored: definitions of collections, their indexes and their rules. For admins.

mod app;
mod delete;
mod put;
mod read;

pub use app::App;

use axum::Router;
use axum::routing::get;
use undercroft::config::Env;
use undercroft::http::Edge;

/// Every route of this function, with the edge around them.
pub fn routes(app: App, env: &Env) -> Router {
    let routes = Router::new()
        .route("/v1/collections", get(read::list))
        .route("/v1/collections/{collection}", get(read::one).put(put::put).delete(delete::delete))
        .with_state(app);
    Edge::new("collections", &undercroft::routes::collections(), env).around(routes)
}
