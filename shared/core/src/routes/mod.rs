//! Every route of the API, in one table: method, path, function, who may call, what it takes, reads, answers and refuses.
//!
//! From it come the refusal of what a route does not take (`http::allowed_inputs`), the OpenAPI document (the function `docs`), and
//! tests that hold routers, `template.yaml` and `Cargo.toml` to it.

mod auth;
mod collections;
mod docs;
mod jobs;
mod records;
mod route;

pub use auth::auth;
pub use collections::collections;
pub use docs::docs;
pub use jobs::jobs;
pub use records::{of_each_collection, records};
pub use route::{Body, Policy, Response, Route};

/// Every route, by the function that serves it.
pub fn all() -> [(&'static str, Vec<Route>); 5] {
    [("auth", auth()), ("collections", collections()), ("records", records()), ("jobs", jobs()), ("docs", docs())]
}
