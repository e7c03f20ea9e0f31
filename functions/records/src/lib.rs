//! The data: read it, list it, write it. Under the rules of its collection, and at the cost that every answer states.

mod batch;
mod changes;
mod count;
mod create;
mod delete;
mod deleted;
mod expand;
mod input;
mod intent;
mod list;
mod patch;
mod read;
mod refusal;
mod replace;
mod response;
mod schema;

use axum::Router;
use axum::extract::FromRef;
use axum::http::Method;
use axum::routing::{get, post};
use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::cursor::Cursors;
use undercroft::error::{Error, Result, Source};
use undercroft::expr::Rule;
use undercroft::http::Extra::{IfMatch, IfNoneMatch, Query};
use undercroft::http::{Edge, Takes};
use undercroft::identity::Caller;
use undercroft::identity::keys::Authenticator;
use undercroft::identity::parameters::Parameters;
use undercroft::identity::seal::Seal;
use undercroft::policy::invisible;
use undercroft::schema::Collection;
use undercroft::store::Table;
use undercroft::store::change_log::ChangeLog;
use undercroft::store::definitions::Definitions;
use undercroft::store::lease::Lease;
use undercroft::store::records::Records;

/// What this function works with. The fields are what its role in template.yaml allows.
#[derive(Debug, Clone)]
pub struct App {
    definitions: Arc<Definitions>,
    records: Records,
    change_log: ChangeLog,
    authenticator: Arc<Authenticator>,
    cursors: Arc<Cursors>,
    clock: Clock,
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
        let aws = Aws::from_env(env)?;
        let table = Table::new(aws.dynamodb(), env.required("RECORDS_TABLE")?);
        let stack = env.required("UNDERCROFT_STACK")?;
        let seal = Seal::new(Parameters::new(aws, env.parameter_path()?), "cursor");
        Ok(Self {
            definitions: Arc::new(Definitions::new(table.clone(), clock.clone(), Lease::from_env(env)?)),
            records: Records::new(table.clone(), clock.clone()),
            change_log: ChangeLog::new(table.clone(), clock.clone()),
            authenticator: Arc::new(Authenticator::new(table, clock.clone(), &stack)),
            cursors: Arc::new(Cursors::new(seal, clock.clone())),
            clock,
        })
    }

    /// What can be done before the first request, while the environment still has a full processor: opens the connection to
    /// DynamoDB by fetching the public keys. What fails now is tried again by the request that needs it.
    pub async fn warm(&self) {
        self.authenticator.warm().await;
    }

    /// The collection of that name. Nobody learns from the answer whether it exists or is not theirs to see.
    async fn collection(&self, name: &str, caller: &Caller, action: Rule) -> Result<Arc<Collection>> {
        let found = match caller {
            Caller::Anonymous => self.definitions.collection_for_anonymous(name).await?,
            Caller::User(_) => self.definitions.collection(name).await?,
        };
        found.ok_or_else(|| absent(caller, action))
    }
}

fn absent(caller: &Caller, action: Rule) -> Error {
    match caller {
        Caller::Anonymous => Error::Unauthenticated("sign in first"),
        Caller::User(_) => invisible(action),
    }
}

impl FromRef<App> for Arc<Authenticator> {
    fn from_ref(app: &App) -> Self {
        app.authenticator.clone()
    }
}

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
