//! An external endpoint: its services are used, and event sources keep FIFO order and shard order even if it does not. The two
//! endpoints of these tests are a queue that never blocks a group, and a stream whose shard was split.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use undercroft_local::{Clock, LocalCloud, Options, Service, StartError, Template};

use crate::world::{Functions, NOW, poll_after, poll_until_idle, report, succeed};

type Answering = Arc<dyn Fn(&str, &Value) -> Option<Value> + Send + Sync>;

/// Serves `answer`: a value with a `__type` is an error, `None` is an unknown operation.
async fn endpoint(answer: Answering) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let handler = async |State(answer): State<Answering>, headers: HeaderMap, body: String| {
        let action = headers["x-amz-target"].to_str().unwrap().to_owned();
        match answer(&action, &serde_json::from_str(&body).unwrap()) {
            Some(answer) if answer.get("__type").is_some() => (StatusCode::BAD_REQUEST, answer.to_string()),
            Some(answer) => (StatusCode::OK, answer.to_string()),
            None => (StatusCode::BAD_REQUEST, json!({ "__type": "UnknownOperationException" }).to_string()),
        }
    };
    let router = Router::new().fallback(handler).with_state(answer);
    #[expect(clippy::disallowed_methods, reason = "no function: the test sends requests while the endpoint serves")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn cloud_at(endpoint: String, template: &str, clock: &Clock) -> LocalCloud {
    let template = Template::parse(template).unwrap();
    let options = Options { endpoint: Some(endpoint), clock: clock.clone(), ..Options::in_memory(template) };
    LocalCloud::start(options).await.unwrap()
}

/// A queue that delivers every visible message, even of a blocked group.
struct OpenQueue {
    clock: Clock,
    /// Group, body, and when the message becomes visible.
    messages: Mutex<Vec<(&'static str, &'static str, u64)>>,
}

impl OpenQueue {
    fn answer(&self, action: &str, body: &Value) -> Option<Value> {
        let mut messages = self.messages.lock().unwrap();
        let now = self.clock.now();
        match action.strip_prefix("AmazonSQS.")? {
            "ListQueues" => Some(json!({})),
            "CreateQueue" => Some(json!({ "QueueUrl": "http://external/0/Work.fifo" })),
            "GetQueueAttributes" => Some(
                json!({ "Attributes": { "QueueArn": "arn:aws:sqs:us-east-1:0:Work.fifo", "VisibilityTimeout": "60" } }),
            ),
            "ReceiveMessage" => {
                let ready = messages.iter_mut().filter(|(_, _, visible)| *visible <= now);
                let handed = ready.map(|(group, body, visible)| {
                    *visible = now + 60_000;
                    json!({ "MessageId": body, "ReceiptHandle": body, "Body": body, "Attributes": { "MessageGroupId": group } })
                });
                Some(json!({ "Messages": handed.collect::<Vec<_>>() }))
            }
            "DeleteMessageBatch" => {
                let done: Vec<_> =
                    body["Entries"].as_array().unwrap().iter().map(|entry| entry["ReceiptHandle"].clone()).collect();
                messages.retain(|(_, body, _)| !done.contains(&json!(body)));
                Some(json!({ "Successful": [], "Failed": [] }))
            }
            "ChangeMessageVisibility" => {
                let of = messages.iter_mut().find(|(_, name, _)| body["ReceiptHandle"] == *name);
                of.unwrap().2 = now + body["VisibilityTimeout"].as_u64().unwrap() * 1000;
                Some(json!({}))
            }
            _ => None,
        }
    }
}

const FIFO: &str = "
Resources:
  Work: { Type: AWS::SQS::Queue, Properties: { FifoQueue: true } }
  Worker:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: worker } }
    Properties:
      Events:
        Work: { Type: SQS, Properties: { Queue: !GetAtt Work.Arn, FunctionResponseTypes: [ReportBatchItemFailures] } }
";

#[tokio::test]
async fn a_group_stays_blocked_by_a_failed_message_even_if_the_queue_delivers_the_next() {
    let clock = Clock::standing_at(NOW);
    let queue =
        Arc::new(OpenQueue { clock: clock.clone(), messages: Mutex::new(vec![("a", "a1", 0), ("b", "b1", 0)]) });
    let served = Arc::clone(&queue);
    let address = endpoint(Arc::new(move |action, body| served.answer(action, body))).await;
    let cloud = cloud_at(address, FIFO, &clock).await;
    assert!(cloud.external_services().any(|(service, _)| service == Service::Queues));
    assert!(!cloud.external_services().any(|(service, _)| service == Service::Tables), "other services stay local");

    let failing = Functions::answering(|event| report(event, |body| body == "a1"));
    poll_until_idle(&cloud, &failing).await;
    queue.messages.lock().unwrap().extend([("a", "a2", 0), ("b", "b2", 0)]);
    let healed = Functions::answering(succeed);
    poll_after(&cloud, &healed, Duration::from_secs(30)).await;
    assert_eq!(healed.batches(), [["b2"]], "a2 waits for a1");
    poll_after(&cloud, &healed, Duration::from_secs(31)).await;
    assert_eq!(healed.batches().concat(), ["b2", "a1", "a2"]);
    assert!(queue.messages.lock().unwrap().is_empty());
}

const UNDER_A_ROLE: &str = "
Resources:
  Work: { Type: AWS::SQS::Queue, Properties: { FifoQueue: true } }
  WorkerRole:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyDocument:
            Version: '2012-10-17'
            Statement:
              - Effect: Allow
                Action: [sqs:ReceiveMessage, sqs:DeleteMessage, sqs:GetQueueAttributes]
                Resource: !GetAtt Work.Arn
  Worker:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: worker } }
    Properties: { Role: !GetAtt WorkerRole.Arn, Events: { Work: { Type: SQS, Properties: { Queue: !GetAtt Work.Arn } } } }
";

#[tokio::test]
async fn a_role_applies_to_resources_of_an_external_endpoint() {
    let clock = Clock::standing_at(NOW);
    let queue = Arc::new(OpenQueue { clock: clock.clone(), messages: Mutex::new(vec![("a", "a1", 0)]) });
    let served = Arc::clone(&queue);
    // Its ARNs have the account 0.
    let address = endpoint(Arc::new(move |action, body| served.answer(action, body))).await;
    let cloud = cloud_at(address, UNDER_A_ROLE, &clock).await;
    let functions = Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    assert_eq!(functions.batches(), [["a1"]]);
    let send = json!({ "QueueUrl": "http://external/0/Work.fifo", "MessageBody": "x" });
    assert!(cloud.call_as("worker", "AmazonSQS.SendMessage", &send).await.unwrap_err().is("AccessDeniedException"));
}

const STREAM: &str = "
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
      StreamSpecification: { StreamViewType: KEYS_ONLY }
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
";

/// A stream with a closed shard and its child shard; the child is listed first.
fn split_stream(action: &str, body: &Value) -> Option<Value> {
    let record = |id: &str, sequence: &str| {
        json!({ "eventName": "INSERT", "dynamodb": {
            "Keys": { "id": { "S": id } }, "SequenceNumber": sequence, "ApproximateCreationDateTime": NOW,
        } })
    };
    match action.split_once('.')?.1 {
        "ListTables" => Some(json!({ "TableNames": [] })),
        "DescribeTable" => Some(json!({ "Table": {
            "TableStatus": "ACTIVE",
            "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
            "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
            "LatestStreamArn": "arn:stream",
        } })),
        "DescribeStream" => Some(json!({ "StreamDescription": { "Shards": [
            { "ShardId": "a-child", "ParentShardId": "z-parent" },
            { "ShardId": "z-parent" },
        ] } })),
        "GetShardIterator" => {
            let after = body["SequenceNumber"].as_str().unwrap_or_default();
            Some(json!({ "ShardIterator": format!("{} {after}", body["ShardId"].as_str().unwrap()) }))
        }
        "GetRecords" => Some(match body["ShardIterator"].as_str().unwrap() {
            "z-parent " => json!({ "Records": [record("p1", "1"), record("p2", "2")] }),
            "a-child " => json!({ "Records": [record("c1", "3")], "NextShardIterator": "a-child 3" }),
            at => json!({ "Records": [], "NextShardIterator": at }),
        }),
        _ => None,
    }
}

#[tokio::test]
async fn d1_a_child_shard_waits_until_its_parent_is_done() {
    let clock = Clock::standing_at(NOW);
    let address = endpoint(Arc::new(split_stream)).await;
    let cloud = cloud_at(address, STREAM, &clock).await;
    let failing = Functions::answering(|event| report(event, |id| id == "p2"));
    poll_until_idle(&cloud, &failing).await;
    assert_eq!(failing.batches(), [["p1", "p2"]], "the child shard waits for its parent");
    let healed = Functions::answering(succeed);
    poll_after(&cloud, &healed, Duration::from_secs(1)).await;
    assert_eq!(healed.batches(), [["p2"], ["c1"]]);
}

/// The same stream, which rejects the first iterator of each shard.
fn rejecting_once(error: &'static str) -> impl Fn(&str, &Value) -> Option<Value> {
    let refused = Mutex::new(BTreeSet::new());
    move |action, body| {
        let is_reading = action.ends_with(".GetRecords");
        let at = body["ShardIterator"].as_str().unwrap_or_default().to_owned();
        if is_reading && refused.lock().unwrap().insert(at) {
            return Some(json!({ "__type": error, "message": "read past the oldest" }));
        }
        split_stream(action, body)
    }
}

#[tokio::test]
async fn an_expired_iterator_is_replaced_at_once() {
    for error in ["ExpiredIteratorException", "TrimmedDataAccessException"] {
        let clock = Clock::standing_at(NOW);
        let address = endpoint(Arc::new(rejecting_once(error))).await;
        let cloud = cloud_at(address, STREAM, &clock).await;
        let functions = Functions::answering(succeed);
        poll_until_idle(&cloud, &functions).await;
        assert_eq!(functions.batches(), [["p1", "p2"].as_slice(), &["c1"]], "{error}");
    }
}

#[tokio::test]
async fn an_endpoint_without_any_service_is_rejected() {
    let address = endpoint(Arc::new(|_, _| None)).await;
    let template = Template::parse(FIFO).unwrap();
    let refused = LocalCloud::start(Options { endpoint: Some(address.clone()), ..Options::in_memory(template) }).await;
    let Err(StartError::Endpoint(why)) = refused else { panic!("it started") };
    assert!(why.contains(&address), "{why}");
}
