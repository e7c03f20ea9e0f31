//! Structured logs: one JSON object a line on standard output, which Lambda hands to CloudWatch.
//!
//! JSON encoding escapes CR, LF and control characters, so no value can forge a line. Nothing secret is ever a field: not a
//! token, a password, a code, a body or a query string.

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;

/// Starts logging for this process, at the level named by `LOG_LEVEL` (`info` when absent or unknown).
pub fn start(env: &crate::config::Env) {
    let level = env.optional("LOG_LEVEL").and_then(|name| name.parse().ok()).unwrap_or(LevelFilter::INFO);
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(level)
        .finish()
        // The runtime's own advice to developers is no business of an operator's log.
        .with(filter_fn(|line| !line.target().starts_with("lambda_runtime") || *line.level() == Level::ERROR));
    // A second start in one process (tests) keeps the first.
    let _ = tracing::subscriber::set_global_default(subscriber);
}
