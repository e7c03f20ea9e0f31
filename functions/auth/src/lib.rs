//! Who is calling: sign-up, verification, sign-in, tokens, sessions.
//!
//! The only function that may read password hashes, by IAM: they live in the `Identity` table, which no other role can
//! open. What it tells the rest of the system are access tokens and the public keys to verify them.

mod accounts;
mod mail;
mod not_built;
mod password;
mod sessions;
mod signing;
mod signups;

mod jwks;
mod me;
mod refresh;
mod signin;
mod signout;
mod signup;
mod verify;

use accounts::Accounts;
use axum::Router;
use axum::extract::FromRef;
use axum::routing::{get, post};
use password::Hasher;
use sessions::Sessions;
use signing::SigningKeys;
use signups::SignUps;
use std::sync::Arc;
use undercroft::aws::Aws;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft::error::Source;
use undercroft::http::Edge;
use undercroft::identity::email::Email;
use undercroft::identity::keys::Authenticator;
use undercroft::identity::parameters::Parameters;
use undercroft::identity::seal::Seal;
use undercroft::store::Table;

/// What this function works with. The fields are what its role in template.yaml allows.
#[derive(Debug, Clone)]
pub struct App {
    accounts: Accounts,
    sign_ups: SignUps,
    hasher: Hasher,
    sessions: Sessions,
    signing: Arc<SigningKeys>,
    authenticator: Arc<Authenticator>,
    mail: Arc<mail::Outbox>,
    admin: Arc<Email>,
    clock: Clock,
}

impl App {
    /// Builds the function from its environment.
    ///
    /// # Errors
    /// When a variable is missing or malformed.
    pub fn from_env(env: &Env) -> Result<Self, Source> {
        Self::with_clock(env, Clock::default())
    }

    /// The same, at another clock's time.
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
            mail: Arc::new(mail::Outbox::new(jobs, Seal::new(parameters, "seal"), clock.clone())),
            admin: Arc::new(Email::parse(&admin).map_err(|_| format!("ADMIN_EMAIL {admin} is not an email address"))?),
            clock,
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
        .route("/v1/auth/signup", post(signup::signup))
        .route("/v1/auth/verify", post(verify::verify))
        .route("/v1/auth/signin", post(signin::signin))
        .route("/v1/auth/refresh", post(refresh::refresh))
        .route("/v1/auth/signout", post(signout::signout))
        .route("/v1/auth/me", get(me::me))
        .route("/v1/auth/sessions", get(me::sessions))
        .route("/v1/auth/reset", post(not_built::reset))
        .route("/v1/auth/magic", post(not_built::magic_link))
        .route("/v1/auth/totp", post(not_built::totp))
        .route("/v1/auth/passkeys", post(not_built::passkeys))
        .route("/v1/auth/oidc", post(not_built::oidc))
        .route("/v1/auth/keys", post(not_built::api_keys))
        .route("/.well-known/jwks.json", get(jwks::jwks))
        .with_state(app);
    Edge::new("auth", env).without_idempotency_keys().around(routes)
}
