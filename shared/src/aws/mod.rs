//! AWS clients. All configuration comes from the environment that Lambda always sets, so profiles, the metadata service and a
//! second TLS stack are not needed. The root certificates are Amazon's own, pinned.
//!
//! `AWS_ENDPOINT_URL` (or `AWS_ENDPOINT_URL_<SERVICE>`) overrides endpoints, as in every AWS SDK; plain `http://` endpoints
//! work without TLS. `AWS_CA_BUNDLE` names a PEM file to trust instead of the pinned roots, and `AWS_MAX_ATTEMPTS` sets the
//! number of attempts per call.

pub mod objects;
mod service;

pub use service::{Service, StoredResponse};

use crate::config::{Env, MissingVariable};
use crate::error::Source;
use aws_config::identity::IdentityCache;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_runtime::invocation_id::InvocationIdInterceptor;
use aws_runtime::request_info::RequestInfoInterceptor;
use aws_runtime::user_agent::UserAgentInterceptor;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, SharedInterceptor, disable_interceptor};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use std::time::Duration;

/// The root certificates of all AWS endpoints.
const AMAZON_ROOTS: &str = include_str!("roots.pem");

/// The configuration of one function's AWS clients.
#[derive(Debug, Clone)]
pub struct Aws {
    config: SdkConfig,
    region: String,
    credentials: Credentials,
    connector: std::sync::Arc<Connector>,
    env: Env,
}

impl Aws {
    /// Reads region, credentials and endpoints from the environment.
    ///
    /// # Errors
    /// When a variable that Lambda always sets is missing, or `AWS_CA_BUNDLE` cannot be read.
    pub fn from_env(env: &Env) -> Result<Self, Source> {
        let region = env.required("AWS_REGION")?;
        let credentials = credentials(env)?;
        let trust = trust_store(env)?;
        let tls = TlsContext::builder().with_trust_store(trust).build()?;
        let client = Builder::new().tls_provider(Provider::rustls(CryptoMode::Ring)).tls_context(tls.clone());
        let sleep = SharedAsyncSleep::new(TokioSleep::new());
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            .http_client(client.build_https())
            .sleep_impl(sleep.clone())
            .retry_config(RetryConfig::standard().with_max_attempts(attempts(env)))
            .timeout_config(timeouts(env))
            // The timeouts above already end stalled calls, so stalled-stream protection is not needed.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .identity_cache(IdentityCache::no_cache())
            .build();
        let connector = Connector::builder()
            .sleep_impl(sleep)
            .tls_provider(Provider::rustls(CryptoMode::Ring))
            .tls_context(tls)
            .build();
        Ok(Self { config, region, credentials, connector: std::sync::Arc::new(connector), env: env.clone() })
    }

    /// A DynamoDB client that counts its round trips.
    pub fn dynamodb(&self) -> aws_sdk_dynamodb::Client {
        let mut config = aws_sdk_dynamodb::config::Builder::from(&self.config);
        config.push_interceptor(SharedInterceptor::permanent(CountTrips)).set_endpoint_url(self.endpoint("DYNAMODB"));
        aws_sdk_dynamodb::Client::from_conf(config.build())
    }

    /// An SQS client that counts its round trips.
    pub fn sqs(&self) -> aws_sdk_sqs::Client {
        let mut config = aws_sdk_sqs::config::Builder::from(&self.config);
        config.push_interceptor(SharedInterceptor::permanent(CountTrips)).set_endpoint_url(self.endpoint("SQS"));
        aws_sdk_sqs::Client::from_conf(config.build())
    }

    /// The endpoint of a service, if the environment overrides it.
    fn endpoint(&self, service: &str) -> Option<String> {
        self.env
            .optional(&format!("AWS_ENDPOINT_URL_{service}"))
            .or_else(|| self.env.optional("AWS_ENDPOINT_URL"))
            .map(str::to_owned)
    }
}

fn credentials(env: &Env) -> Result<Credentials, MissingVariable> {
    Ok(Credentials::new(
        env.required("AWS_ACCESS_KEY_ID")?,
        env.required("AWS_SECRET_ACCESS_KEY")?,
        env.optional("AWS_SESSION_TOKEN").map(str::to_owned),
        None,
        "environment",
    ))
}

fn trust_store(env: &Env) -> Result<TrustStore, Source> {
    let roots = match env.optional("AWS_CA_BUNDLE") {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("AWS_CA_BUNDLE {path}: {error}"))?,
        None => AMAZON_ROOTS.to_owned(),
    };
    Ok(TrustStore::empty().with_pem_certificate(roots.into_bytes()))
}

/// The maximum duration of a DynamoDB or SQS call, retries included, in seconds.
pub const OPERATION_SECONDS: u64 = 5;

/// The call timeouts. A call to a table takes milliseconds, so a slow one is better retried than awaited. `CALL_PATIENCE`
/// multiplies all timeouts, for an endpoint slower than AWS.
fn timeouts(env: &Env) -> TimeoutConfig {
    let patience = env.optional("CALL_PATIENCE").and_then(|times| times.parse().ok()).unwrap_or(1);
    let seconds = |seconds: u64| Duration::from_secs(seconds * patience);
    TimeoutConfig::builder()
        .connect_timeout(seconds(1))
        .operation_attempt_timeout(seconds(2))
        .operation_timeout(seconds(OPERATION_SECONDS))
        .build()
}

/// How often a call is attempted before it fails the request.
fn attempts(env: &Env) -> u32 {
    env.optional("AWS_MAX_ATTEMPTS").and_then(|times| times.parse().ok()).filter(|times| *times > 0).unwrap_or(3)
}

/// Counts round trips, and removes three headers that only describe the client (SDK, operating system, attempt): they cost as
/// much time as evaluating a rule and writing a record as JSON.
#[derive(Debug)]
struct CountTrips;

impl Intercept for CountTrips {
    fn name(&self) -> &'static str {
        "CountTrips"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        const WHY: &str = "no caller reads it";
        let state = config.interceptor_state();
        state.store_put(disable_interceptor::<UserAgentInterceptor>(WHY));
        state.store_put(disable_interceptor::<InvocationIdInterceptor>(WHY));
        state.store_put(disable_interceptor::<RequestInfoInterceptor>(WHY));
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        crate::cost::trip();
        Ok(())
    }
}
