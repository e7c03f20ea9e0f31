//! Lambda and its HTTP API on this machine: every function a process of its own, called by HTTP requests, event sources and
//! `cargo lambda invoke`.
//!
//! [`gateway`] (no foreign page, then the template's routes) -> `event` (API Gateway's payload 2.0 and back) -> `pool` (which
//! instance is free) -> `runtime` (the Runtime API, which a function asks for its next event) -> the function. `instance`
//! starts the processes and replaces those that end; meanwhile calls are refused, never kept waiting.

mod event;
pub mod gateway;
mod instance;
mod pool;
mod runtime;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

use crate::mapping::{FunctionError, Invoke};
pub use instance::Adopt;
use instance::Keeper;
use pool::{Outcome, Pool};

/// How long after its timeout a function is given up: on this machine it may be slower than in AWS.
const GRACE: Duration = Duration::from_secs(5);

/// A function, and how it is started.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The executable.
    pub path: PathBuf,
    /// What it finds in its environment besides what Lambda itself gives.
    pub environment: BTreeMap<String, String>,
    /// How long one invocation may take.
    pub timeout: Duration,
}

/// Why an invocation has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    /// There is no function of this name.
    Unknown,
    /// No instance of it runs at the moment; one is being started.
    Unavailable,
    /// The instance ended, or was ended, before it answered.
    Ended(String),
    /// The function reported an error: its payload.
    Function(Bytes),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => out.write_str("there is no such function"),
            Self::Unavailable => out.write_str("the function has ended and is being started again"),
            Self::Ended(how) => write!(out, "the function ended before it answered: {how}"),
            Self::Function(payload) => out.write_str(&String::from_utf8_lossy(payload)),
        }
    }
}

/// All functions.
#[derive(Debug)]
pub struct Lambda {
    functions: BTreeMap<String, Function>,
    /// What the Runtime API's address holds, so that only the functions' processes know it.
    secret: String,
    runtime: String,
    listener: Mutex<Option<TcpListener>>,
    wanted: mpsc::UnboundedSender<Keeper>,
    keepers: Mutex<mpsc::UnboundedReceiver<Keeper>>,
}

#[derive(Debug)]
struct Function {
    program: Program,
    pool: Pool,
}

impl Lambda {
    /// Functions of which up to `limit` instances each run at once. Nothing is started yet.
    ///
    /// # Errors
    /// No loopback port can be had.
    pub async fn new(programs: Vec<Program>, limit: usize) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let runtime = format!("http://{}", listener.local_addr()?);
        let (wanted, keepers) = mpsc::unbounded_channel();
        let function = |program: Program| (program.name.clone(), Function { program, pool: Pool::new(limit) });
        Ok(Self {
            functions: programs.into_iter().map(function).collect(),
            secret: Uuid::new_v4().simple().to_string(),
            runtime,
            listener: Mutex::new(Some(listener)),
            wanted,
            keepers: Mutex::new(keepers),
        })
    }

    /// Serves the Runtime API and keeps the processes running, for as long as it is polled. `adopt` is told of each.
    pub async fn run(self: Arc<Self>, adopt: &impl Adopt) {
        let Some(listener) = self.listener.lock().await.take() else { return };
        let mut wanted = self.keepers.lock().await;
        let mut kept = FuturesUnordered::new();
        let keeping = async {
            loop {
                tokio::select! {
                    Some(keeper) = wanted.recv() => kept.push(self.keep(keeper, adopt)),
                    Some(()) = kept.next() => {}
                }
            }
        };
        tokio::select! {
            () = runtime::serve(listener, Arc::clone(&self)) => {}
            () = keeping => {}
        }
    }

    /// Starts an instance of a function and waits until it has asked for its first event. False when it ended instead.
    pub async fn start(&self, name: &str) -> bool {
        let Some(function) = self.functions.get(name) else { return false };
        let before = function.pool.endings();
        let generation = function.pool.new_generation();
        self.want(name, function, generation);
        function.pool.is_up(generation, before).await
    }

    /// Calls a function and waits for its answer.
    ///
    /// # Errors
    /// See [`Failed`].
    pub async fn call(&self, name: &str, id: &str, event: Bytes) -> Result<Bytes, Failed> {
        let function = self.functions.get(name).ok_or(Failed::Unknown)?;
        let limit = function.program.timeout + GRACE;
        let answer = function.pool.invoke(id, event, limit)?;
        if let Some(generation) = function.pool.wants_more() {
            self.want(name, function, generation);
        }
        let outcome: Outcome = match tokio::time::timeout(limit, answer).await {
            Ok(answer) => answer.unwrap_or(Err(Failed::Unavailable)),
            Err(_) => {
                function.pool.give_up(id, limit);
                Err(Failed::Ended(format!("no answer within {} s", limit.as_secs())))
            }
        };
        if let Err(Failed::Function(payload)) = &outcome {
            eprintln!("undercroft: {name} failed: {}", String::from_utf8_lossy(payload));
        }
        outcome
    }

    async fn until_up(&self, name: &str) {
        if let Some(function) = self.functions.get(name) {
            function.pool.until_up().await;
        }
    }

    fn want(&self, name: &str, function: &Function, generation: u64) {
        function.pool.expect_one(generation);
        let _ = self.wanted.send(Keeper { function: name.to_owned(), generation });
    }
}

/// As event sources call: nobody waits for an answer, so that they can wait for the function. What was never handed to it has
/// not failed, and costs no attempt.
impl Invoke for Lambda {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        let event = Bytes::from(event.to_string());
        let answer = loop {
            match self.call(function, &Uuid::new_v4().to_string(), event.clone()).await {
                Err(Failed::Unavailable) => self.until_up(function).await,
                answer => break answer,
            }
        };
        match answer {
            Ok(answer) => Ok(String::from_utf8_lossy(&answer).into_owned()),
            Err(why) => {
                eprintln!("undercroft: {function} failed; what it was given will come again: {why}");
                Err(FunctionError(why.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
