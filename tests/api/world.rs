//! A fresh local cloud with every function, and its callers.
//!
//! Functions run in this process, routed by template.yaml; the local cloud's event-source mappings deliver queues and streams. A
//! test advances the time.

mod caller;
mod canaries;
mod functions;

pub use caller::{Answer, Caller, Knock};
use canaries::Canaries;
use functions::{Functions, Killing, PATIENT, RelayOnly, TRIES_ONCE, Variables};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use undercroft::clock::Clock;
use undercroft_local::{Invoke, LocalCloud, Mail, Options, Template};

/// A password that is accepted.
pub const PASSWORD: &str = "correct horse battery staple";
/// The address that bootstraps the admin, as template.yaml has it.
pub const ADMIN: &str = "admin@example.com";

/// More rounds than anything takes that comes to rest.
const PUMPS: usize = 10_000;

/// The number of rounds of a race: `usual`, or the value of the environment variable `ROUNDS`, which CI sets.
pub fn rounds(usual: u32) -> u32 {
    std::env::var_os("ROUNDS").and_then(|rounds| rounds.to_str()?.parse().ok()).unwrap_or(usual)
}

pub struct World {
    pub cloud: LocalCloud,
    functions: Functions,
    /// More execution environments of each function. Requests go to each in turn.
    others: Vec<Functions>,
    turn: AtomicUsize,
    canaries: Canaries,
    clock: Clock,
    variables: Variables,
    unsettled: AtomicBool,
    /// Queues that may hold messages when the world ends.
    on_purpose: Mutex<Vec<&'static str>>,
}

/// template.yaml, as deployed.
pub fn template() -> Template {
    Template::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml")).unwrap()
}

impl World {
    pub async fn new() -> Self {
        Self::with(PATIENT).await
    }

    /// A world without retries by the SDK, so that a failed call stays failed.
    pub async fn that_tries_once() -> Self {
        Self::with(TRIES_ONCE).await
    }

    /// A world with so many execution environments of each function, which share only the tables.
    pub async fn of_instances(instances: usize) -> Self {
        let mut world = Self::with(PATIENT).await;
        world.others = (1..instances).map(|_| Functions::start(&world.cloud, &world.clock, world.variables)).collect();
        world
    }

    /// A world in which every reading of the clock is a millisecond later than the one before.
    pub async fn that_ticks() -> Self {
        let mut world = Self::with(PATIENT).await;
        world.clock = world.clock.clone().ticking();
        world.restart_functions();
        world
    }

    /// A world with a definition lease of so many seconds.
    pub async fn with_lease(seconds: &str) -> Self {
        let parameters = [("DefinitionLease".to_owned(), seconds.to_owned())].into();
        Self::start(PATIENT, Options { parameters, ..Options::in_memory(template()) }).await
    }

    async fn with(variables: Variables) -> Self {
        Self::start(variables, Options::in_memory(template())).await
    }

    async fn start(variables: Variables, options: Options) -> Self {
        let canaries = Canaries::watch();
        // Both clocks stand still until a test advances them, so that no test depends on its duration.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let local_clock = undercroft_local::Clock::standing_at(now);
        let cloud = LocalCloud::start(Options { clock: local_clock, ..options }).await.unwrap();
        let clock = Clock::standing_at(now * 1000);
        let functions = Functions::start(&cloud, &clock, variables);
        Self {
            cloud,
            functions,
            others: Vec::new(),
            turn: AtomicUsize::default(),
            canaries,
            clock,
            variables,
            unsettled: AtomicBool::default(),
            on_purpose: Mutex::default(),
        }
    }

    /// The routes of all functions, in the environments whose turn it is.
    fn api(&self) -> axum::Router {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % (self.others.len() + 1);
        self.others.get(turn).unwrap_or(&self.functions).api.clone()
    }

    /// Ends every execution environment; data in memory is lost.
    pub fn restart_functions(&mut self) {
        let start = |_: &Functions| Functions::start(&self.cloud, &self.clock, self.variables);
        (self.functions, self.others) = (start(&self.functions), self.others.iter().map(start).collect());
    }

    /// Limits a slice to so many items.
    pub fn work_in_slices_of(&mut self, items: usize) {
        self.functions.worker = self.functions.worker.clone().in_slices_of(items);
    }

    /// Runs relay and worker until nothing more happens at this time.
    pub async fn settle(&self) {
        self.settle_through(&self.functions).await;
    }

    /// Runs relay and worker, but ends the worker's environment when it has come back to life `wakes` times in an invocation.
    /// Returns whether that ever happened.
    pub async fn settle_killing_worker_after(&self, wakes: usize) -> bool {
        let killing = Killing::after(wakes, &self.functions);
        self.settle_through(&killing).await;
        killing.has_killed()
    }

    /// The same with whatever stands between queues and streams and the functions. A world that never comes to rest is a
    /// failure, not a wait.
    pub async fn settle_through(&self, invoker: &impl Invoke) {
        self.unsettled.store(false, Ordering::Relaxed);
        for _ in 0..PUMPS {
            if self.cloud.pump(invoker).await.unwrap() == 0 {
                return;
            }
        }
        panic!("something still moves after {PUMPS} rounds: {:?}", self.cloud.queue_depths().await);
    }

    /// Says that the test leaves messages on this queue on purpose.
    pub fn leave_messages_on(&self, queue: &'static str) {
        self.on_purpose.lock().unwrap().push(queue);
    }

    /// Runs the relay alone, and returns what then waits on the jobs queue.
    pub async fn relay_only(&self) -> String {
        self.cloud.pump(&RelayOnly(&self.functions)).await.unwrap();
        let waiting = self.cloud.peek("undercroft-local-JobsQueue", 10).unwrap();
        // Messages the worker did not get return after their visibility timeout.
        self.advance(Duration::from_secs(361));
        serde_json::to_string(&waiting).unwrap()
    }

    /// The functions as event sources call them, for tests that call them otherwise than they do.
    pub fn functions(&self) -> &impl Invoke {
        &self.functions
    }

    /// The environment of one function, for tests that build it once more, with something in between or something missing.
    pub fn env(&self, function: &str) -> BTreeMap<String, String> {
        functions::environment(&self.cloud, function, self.variables)
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
        let token = self.sign_up(email, PASSWORD).await;
        self.settle().await;
        let tokens = self.verify(email, &self.code_for(email), &token).await.expect(200);
        self.signed_in(&tokens.body)
    }

    /// Signs up, and returns the sign-up's token, which nobody else is given.
    pub async fn sign_up(&self, email: &str, password: &str) -> String {
        let body = json!({ "email": email, "password": password });
        let answer = self.stranger().post("/v1/auth/signup", body).await.expect(202);
        answer.body["signupToken"].as_str().unwrap().to_owned()
    }

    /// Shows a code, and the token of the sign-up it was mailed for.
    pub async fn verify(&self, email: &str, code: &str, token: &str) -> Answer {
        let body = json!({ "email": email, "code": code, "signupToken": token });
        self.stranger().post("/v1/auth/verify", body).await
    }

    /// Shows a code, and a password chosen now.
    pub async fn verify_with(&self, email: &str, code: &str, password: &str) -> Answer {
        let body = json!({ "email": email, "code": code, "password": password });
        self.stranger().post("/v1/auth/verify", body).await
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

    /// Read units, write units and round trips of the request that was answered last, which the log has whoever asked.
    pub fn logged_cost(&self) -> (f64, f64, u32) {
        let logged = self.logged();
        let lines = logged.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let last = lines.into_iter().find(|line| line["message"] == "request").expect("a request was logged");
        let figure = |name: &str| last[name].as_f64().unwrap();
        (figure("rru"), figure("wru"), figure("trips") as u32)
    }

    /// What the functions have logged in this world.
    pub fn logged(&self) -> String {
        self.canaries.logged()
    }

    /// Everything in a table, as the database holds it.
    pub async fn dump(&self, table: &str) -> Value {
        let name = self.cloud.tables().iter().find(|name| name.ends_with(table)).unwrap();
        let mut scan = json!({ "TableName": name, "ConsistentRead": true });
        let mut items = Vec::new();
        loop {
            let mut page = self.cloud.call("DynamoDB_20120810.Scan", &scan).await.unwrap();
            items.append(page["Items"].as_array_mut().unwrap());
            match page["LastEvaluatedKey"].take() {
                Value::Null => return Value::Array(items),
                last => scan["ExclusiveStartKey"] = last,
            }
        }
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
        let codes = self.cloud.mails().unwrap_or_default().into_iter().filter_map(|mail| code_in(&mail.text));
        self.canaries.hold(codes);
        assert!(!self.unsettled.load(Ordering::Relaxed), "the world ends with work unrelayed: call settle()");
        assert!(
            self.cloud.behind().is_empty(),
            "the world ends while {:?} has something to try again",
            self.cloud.behind()
        );
        let on_purpose = self.on_purpose.lock().unwrap();
        for queue in self.cloud.queues().filter(|name| !on_purpose.iter().any(|left| name.ends_with(left))) {
            let left = self.cloud.peek(queue, 10).unwrap();
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
