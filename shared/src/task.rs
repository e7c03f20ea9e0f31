//! The messages from the relay to the worker: one enum, serialised as the body of an SQS message. Old shapes stay readable
//! until the queues that may hold them are drained.

use serde::{Deserialize, Serialize};

/// A message in the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Task {
    /// Run a job.
    RunJob {
        /// The job's id.
        job: String,
        /// The run for which the job was queued. A message for another run is stale.
        run: u64,
        /// The id of the request that created the job, for the logs.
        request_id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_an_earlier_version_stays_readable() {
        let stored = r#"{"task":"runJob","job":"j","run":2,"requestId":"r"}"#;
        let task = Task::RunJob { job: "j".into(), run: 2, request_id: "r".into() };
        assert_eq!(serde_json::from_str::<Task>(stored).expect("readable"), task);
        assert_eq!(serde_json::to_string(&task).expect("writable"), stored);
    }
}
