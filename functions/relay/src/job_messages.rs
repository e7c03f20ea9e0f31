//! The messages that follow a change. A pure function: it takes a stream record and returns messages to send.

use aws_lambda_events::event::dynamodb::EventRecord;
use serde::Deserialize;
use undercroft::task::Task;

/// A message to send.
#[derive(Debug, PartialEq, Eq)]
pub struct Send {
    /// What to do.
    pub task: Task,
    /// The request behind the change.
    pub request_id: String,
    /// Delay in seconds.
    pub delay: u32,
    /// The FIFO group.
    pub group: Option<String>,
    /// The deduplication id: the same whenever the change is relayed, so relaying it twice is harmless.
    pub deduplication: String,
}

/// The part of a job's image that decides on messages.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Image {
    id: String,
    status: String,
    run: u64,
    request_id: String,
    delay_seconds: u32,
    group: Option<String>,
}

/// The messages for a change of the `Jobs` table: one if a job was queued, when created or redriven.
pub fn sends(record: &EventRecord) -> Vec<Send> {
    let image = |item: &serde_dynamo::Item| serde_dynamo::from_item::<_, Image>(item.clone()).unwrap_or_default();
    let (old, new) = (image(&record.change.old_image), image(&record.change.new_image));
    if new.status != "queued" || new.run == old.run || new.id.is_empty() {
        return Vec::new();
    }
    vec![Send {
        deduplication: format!("{}-{}", new.id, new.run),
        task: Task::RunJob { job: new.id, run: new.run, request_id: new.request_id.clone() },
        request_id: new.request_id,
        delay: new.delay_seconds,
        group: new.group,
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn record(old: Value, new: Value) -> EventRecord {
        let event = json!({ "Records": [{
            "eventID": "1", "eventName": "MODIFY", "awsRegion": "us-east-1",
            "dynamodb": { "OldImage": old, "NewImage": new, "SequenceNumber": "1", "SizeBytes": 1,
                          "ApproximateCreationDateTime": 0 },
        }]});
        let event: aws_lambda_events::event::dynamodb::Event = serde_json::from_value(event).expect("a stream event");
        event.records.into_iter().next().expect("one record")
    }

    fn job(status: &str, run: u64) -> Value {
        json!({ "id": { "S": "j1" }, "status": { "S": status }, "run": { "N": run.to_string() },
                "requestId": { "S": "r1" }, "delaySeconds": { "N": "5" } })
    }

    #[test]
    fn a_new_job_is_sent_once_with_its_delay_and_the_request_that_asked_for_it() {
        let sent = sends(&record(json!({}), job("queued", 1)));
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].task, Task::RunJob { job: "j1".into(), run: 1, request_id: "r1".into() });
        assert_eq!((sent[0].delay, sent[0].deduplication.as_str()), (5, "j1-1"));
    }

    #[test]
    fn a_redriven_job_is_sent_again_and_nothing_else_is() {
        assert_eq!(sends(&record(job("dead", 1), job("queued", 2))).len(), 1);
        for (old, new) in [
            (job("queued", 1), job("running", 1)),
            (job("running", 1), job("retrying", 1)),
            (job("queued", 1), job("queued", 1)),
            (job("queued", 1), json!({})),
        ] {
            assert_eq!(sends(&record(old, new)), []);
        }
    }
}
