//! SQS: visibility, order, deduplication, delays, dead-letter queues, and errors.

use std::time::Duration;

use serde_json::json;

use crate::world::{NOW, Queue, cloud};

const TEMPLATE: &str = "
Resources:
  Plain:
    Type: AWS::SQS::Queue
    Properties: { VisibilityTimeout: 60, RedrivePolicy: { deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 2 } }
  Dead: { Type: AWS::SQS::Queue, Properties: { MessageRetentionPeriod: 7200 } }
  Short: { Type: AWS::SQS::Queue, Properties: { MessageRetentionPeriod: 60 } }
  Late: { Type: AWS::SQS::Queue, Properties: { DelaySeconds: 10 } }
  Ordered:
    Type: AWS::SQS::Queue
    Properties:
      FifoQueue: true
      VisibilityTimeout: 60
      RedrivePolicy: { deadLetterTargetArn: !GetAtt OrderedDead.Arn, maxReceiveCount: 1 }
  OrderedDead: { Type: AWS::SQS::Queue, Properties: { FifoQueue: true } }
  ByContent: { Type: AWS::SQS::Queue, Properties: { FifoQueue: true, ContentBasedDeduplication: true } }
";

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[tokio::test]
async fn a_received_message_is_invisible_until_its_timeout_and_its_receives_are_counted() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Plain").await;
    queue.send("one").await;
    let first = queue.receive().await;
    assert_eq!(first[0]["Attributes"]["ApproximateReceiveCount"], "1");
    assert_eq!(first[0]["Attributes"]["SentTimestamp"], (NOW * 1000).to_string());
    assert_eq!(first[0]["MD5OfBody"], "f97c5d29941bfb1b2fdab0874906ab82");
    assert!(queue.receive().await.is_empty());
    assert_eq!(queue.depth().await, [0, 1, 0]);

    cloud.advance(seconds(61));
    let second = queue.receive().await;
    assert_eq!(second[0]["Attributes"]["ApproximateReceiveCount"], "2");
    queue.delete(&first[0]).await.unwrap();
    assert_eq!(queue.depth().await, [0, 1, 0], "an outdated receipt handle deletes nothing");
    queue.delete(&second[0]).await.unwrap();
    assert_eq!(queue.depth().await, [0, 0, 0]);
}

#[tokio::test]
async fn visibility_can_be_changed_only_while_in_flight() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Plain").await;
    queue.send("one").await;
    let message = queue.receive().await.remove(0);
    queue.change_visibility(&message, 0).await.unwrap();
    assert!(queue.change_visibility(&message, 5).await.unwrap_err().is("MessageNotInflight"));
    assert_eq!(queue.receive_bodies().await, ["one"]);
}

#[tokio::test]
async fn a_message_received_too_often_moves_to_the_dead_letter_queue_and_keeps_its_age() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Plain").await;
    queue.send("poison").await;
    for _ in 0..2 {
        assert_eq!(queue.receive_bodies().await, ["poison"]);
        cloud.advance(seconds(61));
    }
    assert!(queue.receive().await.is_empty(), "maxReceiveCount is 2");
    let dead = Queue::open(&cloud, "Dead").await;
    let message = dead.receive().await.remove(0);
    assert_eq!(
        message["Attributes"]["SentTimestamp"],
        (NOW * 1000).to_string(),
        "a standard queue's message keeps its age"
    );
    assert!(message["Attributes"]["DeadLetterQueueSourceArn"].as_str().unwrap().ends_with("undercroft-local-Plain"));
    cloud.advance(seconds(7200 - 100));
    assert!(dead.receive().await.is_empty(), "its age counts from the first queue");
}

#[tokio::test]
async fn a_fifo_message_in_the_dead_letter_queue_has_its_id_as_deduplication_id_and_a_new_age() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Ordered.fifo").await;
    queue.send_in("g", "poison").await;
    let id = queue.receive().await[0]["MessageId"].clone();
    cloud.advance(seconds(61));
    assert!(queue.receive().await.is_empty());
    let message = Queue::open(&cloud, "OrderedDead.fifo").await.receive().await.remove(0);
    assert_eq!(message["Attributes"]["MessageDeduplicationId"], id);
    assert_eq!(message["Attributes"]["SentTimestamp"], ((NOW + 61) * 1000).to_string());
}

#[tokio::test]
async fn messages_past_their_retention_are_deleted() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Short").await;
    queue.send("old").await;
    cloud.advance(seconds(61));
    assert!(queue.receive().await.is_empty());
}

#[tokio::test]
async fn a_delayed_message_is_counted_and_cannot_be_received_before_its_delay() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Late").await;
    queue.send("later").await;
    queue.call("SendMessage", json!({ "MessageBody": "at once", "DelaySeconds": 0 })).await.unwrap();
    assert_eq!(queue.depth().await, [1, 0, 1]);
    assert_eq!(queue.receive_bodies().await, ["at once"]);
    cloud.advance(seconds(10));
    assert_eq!(queue.receive_bodies().await, ["later"]);
}

#[tokio::test]
async fn a_fifo_group_is_blocked_while_one_of_its_messages_is_in_flight() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Ordered.fifo").await;
    for (group, body) in [("a", "a1"), ("b", "b1")] {
        queue.send_in(group, body).await;
    }
    let first = queue.receive().await;
    queue.send_in("a", "a2").await;
    queue.send_in("c", "c1").await;
    assert_eq!(queue.receive_bodies().await, ["c1"], "groups a and b are in flight");
    queue.delete(&first[0]).await.unwrap();
    assert_eq!(queue.receive_bodies().await, ["a2"]);
}

#[tokio::test]
async fn a_returned_message_is_delivered_before_newer_ones_of_its_group() {
    let cloud = cloud(TEMPLATE.replace("maxReceiveCount: 1", "maxReceiveCount: 9").as_str()).await;
    let queue = Queue::open(&cloud, "Ordered.fifo").await;
    queue.send_in("a", "a1").await;
    let first = queue.receive().await;
    queue.send_in("a", "a2").await;
    queue.change_visibility(&first[0], 5).await.unwrap();
    assert!(queue.receive().await.is_empty(), "the group is blocked");
    cloud.advance(seconds(5));
    assert_eq!(queue.receive_bodies().await, ["a1", "a2"]);
}

#[tokio::test]
async fn a_deduplication_id_is_known_for_five_minutes_even_after_delete() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Ordered.fifo").await;
    let first = queue.send_in("g", "same").await;
    let message = queue.receive().await.remove(0);
    queue.delete(&message).await.unwrap();
    cloud.advance(seconds(299));
    let again = queue.send_in("g", "same").await;
    assert_eq!(first["MessageId"], again["MessageId"]);
    assert_eq!(first["SequenceNumber"], again["SequenceNumber"]);
    assert_eq!(queue.depth().await, [0, 0, 0]);
    cloud.advance(seconds(2));
    let later = queue.send_in("g", "same").await;
    assert_ne!(first["MessageId"], later["MessageId"]);
    assert_eq!(queue.depth().await, [1, 0, 0]);
}

#[tokio::test]
async fn content_is_a_deduplication_id_only_with_content_based_deduplication() {
    let cloud = cloud(TEMPLATE).await;
    let by_content = Queue::open(&cloud, "ByContent.fifo").await;
    let message = json!({ "MessageBody": "same", "MessageGroupId": "g" });
    by_content.call("SendMessage", message.clone()).await.unwrap();
    by_content.call("SendMessage", message.clone()).await.unwrap();
    assert_eq!(by_content.depth().await, [1, 0, 0]);
    let ordered = Queue::open(&cloud, "Ordered.fifo").await;
    assert!(ordered.call("SendMessage", message).await.unwrap_err().is("InvalidParameterValue"));
}

#[tokio::test]
async fn an_expired_receipt_handle_is_an_error_in_a_fifo_queue() {
    let cloud = cloud(TEMPLATE.replace("maxReceiveCount: 1", "maxReceiveCount: 9").as_str()).await;
    let queue = Queue::open(&cloud, "Ordered.fifo").await;
    queue.send_in("g", "one").await;
    let message = queue.receive().await.remove(0);
    cloud.advance(seconds(61));
    assert!(queue.delete(&message).await.unwrap_err().is("InvalidParameterValue"));
    let again = queue.receive().await.remove(0);
    assert!(queue.delete(&message).await.unwrap_err().is("InvalidParameterValue"), "it was received again");
    queue.delete(&again).await.unwrap();
    assert_eq!(queue.depth().await, [0, 0, 0]);
}

#[tokio::test]
async fn a_batch_reports_each_entry_that_failed_and_stores_the_others() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Plain").await;
    let entries = json!([
        { "Id": "good", "MessageBody": "good", "MessageAttributes": { "k": { "DataType": "String", "StringValue": "v" } } },
        { "Id": "empty", "MessageBody": "" },
        { "Id": "control", "MessageBody": "\u{1}" },
        { "Id": "late", "MessageBody": "late", "DelaySeconds": 901 },
    ]);
    let answer = queue.call("SendMessageBatch", json!({ "Entries": entries })).await.unwrap();
    assert_eq!(answer["Successful"].as_array().unwrap().len(), 1);
    let failed: Vec<_> =
        answer["Failed"].as_array().unwrap().iter().map(|entry| entry["Id"].as_str().unwrap()).collect();
    assert_eq!(failed, ["empty", "control", "late"]);
    let received = queue.receive().await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["MessageAttributes"]["k"]["StringValue"], "v");
    assert_eq!(received[0]["MD5OfMessageAttributes"], answer["Successful"][0]["MD5OfMessageAttributes"]);
}

#[tokio::test]
async fn invalid_batches_are_rejected() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Plain").await;
    let entry = |id: usize| json!({ "Id": id.to_string(), "MessageBody": "x" });
    let cases = [
        (json!([]), "EmptyBatchRequest"),
        ((0..11).map(entry).collect(), "TooManyEntriesInBatchRequest"),
        (json!([entry(1), entry(1)]), "BatchEntryIdsNotDistinct"),
        (
            json!([{ "Id": "a", "MessageBody": "x".repeat(600_000) }, { "Id": "b", "MessageBody": "x".repeat(600_000) }]),
            "BatchRequestTooLong",
        ),
    ];
    for (entries, expected) in cases {
        let error = queue.call("SendMessageBatch", json!({ "Entries": entries })).await.unwrap_err();
        assert!(error.is(expected), "{error}");
    }
    assert_eq!(queue.depth().await, [0, 0, 0]);
}

#[tokio::test]
async fn errors_have_the_names_that_sdks_know() {
    let cloud = cloud(TEMPLATE).await;
    let call = async |action: &str, body| cloud.call(&format!("AmazonSQS.{action}"), &body).await.unwrap_err();
    assert!(call("GetQueueUrl", json!({ "QueueName": "nowhere" })).await.is("QueueDoesNotExist"));
    assert!(
        call("CreateQueue", json!({ "QueueName": "x", "Attributes": { "Colour": "red" } }))
            .await
            .is("InvalidAttributeName")
    );
    assert!(
        call("CreateQueue", json!({ "QueueName": "undercroft-local-Plain", "Attributes": { "DelaySeconds": "7" } }))
            .await
            .is("QueueNameExists")
    );
    assert!(call("StartMessageMoveTask", json!({})).await.is("UnsupportedOperation"));
    let queue = Queue::open(&cloud, "Plain").await;
    assert!(
        queue
            .call("DeleteMessage", json!({ "ReceiptHandle": "garbage" }))
            .await
            .unwrap_err()
            .is("ReceiptHandleIsInvalid")
    );
    assert!(
        queue
            .call("ReceiveMessage", json!({ "MaxNumberOfMessages": 11 }))
            .await
            .unwrap_err()
            .is("InvalidParameterValue")
    );
}

#[tokio::test]
async fn a_waiting_receiver_is_woken_by_a_message() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Plain").await;
    let started = std::time::Instant::now();
    let waiting = queue.call("ReceiveMessage", json!({ "WaitTimeSeconds": 20 }));
    let (received, ()) = tokio::join!(waiting, queue.send("here"));
    assert_eq!(received.unwrap()["Messages"][0]["Body"], "here");
    assert!(started.elapsed() < Duration::from_secs(10), "it did not wait for the timeout");
}

#[tokio::test]
async fn a_purged_queue_is_empty_and_a_deleted_one_does_not_exist() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Plain").await;
    queue.send("one").await;
    queue.call("PurgeQueue", json!({})).await.unwrap();
    assert_eq!(queue.depth().await, [0, 0, 0]);
    queue.call("DeleteQueue", json!({})).await.unwrap();
    assert!(queue.call("PurgeQueue", json!({})).await.unwrap_err().is("QueueDoesNotExist"));
}
