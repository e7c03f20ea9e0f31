//! One journey as a user makes it: `cargo dev`, through cargo-lambda and its translation of events, stopped and started again.

use crate::world::{PASSWORD, code_in, tasks};
use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// `cargo dev`, running.
struct Dev {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
    logs: tokio::task::JoinHandle<String>,
    api: String,
    desk: String,
    admin_password: String,
}

impl Dev {
    /// Starts it on free ports and waits until it says it is up. The first time it compiles; nobody waits for a clock.
    async fn start(data: &Path) -> Self {
        let (port, desk) = (free_port(), free_port());
        let mut child = Command::new(env!("CARGO"))
            .args(["run", "--quiet", "--example", "cloud", "--", "--port", &port, "--desk-port", &desk, "--data"])
            .arg(data)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut errors = child.stderr.take().unwrap();
        #[expect(clippy::disallowed_methods, reason = "no function: what it says is read while it runs")]
        let logs = tokio::spawn(async move {
            let mut text = String::new();
            errors.read_to_string(&mut text).await.unwrap();
            text
        });
        let (api, desk) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{desk}"));
        let mut dev = Self { child, output, logs, api, desk, admin_password: String::new() };
        dev.line_with("Undercroft is up.").await;
        assert!(dev.line_with("Admin").await.contains("admin@example.com"));
        dev.admin_password = dev.output.next_line().await.unwrap().unwrap().trim().to_owned();
        dev
    }

    async fn line_with(&mut self, text: &str) -> String {
        while let Some(line) = self.output.next_line().await.unwrap() {
            if line.contains(text) {
                return line;
            }
        }
        panic!("cargo dev ended without saying {text:?}: {:?}", self.child.wait().await);
    }

    async fn signal(&self, name: &str) {
        signal(name, &[self.child.id().unwrap()]).await;
    }

    /// The processes that run a function of ours, and of no other `cargo dev` on this machine.
    async fn processes_of(&self, function: &str) -> Vec<u32> {
        let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid=,comm="]).output().await.unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        let rows = listed.lines().filter_map(|line| {
            let mut columns = line.split_whitespace();
            Some((columns.next()?.parse().ok()?, columns.next()?.parse().ok()?, columns.next()?.rsplit('/').next()?))
        });
        let rows: Vec<(u32, u32, &str)> = rows.collect();
        let is_ours = |pid: u32| {
            let parent = |of: &u32| rows.iter().find(|(pid, ..)| pid == of).map(|(_, parent, _)| *parent);
            std::iter::successors(Some(pid), parent).any(|pid| Some(pid) == self.child.id())
        };
        rows.iter().filter(|(pid, _, name)| *name == function && is_ours(*pid)).map(|(pid, ..)| *pid).collect()
    }

    /// Status and body of a request.
    async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: Option<Value>) -> (u16, Value) {
        let base = if path.starts_with("/v1") { &self.api } else { &self.desk };
        let mut request = Request::builder().method(method).uri(format!("{base}{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let client = Client::builder(TokioExecutor::new()).build_http::<Body>();
        let response = client.request(request.body(Body::from(body)).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        assert!(
            !path.starts_with("/v1") || response.headers().contains_key("undercroft-cost"),
            "{path} was answered by a function"
        );
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, token: Option<&str>, body: Value) -> (u16, Value) {
        self.ask(Method::POST, path, token, Some(body)).await
    }

    async fn sign_in(&self, email: &str, password: &str) -> (String, Value) {
        let (status, body) = self.post("/v1/auth/signin", None, json!({ "email": email, "password": password })).await;
        assert_eq!(status, 200, "{body}");
        (body["accessToken"].as_str().unwrap().to_owned(), body["user"].clone())
    }

    /// Asks until the answer is the one waited for: relay and worker take their own time.
    async fn until<T>(&self, path: &str, token: Option<&str>, found: impl Fn(&Value) -> Option<T>) -> T {
        loop {
            let (_, body) = self.ask(Method::GET, path, token, None).await;
            if let Some(found) = found(&body) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn signal(name: &str, processes: &[u32]) {
    let processes = processes.iter().map(u32::to_string);
    assert!(Command::new("kill").arg(format!("-{name}")).args(processes).status().await.unwrap().success());
}

fn free_port() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Log lines are JSON with what an operator needs, one request id leads through all functions, and no secret is among them.
fn check_logs(said: &str, asked_by: &str, secrets: &[&str]) {
    let lines: Vec<Value> =
        said.lines().filter_map(|line| serde_json::from_str(line.get(line.find('{')?..)?).ok()).collect();
    let requests: Vec<&Value> = lines.iter().filter(|line| line["message"] == "request").collect();
    assert!(requests.len() >= 8, "{said}");
    for line in requests {
        for field in [
            "requestId",
            "function",
            "caller",
            "method",
            "route",
            "status",
            "outcome",
            "durationMs",
            "level",
            "timestamp",
        ] {
            assert!(!line[field].is_null(), "{field} is missing: {line}");
        }
    }
    let of_request: Vec<&str> = lines
        .iter()
        .filter(|line| line["requestId"] == asked_by)
        .filter_map(|line| line["function"].as_str())
        .collect();
    for function in ["jobs", "relay", "worker"] {
        assert!(of_request.contains(&function), "{function} does not name {asked_by}: {said}");
    }
    assert!(lines.iter().all(|line| line["message"] != "forged") && !said.contains('\u{1b}'), "{said}");
    for secret in secrets {
        assert!(!said.contains(secret), "a secret is in the logs: {secret}");
    }
}

/// Lambda freezes a function once it has answered. Stopped right then, it owes nothing: all of the effect is there, others carry
/// it on, and when it goes on it has nothing to make up for (R120).
async fn what_is_answered_is_done(dev: &Dev, token: &str, admin: &str, task: &Value) {
    let stored =
        async |table: &str| dev.ask(Method::GET, &format!("/tables/undercroft-local-{table}"), None, None).await.1;
    let records = "/v1/collections/tasks/records";
    let writers = dev.processes_of("records").await;
    assert!(!writers.is_empty(), "the function runs, or nothing would be stopped");
    let (status, made) = dev.post(records, Some(token), task.clone()).await;
    signal("STOP", &writers).await;
    assert_eq!(status, 201, "{made}");
    let while_stopped = stored("RecordsTable").await;
    let item = while_stopped.as_array().unwrap().iter().find(|item| item["sk"]["S"] == made["id"]).unwrap();
    assert_eq!((&item["d"]["M"]["title"]["S"], &item["v"]["N"]), (&task["title"], &json!("1")));
    signal("CONT", &writers).await;
    let one = format!("{records}/{}", text(&made["id"]));
    assert_eq!(dev.ask(Method::GET, &one, Some(token), None).await, (200, made));
    assert_eq!(stored("RecordsTable").await, while_stopped, "nothing was left to do");

    let takers = dev.processes_of("jobs").await;
    assert!(!takers.is_empty());
    let mail = json!({ "type": "email.send", "payload": { "to": "eve@example.org", "subject": "s", "text": "t" } });
    let (status, job) = dev.post("/v1/jobs", Some(admin), mail).await;
    signal("STOP", &takers).await;
    assert_eq!(status, 202, "{job}");
    dev.until("/tables/undercroft-local-JobsTable", None, |jobs| {
        let same = jobs.as_array()?.iter().find(|item| item["id"]["S"] == job["id"])?;
        (same["status"]["S"] == "succeeded").then_some(())
    })
    .await;
    signal("CONT", &takers).await;
    let (status, job) = dev.ask(Method::GET, &format!("/v1/jobs/{}", text(&job["id"])), Some(admin), None).await;
    assert_eq!((status, &job["attempts"]), (200, &json!(1)), "{job}");
}

#[tokio::test]
async fn cargo_dev_serves_the_tour_and_keeps_everything_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(folder.path()).await;
    let ada = json!({ "email": "ada@example.org", "password": PASSWORD });
    assert_eq!(dev.post("/v1/auth/signup", None, ada.clone()).await.0, 202);
    let code = dev
        .until("/mail", None, |mails| {
            let mine = mails.as_array()?.iter().find(|mail| mail["to"].to_string().contains("ada@example.org"))?;
            code_in(mine["text"].as_str()?)
        })
        .await;
    let (status, tokens) = dev.post("/v1/auth/verify", None, json!({ "email": "ada@example.org", "code": code })).await;
    assert_eq!(status, 200, "{tokens}");

    let (admin, _) = dev.sign_in("admin@example.com", &dev.admin_password.clone()).await;
    assert_eq!(dev.ask(Method::PUT, "/v1/collections/tasks", Some(&admin), Some(tasks())).await.0, 201);
    let (token, user) = dev.sign_in("ada@example.org", PASSWORD).await;
    let task = json!({ "title": "through the real thing", "owner": user["id"], "slug": "real" });
    let (status, made) = dev.post("/v1/collections/tasks/records", Some(&token), task).await;
    assert_eq!(status, 201, "{made}");
    let frozen = json!({ "title": "answered, and frozen", "owner": user["id"], "slug": "frozen" });
    what_is_answered_is_done(&dev, &token, &admin, &frozen).await;

    // What would be a line of its own, in red, if a log took it as it comes.
    let forged = "/v1/collections/%0d%0a%7B%22message%22%3A%22forged%22%7D%0a%1b%5B31m/records";
    assert!(dev.ask(Method::GET, forged, Some(&token), None).await.0 >= 400);

    let mail = json!({ "type": "email.send", "payload": { "to": "bob@example.org", "subject": "s", "text": "t" } });
    let (_, job) = dev.post("/v1/jobs", Some(&admin), mail).await;
    let asked_by = job["requestId"].as_str().unwrap().to_owned();
    let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
    dev.until(&path, Some(&admin), |job| (job["status"] == "succeeded").then_some(())).await;
    let mut later =
        json!({ "type": "email.send", "payload": { "to": "later@example.org", "subject": "s", "text": "t" } });
    later["delaySeconds"] = json!(5);
    let (_, later) = dev.post("/v1/jobs", Some(&admin), later).await;

    dev.signal("INT").await;
    assert!(dev.child.wait().await.unwrap().success(), "Ctrl-C is a good end");
    let mut said = dev.logs.await.unwrap();
    while let Some(line) = dev.output.next_line().await.unwrap() {
        said.push_str(&line);
        said.push('\n');
    }
    let secrets = [PASSWORD, &code, text(&tokens["accessToken"]), text(&tokens["refreshToken"]), &admin];
    check_logs(&said, &asked_by, &secrets);

    let mut dev = Dev::start(folder.path()).await;
    let (token, _) = dev.sign_in("ada@example.org", PASSWORD).await;
    let (_, listed) = dev.ask(Method::GET, "/v1/collections/tasks/records", Some(&token), None).await;
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]), (2, &made));
    let (admin, _) = dev.sign_in("admin@example.com", &dev.admin_password.clone()).await;
    let path = format!("/v1/jobs/{}", later["id"].as_str().unwrap());
    dev.until(&path, Some(&admin), |job| (job["status"] == "succeeded").then_some(())).await;

    // Killed without a chance to clean up, it leaves nobody behind: whoever held the API's port lets go of it.
    let api = dev.api.trim_start_matches("http://").to_owned();
    dev.signal("KILL").await;
    dev.child.wait().await.unwrap();
    while tokio::net::TcpStream::connect(&api).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
