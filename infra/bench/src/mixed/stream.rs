//! Events for the relay: the streams of records and of jobs, a few changes at a time.

use serde_json::{Value, json};
use undercroft::clock::Clock;
use undercroft::error::Source;
use undercroft::id;

use crate::stack::Stack;

/// Number of different authors; each has its own count.
const AUTHORS: u64 = 100;

/// Events, one after the other.
#[derive(Debug)]
pub struct Events {
    records: String,
    given: u64,
}

impl Events {
    pub fn new(stack: &Stack) -> Result<Self, Source> {
        Ok(Self { records: stack.records_table()?, given: 0 })
    }

    pub fn next(&mut self) -> Value {
        self.given += 1;
        let changes: Vec<Value> = match self.given % 4 {
            0 => (0..5).map(|nth| self.job(nth)).collect(),
            _ => (0..5).map(|nth| self.record(nth)).collect(),
        };
        json!({ "Records": changes })
    }

    /// A record made, changed or deleted.
    fn record(&self, nth: u64) -> Value {
        let (author, id) = (format!("author{}", self.given % AUTHORS), id::new(&Clock::default()));
        let image = |version: u64| {
            json!({ "pk": { "S": "c#notes#1#0" }, "sk": { "S": id }, "v": { "N": version.to_string() }, "cn": { "N": "1" },
                "cf": { "N": "1" }, "ix1p": { "S": format!("c#notes#1#1#{author}") }, "ix1s": { "B": "AAAA" },
                "d": { "M": { "text": { "S": "x".repeat(300) }, "author": { "S": author } } } })
        };
        let (kind, old, new) = match nth % 3 {
            0 => ("INSERT", json!({}), image(1)),
            1 => ("MODIFY", image(1), image(2)),
            _ => ("REMOVE", image(2), json!({})),
        };
        let keys = json!({ "pk": { "S": "c#notes#1#0" }, "sk": { "S": id } });
        self.change(nth, &self.records, kind, &keys, (old, new))
    }

    /// A job made.
    fn job(&self, nth: u64) -> Value {
        let id = id::new(&Clock::default());
        let image = json!({ "id": { "S": id }, "status": { "S": "queued" }, "run": { "N": "1" }, "requestId": { "S": "load" },
            "delaySeconds": { "N": "900" } });
        self.change(nth, "Jobs", "INSERT", &json!({ "id": { "S": id } }), (json!({}), image))
    }

    fn change(&self, nth: u64, table: &str, kind: &str, keys: &Value, (old, new): (Value, Value)) -> Value {
        let sequence = format!("{:021}", self.given * 10 + nth);
        json!({ "eventID": format!("{kind}{sequence}"), "eventName": kind, "eventVersion": "1.1", "eventSource": "aws:dynamodb",
            "awsRegion": "eu-west-1",
            "eventSourceARN": format!("arn:aws:dynamodb:eu-west-1:123456789012:table/{table}/stream/2026-01-01T00:00:00.000"),
            "dynamodb": { "Keys": keys, "OldImage": old, "NewImage": new, "SequenceNumber": sequence, "SizeBytes": 500,
                "ApproximateCreationDateTime": 1_795_348_800, "StreamViewType": "NEW_AND_OLD_IMAGES" } })
    }
}
