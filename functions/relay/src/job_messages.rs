//! The messages that follow a change. A pure function: it takes a stream record and returns messages to send.

use aws_lambda_events::event::dynamodb::EventRecord;
use serde::Deserialize;
use undercroft::expr::moment;
use undercroft::store::jobs::MAX_DELAY_SECONDS;
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
    run_at: Option<String>,
    group: Option<String>,
}

impl Image {
    /// The seconds from `now`, in milliseconds, until the job may start. Items of an earlier version have no time: only their first run
    /// waits.
    fn delay(&self, now: u64) -> u32 {
        let Some(run_at) = self.run_at.as_deref().and_then(moment::milliseconds) else {
            return if self.run == 1 { self.delay_seconds } else { 0 };
        };
        let left = u64::try_from(run_at).unwrap_or(0).saturating_sub(now).div_ceil(1_000);
        u32::try_from(left).unwrap_or(u32::MAX).min(MAX_DELAY_SECONDS)
    }
}

/// The messages for a change of the `Jobs` table, at `now` in milliseconds: one if a job was queued, when created or redriven.
pub fn sends(record: &EventRecord, now: u64) -> Vec<Send> {
    let image = |item: &serde_dynamo::Item| serde_dynamo::from_item::<_, Image>(item.clone()).unwrap_or_default();
    let (old, new) = (image(&record.change.old_image), image(&record.change.new_image));
    if new.status != "queued" || new.run == old.run || new.id.is_empty() {
        return Vec::new();
    }
    vec![Send {
        delay: new.delay(now),
        deduplication: format!("{}-{}", new.id, new.run),
        task: Task::RunJob { job: new.id, run: new.run, request_id: new.request_id.clone() },
        request_id: new.request_id,
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
        let sent = sends(&record(json!({}), job("queued", 1)), 0);
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].task, Task::RunJob { job: "j1".into(), run: 1, request_id: "r1".into() });
        assert_eq!((sent[0].delay, sent[0].deduplication.as_str()), (5, "j1-1"));
    }

    #[test]
    fn a_message_waits_until_the_time_of_its_job_whenever_it_is_relayed() {
        let mut timed = job("queued", 2);
        timed["runAt"] = json!({ "S": "1970-01-01T00:10:00.000Z" });
        for (now, delay) in [(0, 600), (599_001, 1), (600_000, 0), (9_000_000, 0)] {
            let sent = sends(&record(job("cancelled", 1), timed.clone()), now);
            assert_eq!(sent[0].delay, delay, "{now}");
        }
        timed["runAt"] = json!({ "S": "1970-01-01T01:00:00.000Z" });
        assert_eq!(sends(&record(json!({}), timed), 0)[0].delay, MAX_DELAY_SECONDS);
    }

    #[test]
    fn a_redriven_job_is_sent_again_and_nothing_else_is() {
        assert_eq!(sends(&record(job("dead", 1), job("queued", 2)), 0)[0].delay, 0);
        for (old, new) in [
            (job("queued", 1), job("running", 1)),
            (job("running", 1), job("retrying", 1)),
            (job("queued", 1), job("queued", 1)),
            (job("queued", 1), json!({})),
        ] {
            assert_eq!(sends(&record(old, new), 0), []);
        }
    }
}
