//! Ports: opened before anything is built, so that a port in use is reported at once.

use std::time::Duration;

use axum::http::Request;
use http_body_util::Full;
use tokio::net::TcpListener;

use super::dashboard;
use super::failure::Failure;
use crate::http_client::HttpClient;

/// Opens a loopback port.
pub async fn open(port: u16, option: &'static str) -> Result<TcpListener, Failure> {
    match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => Err(Failure::PortTaken { port, option, who: likely_user(port).await }),
    }
}

async fn likely_user(port: u16) -> &'static str {
    if get(port, "/").await.is_some_and(|body| body.contains(dashboard::TITLE)) {
        return "the dashboard of another `cargo dev`";
    }
    match get(port, "/.well-known/jwks.json").await {
        Some(body) if body.contains("\"keys\"") => "the API of another `cargo dev`",
        _ => "another program (find it with `lsof -i` or `ss -ltnp`)",
    }
}

/// The response body at this path, if there is a response within a second.
async fn get(port: u16, path: &str) -> Option<String> {
    let request = Request::get(format!("http://127.0.0.1:{port}{path}")).body(Full::default()).ok()?;
    let client = HttpClient::default();
    let (_, body) = tokio::time::timeout(Duration::from_secs(1), client.exchange(request)).await.ok()?.ok()?;
    Some(String::from_utf8_lossy(&body).into_owned())
}
