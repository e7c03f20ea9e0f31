//! Ports: claimed before anything is built, so that a taken one is known at once.

use std::time::Duration;

use axum::http::Request;
use http_body_util::Full;
use tokio::net::TcpListener;

use super::desk;
use super::failure::Failure;
use crate::client::Client;

/// Claims a loopback port for as long as the listener lives.
pub async fn claim(port: u16, option: &'static str) -> Result<TcpListener, Failure> {
    match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => Err(Failure::PortTaken { port, option, who: likely_holder(port).await }),
    }
}

async fn likely_holder(port: u16) -> &'static str {
    if ask(port, "/").await.is_some_and(|body| body.contains(desk::TITLE)) {
        return "the desk of another `cargo dev`";
    }
    match ask(port, "/.well-known/jwks.json").await {
        Some(body) if body.contains("\"keys\"") => "the API of another `cargo dev`",
        _ => "another program (`lsof -i` or `ss -ltnp` names it)",
    }
}

/// What is served at this path, if anything is within a second.
async fn ask(port: u16, path: &str) -> Option<String> {
    let request = Request::get(format!("http://127.0.0.1:{port}{path}")).body(Full::default()).ok()?;
    let client = Client::default();
    let (_, body) = tokio::time::timeout(Duration::from_secs(1), client.exchange(request)).await.ok()?.ok()?;
    Some(String::from_utf8_lossy(&body).into_owned())
}
