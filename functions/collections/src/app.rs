//! The state that handlers of this function share.

use axum::extract::FromRef;
use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::definitions::Operations;
use undercroft::error::Source;
use undercroft::identity::keys::Authenticator;
use undercroft::store::Table;
use undercroft::store::definitions::Definitions;
use undercroft::store::jobs::Jobs;
use undercroft::store::lease::Lease;
use undercroft::store::records::Records;

/// What this function works with: the operations on definitions, and who asks for them.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) operations: Operations,
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

    /// Builds the function from its environment, with this clock.
    ///
    /// # Errors
    /// When a variable is missing.
    pub fn with_clock(env: &Env, clock: Clock) -> Result<Self, Source> {
        let aws = Aws::from_env(env)?;
        let table = Table::new(aws.dynamodb(), env.required("RECORDS_TABLE")?);
        let jobs = Table::new(aws.dynamodb(), env.required("JOBS_TABLE")?);
        let stack = env.required("UNDERCROFT_STACK")?;
        let operations = Operations {
            definitions: Arc::new(Definitions::new(table.clone(), clock.clone(), Lease::from_env(env)?)),
            records: Records::new(table.clone(), clock.clone()),
            jobs: Jobs::new(jobs, clock.clone()),
            clock: clock.clone(),
        };
        Ok(Self { operations, authenticator: Arc::new(Authenticator::new(table, clock, &stack)) })
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
