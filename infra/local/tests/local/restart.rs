//! Restarts: acknowledged writes are not lost, and processed records are not processed again.

use serde_json::json;
use undercroft_local::{Clock, Data, DataFolder, LocalCloud, Options, StartError, Template};

use crate::world::{Functions, NOW, Queue, cloud_in, fail, poll_until_idle, put, succeed};

const TEMPLATE: &str = "
Resources:
  Work: { Type: AWS::SQS::Queue, Properties: { VisibilityTimeout: 600 } }
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      StreamSpecification: { StreamViewType: NEW_IMAGE }
  Relay:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: relay } }
    Properties:
      Events:
        Things: { Type: DynamoDB, Properties: { Stream: !GetAtt Things.StreamArn, StartingPosition: LATEST, BatchSize: 1 } }
";

#[tokio::test]
async fn messages_items_and_parameters_survive() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::standing_at(NOW);
    let first = cloud_in(folder.path(), TEMPLATE, clock.clone()).await;
    Queue::open(&first, "Work").await.send("kept").await;
    put(&first, "a", 1).await;
    first.call("AmazonSSM.PutParameter", &json!({ "Name": "/k", "Value": "v", "Type": "String" })).await.unwrap();
    first.shutdown().await;

    let second = cloud_in(folder.path(), TEMPLATE, clock).await;
    assert_eq!(Queue::open(&second, "Work").await.receive_bodies().await, ["kept"]);
    let read = second.call("AmazonSSM.GetParameter", &json!({ "Name": "/k" })).await.unwrap();
    assert_eq!(read["Parameter"]["Value"], "v");
    let key = json!({ "TableName": "undercroft-local-Things", "Key": { "id": { "S": "a" } } });
    let item = second.call("DynamoDB_20120810.GetItem", &key).await.unwrap();
    assert_eq!(item["Item"]["number"]["N"], "1");
}

#[tokio::test]
async fn messages_in_flight_become_visible_but_changed_visibility_timeouts_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::standing_at(NOW);
    let first = cloud_in(folder.path(), TEMPLATE, clock.clone()).await;
    let queue = Queue::open(&first, "Work").await;
    queue.send("put off").await;
    queue.send("worked on").await;
    let messages = queue.receive().await;
    queue.change_visibility(&messages[0], 300).await.unwrap();
    first.shutdown().await;

    let second = cloud_in(folder.path(), TEMPLATE, clock).await;
    assert_eq!(Queue::open(&second, "Work").await.receive_bodies().await, ["worked on"]);
}

#[tokio::test]
async fn a_stream_continues_after_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::standing_at(NOW);
    let first = cloud_in(folder.path(), TEMPLATE, clock.clone()).await;
    put(&first, "done", 1).await;
    poll_until_idle(&first, &Functions::answering(succeed)).await;
    put(&first, "not done", 1).await;
    poll_until_idle(&first, &Functions::answering(fail)).await;
    put(&first, "unseen", 1).await;
    first.shutdown().await;

    let second = cloud_in(folder.path(), TEMPLATE, clock).await;
    let functions = Functions::answering(succeed);
    poll_until_idle(&second, &functions).await;
    assert_eq!(functions.batches(), [["not done"], ["unseen"]]);
}

#[tokio::test]
async fn time_while_the_cloud_was_stopped_does_not_age_a_record() {
    let folder = tempfile::tempdir().unwrap();
    // Tables in a folder use the system's clock for their records.
    let clock = Clock::system();
    let first = cloud_in(folder.path(), TEMPLATE, clock.clone()).await;
    put(&first, "friday", 1).await;
    first.shutdown().await;
    clock.advance(std::time::Duration::from_secs(3 * 24 * 3600));

    let second = cloud_in(folder.path(), TEMPLATE, clock).await;
    let functions = Functions::answering(succeed);
    poll_until_idle(&second, &functions).await;
    assert_eq!(functions.batches(), [["friday"]]);
}

#[tokio::test]
async fn an_event_source_with_latest_does_not_read_earlier_records() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::standing_at(NOW);
    let without = TEMPLATE.split("  Relay:").next().unwrap();
    let first = cloud_in(folder.path(), without, clock.clone()).await;
    put(&first, "before", 1).await;
    first.shutdown().await;

    let second = cloud_in(folder.path(), TEMPLATE, clock).await;
    put(&second, "after", 1).await;
    let functions = Functions::answering(succeed);
    poll_until_idle(&second, &functions).await;
    assert_eq!(functions.batches(), [["after"]]);
}

#[tokio::test]
async fn a_stream_can_be_added_to_an_existing_table() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::standing_at(NOW);
    let stream = "      StreamSpecification: { StreamViewType: NEW_IMAGE }\n";
    let without = TEMPLATE.split("  Relay:").next().unwrap().replace(stream, "");
    let first = cloud_in(folder.path(), &without, clock.clone()).await;
    put(&first, "before", 1).await;
    first.shutdown().await;

    let second = cloud_in(folder.path(), TEMPLATE, clock).await;
    put(&second, "after", 1).await;
    let functions = Functions::answering(succeed);
    poll_until_idle(&second, &functions).await;
    assert_eq!(functions.batches(), [["after"]]);
}

#[tokio::test]
async fn a_table_with_changed_keys_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    cloud_in(folder.path(), TEMPLATE, Clock::system()).await.shutdown().await;
    let changed = Template::parse(&TEMPLATE.replace("AttributeName: id", "AttributeName: key")).unwrap();
    let data = Data::Folder(DataFolder::open(folder.path()).unwrap());
    let error = LocalCloud::start(Options { data, ..Options::in_memory(changed) }).await.unwrap_err();
    assert_eq!(error, StartError::TableChanged { table: "undercroft-local-Things".into() });
    assert!(error.to_string().contains("--fresh"));
}
