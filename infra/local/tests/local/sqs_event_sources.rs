//! Requirements 3A, SQS to Lambda, row by row (S1 to S15).

use std::time::Duration;

use serde_json::json;
use undercroft_local::{LocalCloud, Options, StartError, Template};

use crate::world::{Answer, Functions, Queue, cloud, fail, labels, poll_after, poll_until_idle, report, succeed};

const TEMPLATE: &str = "
Resources:
  Work:
    Type: AWS::SQS::Queue
    Properties: { VisibilityTimeout: 60, RedrivePolicy: { deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 5 } }
  Dead: { Type: AWS::SQS::Queue }
  Worker:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: worker } }
    Properties:
      Timeout: 10
      Events:
        Work:
          Type: SQS
          Properties: { Queue: !GetAtt Work.Arn, FunctionResponseTypes: [ReportBatchItemFailures] }
";

const VISIBILITY: Duration = Duration::from_secs(61);

fn fifo() -> String {
    TEMPLATE
        .replace("{ VisibilityTimeout: 60,", "{ FifoQueue: true, VisibilityTimeout: 60,")
        .replace("Dead: { Type: AWS::SQS::Queue }", "Dead: { Type: AWS::SQS::Queue, Properties: { FifoQueue: true } }")
}

#[tokio::test]
async fn s1_every_form_of_success_deletes_the_batch() {
    for payload in ["", "null", "{}", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#] {
        let cloud = cloud(TEMPLATE).await;
        let queue = Queue::open(&cloud, "Work").await;
        queue.send("a").await;
        let functions = Functions::answering(|_| Ok(payload.to_owned()));
        poll_until_idle(&cloud, &functions).await;
        assert_eq!(queue.depth().await, [0, 0, 0], "{payload}");
    }
}

#[tokio::test]
async fn s2_a_malformed_response_and_a_function_error_return_the_whole_batch() {
    let malformed = [
        "not json",
        r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
        r#"{"batchItemFailures":[{"item":"x"}]}"#,
        r#"{"batchItemFailures":[{"itemIdentifier":"unknown"}]}"#,
    ];
    let answers = malformed.iter().map(|payload| Ok((*payload).to_owned())).chain([fail(&json!({}))]);
    for answer in answers {
        let cloud = cloud(TEMPLATE).await;
        let queue = Queue::open(&cloud, "Work").await;
        queue.send("a").await;
        queue.send("b").await;
        let functions = Functions::answering(|_| answer.clone());
        poll_until_idle(&cloud, &functions).await;
        assert_eq!(queue.depth().await, [0, 2, 0], "{answer:?}");
    }
}

#[tokio::test]
async fn s3_without_report_batch_item_failures_an_error_returns_all_and_the_response_is_not_read() {
    let template = TEMPLATE.replace(", FunctionResponseTypes: [ReportBatchItemFailures]", "");
    let cloud = cloud(&template).await;
    let queue = Queue::open(&cloud, "Work").await;
    queue.send("a").await;
    queue.send("b").await;
    poll_until_idle(&cloud, &Functions::answering(fail)).await;
    assert_eq!(queue.depth().await, [0, 2, 0]);
    cloud.advance(VISIBILITY);
    poll_until_idle(&cloud, &Functions::answering(|event| report(event, |_| true))).await;
    assert_eq!(queue.depth().await, [0, 0, 0]);
}

#[tokio::test]
async fn s5_only_failed_messages_are_delivered_again_after_their_visibility_timeout() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Work").await;
    for body in ["a", "b", "c"] {
        queue.send(body).await;
    }
    let functions = Functions::answering(|event| report(event, |body| body == "b"));
    poll_until_idle(&cloud, &functions).await;
    poll_after(&cloud, &functions, Duration::from_secs(59)).await;
    assert_eq!(functions.batches(), [["a", "b", "c"].as_slice()], "nothing is delivered again at once");
    poll_after(&cloud, &functions, Duration::from_secs(2)).await;
    assert_eq!(functions.batches()[1], ["b"]);
    assert_eq!(functions.events()[1]["Records"][0]["attributes"]["ApproximateReceiveCount"], "2");
}

#[tokio::test]
async fn s4_s6_a_message_whose_delete_comes_too_late_is_delivered_again() {
    let cloud = cloud(&fifo()).await;
    let queue = Queue::open(&cloud, "Work.fifo").await;
    queue.send_in("g", "slow").await;
    // The function exceeds the visibility timeout, so that the event source's receipt handle has expired.
    let slow = Functions::answering(|event| {
        cloud.advance(VISIBILITY);
        succeed(event)
    });
    assert_eq!(cloud.pump(&slow).await.unwrap(), 1);
    assert_eq!(queue.depth().await, [1, 0, 0], "it was processed, and is visible again");
    let again = Functions::answering(succeed);
    poll_until_idle(&cloud, &again).await;
    assert_eq!(again.batches(), [["slow"]]);
    assert_eq!(queue.depth().await, [0, 0, 0]);
}

#[tokio::test]
async fn s7_a_batch_above_ten_needs_a_window_and_several_receives() {
    let template = TEMPLATE.replace("{ Queue:", "{ BatchSize: 25, MaximumBatchingWindowInSeconds: 1, Queue:");
    let cloud = cloud(&template).await;
    let queue = Queue::open(&cloud, "Work").await;
    for number in 0..30 {
        queue.send(&number.to_string()).await;
    }
    let functions = Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    let sizes: Vec<_> = functions.batches().iter().map(Vec::len).collect();
    assert_eq!(sizes, [25, 5]);
}

#[tokio::test]
async fn s7_during_a_batching_window_the_queue_is_not_polled_repeatedly() {
    let role = "
  WorkerRole:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyDocument: { Version: '2012-10-17', Statement: [{ Effect: Allow, Action: 'sqs:*', Resource: '*' }] }
";
    let template = TEMPLATE
        .replace("Timeout: 10", "Timeout: 10\n      Role: !GetAtt WorkerRole.Arn")
        .replace("{ Queue:", "{ MaximumBatchingWindowInSeconds: 1, Queue:");
    let cloud = cloud(&format!("{template}{role}")).await;
    Queue::open(&cloud, "Work").await.send("a").await;
    cloud.faults().record();
    let invoked = tokio::sync::Notify::new();
    let functions = Functions::answering(|event| {
        invoked.notify_one();
        succeed(event)
    });
    tokio::select! {
        () = cloud.run(&functions) => panic!("it does not end"),
        () = invoked.notified() => {}
    }
    let received = cloud.faults().calls().iter().filter(|call| call.operation == "ReceiveMessage").count();
    assert_eq!(received, 2, "once for the first message, and once after the batching window");
}

#[tokio::test]
async fn s7_an_event_never_exceeds_six_megabytes() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Work").await;
    for _ in 0..8 {
        queue.send(&"x".repeat(1_000_000)).await;
    }
    let functions = Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    let sizes: Vec<_> = functions.events().iter().map(|event| event.to_string().len()).collect();
    assert_eq!(sizes.len(), 2);
    assert!(sizes.iter().all(|size| *size <= 6 * 1024 * 1024), "{sizes:?}");
    assert_eq!(queue.depth().await, [0, 0, 0]);
}

#[tokio::test]
async fn s8_a_fifo_batch_keeps_order_in_a_group_and_retries_before_newer_messages() {
    let cloud = cloud(&fifo()).await;
    let queue = Queue::open(&cloud, "Work.fifo").await;
    for body in ["a1", "b1", "a2"] {
        queue.send_in(&body[..1], body).await;
    }
    // The function reports the first failure of a group and all later messages of it.
    let failing = Functions::answering(|event| report(event, |body| body.starts_with('a')));
    poll_until_idle(&cloud, &failing).await;
    assert_eq!(failing.batches(), [["a1", "b1", "a2"].as_slice()]);
    queue.send_in("a", "a3").await;
    queue.send_in("b", "b2").await;
    let functions = Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    assert_eq!(functions.batches(), [["b2"]], "group a is blocked while its messages are in flight");
    poll_after(&cloud, &functions, VISIBILITY).await;
    assert_eq!(functions.batches()[1], ["a1", "a2", "a3"]);
}

#[tokio::test]
async fn s9_with_a_window_the_effective_visibility_covers_window_and_function() {
    let template = TEMPLATE
        .replace("Timeout: 10", "Timeout: 50")
        .replace("{ Queue:", "{ MaximumBatchingWindowInSeconds: 20, Queue:");
    let cloud = cloud(&template).await;
    let queue = Queue::open(&cloud, "Work").await;
    queue.send("a").await;
    poll_until_idle(&cloud, &Functions::answering(fail)).await;
    cloud.advance(Duration::from_secs(99));
    assert_eq!(queue.depth().await, [0, 1, 0], "20 + 50 + 30 seconds, not the queue's 60");
    cloud.advance(Duration::from_secs(2));
    assert_eq!(queue.depth().await, [1, 0, 0]);
}

#[tokio::test]
async fn s9_a_visibility_timeout_below_the_functions_timeout_is_rejected() {
    let refused = |timeout: &str| {
        let template = Template::parse(&TEMPLATE.replace("Timeout: 10", timeout)).unwrap();
        LocalCloud::start(Options::in_memory(template))
    };
    let Err(StartError::Template(error)) = refused("Timeout: 61").await else { panic!("it started") };
    let message = error.to_string();
    assert!(message.contains("worker/Work") && message.contains("of 60 s") && message.contains("of 61 s"), "{message}");
    refused("Timeout: 60").await.expect("the function's timeout is long enough");
}

#[tokio::test]
async fn s10_a_message_that_keeps_failing_moves_to_the_dead_letter_queue_alone() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Work").await;
    queue.send("poison").await;
    queue.send("fine").await;
    let functions = Functions::answering(|event| report(event, |body| body == "poison"));
    for _ in 0..7 {
        poll_after(&cloud, &functions, VISIBILITY).await;
    }
    let tries = functions.batches().iter().filter(|batch| batch.contains(&"poison".to_owned())).count();
    assert_eq!(tries, 5, "maxReceiveCount");
    assert_eq!(Queue::open(&cloud, "Dead").await.receive_bodies().await, ["poison"]);
    assert_eq!(queue.depth().await, [0, 0, 0]);
}

#[tokio::test]
async fn s13_filtered_messages_are_deleted() {
    let filter = r#"{ FilterCriteria: { Filters: [{ Pattern: '{"body":{"kind":["mail"]}}' }] }, Queue:"#;
    let cloud = cloud(&TEMPLATE.replace("{ Queue:", filter)).await;
    let queue = Queue::open(&cloud, "Work").await;
    for body in [r#"{"kind":"mail"}"#, r#"{"kind":"other"}"#, "plain text"] {
        queue.send(body).await;
    }
    let functions = Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    assert_eq!(functions.batches(), [[r#"{"kind":"mail"}"#]]);
    assert_eq!(queue.depth().await, [0, 0, 0]);
}

#[tokio::test]
async fn s15_a_malformed_record_fails_alone() {
    let cloud = cloud(TEMPLATE).await;
    let queue = Queue::open(&cloud, "Work").await;
    queue.send("{broken").await;
    queue.send(r#"{"v":1}"#).await;
    let picky = |event: &serde_json::Value| -> Answer {
        report(event, |body| serde_json::from_str::<serde_json::Value>(body).is_err())
    };
    let functions = Functions::answering(picky);
    poll_until_idle(&cloud, &functions).await;
    assert_eq!(queue.depth().await, [0, 1, 0]);
    cloud.advance(VISIBILITY);
    assert_eq!(queue.receive_bodies().await, ["{broken"]);
    assert_eq!(labels(&functions.events()[0]).len(), 2);
}
