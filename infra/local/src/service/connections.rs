//! Connections to the front door, each served by itself. A request may end its connection without any answer, which is what
//! a lost answer looks like from the other side.

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

use super::faults::Cut;

/// How long nobody is accepted after an attempt that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves on `listener` until `stop` is dropped or sent to; then all connections end.
pub async fn serve<F: Future<Output = Result<Response, Cut>> + Send + 'static>(
    listener: TcpListener,
    stop: oneshot::Receiver<()>,
    answer: impl Fn(Request) -> F + Clone + Send + Sync + 'static,
) {
    // Dropped, the set ends whatever is in it.
    let mut connections = JoinSet::new();
    let accepting = async {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Too many open files, say: in a moment there may be fewer.
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            #[expect(clippy::disallowed_methods, reason = "no function: a server attends to many at once")]
            connections.spawn(attend(stream, answer.clone()));
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        _ = stop => {}
        never = accepting => { let _: Infallible = never; }
    }
}

async fn attend<F: Future<Output = Result<Response, Cut>>>(stream: TcpStream, answer: impl Fn(Request) -> F) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| answer(request.map(Body::new)));
    // An error here is a caller who went away, or one who was cut off.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
