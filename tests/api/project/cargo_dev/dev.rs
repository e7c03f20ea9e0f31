//! `cargo dev` as a process: started on free ports, observed, called and stopped. Every wait has a limit, and a timeout fails
//! with the output of the process.

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use undercroft_local::dev::processes::{Process, Running, running, send, with_descendants};

/// Time limit for one answer.
const ANSWER: Duration = Duration::from_secs(30);
/// For what takes as long as it takes on a busy machine. To start it the first time is to compile it.
const PATIENCE: Duration = Duration::from_secs(300);
const START: Duration = Duration::from_secs(1_200);
const GLANCE: Duration = Duration::from_millis(20);

/// The command, with more arguments.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["run", "--quiet", "--example", "cloud", "--"])
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// `cargo dev`, running.
pub struct Dev {
    child: Child,
    said: watch::Receiver<String>,
    pub port: u16,
    pub dashboard_port: u16,
    pub admin_password: String,
}

impl Dev {
    /// Starts it and waits until it says it is up. A port that somebody took in the meantime is tried once more elsewhere.
    pub async fn start(data: &Path) -> Self {
        match Self::try_start(data).await {
            Ok(dev) => dev,
            Err((status, said)) if status.code() == Some(2) => {
                let again = Self::try_start(data).await;
                again.unwrap_or_else(|(status, again)| panic!("cargo dev ended twice, {status}: {said}{again}"))
            }
            Err((status, said)) => panic!("cargo dev ended with {status}: {said}"),
        }
    }

    async fn try_start(data: &Path) -> Result<Self, (ExitStatus, String)> {
        let (port, dashboard_port) = (free_port(), free_port());
        let ports = [port.to_string(), dashboard_port.to_string()];
        let arguments = ["--port", &ports[0], "--dashboard-port", &ports[1], "--data", data.to_str().unwrap()];
        let mut child = command(&arguments).spawn().unwrap();
        let said = hear(&mut child);
        let mut dev = Self { child, said, port, dashboard_port, admin_password: String::new() };
        let greeted = tokio::time::timeout(START, dev.said.wait_for(|said| password(said).is_some())).await;
        let greeted = greeted.unwrap_or_else(|_| panic!("cargo dev is not up after {START:?}")).is_ok();
        if !greeted {
            let status = dev.child.wait().await.unwrap();
            return Err((status, dev.said()));
        }
        dev.admin_password = password(&dev.said()).unwrap();
        Ok(dev)
    }

    /// Everything it has said so far, on both outputs.
    pub fn said(&self) -> String {
        self.said.borrow().clone()
    }

    /// Sends a signal to the command itself.
    pub async fn signal(&self, name: &str) {
        send(name, self.child.id()).await;
    }

    /// Waits until it has ended and nobody is left who could say anything.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = async {
            let status = self.child.wait().await.unwrap();
            while self.said.changed().await.is_ok() {}
            status
        };
        tokio::time::timeout(PATIENCE, ended).await.expect("cargo dev ends when it is asked to")
    }

    /// The command and all that runs because of it.
    pub fn processes(&self) -> BTreeSet<Process> {
        let own = running().into_iter().map(|one| one.process).filter(|process| Some(process.id) == self.child.id());
        with_descendants(&own.collect())
    }

    /// The processes that run a function of ours, and of no other `cargo dev` on this machine.
    pub fn processes_of(&self, function: &str) -> Vec<u32> {
        let ours = self.processes();
        let is_it = |one: &Running| one.name == function && ours.contains(&one.process);
        running().into_iter().filter(is_it).map(|one| one.process.id).collect()
    }

    /// Status and body of a request: to the API, and then answered by a function, if its path begins with `/v1`, else to the
    /// dashboard.
    pub async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let (status, is_function, body) = self.exchange(method, path, token, body).await;
        assert!(!path.starts_with("/v1") || is_function, "{path} was answered by a function: {status} {body}");
        (status, body)
    }

    /// The same, whoever answers.
    pub async fn ask_whoever_answers(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (u16, Value) {
        let (status, _, body) = self.exchange(method, path, token, body).await;
        (status, body)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (u16, bool, Value) {
        let port = if path.starts_with("/v1") { self.port } else { self.dashboard_port };
        let mut request = Request::builder().method(method).uri(format!("http://127.0.0.1:{port}{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let answered = tokio::time::timeout(ANSWER, exchange(request.body(Body::from(body)).unwrap())).await;
        answered.unwrap_or_else(|_| panic!("{path} has no answer after {ANSWER:?}: {}", self.said()))
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: Value) -> (u16, Value) {
        self.ask(Method::POST, path, token, Some(body)).await
    }

    pub async fn sign_in(&self, email: &str, password: &str) -> (String, Value) {
        let (status, body) = self.post("/v1/auth/signin", None, json!({ "email": email, "password": password })).await;
        assert_eq!(status, 200, "{body}");
        (body["accessToken"].as_str().unwrap().to_owned(), body["user"].clone())
    }

    /// Asks until the answer is the one waited for: relay and worker take their own time.
    pub async fn until<T>(&self, path: &str, token: Option<&str>, found: impl Fn(&Value) -> Option<T>) -> T {
        let started = tokio::time::Instant::now();
        loop {
            let (_, body) = self.ask(Method::GET, path, token, None).await;
            if let Some(found) = found(&body) {
                return found;
            }
            assert!(started.elapsed() < PATIENCE, "{path} still answers {body}: {}", self.said());
            tokio::time::sleep(GLANCE).await;
        }
    }
}

/// Waits until none of these runs any more.
pub async fn all_ended(processes: &BTreeSet<Process>) {
    let started = tokio::time::Instant::now();
    let left = || -> Vec<Running> { running().into_iter().filter(|one| processes.contains(&one.process)).collect() };
    while !left().is_empty() {
        assert!(started.elapsed() < PATIENCE, "still running: {:?}", left());
        tokio::time::sleep(GLANCE).await;
    }
}

/// A port nobody listens on: from below those that the system gives to whoever asks for any, which may be gone before they
/// are used. Tests of another process begin somewhere else.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (std::process::id() % 997) as u16 * 12;
    let ports = std::iter::repeat_with(|| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000);
    let mut free = ports.take(12_000).filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a port is free")
}

/// Both outputs, read all the time: a full pipe would stop whoever writes into it. Ends when nobody can write any more.
fn hear(child: &mut Child) -> watch::Receiver<String> {
    let (sender, said) = watch::channel(String::new());
    let sender = Arc::new(sender);
    #[expect(clippy::disallowed_methods, reason = "no function: what it says is read while it runs")]
    {
        tokio::spawn(keep(child.stdout.take().unwrap(), Arc::clone(&sender)));
        tokio::spawn(keep(child.stderr.take().unwrap(), sender));
    }
    said
}

async fn keep(output: impl AsyncRead + Unpin, said: Arc<watch::Sender<String>>) {
    let mut lines = BufReader::new(output).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        said.send_modify(|said| *said += &format!("{}\n", String::from_utf8_lossy(&line)));
    }
}

/// The line after the admin's address, once all of the greeting is there.
fn password(said: &str) -> Option<String> {
    let (greeting, _) = said.split_once("Undercroft is up.")?.1.split_once("Ctrl-C stops it")?;
    let mut lines = greeting.lines().skip_while(|line| !line.trim_start().starts_with("Admin"));
    assert!(lines.next().unwrap_or_else(|| panic!("no admin: {said}")).contains("admin@example.com"));
    lines.next().map(|line| line.trim().to_owned())
}

/// Status, whether a function has answered, which sends a header that nobody else does, and the body.
async fn exchange(request: Request<Body>) -> (u16, bool, Value) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
    let response = client.request(request).await.unwrap();
    let (status, is_function) =
        (response.status().as_u16(), response.headers().contains_key("strict-transport-security"));
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, is_function, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}
