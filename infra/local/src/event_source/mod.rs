//! Event source mappings: what Lambda does in AWS between a queue or a stream and a function.
//!
//! An event source calls the services over HTTP like any other client, and calls functions through [`Invoke`].
//! `queue` (SQS) or `stream` (DynamoDB Streams) -> filter criteria -> invoke -> `batch_response` (which records failed) ->
//! delete the messages or write the checkpoint, retry, or discard.

mod batch_response;
mod fifo_groups;
mod invoke;
mod queue;
mod stream;

use crate::aws_client::AwsClient;
use crate::http_client::CallError;
use crate::iam::RequiredAction;

pub(crate) use fifo_groups::FifoGroupLocks;
pub use invoke::{FunctionError, Invoke};
pub(crate) use invoke::{MAXIMUM_EVENT, PollMode};
pub(crate) use queue::QueueEventSource;
pub(crate) use stream::StreamEventSource;
pub(crate) use stream::checkpoint::{Checkpoints, SCHEMA};

/// One event source and the function it invokes.
#[derive(Debug)]
pub(crate) enum EventSource {
    Queue(QueueEventSource),
    Stream(StreamEventSource),
}

impl EventSource {
    /// Polls once: reads a batch (for a stream, one per batcher), invokes the function, and deletes, checkpoints, retries or
    /// discards the records. Returns the number of records that were delivered, filtered out or discarded.
    pub(crate) async fn poll(
        &self,
        aws: &AwsClient,
        invoker: &impl Invoke,
        mode: PollMode,
    ) -> Result<usize, CallError> {
        let aws = aws.as_function(self.function());
        match self {
            Self::Queue(source) => source.poll(&aws, invoker, mode).await,
            Self::Stream(source) => source.poll(&aws, invoker, mode).await,
        }
    }

    /// Binary of the function that is invoked.
    pub(crate) fn function(&self) -> &str {
        match self {
            Self::Queue(source) => &source.function,
            Self::Stream(source) => &source.function,
        }
    }

    /// The actions that Lambda requires the function's role to allow before it creates the event source mapping.
    pub(crate) fn required_actions(&self) -> Vec<RequiredAction> {
        match self {
            Self::Queue(source) => {
                let actions = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
                actions.map(|action| RequiredAction::new(action, &source.event.queue)).into()
            }
            Self::Stream(source) => {
                let actions = ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"];
                let reads =
                    actions.map(|action| RequiredAction::new(&format!("dynamodb:{action}"), &source.event.stream));
                let sends = source.event.on_failure.iter().map(|queue| RequiredAction::new("sqs:SendMessage", queue));
                reads.into_iter().chain(sends).collect()
            }
        }
    }
}
