//! The state that handlers of this function share.

use axum::extract::FromRef;
use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::aws::objects::Objects;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::cursor::Cursors;
use undercroft::error::{Result, Source};
use undercroft::identity::keys::Authenticator;
use undercroft::identity::parameters::Parameters;
use undercroft::identity::seal::Seal;
use undercroft::store::Table;
use undercroft::store::definitions::Definitions;
use undercroft::store::idempotency::StoredResponses;
use undercroft::store::jobs::Jobs;
use undercroft::store::lease::Lease;

/// The state of this function. Its fields match its role in template.yaml.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) jobs: Jobs,
    /// The definitions of collections.
    pub(crate) definitions: Arc<Definitions>,
    /// Signs links to files.
    pub(crate) files: Objects,
    /// The responses stored for idempotency keys.
    pub(crate) responses: StoredResponses,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) cursors: Arc<Cursors>,
    pub(crate) clock: Clock,
}

impl App {
    /// Builds the function from its environment.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn from_env(env: &Env) -> Result<Self, Source> {
        Self::with_clock(env, Clock::default())
    }

    /// Builds the function from its environment, with this clock.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn with_clock(env: &Env, clock: Clock) -> Result<Self, Source> {
        let aws = Aws::from_env(env)?;
        let records = Table::new(aws.dynamodb(), env.required("RECORDS_TABLE")?);
        let parameters = Parameters::new(aws.clone(), env.parameter_path()?);
        Ok(Self {
            files: Objects::new(aws.clone(), env.required("FILES_BUCKET")?),
            definitions: Arc::new(Definitions::new(records.clone(), clock.clone(), Lease::from_env(env)?)),
            jobs: Jobs::new(Table::new(aws.dynamodb(), env.required("JOBS_TABLE")?), clock.clone()),
            responses: StoredResponses::new(records.clone(), clock.clone()),
            authenticator: Arc::new(Authenticator::new(records, clock.clone(), &env.required("UNDERCROFT_STACK")?)),
            cursors: Arc::new(Cursors::new(Seal::new(parameters, "cursor"), clock.clone())),
            clock,
        })
    }

    /// Prepares for the first request while the environment still has a full processor: opens the connection to DynamoDB by
    /// fetching the public keys. A failure is ignored, because the first request fetches them again.
    pub async fn warm(&self) {
        self.authenticator.warm().await;
    }
}

impl FromRef<App> for Arc<Authenticator> {
    fn from_ref(app: &App) -> Self {
        app.authenticator.clone()
    }
}
