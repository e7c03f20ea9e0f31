//! Events have AWS's format: they can be parsed with the types of aws_lambda_events.

use aws_lambda_events::event::dynamodb::Event as StreamEvent;
use aws_lambda_events::event::sqs::SqsEvent;
use serde_json::json;

use crate::world::{Functions, Queue, cloud, poll_until_idle, put, succeed};

const TEMPLATE: &str = "
Resources:
  Work: { Type: AWS::SQS::Queue, Properties: { FifoQueue: true } }
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      StreamSpecification: { StreamViewType: NEW_AND_OLD_IMAGES }
  Worker:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: worker } }
    Properties:
      Events:
        Work: { Type: SQS, Properties: { Queue: !GetAtt Work.Arn } }
        Things: { Type: DynamoDB, Properties: { Stream: !GetAtt Things.StreamArn, StartingPosition: TRIM_HORIZON } }
";

#[tokio::test]
async fn a_queue_event_is_what_aws_sends() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Work.fifo").await;
    let message = json!({
        "MessageBody": "hello", "MessageGroupId": "g", "MessageDeduplicationId": "d",
        "MessageAttributes": { "kind": { "DataType": "String", "StringValue": "mail" } },
    });
    queue.call("SendMessage", message).await.unwrap();
    let functions = Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    let event: SqsEvent = serde_json::from_value(functions.events().remove(0)).unwrap();
    let record = &event.records[0];
    assert_eq!(record.body.as_deref(), Some("hello"));
    assert_eq!(record.event_source.as_deref(), Some("aws:sqs"));
    assert_eq!(
        record.event_source_arn.as_deref(),
        Some("arn:aws:sqs:us-east-1:000000000000:undercroft-local-Work.fifo")
    );
    assert_eq!(record.aws_region.as_deref(), Some("us-east-1"));
    assert_eq!(record.md5_of_body.as_deref(), Some("5d41402abc4b2a76b9719d911017c592"));
    assert_eq!(record.message_attributes["kind"].string_value.as_deref(), Some("mail"));
    for attribute in [
        "ApproximateReceiveCount",
        "SentTimestamp",
        "SenderId",
        "ApproximateFirstReceiveTimestamp",
        "MessageGroupId",
        "MessageDeduplicationId",
        "SequenceNumber",
    ] {
        assert!(record.attributes.contains_key(attribute), "{attribute}");
    }
    assert!(record.message_id.is_some() && record.receipt_handle.is_some());
}

#[tokio::test]
async fn a_stream_event_is_what_aws_sends() {
    let cloud = cloud(TEMPLATE).await;
    put(&cloud, "a", 1).await;
    put(&cloud, "a", 2).await;
    let functions = Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    let event: StreamEvent = serde_json::from_value(functions.events().remove(0)).unwrap();
    let record = &event.records[1];
    assert_eq!(record.event_name, "MODIFY");
    assert_eq!(record.aws_region, "us-east-1");
    assert_eq!(record.event_source.as_deref(), Some("aws:dynamodb"));
    assert!(record.event_source_arn.as_deref().unwrap().contains("undercroft-local-Things/stream/"));
    assert!(
        !record.change.keys.is_empty() && !record.change.new_image.is_empty() && !record.change.old_image.is_empty()
    );
    assert_eq!(record.change.approximate_creation_date_time.timestamp(), i64::try_from(crate::world::NOW).unwrap());
    assert!(record.change.sequence_number.is_some());
}
