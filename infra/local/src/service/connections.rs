//! HTTP connections to the services. A request can end its connection without a response, as an injected fault requires.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Delay after a failed attempt to accept a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// The connection is closed without a response.
#[derive(Debug)]
pub struct ConnectionClosed;

impl std::fmt::Display for ConnectionClosed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the connection was closed without a response")
    }
}

impl std::error::Error for ConnectionClosed {}

/// Serves on `listener` until `stop` is dropped or receives a message; then all connections are closed.
pub async fn serve<F: Future<Output = Result<Response, ConnectionClosed>> + Send + 'static>(
    listener: TcpListener,
    stop: oneshot::Receiver<()>,
    respond: impl Fn(Request) -> F + Clone + Send + Sync + 'static,
) {
    // Dropping the set aborts its tasks.
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // For example too many open files: retry after a delay.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            #[expect(clippy::disallowed_methods, reason = "no function: a server handles many connections at once")]
            connections.spawn(handle(stream, respond.clone()));
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        _ = stop => {}
        never = accepting => { let _: Infallible = never; }
    }
}

async fn handle<F: Future<Output = Result<Response, ConnectionClosed>>>(
    stream: TcpStream,
    respond: impl Fn(Request) -> F,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| respond(request.map(Body::new)));
    // An error means that the client closed the connection, or that an injected fault did.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
