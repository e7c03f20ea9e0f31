//! `cargo dev` as a user runs it: every function is a process, stopped and restarted.

mod deaths;
mod dev;
mod encodings;
mod strangers;
mod tour;

pub use tour::{LONG_TOUR, SHORT_TOUR, section};

use crate::world::{PASSWORD, code_in, tasks};
use axum::http::Method;
use dev::{Dev, all_ended, command, free_port};
use serde_json::{Value, json};
use std::time::Duration;
use undercroft_local::dev::processes::send;

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
    let writers = dev.processes_of("records");
    assert!(!writers.is_empty(), "the function runs, or nothing would be stopped");
    let (status, made) = dev.post(records, Some(token), task.clone()).await;
    send("STOP", writers.iter().copied()).await;
    assert_eq!(status, 201, "{made}");
    let while_stopped = stored("RecordsTable").await;
    let item = while_stopped.as_array().unwrap().iter().find(|item| item["sk"]["S"] == made["id"]).unwrap();
    assert_eq!((&item["d"]["M"]["title"]["S"], &item["v"]["N"]), (&task["title"], &json!("1")));
    send("CONT", writers).await;
    let one = format!("{records}/{}", text(&made["id"]));
    assert_eq!(dev.ask(Method::GET, &one, Some(token), None).await, (200, made));
    assert_eq!(stored("RecordsTable").await, while_stopped, "nothing was left to do");

    let takers = dev.processes_of("jobs");
    assert!(!takers.is_empty());
    let mail = json!({ "type": "email.send", "payload": { "to": "eve@example.org", "subject": "s", "text": "t" } });
    let (status, job) = dev.post("/v1/jobs", Some(admin), mail).await;
    send("STOP", takers.iter().copied()).await;
    assert_eq!(status, 202, "{job}");
    dev.until("/tables/undercroft-local-JobsTable", None, |jobs| {
        let same = jobs.as_array()?.iter().find(|item| item["id"]["S"] == job["id"])?;
        (same["status"]["S"] == "succeeded").then_some(())
    })
    .await;
    send("CONT", takers).await;
    let (status, job) = dev.ask(Method::GET, &format!("/v1/jobs/{}", text(&job["id"])), Some(admin), None).await;
    assert_eq!((status, &job["attempts"]), (200, &json!(1)), "{job}");
}

#[tokio::test]
async fn cargo_dev_serves_the_tour_and_keeps_everything_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(folder.path()).await;
    let ada = json!({ "email": "ada@example.org", "password": PASSWORD });
    let (status, signed_up) = dev.post("/v1/auth/signup", None, ada.clone()).await;
    assert_eq!(status, 202, "{signed_up}");
    let code = dev
        .until("/mail", None, |mails| {
            let mine = mails.as_array()?.iter().find(|mail| mail["to"].to_string().contains("ada@example.org"))?;
            code_in(mine["text"].as_str()?)
        })
        .await;
    let verify = json!({ "email": "ada@example.org", "code": code, "signupToken": signed_up["signupToken"] });
    let (status, tokens) = dev.post("/v1/auth/verify", None, verify).await;
    assert_eq!(status, 200, "{tokens}");

    let (admin, _) = dev.sign_in("admin@example.com", &dev.admin_password.clone()).await;
    assert_eq!(dev.ask(Method::PUT, "/v1/collections/tasks", Some(&admin), Some(tasks())).await.0, 201);
    let (token, user) = dev.sign_in("ada@example.org", PASSWORD).await;
    let task = json!({ "title": "through the real thing", "owner": user["id"], "slug": "real" });
    let (status, made) = dev.post("/v1/collections/tasks/records", Some(&token), task).await;
    assert_eq!(status, 201, "{made}");
    let frozen = json!({ "title": "answered, and frozen", "owner": user["id"], "slug": "frozen" });
    what_is_answered_is_done(&dev, &token, &admin, &frozen).await;

    // Text that would forge a red log line if it were logged without escaping.
    let forged = "/v1/collections/tasks/records?sort=%0d%0a%7B%22message%22%3A%22forged%22%7D%0a%1b%5B31m";
    assert_eq!(dev.ask(Method::GET, forged, Some(&token), None).await.0, 400);

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
    assert!(dev.ended().await.success(), "Ctrl-C is a good end");
    let said = dev.said();
    let secrets = [PASSWORD, &code, text(&tokens["accessToken"]), text(&tokens["refreshToken"]), &admin];
    check_logs(&said, &asked_by, &secrets);

    let mut dev = Dev::start(folder.path()).await;
    let (token, _) = dev.sign_in("ada@example.org", PASSWORD).await;
    let (_, listed) = dev.ask(Method::GET, "/v1/collections/tasks/records", Some(&token), None).await;
    assert_eq!((listed["items"].as_array().unwrap().len(), &listed["items"][0]), (2, &made));
    let (admin, _) = dev.sign_in("admin@example.com", &dev.admin_password.clone()).await;
    let path = format!("/v1/jobs/{}", later["id"].as_str().unwrap());
    dev.until(&path, Some(&admin), |job| (job["status"] == "succeeded").then_some(())).await;

    encodings::are_answered(&dev, &token).await;
    strangers::get_nothing(&dev).await;
    deaths::are_survived(&dev, &token).await;
    tour::take(&dev).await;

    // Killed without cleanup, it leaves no process behind.
    let started = dev.processes();
    assert!(started.len() >= 8, "itself, its guard and six functions: {started:?}");
    dev.signal("KILL").await;
    dev.ended().await;
    all_ended(&started).await;
}

/// The exit code and the output of the command with these arguments.
async fn refusal(arguments: &[&str]) -> (Option<i32>, String) {
    let output = tokio::time::timeout(Duration::from_secs(1_200), command(arguments).output()).await;
    let output = output.expect("it is refused before anything is built").unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn cargo_dev_names_what_prevents_its_start_and_exits_with_that_code() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let (port, dashboard) = (free_port().to_string(), free_port().to_string());
    for (option, taken, other) in [("--port", &port, "--dashboard-port"), ("--dashboard-port", &dashboard, "--port")] {
        let holder = std::net::TcpListener::bind(format!("127.0.0.1:{taken}")).unwrap();
        let free = free_port().to_string();
        let (code, said) = refusal(&[option, taken, other, &free, "--data", data]).await;
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(&format!("port {taken} is in use by")) && said.contains(option), "{said}");
        drop(holder);
    }
    std::fs::write(folder.path().join("version"), "0").unwrap();
    let (code, said) = refusal(&["--port", &port, "--dashboard-port", &dashboard, "--data", data]).await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("version 0") && said.contains("--fresh") && said.contains(data), "{said}");
    let (code, said) = refusal(&["--no-such-option"]).await;
    assert!(code == Some(64) && said.contains("--no-such-option"), "{said}");
}
