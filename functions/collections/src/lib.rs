//! What may be stored: definitions of collections, their indexes and their rules. For admins.

mod change;
mod delete;
mod put;
mod read;
mod relations;

use axum::Router;
use axum::extract::FromRef;
use axum::routing::get;
use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::error::{Result, Source};
use undercroft::http::Edge;
use undercroft::identity::keys::Authenticator;
use undercroft::store::Table;
use undercroft::store::definitions::Definitions;

/// What this function works with. The fields are what its role in template.yaml allows.
#[derive(Debug, Clone)]
pub struct App {
    definitions: Arc<Definitions>,
    records: Table,
    authenticator: Arc<Authenticator>,
}

impl App {
    /// Builds the function from its environment.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn from_env(env: &Env) -> Result<Self, Source> {
        Self::with_clock(env, Clock::default())
    }

    /// The same, at another clock's time.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn with_clock(env: &Env, clock: Clock) -> Result<Self, Source> {
        let records = Table::new(Aws::from_env(env)?.dynamodb(), env.required("RECORDS_TABLE")?);
        Ok(Self {
            definitions: Arc::new(Definitions::new(records.clone(), clock.clone())),
            authenticator: Arc::new(Authenticator::new(records.clone(), clock, &env.required("UNDERCROFT_STACK")?)),
            records,
        })
    }

    /// What can be done before the first request, while the environment still has a full processor: opens the connection to
    /// DynamoDB by fetching the public keys. What fails now is tried again by the request that needs it.
    pub async fn warm(&self) {
        self.authenticator.warm().await;
    }
}

impl FromRef<App> for Arc<Authenticator> {
    fn from_ref(app: &App) -> Self {
        app.authenticator.clone()
    }
}

/// Every route of this function, with the edge around them.
pub fn routes(app: App, env: &Env) -> Router {
    let routes = Router::new()
        .route("/v1/collections", get(read::list))
        .route("/v1/collections/{collection}", get(read::one).put(put::put).delete(delete::delete))
        .with_state(app);
    Edge::new("collections", env).around(routes)
}
