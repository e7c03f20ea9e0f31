//! What this function works with.

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

/// What this function works with: the operations on records, and who asks for them.
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

    /// The same, at another clock's time.
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
