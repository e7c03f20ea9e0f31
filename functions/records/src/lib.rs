//! Reads, lists and writes records under the rules of their collection. Every answer states its cost.

mod app;
mod batch;
mod changes;
mod create;
mod delete;
mod list;
mod patch;
mod read;
mod replace;
mod response;
mod schema;
mod upsert;

pub use app::App;

use axum::Router;
use axum::routing::{get, post};
use undercroft::config::Env;
use undercroft::http::Edge;

/// The router of this function with its middleware.
pub fn routes(app: App, env: &Env) -> Router {
    let routes = Router::new()
        .route("/v1/collections/{collection}/records", get(list::list).post(create::create).put(upsert::upsert))
        .route(
            "/v1/collections/{collection}/records/{id}",
            get(read::read).put(replace::replace).patch(patch::patch).delete(delete::delete),
        )
        .route("/v1/collections/{collection}/records/{id}/undelete", post(delete::undelete))
        .route("/v1/collections/{collection}/schema", get(schema::schema))
        .route("/v1/batch", post(batch::batch))
        .route("/v1/changes", get(changes::changes))
        .with_state(app);
    Edge::new("records", &undercroft::routes::records(), env).around(routes)
}
