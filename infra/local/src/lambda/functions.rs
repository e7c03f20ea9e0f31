//! All functions, and how they are invoked.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

use super::invocation::{InvokeError, InvokeResult, Program};
use super::pool::Pool;
use crate::event_source::{FunctionError, Invoke};

/// How long after its timeout a function may still respond: it may be slower on this machine than in AWS.
const GRACE: Duration = Duration::from_secs(5);

/// All functions.
#[derive(Debug)]
pub struct Lambda {
    functions: BTreeMap<String, LambdaFunction>,
    /// Part of the Runtime API's addresses, so that only the functions' processes know them.
    secret: String,
    runtime_api: String,
    /// The Runtime API's listener, until it is served.
    pub(super) listener: Mutex<Option<TcpListener>>,
    requests: mpsc::UnboundedSender<EnvironmentRequest>,
    /// Requests for execution environments that nobody has started yet.
    pub(super) pending: Mutex<mpsc::UnboundedReceiver<EnvironmentRequest>>,
}

/// A function and its execution environments.
#[derive(Debug)]
pub(super) struct LambdaFunction {
    pub(super) program: Program,
    pub(super) pool: Pool,
}

/// A request to keep one execution environment of a function running.
#[derive(Debug)]
pub(super) struct EnvironmentRequest {
    /// Name of the function.
    pub(super) function: String,
    /// Generation of the program, see [`Pool::new_generation`].
    pub(super) generation: u64,
}

impl Lambda {
    /// Functions with up to `limit` execution environments each. No process is started yet.
    ///
    /// # Errors
    /// No loopback port is available.
    pub async fn new(programs: Vec<Program>, limit: usize) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let runtime_api = format!("http://{}", listener.local_addr()?);
        let (requests, pending) = mpsc::unbounded_channel();
        let function = |program: Program| (program.name.clone(), LambdaFunction { program, pool: Pool::new(limit) });
        Ok(Self {
            functions: programs.into_iter().map(function).collect(),
            secret: Uuid::new_v4().simple().to_string(),
            runtime_api,
            listener: Mutex::new(Some(listener)),
            requests,
            pending: Mutex::new(pending),
        })
    }

    /// Starts an execution environment of the function's program as it is now, and waits until the process has requested its
    /// first event. Returns false when the process exits instead.
    pub async fn start(&self, name: &str) -> bool {
        let Some(function) = self.functions.get(name) else { return false };
        let exits = function.pool.exits();
        let generation = function.pool.new_generation();
        self.request_environment(name, function, generation);
        function.pool.wait_for_generation(generation, exits).await
    }

    /// Invokes a function and waits for its response.
    ///
    /// # Errors
    /// See [`InvokeError`].
    pub async fn call(&self, name: &str, id: &str, event: Bytes) -> InvokeResult {
        let function = self.functions.get(name).ok_or(InvokeError::NotFound)?;
        let limit = function.program.timeout + GRACE;
        let response = function.pool.invoke(id, event, limit)?;
        if let Some(generation) = function.pool.needs_another() {
            self.request_environment(name, function, generation);
        }
        let result: InvokeResult = match tokio::time::timeout(limit, response).await {
            Ok(response) => response.unwrap_or(Err(InvokeError::Unavailable)),
            Err(_) => {
                function.pool.abandon(id, limit);
                Err(InvokeError::Exited(format!("no response within {} s", limit.as_secs())))
            }
        };
        if let Err(InvokeError::Function(payload)) = &result {
            eprintln!("undercroft: {name} failed: {}", String::from_utf8_lossy(payload));
        }
        result
    }

    /// The function with this name.
    pub(super) fn function(&self, name: &str) -> Option<&LambdaFunction> {
        self.functions.get(name)
    }

    /// The function with this name, for a process that knows the secret.
    pub(super) fn authorized_function(&self, secret: &str, name: &str) -> Option<&LambdaFunction> {
        self.functions.get(name).filter(|_| secret == self.secret)
    }

    /// The Runtime API's address for one execution environment.
    pub(super) fn runtime_api_address(&self, function: &str, environment: u64) -> String {
        format!("{}/{}/{function}/{environment}", self.runtime_api, self.secret)
    }

    async fn wait_until_ready(&self, name: &str) {
        if let Some(function) = self.functions.get(name) {
            function.pool.wait_until_ready().await;
        }
    }

    fn request_environment(&self, name: &str, function: &LambdaFunction, generation: u64) {
        function.pool.plan_one(generation);
        let _ = self.requests.send(EnvironmentRequest { function: name.to_owned(), generation });
    }
}

/// Invocation by event sources. An event source waits until the function is ready: an event that no process received has not
/// failed, and does not count as an attempt.
impl Invoke for Lambda {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        let event = Bytes::from(event.to_string());
        let result = loop {
            match self.call(function, &Uuid::new_v4().to_string(), event.clone()).await {
                Err(InvokeError::Unavailable) => self.wait_until_ready(function).await,
                result => break result,
            }
        };
        match result {
            Ok(response) => Ok(String::from_utf8_lossy(&response).into_owned()),
            Err(error) => {
                eprintln!("undercroft: {function} failed; its event source will retry the records: {error}");
                Err(FunctionError(error.to_string()))
            }
        }
    }
}
