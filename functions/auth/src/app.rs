//! The state that handlers of this function share.

use crate::accounts::Accounts;
use crate::password::Hasher;
use crate::sessions::Sessions;
use crate::signing::SigningKeys;
use crate::signups::SignUps;
use axum::extract::FromRef;
use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::error::Source;
use undercroft::identity::email::Email;
use undercroft::identity::keys::Authenticator;
use undercroft::identity::parameters::Parameters;
use undercroft::identity::seal::Seal;
use undercroft::store::Table;

/// The state of this function. Its fields match its role in template.yaml.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) accounts: Accounts,
    pub(crate) sign_ups: SignUps,
    pub(crate) hasher: Hasher,
    pub(crate) sessions: Sessions,
    pub(crate) signing: Arc<SigningKeys>,
    pub(crate) authenticator: Arc<Authenticator>,
    pub(crate) mail: Arc<crate::mail::Outbox>,
    pub(crate) admin: Arc<Email>,
    pub(crate) clock: Clock,
}

impl App {
    /// Builds the function from its environment.
    ///
    /// # Errors
    /// When a variable is missing or malformed.
    pub fn from_env(env: &Env) -> Result<Self, Source> {
        Self::with_clock(env, Clock::default())
    }

    /// Builds the function from its environment, with this clock.
    ///
    /// # Errors
    /// When a variable is missing or malformed.
    pub fn with_clock(env: &Env, clock: Clock) -> Result<Self, Source> {
        let aws = Aws::from_env(env)?;
        let stack = env.required("UNDERCROFT_STACK")?;
        let parameters = Parameters::new(aws.clone(), env.parameter_path()?);
        let records = Table::new(aws.dynamodb(), env.required("RECORDS_TABLE")?);
        let identity = Table::new(aws.dynamodb(), env.required("IDENTITY_TABLE")?);
        let jobs = env.required("JOBS_TABLE")?;
        let admin = env.required("ADMIN_EMAIL")?;
        Ok(Self {
            accounts: Accounts::new(identity.clone(), records.clone(), clock.clone()),
            hasher: Hasher::default(),
            sign_ups: SignUps::new(identity.clone(), clock.clone()),
            sessions: Sessions::new(identity, parameters.clone(), clock.clone()),
            signing: Arc::new(SigningKeys::new(parameters.clone(), records.clone(), &stack)),
            authenticator: Arc::new(Authenticator::new(records, clock.clone(), &stack)),
            mail: Arc::new(crate::mail::Outbox::new(jobs, Seal::new(parameters, "seal"), clock.clone())),
            admin: Arc::new(Email::parse(&admin).map_err(|_| format!("ADMIN_EMAIL {admin} is not an email address"))?),
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
