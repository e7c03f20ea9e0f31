//! Counts and the change feed.

pub mod change_log;
mod stream_delivery;
