//! Runs event sources continuously: they are woken by writes and idle otherwise.

use std::time::Duration;

use futures_util::future::join_all;

use crate::aws_client::AwsClient;
use crate::event_source::{EventSource, Invoke, PollMode, StreamEventSource};
use crate::http_client::CallError;
use crate::service::{Service, Services};

/// Poll interval of streams whose writes are not notified, as in Lambda: four times a second.
const POLL: Duration = Duration::from_millis(250);
/// Poll interval of streams whose writes are notified: a fallback only.
const IDLE_POLL: Duration = Duration::from_secs(60);
/// Delay after an error of a service.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Runs event sources.
pub(crate) struct Poller<'a, I> {
    pub aws: &'a AwsClient,
    pub services: &'a Services,
    pub invoker: &'a I,
    /// Maximum concurrent invocations of one queue's function.
    pub concurrency: usize,
}

impl<I: Invoke> Poller<'_, I> {
    /// Runs one event source for as long as it is polled.
    pub async fn run(&self, source: &EventSource) {
        match source {
            EventSource::Queue(queue) => {
                let limit = queue.event.maximum_concurrency.unwrap_or(usize::MAX);
                join_all((0..self.concurrency.min(limit)).map(|_| self.poll_queue(source))).await;
            }
            EventSource::Stream(stream) => self.poll_stream(source, stream).await,
        }
    }

    /// Polls a queue. `ReceiveMessage` waits for messages.
    async fn poll_queue(&self, source: &EventSource) {
        loop {
            if let Err(error) = source.poll(self.aws, self.invoker, PollMode::LongPoll).await {
                report(&error).await;
            }
        }
    }

    /// Polls a stream. Between two polls it waits for a write, for the next due batch, or for the poll interval.
    async fn poll_stream(&self, source: &EventSource, stream: &StreamEventSource) {
        let mut writes = self.services.writes.subscribe();
        let longest = if self.services.external.contains_key(&Service::Tables) { POLL } else { IDLE_POLL };
        loop {
            writes.mark_unchanged();
            match source.poll(self.aws, self.invoker, PollMode::LongPoll).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => report(&error).await,
            }
            let now = self.aws.clock.now();
            let retry = stream.next_retry().await.map(|at| Duration::from_millis(at.saturating_sub(now).max(10)));
            tokio::select! {
                _ = writes.changed() => {}
                () = tokio::time::sleep(retry.unwrap_or(longest).min(longest)) => {}
            }
        }
    }
}

async fn report(error: &CallError) {
    eprintln!("undercroft: an event source failed and will retry: {error}");
    tokio::time::sleep(RETRY_DELAY).await;
}
