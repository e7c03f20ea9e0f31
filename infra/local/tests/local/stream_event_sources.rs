//! Requirements 3B, DynamoDB Streams to Lambda, row by row (D1 to D9).

use std::time::Duration;

use serde_json::{Value, json};
use undercroft_local::{Invoke, LocalCloud};

use crate::world::{Functions, Queue, cloud, fail, labels, poll_after, poll_until_idle, put, report, succeed};

const TEMPLATE: &str = "
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      TimeToLiveSpecification: { AttributeName: ttl, Enabled: true }
      StreamSpecification: { StreamViewType: NEW_AND_OLD_IMAGES }
  Failures: { Type: AWS::SQS::Queue }
  Relay:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: relay } }
    Properties:
      Events:
        Things:
          Type: DynamoDB
          Properties:
            Stream: !GetAtt Things.StreamArn
            StartingPosition: TRIM_HORIZON
            FunctionResponseTypes: [ReportBatchItemFailures]
            DestinationConfig: { OnFailure: { Destination: !GetAtt Failures.Arn } }
";

/// The template with more of the event source's properties.
fn with(properties: &str) -> String {
    TEMPLATE
        .replace("StartingPosition: TRIM_HORIZON", &format!("StartingPosition: TRIM_HORIZON\n            {properties}"))
}

async fn put_all(cloud: &LocalCloud, ids: &[&str]) {
    for id in ids {
        put(cloud, id, 0).await;
    }
}

/// Polls until idle, and again after each of several delays that are longer than any backoff.
async fn poll_all_retries(cloud: &LocalCloud, functions: &impl Invoke) {
    poll_until_idle(cloud, functions).await;
    for _ in 0..12 {
        poll_after(cloud, functions, Duration::from_secs(61)).await;
    }
}

async fn failures(cloud: &LocalCloud) -> Vec<Value> {
    let bodies = Queue::open(cloud, "Failures").await.receive_bodies().await;
    bodies.iter().map(|body| serde_json::from_str(body).unwrap()).collect()
}

#[tokio::test]
async fn d1_each_change_is_delivered_once_in_order() {
    let cloud = cloud(TEMPLATE).await;
    put(&cloud, "a", 1).await;
    put(&cloud, "a", 2).await;
    put(&cloud, "b", 1).await;
    let functions = Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    poll_until_idle(&cloud, &functions).await;
    assert_eq!(functions.batches(), [["a", "a", "b"]]);
    let names: Vec<_> =
        functions.events()[0]["Records"].as_array().unwrap().iter().map(|record| record["eventName"].clone()).collect();
    assert_eq!(names, ["INSERT", "MODIFY", "INSERT"]);
}

#[tokio::test]
async fn d1_every_form_of_success_continues_and_a_malformed_response_does_not() {
    let success = ["", "null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#];
    let failure = [
        "not json",
        r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
        r#"{"batchItemFailures":[{"sequence":"1"}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#,
    ];
    let cases = success.map(|payload| (payload, 1)).into_iter().chain(failure.map(|payload| (payload, 2)));
    for (payload, calls) in cases {
        let cloud = cloud(TEMPLATE).await;
        put_all(&cloud, &["a"]).await;
        let functions = Functions::answering(|_| Ok(payload.to_owned()));
        poll_until_idle(&cloud, &functions).await;
        poll_after(&cloud, &functions, Duration::from_secs(1)).await;
        assert_eq!(functions.batches().len(), calls, "{payload}");
    }
}

#[tokio::test]
async fn d2_three_retries_are_four_invocations_and_then_the_batch_is_discarded() {
    let cloud = cloud(&with("MaximumRetryAttempts: 3")).await;
    put_all(&cloud, &["a", "b"]).await;
    let functions = Functions::answering(fail);
    poll_all_retries(&cloud, &functions).await;
    assert_eq!(functions.batches(), [["a", "b"]; 4]);
    put_all(&cloud, &["c"]).await;
    let healed = Functions::answering(succeed);
    poll_until_idle(&cloud, &healed).await;
    assert_eq!(healed.batches(), [["c"]]);
}

#[tokio::test]
async fn d2_no_retries_is_one_invocation() {
    let cloud = cloud(&with("MaximumRetryAttempts: 0")).await;
    put_all(&cloud, &["a"]).await;
    let functions = Functions::answering(fail);
    poll_all_retries(&cloud, &functions).await;
    assert_eq!(functions.batches(), [["a"]]);
    assert_eq!(failures(&cloud).await[0]["requestContext"]["approximateInvokeCount"], 1);
}

#[tokio::test]
async fn d2_retries_wait_longer_each_time() {
    let cloud = cloud(TEMPLATE).await;
    put_all(&cloud, &["a"]).await;
    assert!(cloud.behind().is_empty(), "nothing was read");
    let functions = Functions::answering(fail);
    poll_until_idle(&cloud, &functions).await;
    assert_eq!(cloud.behind(), ["relay"].into(), "a batch waits for its retry");
    let mut calls = Vec::new();
    for _ in 0..7 {
        poll_after(&cloud, &functions, Duration::from_secs(1)).await;
        calls.push(functions.batches().len());
    }
    assert_eq!(calls, [2, 2, 3, 3, 3, 3, 4], "after 1, 2 and 4 seconds");
    poll_after(&cloud, &Functions::answering(succeed), Duration::from_secs(8)).await;
    assert!(cloud.behind().is_empty(), "all is done");
}

#[tokio::test]
async fn d2_records_past_their_maximum_age_are_discarded() {
    let cloud = cloud(&with("MaximumRecordAgeInSeconds: 60")).await;
    put_all(&cloud, &["old"]).await;
    let functions = Functions::answering(fail);
    poll_until_idle(&cloud, &functions).await;
    cloud.advance(Duration::from_secs(61));
    put_all(&cloud, &["new"]).await;
    let healed = Functions::answering(succeed);
    poll_until_idle(&cloud, &healed).await;
    assert_eq!(healed.batches(), [["new"]]);
    assert_eq!(failures(&cloud).await[0]["requestContext"]["condition"], "RecordAgeExceeded");
}

#[tokio::test]
async fn d3_an_error_blocks_the_shard_until_the_record_expires_after_a_day() {
    let cloud = cloud(TEMPLATE).await;
    put_all(&cloud, &["poison"]).await;
    let failing = Functions::answering(fail);
    poll_until_idle(&cloud, &failing).await;
    cloud.advance(Duration::from_secs(23 * 3600));
    put_all(&cloud, &["next"]).await;
    poll_after(&cloud, &failing, Duration::from_secs(61)).await;
    assert!(failing.batches().iter().all(|batch| *batch == ["poison"]), "a failing record blocks the shard");
    let healed = Functions::answering(succeed);
    poll_after(&cloud, &healed, Duration::from_secs(3600)).await;
    assert_eq!(healed.batches(), [["next"]]);
    assert!(failures(&cloud).await.is_empty(), "trimmed records are not reported");
}

#[tokio::test]
async fn d4_bisecting_isolates_the_failing_record_and_does_not_count_as_a_retry() {
    let cloud = cloud(&with("BisectBatchOnFunctionError: true\n            MaximumRetryAttempts: 1")).await;
    put_all(&cloud, &["a", "b", "poison", "d"]).await;
    let functions =
        Functions::answering(
            |event| if labels(event).contains(&"poison".to_owned()) { fail(event) } else { succeed(event) },
        );
    poll_all_retries(&cloud, &functions).await;
    let expected =
        [vec!["a", "b", "poison", "d"], vec!["a", "b"], vec!["poison", "d"], vec!["poison"], vec!["poison"], vec!["d"]];
    assert_eq!(functions.batches(), expected);
    let reports = failures(&cloud).await;
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0]["DDBStreamBatchInfo"]["batchSize"], 1);
}

#[tokio::test]
async fn d4_a_partial_response_splits_the_batch_at_the_failed_record() {
    let cloud = cloud(&with("BisectBatchOnFunctionError: true\n            MaximumRetryAttempts: 1")).await;
    put_all(&cloud, &["a", "poison", "c", "d"]).await;
    let functions = Functions::answering(|event| report(event, |id| id == "poison"));
    poll_all_retries(&cloud, &functions).await;
    let batches = functions.batches();
    assert_eq!(batches[0], ["a", "poison", "c", "d"]);
    assert_eq!(batches[1], ["poison", "c", "d"]);
    assert!(batches[2..].iter().all(|batch| *batch == ["c", "d"]), "{batches:?}");
    assert_eq!(failures(&cloud).await.len(), 1);
}

#[tokio::test]
async fn d5_the_lowest_failed_record_is_the_checkpoint_and_later_records_are_retried() {
    let cloud = cloud(TEMPLATE).await;
    put_all(&cloud, &["a", "b", "c", "d"]).await;
    let functions = Functions::answering(|event| report(event, |id| id == "b" || id == "d"));
    poll_until_idle(&cloud, &functions).await;
    let healed = Functions::answering(succeed);
    poll_after(&cloud, &healed, Duration::from_secs(1)).await;
    assert_eq!(healed.batches(), [["b", "c", "d"]]);
}

#[tokio::test]
async fn d6_the_destination_receives_the_position_of_the_batch_without_its_data() {
    let cloud = cloud(&with("MaximumRetryAttempts: 0")).await;
    put_all(&cloud, &["secret-a", "secret-b"]).await;
    poll_until_idle(&cloud, &Functions::answering(fail)).await;
    let reports = failures(&cloud).await.remove(0);
    assert!(!reports.to_string().contains("secret"));
    assert_eq!(reports["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(reports["DDBStreamBatchInfo"]["batchSize"], 2);
    assert_ne!(
        reports["DDBStreamBatchInfo"]["startSequenceNumber"],
        reports["DDBStreamBatchInfo"]["endSequenceNumber"]
    );
    assert!(reports["DDBStreamBatchInfo"]["shardId"].as_str().unwrap().starts_with("shardId-"));
}

#[tokio::test]
async fn d7_parallel_batches_keep_the_order_of_each_item_and_do_not_wait_for_a_failing_one() {
    let cloud = cloud(&with("ParallelizationFactor: 10")).await;
    for number in 0..3 {
        for id in ["a", "b", "c", "d", "e", "f", "poison"] {
            put(&cloud, id, number).await;
        }
    }
    let functions = Functions::answering(|event| report(event, |id| id == "poison"));
    poll_until_idle(&cloud, &functions).await;
    let events = functions.events();
    assert!(events.len() > 1, "there are several batchers");
    let done: Vec<_> = events.iter().flat_map(|event| event["Records"].as_array().unwrap().clone()).collect();
    let numbers = |id: &str| -> Vec<String> {
        let of_item = done.iter().filter(|record| record["dynamodb"]["Keys"]["id"]["S"] == id);
        of_item.map(|record| record["dynamodb"]["NewImage"]["number"]["N"].as_str().unwrap().to_owned()).collect()
    };
    let all = ["0", "1", "2"];
    let mut passed = 0;
    for id in ["a", "b", "c", "d", "e", "f"] {
        let seen = numbers(id);
        // An item in the batcher of the failing one waits for it: only its first changes were delivered.
        assert!(all.starts_with(&seen.iter().map(String::as_str).collect::<Vec<_>>()), "{id} in its order: {seen:?}");
        passed += usize::from(seen == all);
    }
    assert!(passed >= 1, "items in other batchers than the failing one are done");
}

#[tokio::test]
async fn d9_a_deletion_by_time_to_live_is_in_the_stream_with_its_identity() {
    let cloud = cloud(TEMPLATE).await;
    let soon = (crate::world::NOW + 10).to_string();
    let item = json!({ "id": { "S": "brief" }, "ttl": { "N": soon } });
    cloud
        .call("DynamoDB_20120810.PutItem", &json!({ "TableName": "undercroft-local-Things", "Item": item }))
        .await
        .unwrap();
    let functions = Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    cloud.advance(Duration::from_secs(11));
    assert_eq!(cloud.expire().unwrap(), 1);
    poll_until_idle(&cloud, &functions).await;
    let removal = &functions.events()[1]["Records"][0];
    assert_eq!(removal["eventName"], "REMOVE");
    assert_eq!(removal["userIdentity"], json!({ "type": "Service", "principalId": "dynamodb.amazonaws.com" }));
}

#[tokio::test]
async fn filtered_records_are_skipped_and_do_not_block_later_ones() {
    let filter = r#"FilterCriteria: { Filters: [{ Pattern: '{"eventName":["INSERT"],"dynamodb":{"Keys":{"id":{"S":[{"prefix":"x"}]}}}}' }] }"#;
    let cloud = cloud(&with(&format!("{filter}\n            BatchSize: 2"))).await;
    put_all(&cloud, &["a", "b", "c", "x1", "d", "x2"]).await;
    let functions = Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    assert_eq!(functions.batches().concat(), ["x1", "x2"]);
}

#[tokio::test]
async fn batches_are_not_larger_than_batch_size() {
    let cloud = cloud(&with("BatchSize: 2")).await;
    put_all(&cloud, &["a", "b", "c", "d", "e"]).await;
    let functions = Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    assert_eq!(functions.batches(), [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
}
