//! Every function of template.yaml, run in this process as by Lambda: each has only its own environment, and a test may end it in
//! the middle of its work.

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::any_service;
use serde_json::Value;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use tower::ServiceExt;
use undercroft::clock::Clock;
use undercroft_auth as auth_fn;
use undercroft_collections as collections_fn;
use undercroft_docs as docs_fn;
use undercroft_jobs as jobs_fn;
use undercroft_local::{FunctionError, Invoke, LocalCloud};
use undercroft_records as records_fn;
use undercroft_relay as relay_fn;
use undercroft_worker as worker_fn;

/// Environment variables in addition to those of template.yaml.
pub type Variables = &'static [(&'static str, &'static str)];

/// How busy this machine is must not decide a test.
pub const PATIENT: Variables = &[("CALL_PATIENCE", "30")];
/// Besides, every call that fails is seen to fail: the SDK does not try it again.
pub const TRIES_ONCE: Variables = &[("CALL_PATIENCE", "30"), ("AWS_MAX_ATTEMPTS", "1")];

/// The environment of one function.
pub fn environment(cloud: &LocalCloud, function: &str, variables: Variables) -> BTreeMap<String, String> {
    let more = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    cloud.environment(function).into_iter().chain(more).collect()
}

/// Every function, built from its own environment.
pub struct Functions {
    pub api: Router,
    pub relay: relay_fn::App,
    pub worker: worker_fn::App,
}

impl Functions {
    pub fn start(cloud: &LocalCloud, clock: &Clock, variables: Variables) -> Self {
        let env = |function: &str| environment(cloud, function, variables).into_iter().collect();
        let router = |function: &str| -> Router {
            let (env, clock) = (env(function), clock.clone());
            match function {
                "auth" => auth_fn::routes(auth_fn::App::with_clock(&env, clock).unwrap(), &env),
                "collections" => collections_fn::routes(collections_fn::App::with_clock(&env, clock).unwrap(), &env),
                "docs" => docs_fn::routes(docs_fn::App::with_clock(&env, clock).unwrap(), &env),
                "records" => records_fn::routes(records_fn::App::with_clock(&env, clock).unwrap(), &env),
                "jobs" => jobs_fn::routes(jobs_fn::App::with_clock(&env, clock).unwrap(), &env),
                other => panic!("template.yaml gives {other} routes; start it here"),
            }
        };
        let api = cloud.functions().iter().fold(Router::new(), |api, function| {
            let mut routes = function.routes().peekable();
            if routes.peek().is_none() {
                return api;
            }
            // Extensions of this outer router must not reach the function, which routes again.
            let service = router(&function.binary).map_request(|mut request: Request<Body>| {
                request.extensions_mut().clear();
                request
            });
            routes.fold(api, |api, route| {
                api.route(&route.path.replace("+}", "}").replace("{proxy", "{*proxy"), any_service(service.clone()))
            })
        });
        let relay = relay_fn::App::with_clock(&env("relay"), clock.clone()).unwrap();
        let worker = worker_fn::App::with_clock(&env("worker"), clock.clone()).unwrap();
        Self { api, relay, worker }
    }
}

impl Invoke for Functions {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        let answer = match function {
            "relay" => {
                serde_json::to_string(&relay_fn::handle(&self.relay, serde_json::from_value(event).unwrap()).await)
            }
            "worker" => {
                serde_json::to_string(&worker_fn::handle(&self.worker, serde_json::from_value(event).unwrap()).await)
            }
            other => panic!("template.yaml gives {other} events; hand them over here"),
        };
        answer.map_err(|error| FunctionError(error.to_string()))
    }
}

/// Ends the worker's environment when it has come back to life so often in an invocation.
pub struct Killing<'a> {
    functions: &'a Functions,
    wakes: usize,
    has_killed: AtomicBool,
}

impl<'a> Killing<'a> {
    pub fn after(wakes: usize, functions: &'a Functions) -> Self {
        Self { functions, wakes, has_killed: AtomicBool::new(false) }
    }

    /// Whether that ever happened.
    pub fn has_killed(&self) -> bool {
        self.has_killed.load(Ordering::Relaxed)
    }
}

impl Invoke for Killing<'_> {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        if function != "worker" {
            return self.functions.invoke(function, event).await;
        }
        let mut work = pin!(self.functions.invoke(function, event));
        let mut left = self.wakes;
        let ended = std::future::poll_fn(|context| match (left, work.as_mut().poll(context)) {
            (_, Poll::Ready(answer)) => Poll::Ready(Some(answer)),
            (0, Poll::Pending) => Poll::Ready(None),
            (_, Poll::Pending) => {
                left -= 1;
                Poll::Pending
            }
        });
        ended.await.unwrap_or_else(|| {
            self.has_killed.store(true, Ordering::Relaxed);
            Err(FunctionError("killed".into()))
        })
    }
}

/// The relay works; whoever else is called fails.
pub struct RelayOnly<'a>(pub &'a Functions);

impl Invoke for RelayOnly<'_> {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        match function {
            "relay" => self.0.invoke(function, event).await,
            _ => Err(FunctionError("not now".into())),
        }
    }
}
