//! Mappings left to run by themselves: woken by what was written, idle otherwise.

use std::time::Duration;

use futures_util::future::join_all;

use crate::client::CallError;
use crate::mapping::{Invoke, Mapping, Patience, Reach, StreamMapping};
use crate::service::{Service, Services};

/// Streams are polled four times a second where nobody tells of writes, as Lambda does.
const POLL: Duration = Duration::from_millis(250);
/// The longest sleep where every write is told of: only a net for what nobody thought of.
const REST: Duration = Duration::from_secs(60);
/// After an error of a service, before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// What keeps mappings running.
pub(crate) struct Runner<'a, I> {
    pub reach: &'a Reach,
    pub services: &'a Services,
    pub invoker: &'a I,
    /// Invocations of one queue's consumer at once.
    pub concurrency: usize,
}

impl<I: Invoke> Runner<'_, I> {
    /// Runs one mapping for as long as it is polled.
    pub async fn keep_running(&self, mapping: &Mapping) {
        match mapping {
            Mapping::Queue(queue) => {
                let limit = queue.event.maximum_concurrency.unwrap_or(usize::MAX);
                join_all((0..self.concurrency.min(limit)).map(|_| self.keep_consuming(mapping))).await;
            }
            Mapping::Stream(stream) => self.keep_following(mapping, stream).await,
        }
    }

    /// A queue's consumer waits in its own receive call.
    async fn keep_consuming(&self, mapping: &Mapping) {
        loop {
            if let Err(error) = mapping.step(self.reach, self.invoker, Patience::Patient).await {
                complain(&error).await;
            }
        }
    }

    /// A stream's follower sleeps until something is written, a retry is due, or, far from the tables, the next poll.
    async fn keep_following(&self, mapping: &Mapping, stream: &StreamMapping) {
        let mut writes = self.services.writes.subscribe();
        let longest = if self.services.elsewhere.contains_key(&Service::Tables) { POLL } else { REST };
        loop {
            writes.mark_unchanged();
            match mapping.step(self.reach, self.invoker, Patience::Patient).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => complain(&error).await,
            }
            let now = self.reach.clock.now();
            let retry = stream.next_retry().await.map(|at| Duration::from_millis(at.saturating_sub(now).max(10)));
            tokio::select! {
                _ = writes.changed() => {}
                () = tokio::time::sleep(retry.unwrap_or(longest).min(longest)) => {}
            }
        }
    }
}

async fn complain(error: &CallError) {
    eprintln!("undercroft: {error}; trying again");
    tokio::time::sleep(PAUSE).await;
}
