//! How event sources call functions.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

/// Maximum size of one invocation's event in bytes, metadata included.
pub(crate) const MAXIMUM_EVENT: usize = 6 * 1024 * 1024;

/// Calls functions. The implementation enforces the function's timeout: an invocation that exceeds it returns an error.
pub trait Invoke: Send + Sync {
    /// Calls `function` with `event` and returns the response payload unchanged.
    fn invoke(&self, function: &str, event: Value) -> impl Future<Output = Result<String, FunctionError>> + Send;
}

impl<I: Invoke> Invoke for Arc<I> {
    fn invoke(&self, function: &str, event: Value) -> impl Future<Output = Result<String, FunctionError>> + Send {
        self.as_ref().invoke(function, event)
    }
}

/// The function failed, or could not be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError(pub String);

impl fmt::Display for FunctionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for FunctionError {}

/// Whether an event source waits for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PollMode {
    /// Takes the records that are available now and ignores batching windows.
    Immediate,
    /// Waits for the first record, and for a batch to fill within its batching window.
    LongPoll,
}
