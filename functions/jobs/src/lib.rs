//! The API of background jobs: enqueue, read, cancel and redrive. For admins only, because a job can mail anybody and read every
//! record.

mod answer;
mod app;
mod cancel;
mod enqueue;
mod files;
mod get;
mod list;
mod redrive;
mod upload;

pub use app::App;

use axum::Router;
use axum::routing::{get, post};
use undercroft::config::Env;
use undercroft::http::Edge;

/// The router of this function with its middleware.
pub fn routes(app: App, env: &Env) -> Router {
    let routes = Router::new()
        .route("/v1/jobs", get(list::list).post(enqueue::enqueue))
        .route("/v1/jobs/uploads", post(upload::upload))
        .route("/v1/jobs/redrive", post(redrive::redrive_all))
        .route("/v1/jobs/{id}", get(get::get))
        .route("/v1/jobs/{id}/cancel", post(cancel::cancel))
        .route("/v1/jobs/{id}/redrive", post(redrive::redrive))
        .with_state(app);
    Edge::new("jobs", &undercroft::routes::jobs(), env).around(routes)
}
