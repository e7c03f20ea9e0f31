//! The state that handlers of this function share.

use axum::extract::FromRef;
use serde_json::{Map, Value};
use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::error::{Result, Source};
use undercroft::identity::keys::Authenticator;
use undercroft::jobs::MAX_ATTEMPTS;
use undercroft::store::Table;
use undercroft::store::definitions::Definitions;
use undercroft::store::jobs::{Job, Jobs, MAX_DELAY_SECONDS};
use undercroft::store::lease::Lease;
use undercroft::store::records::Records;

/// The state of this function. Its fields match its role in template.yaml.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) records: Records,
    pub(crate) jobs: Jobs,
    pub(crate) authenticator: Arc<Authenticator>,
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
        let table = Table::new(aws.dynamodb(), env.required("RECORDS_TABLE")?);
        let jobs = Table::new(aws.dynamodb(), env.required("JOBS_TABLE")?);
        let stack = env.required("UNDERCROFT_STACK")?;
        let definitions = Arc::new(Definitions::new(table.clone(), clock.clone(), Lease::from_env(env)?));
        Ok(Self {
            definitions,
            records: Records::new(table.clone(), clock.clone()),
            jobs: Jobs::new(jobs, clock.clone()),
            authenticator: Arc::new(Authenticator::new(table, clock.clone(), &stack)),
            clock,
        })
    }

    /// Prepares for the first request while the environment still has a full processor: opens the connection to DynamoDB by
    /// fetching the public keys. A failure is ignored, because the first request fetches them again.
    pub async fn warm(&self) {
        self.authenticator.warm().await;
    }

    /// Builds a job that updates stored records once no function uses the previous definition. It gets the maximum number of
    /// attempts, because no client can enqueue it again and a failure leaves the definition half applied.
    pub(crate) fn job(&self, id: String, kind: &str, payload: Map<String, Value>, request: &str) -> Job {
        let mut job = Job::new(id, kind, payload, request, self.clock.millis());
        let settled = self.definitions.lease().settled_seconds();
        job.delay_seconds = u32::try_from(settled).unwrap_or(MAX_DELAY_SECONDS);
        job.max_attempts = MAX_ATTEMPTS;
        job
    }
}

impl FromRef<App> for Arc<Authenticator> {
    fn from_ref(app: &App) -> Self {
        app.authenticator.clone()
    }
}
