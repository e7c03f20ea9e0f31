//! A fresh local cloud with every function in it, and the callers who knock.
//!
//! Functions run in this process, routed by template.yaml; queues and streams are carried to them by the local cloud's own
//! event-source mappings. Time moves when a test says so.

mod caller;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::routing::any_service;
pub use caller::{Answer, Caller, Knock};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tower::ServiceExt;
use undercroft::clock::Clock;
use undercroft::config::Env;
use undercroft_local::{FunctionError, Invoke, LocalCloud, Mail, Options, Template};

/// A password that is accepted.
pub const PASSWORD: &str = "correct horse battery staple";
/// The address that bootstraps the admin, as template.yaml has it.
pub const ADMIN: &str = "admin@example.com";

/// How often something is tried that must never happen: `usual` times, or as often as the environment says with `ROUNDS=1000`,
/// which is the long way that CI takes.
pub fn rounds(usual: u32) -> u32 {
    std::env::var_os("ROUNDS").and_then(|rounds| rounds.to_str()?.parse().ok()).unwrap_or(usual)
}

pub struct World {
    pub cloud: LocalCloud,
    functions: Functions,
    clock: Clock,
    variables: Variables,
    unsettled: AtomicBool,
}

/// What functions find in their environment besides what template.yaml gives them.
type Variables = &'static [(&'static str, &'static str)];

/// How busy this machine is must not decide a test.
const PATIENT: Variables = &[("CALL_PATIENCE", "30")];
/// Besides, every call that fails is seen to fail: the SDK does not try it again.
const TRIES_ONCE: Variables = &[("CALL_PATIENCE", "30"), ("AWS_MAX_ATTEMPTS", "1")];

/// Every function, built from its own environment and no other.
struct Functions {
    api: Router,
    relay: relay_fn::App,
    worker: worker_fn::App,
}

use undercroft_auth as auth_fn;
use undercroft_collections as collections_fn;
use undercroft_jobs as jobs_fn;
use undercroft_records as records_fn;
use undercroft_relay as relay_fn;
use undercroft_worker as worker_fn;

impl Functions {
    fn start(cloud: &LocalCloud, clock: &Clock, variables: Variables) -> Self {
        let variables = || variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let env = |function: &str| -> Env { cloud.environment(function).into_iter().chain(variables()).collect() };
        let router = |function: &str| -> Router {
            let (env, clock) = (env(function), clock.clone());
            match function {
                "auth" => auth_fn::routes(auth_fn::App::with_clock(&env, clock).unwrap(), &env),
                "collections" => collections_fn::routes(collections_fn::App::with_clock(&env, clock).unwrap(), &env),
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
            // What this outer routing found out must not reach the function, which does its own.
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

/// template.yaml, as deployed.
pub fn template() -> Template {
    Template::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml")).unwrap()
}

impl World {
    pub async fn new() -> Self {
        Self::with(PATIENT).await
    }

    /// A world in which a call that is made to fail has failed: nothing below the functions tries again.
    pub async fn that_tries_once() -> Self {
        Self::with(TRIES_ONCE).await
    }

    async fn with(variables: Variables) -> Self {
        // Both clocks stand still until a test moves them, so that no test depends on how long it takes.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let local_clock = undercroft_local::Clock::standing_at(now);
        let cloud = LocalCloud::start(Options { clock: local_clock, ..Options::in_memory(template()) }).await.unwrap();
        let clock = Clock::standing_at(now * 1000);
        let functions = Functions::start(&cloud, &clock, variables);
        Self { cloud, functions, clock, variables, unsettled: AtomicBool::new(false) }
    }

    /// Ends every execution environment: whatever was only in memory is lost.
    pub fn restart_functions(&mut self) {
        self.functions = Functions::start(&self.cloud, &self.clock, self.variables);
    }

    /// The functions, for who calls them by hand.
    pub fn invoker(&self) -> &impl Invoke {
        &self.functions
    }

    /// Lets long jobs give way after so many items.
    pub fn work_in_slices_of(&mut self, items: usize) {
        self.functions.worker = self.functions.worker.clone().in_slices_of(items);
    }

    /// Runs relay and worker, but ends the worker's environment when it has come back to life `wakes` times in an invocation.
    /// Returns whether that ever happened.
    pub async fn settle_killing_worker_after(&self, wakes: usize) -> bool {
        struct Killing<'a>(&'a Functions, usize, AtomicBool);
        impl Invoke for Killing<'_> {
            async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
                if function != "worker" {
                    return self.0.invoke(function, event).await;
                }
                let mut work = std::pin::pin!(self.0.invoke(function, event));
                let mut left = self.1;
                let ended = std::future::poll_fn(|context| match (left, work.as_mut().poll(context)) {
                    (_, Poll::Ready(answer)) => Poll::Ready(Some(answer)),
                    (0, Poll::Pending) => Poll::Ready(None),
                    (_, Poll::Pending) => {
                        left -= 1;
                        Poll::Pending
                    }
                });
                ended.await.unwrap_or_else(|| {
                    self.2.store(true, Ordering::Relaxed);
                    Err(FunctionError("killed".into()))
                })
            }
        }
        self.unsettled.store(false, Ordering::Relaxed);
        let killing = Killing(&self.functions, wakes, AtomicBool::new(false));
        while self.cloud.pump(&killing).await.unwrap() > 0 {}
        killing.2.into_inner()
    }

    /// Runs relay and worker until nothing more happens at this time.
    pub async fn settle(&self) {
        self.unsettled.store(false, Ordering::Relaxed);
        while self.cloud.pump(&self.functions).await.unwrap() > 0 {}
    }

    /// Runs the relay alone, and returns what then waits on the jobs queue.
    pub async fn relay_only(&self) -> String {
        struct RelayOnly<'a>(&'a Functions);
        impl Invoke for RelayOnly<'_> {
            async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
                if function == "relay" {
                    self.0.invoke(function, event).await
                } else {
                    Err(FunctionError("not now".into()))
                }
            }
        }
        self.cloud.pump(&RelayOnly(&self.functions)).await.unwrap();
        let waiting = self.cloud.peek("undercroft-local-JobsQueue", 10).unwrap();
        // What the worker was not given comes back when its visibility timeout ends.
        self.advance(Duration::from_secs(361));
        serde_json::to_string(&waiting).unwrap()
    }

    /// The functions as event sources call them, for tests that call them otherwise than they do.
    pub fn functions(&self) -> &impl Invoke {
        &self.functions
    }

    /// Lets time pass, for the cloud and for the functions.
    pub fn advance(&self, by: Duration) {
        self.cloud.advance(by);
        self.clock.advance(by);
    }

    /// What time it is here, in milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        self.clock.millis()
    }

    /// Mail to an address, newest first.
    pub fn mails_to(&self, address: &str) -> Vec<Mail> {
        self.cloud.mails().unwrap().into_iter().filter(|mail| mail.to.contains(&address.to_owned())).collect()
    }

    /// The code in the newest mail to an address.
    pub fn code_for(&self, address: &str) -> String {
        let mail = self.mails_to(address).into_iter().next().unwrap_or_else(|| panic!("no mail to {address}"));
        code_in(&mail.text).unwrap_or_else(|| panic!("no code in {}", mail.text))
    }

    /// Somebody who has not signed in.
    pub fn stranger(&self) -> Caller<'_> {
        Caller { world: self, token: None, user: json!({}), refresh_token: String::new() }
    }

    /// Somebody with an account, made the way people make one.
    pub async fn user(&self, name: &str) -> Caller<'_> {
        self.account(&format!("{name}@example.org")).await
    }

    /// The first admin.
    pub async fn admin(&self) -> Caller<'_> {
        self.account(ADMIN).await
    }

    async fn account(&self, email: &str) -> Caller<'_> {
        let stranger = self.stranger();
        let known = stranger.post("/v1/auth/signin", json!({ "email": email, "password": PASSWORD })).await;
        if known.status == 200 {
            return self.signed_in(&known.body);
        }
        stranger.post("/v1/auth/signup", json!({ "email": email, "password": PASSWORD })).await.expect(202);
        self.settle().await;
        let verify = json!({ "email": email, "code": self.code_for(email) });
        let tokens = stranger.post("/v1/auth/verify", verify).await.expect(200);
        self.signed_in(&tokens.body)
    }

    /// The caller that these tokens speak for.
    pub fn signed_in(&self, tokens: &Value) -> Caller<'_> {
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        Caller {
            world: self,
            token: Some(text("accessToken")),
            user: tokens["user"].clone(),
            refresh_token: text("refreshToken"),
        }
    }

    /// Everything in a table, as the database holds it.
    pub async fn dump(&self, table: &str) -> Value {
        let name = self.cloud.tables().iter().find(|name| name.ends_with(table)).unwrap();
        self.cloud.call("DynamoDB_20120810.Scan", &json!({ "TableName": name, "ConsistentRead": true })).await.unwrap()
            ["Items"]
            .clone()
    }
}

/// The code in a mail's text.
pub fn code_in(text: &str) -> Option<String> {
    let is_code = |word: &&str| word.len() == 35 && word.split('-').all(|group| group.len() == 5);
    text.split_whitespace().find(is_code).map(str::to_owned)
}

impl Drop for World {
    /// A test that leaves work behind has not seen what it did.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert!(!self.unsettled.load(Ordering::Relaxed), "the world ends with work unrelayed: call settle()");
        for queue in ["JobsQueue", "JobsFifoQueue.fifo"] {
            let left = self.cloud.peek(&format!("undercroft-local-{queue}"), 10).unwrap();
            assert!(left.is_empty(), "the world ends with messages left on {queue}: {left:?}");
        }
    }
}

/// The definition of the design's example collection.
pub fn tasks() -> Value {
    json!({
        "name": "tasks",
        "schema": { "type": "object", "required": ["title"], "additionalProperties": false, "properties": {
            "title": { "type": "string", "minLength": 1, "maxLength": 200 },
            "slug": { "type": "string", "pattern": "^[a-z0-9-]{1,60}$" },
            "status": { "enum": ["open", "done"], "default": "open" },
            "priority": { "type": "integer", "minimum": 0, "maximum": 9 },
            "owner": { "type": "string", "relation": { "collection": "users", "onDelete": "cascade" } } } },
        "unique": [["slug"]],
        "indexes": [{ "name": "mine", "partition": ["owner"], "sort": ["status", "-priority"] }],
        "rules": {
            "list": "record.owner == auth.id", "read": "record.owner == auth.id",
            "create": "auth.id != '' && input.owner == auth.id",
            "update": "record.owner == auth.id && !changed('owner')", "delete": "record.owner == auth.id" }
    })
}
