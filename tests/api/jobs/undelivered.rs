//! Stream records that the relay cannot handle for 22 hours: they are sent to a queue before the stream drops them.

use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use undercroft_local::{FunctionError, Invoke};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A broken relay, as after a bad deployment; all other functions work.
struct Broken<'a, I>(&'a I);

impl<I: Invoke> Invoke for Broken<'_, I> {
    async fn invoke(&self, function: &str, event: Value) -> Result<String, FunctionError> {
        match function {
            "relay" => Err(FunctionError("it cannot be started".into())),
            _ => self.0.invoke(function, event).await,
        }
    }
}

/// The messages in the queue, each once.
fn reported(world: &World) -> Vec<Value> {
    let messages = world.cloud.peek("undercroft-local-RelayFailures", 10).unwrap();
    messages.iter().map(|message| serde_json::from_str(message["body"].as_str().unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn records_the_relay_cannot_handle_for_22_hours_go_to_relay_failures_and_the_streams_continue() {
    let world = World::new().await;
    let admin = world.admin().await;
    let schema = json!({ "type": "object", "properties": { "text": { "type": "string" } } });
    let notes = json!({ "name": "notes", "schema": schema, "counts": true });
    admin.put("/v1/collections/notes", notes).await.expect(201);
    world.settle().await;
    let mail = |to: &str| json!({ "type": "email.send", "payload": { "to": to, "subject": "s", "text": "t" } });
    admin.post("/v1/collections/notes/records", json!({ "text": "a" })).await.expect(201);
    admin.post("/v1/jobs", mail("ada@example.org")).await.expect(202);

    let broken = Broken(world.functions());
    world.settle_through(&broken).await;
    world.advance(21 * HOUR);
    world.settle_through(&broken).await;
    assert_eq!(reported(&world), Vec::<Value>::new(), "there is still hope");
    world.advance(HOUR + Duration::from_secs(60));
    world.settle_through(&broken).await;
    let reported = reported(&world);
    let of = |reported: &Value| {
        reported["DDBStreamBatchInfo"]["streamArn"].as_str().unwrap().split('/').nth(1).unwrap().to_owned()
    };
    let streams: BTreeSet<String> = reported.iter().map(of).collect();
    assert_eq!(streams, ["undercroft-local-JobsTable", "undercroft-local-RecordsTable"].map(String::from).into());
    assert!(
        reported.iter().all(|reported| reported["requestContext"]["condition"] == "RecordAgeExceeded"),
        "{reported:?}"
    );

    world.admin().await.post("/v1/jobs", mail("bob@example.org")).await.expect(202);
    world.settle().await;
    world.leave_messages_on("RelayFailures");
    assert_eq!((world.mails_to("ada@example.org").len(), world.mails_to("bob@example.org").len()), (0, 1));
}
