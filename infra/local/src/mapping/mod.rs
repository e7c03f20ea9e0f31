//! Event-source mappings: what Lambda does in AWS between a queue or a stream and a function.
//!
//! They speak to the services over HTTP as any consumer would, and call functions through [`Invoke`].
//! queue (SQS) and stream (DynamoDB) -> filter -> invoke -> answer (who failed) -> delete, checkpoint, retry or give up.

mod answer;
mod filter;
mod queue;
mod stream;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde_json::Value;

pub use filter::Filter;
pub(crate) use queue::QueueMapping;
pub(crate) use stream::{CHECKPOINT_SCHEMA, Checkpoints, StreamMapping};

use crate::client::{CallError, Client};
use crate::clock::Clock;
use crate::permissions::{Need, access_key};
use crate::signature::{Keys, Signer};

/// Most bytes in one invocation's event, all metadata counted.
pub(crate) const MAXIMUM_EVENT: usize = 6 * 1024 * 1024;

/// A way to call functions. The caller's side keeps the function's timeout: an invocation that takes too long is an error.
pub trait Invoke: Send + Sync {
    /// Calls `function` with `event` and gives its answer's payload, byte for byte.
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

/// How mappings reach the services.
#[derive(Debug, Clone)]
pub(crate) struct Reach {
    pub(crate) client: Client,
    pub(crate) endpoint: String,
    pub(crate) keys: Keys,
    /// Whoever reaches out.
    pub(crate) signer: Signer,
    pub(crate) clock: Clock,
}

impl Reach {
    pub(crate) async fn call(&self, action: &str, body: &Value) -> Result<Value, CallError> {
        self.client.call(&self.endpoint, &self.signer, action, body).await
    }

    /// The same, under the role of this function: a mapping reads with the permissions of the function it feeds.
    pub(crate) fn acting_for(&self, function: &str) -> Self {
        Self { signer: self.keys.signer(&access_key(function)), ..self.clone() }
    }
}

/// One event source and the function it feeds.
#[derive(Debug)]
pub(crate) enum Mapping {
    Queue(QueueMapping),
    Stream(StreamMapping),
}

/// Whether a mapping takes what is there now, or may wait for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Take what is there; batching windows count as over.
    None,
    /// Wait for a first message, and for batches to fill within their window.
    Patient,
}

impl Mapping {
    /// Runs once: gathers a batch (for a stream, one a lane), invokes, settles. Returns how many records moved.
    pub(crate) async fn step(
        &self,
        reach: &Reach,
        invoker: &impl Invoke,
        patience: Patience,
    ) -> Result<usize, CallError> {
        let reach = reach.acting_for(self.function());
        match self {
            Self::Queue(mapping) => mapping.step(&reach, invoker, patience).await,
            Self::Stream(mapping) => mapping.step(&reach, invoker, patience).await,
        }
    }

    /// Binary of the function this feeds.
    pub(crate) fn function(&self) -> &str {
        match self {
            Self::Queue(mapping) => &mapping.function,
            Self::Stream(mapping) => &mapping.function,
        }
    }

    /// What Lambda wants the function's role to allow before it makes such a mapping.
    pub(crate) fn needs(&self) -> Vec<Need> {
        match self {
            Self::Queue(mapping) => {
                let actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
                actions.map(|action| Need::new(action, &mapping.event.queue)).into()
            }
            Self::Stream(mapping) => {
                let actions = ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"];
                let reads = actions.map(|action| Need::new(&format!("dynamodb:{action}"), &mapping.event.stream));
                let tells = mapping.event.on_failure.iter().map(|queue| Need::new("sqs:SendMessage", queue));
                reads.into_iter().chain(tells).collect()
            }
        }
    }
}
