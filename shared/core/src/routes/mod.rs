//! Every route of the API in one table: method, path, function, policy, inputs, answers and refusals.
//!
//! `http::allowed_inputs` refuses inputs by this table, the function `docs` makes the OpenAPI document from it, and tests compare
//! routers, `template.yaml` and `Cargo.toml` with it.

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
