//! The data: read it, list it, write it. Under the rules of its collection, and at the cost that every answer states.

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

pub use app::App;

use axum::Router;
use axum::http::Method;
use axum::routing::{get, post};
use undercroft::config::Env;
use undercroft::http::Extra::{IfMatch, IfNoneMatch, Query};
use undercroft::http::{Edge, Takes};

/// What takes more than its path, its body and a key.
const TAKES: Takes = &[
    (Method::GET, "/v1/collections/{collection}/records", &[Query]),
    (Method::GET, "/v1/collections/{collection}/records/{id}", &[Query, IfMatch, IfNoneMatch]),
    (Method::PUT, "/v1/collections/{collection}/records/{id}", &[IfMatch, IfNoneMatch]),
    (Method::PATCH, "/v1/collections/{collection}/records/{id}", &[Query, IfMatch, IfNoneMatch]),
    (Method::DELETE, "/v1/collections/{collection}/records/{id}", &[IfMatch, IfNoneMatch]),
    (Method::POST, "/v1/collections/{collection}/records/{id}/undelete", &[IfMatch, IfNoneMatch]),
    (Method::GET, "/v1/collections/{collection}/schema", &[IfMatch, IfNoneMatch]),
    (Method::GET, "/v1/changes", &[Query]),
];

/// Every route of this function, with the edge around them.
pub fn routes(app: App, env: &Env) -> Router {
    let routes = Router::new()
        .route("/v1/collections/{collection}/records", get(list::list).post(create::create))
        .route(
            "/v1/collections/{collection}/records/{id}",
            get(read::read).put(replace::replace).patch(patch::patch).delete(delete::delete),
        )
        .route("/v1/collections/{collection}/records/{id}/undelete", post(delete::undelete))
        .route("/v1/collections/{collection}/schema", get(schema::schema))
        .route("/v1/batch", post(batch::batch))
        .route("/v1/changes", get(changes::changes))
        .with_state(app);
    Edge::new("records", env).taking(TAKES).around(routes)
}
