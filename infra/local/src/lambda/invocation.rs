//! What an invocation needs and how it can fail.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

/// A function's executable and its configuration.
#[derive(Debug, Clone)]
pub struct Program {
    /// Name of the function.
    pub name: String,
    /// Path of the executable.
    pub path: PathBuf,
    /// Environment variables, besides those that Lambda itself sets.
    pub environment: BTreeMap<String, String>,
    /// Timeout of one invocation.
    pub timeout: Duration,
}

/// Why an invocation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvokeError {
    /// There is no function with this name.
    NotFound,
    /// No execution environment of the function is ready; one is being started.
    Unavailable,
    /// The process exited, or was stopped, before it responded.
    Exited(String),
    /// The function reported an error, with this payload.
    Function(Bytes),
}

/// The result of an invocation: the response payload.
pub type InvokeResult = Result<Bytes, InvokeError>;

impl std::fmt::Display for InvokeError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound => out.write_str("there is no function with this name"),
            Self::Unavailable => out.write_str("the function's process has exited and is being restarted"),
            Self::Exited(how) => write!(out, "the function's process exited before it responded: {how}"),
            Self::Function(payload) => out.write_str(&String::from_utf8_lossy(payload)),
        }
    }
}
