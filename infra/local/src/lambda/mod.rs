//! Lambda and its HTTP API on this machine: each function runs in processes of its own and is invoked by HTTP requests, event
//! sources and `cargo lambda invoke`.
//!
//! [`gateway`] (rejects requests of foreign pages, then matches the template's routes) -> `api_event` (API Gateway's payload
//! format 2.0) -> `functions` -> `pool` (which execution environment is free) -> `runtime_api` (where a process requests its
//! next event) -> the function. `environment` starts the processes and restarts those that exit; until then HTTP requests are
//! answered 503 instead of being kept waiting.

mod api_event;
mod environment;
mod functions;
pub mod gateway;
mod invocation;
mod pool;
mod runtime_api;

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

pub use environment::ProcessRegistry;
pub use functions::Lambda;
pub use invocation::Program;

/// Serves the Runtime API and keeps the functions' processes running, for as long as it is polled. Every started process is
/// registered with `registry`.
pub async fn run(lambda: Arc<Lambda>, registry: &impl ProcessRegistry) {
    let Some(listener) = lambda.listener.lock().await.take() else { return };
    let mut pending = lambda.pending.lock().await;
    let mut running = FuturesUnordered::new();
    let keep_running = async {
        loop {
            tokio::select! {
                Some(request) = pending.recv() => running.push(environment::keep_running(&lambda, request, registry)),
                Some(()) = running.next() => {}
            }
        }
    };
    tokio::select! {
        () = runtime_api::serve(listener, Arc::clone(&lambda)) => {}
        () = keep_running => {}
    }
}

#[cfg(test)]
mod tests;
