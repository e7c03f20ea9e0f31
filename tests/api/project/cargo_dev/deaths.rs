//! Functions killed under `cargo dev` are replaced, and requests in the meantime get an answer at once.

use super::dev::Dev;
use crate::world::{PASSWORD, code_in};
use axum::http::Method;
use serde_json::json;
use undercroft_local::dev::processes::send;

/// Kills each function and sends a request for it.
pub async fn are_survived(dev: &Dev, token: &str) {
    for (function, path) in [("records", "/v1/collections/tasks/records"), ("auth", "/v1/auth/me")] {
        for _ in 0..3 {
            kill(dev, function).await;
            answers_again(dev, path, token).await;
        }
    }
    // The restarted functions handle the messages that the stream and the queue still hold.
    let eve = json!({ "email": "eve@example.org", "password": PASSWORD });
    kill(dev, "relay").await;
    kill(dev, "worker").await;
    assert_eq!(dev.post("/v1/auth/signup", None, eve).await.0, 202);
    kill(dev, "relay").await;
    dev.until("/mail", None, |mails| {
        let hers = mails.as_array()?.iter().find(|mail| mail["to"].to_string().contains("eve@example.org"))?;
        code_in(hers["text"].as_str()?)
    })
    .await;
    assert!(dev.said().contains("records ended") && dev.said().contains("is started again"), "{}", dev.said());
}

async fn kill(dev: &Dev, function: &str) {
    // It may just be restarting.
    let killed = dev.processes_of(function);
    send("KILL", killed).await;
}

/// Each answer arrives in time, and is either a 503 or the usual one.
async fn answers_again(dev: &Dev, path: &str, token: &str) {
    loop {
        let (status, body) = dev.ask_whoever_answers(Method::GET, path, Some(token), None).await;
        if status == 200 {
            return;
        }
        assert_eq!((status, &body["code"]), (503, &json!("unavailable")), "{path}: {body}");
    }
}
