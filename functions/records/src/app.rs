//! The state that handlers of this function share.

use axum::extract::FromRef;
use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::cursor::Cursors;
use undercroft::error::Source;
use undercroft::identity::keys::Authenticator;
use undercroft::identity::parameters::Parameters;
use undercroft::identity::seal::Seal;
use undercroft::records::Operations;
use undercroft::store::Table;
use undercroft::store::change_log::ChangeLog;
use undercroft::store::definitions::Definitions;
use undercroft::store::lease::Lease;
use undercroft::store::records::Records;

/// The state of this function: the operations on records, and the caller's identity.
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
        let stack = env.required("UNDERCROFT_STACK")?;
        let seal = Seal::new(Parameters::new(aws, env.parameter_path()?), "cursor");
        let operations = Operations {
            definitions: Arc::new(Definitions::new(table.clone(), clock.clone(), Lease::from_env(env)?)),
            records: Records::new(table.clone(), clock.clone()),
            change_log: ChangeLog::new(table.clone(), clock.clone()),
            cursors: Arc::new(Cursors::new(seal, clock.clone())),
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
