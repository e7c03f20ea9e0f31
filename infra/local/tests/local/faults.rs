//! What is made to go wrong goes wrong exactly so, once, for functions only; and what they call is told.

use std::time::Duration;

use serde_json::{Value, json};
use undercroft_local::{Call, CallError, LocalCloud, Mishap};

use crate::world::cloud;

const TEMPLATE: &str = "
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      KeySchema: [{ AttributeName: id, KeyType: HASH }]
      AttributeDefinitions: [{ AttributeName: id, AttributeType: S }]
  Work: { Type: AWS::SQS::Queue }
  FRole:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyDocument: { Version: '2012-10-17', Statement: [{ Effect: Allow, Action: ['dynamodb:*', 'sqs:*'], Resource: '*' }] }
  F:
    Type: AWS::Serverless::Function
    Metadata: { BuildProperties: { Binary: f } }
    Properties: { Role: !GetAtt FRole.Arn }
";

const TABLE: &str = "undercroft-local-Things";

fn item(id: &str) -> Value {
    json!({ "id": { "S": id } })
}

async fn call(cloud: &LocalCloud, operation: &str, body: Value) -> Result<Value, CallError> {
    cloud.call_as("f", &format!("DynamoDB_20120810.{operation}"), &body).await
}

async fn put(cloud: &LocalCloud, id: &str) -> Result<Value, CallError> {
    call(cloud, "PutItem", json!({ "TableName": TABLE, "Item": item(id) })).await
}

/// Whether it is there, asked past all mishaps.
async fn is_there(cloud: &LocalCloud, id: &str) -> bool {
    let get = json!({ "TableName": TABLE, "Key": item(id), "ConsistentRead": true });
    cloud.call("DynamoDB_20120810.GetItem", &get).await.unwrap().get("Item").is_some()
}

#[tokio::test]
async fn a_call_fails_before_or_after_it_was_done_and_the_next_one_works() {
    let cloud = cloud(TEMPLATE).await;
    let cases = [
        (Mishap::LostRequest, "", false),
        (Mishap::LostAnswer, "", true),
        (Mishap::TornAnswer, "", true),
        (Mishap::FailedBefore, "InternalServerError", false),
        (Mishap::FailedAfter, "InternalServerError", true),
        (Mishap::Throttled, "ProvisionedThroughputExceededException", false),
        (Mishap::Conflict, "TransactionConflictException", false),
        (Mishap::Overtaken, "ConditionalCheckFailedException", false),
        (Mishap::TooLarge, "ValidationException", false),
    ];
    for (mishap, code, done) in cases {
        let id = format!("{mishap:?}");
        cloud.faults().on("PutItem", 1, mishap);
        match put(&cloud, &id).await.unwrap_err() {
            CallError::Refused { code: said, .. } => assert_eq!(said, code, "{mishap:?}"),
            CallError::Unreachable(why) => assert!(code.is_empty(), "{mishap:?}: {why}"),
        }
        assert_eq!(is_there(&cloud, &id).await, done, "{mishap:?}");
        put(&cloud, &id).await.unwrap();
        assert!(is_there(&cloud, &id).await);
    }
    assert_eq!(cloud.faults().clear(), 0, "everything planned has happened");
}

#[tokio::test]
async fn a_silent_call_is_never_answered_whether_it_was_done_or_not() {
    let cloud = cloud(TEMPLATE).await;
    for (mishap, done) in [(Mishap::SilentBefore, false), (Mishap::SilentAfter, true)] {
        let id = format!("{mishap:?}");
        cloud.faults().on_call(1, mishap);
        cloud.faults().record();
        // However long it takes, it arrives and is done if it is to be; then the caller gives up.
        let struck = async {
            while cloud.faults().calls().is_empty() {
                tokio::task::yield_now().await;
            }
            while done && !is_there(&cloud, &id).await {}
        };
        tokio::select! {
            answered = put(&cloud, &id) => panic!("somebody answers: {answered:?}"),
            struck = tokio::time::timeout(Duration::from_secs(60), struck) => struck.expect("it arrives"),
        }
        assert_eq!(is_there(&cloud, &id).await, done, "{mishap:?}");
    }
}

#[tokio::test]
async fn calls_are_counted_by_operation_or_all_together_and_told_in_order() {
    let cloud = cloud(TEMPLATE).await;
    cloud.faults().record();
    cloud.faults().on("PutItem", 2, Mishap::FailedBefore);
    cloud.faults().on_call(4, Mishap::Throttled);
    put(&cloud, "1").await.unwrap();
    assert!(is_there(&cloud, "1").await, "what a test asks itself does not count");
    let get = json!({ "TableName": TABLE, "Key": item("1") });
    call(&cloud, "GetItem", get.clone()).await.unwrap();
    put(&cloud, "2").await.unwrap_err();
    call(&cloud, "GetItem", get.clone()).await.unwrap_err();
    call(&cloud, "GetItem", get).await.unwrap();
    let told = |operation: &str, mishap| Call { function: "f".into(), operation: operation.into(), mishap };
    let expected = [
        told("PutItem", None),
        told("GetItem", None),
        told("PutItem", Some(Mishap::FailedBefore)),
        told("GetItem", Some(Mishap::Throttled)),
        told("GetItem", None),
    ];
    assert_eq!(cloud.faults().calls(), expected);
    assert!(cloud.faults().calls().is_empty(), "told once");
    cloud.faults().on("DeleteItem", 1, Mishap::LostAnswer);
    assert_eq!(cloud.faults().clear(), 1, "what did not happen is owned up to");
}

#[tokio::test]
async fn a_transaction_in_conflict_names_the_item_and_does_nothing() {
    let cloud = cloud(TEMPLATE).await;
    let put = |id: &str| json!({ "Put": { "TableName": TABLE, "Item": item(id) } });
    let both = json!({ "TransactItems": [put("a"), put("b")] });
    cloud.faults().on("TransactWriteItems", 1, Mishap::Conflict);
    let refused = call(&cloud, "TransactWriteItems", both.clone()).await.unwrap_err();
    assert!(refused.is("TransactionCanceledException"), "{refused}");
    assert!(!is_there(&cloud, "a").await);
    call(&cloud, "TransactWriteItems", both).await.unwrap();
    assert!(is_there(&cloud, "b").await);
}

#[tokio::test]
async fn of_a_batch_the_first_is_done_and_the_others_come_back() {
    let cloud = cloud(TEMPLATE).await;
    let write = |ids: &[&str]| {
        let puts: Vec<_> = ids.iter().map(|id| json!({ "PutRequest": { "Item": item(id) } })).collect();
        json!({ "RequestItems": { TABLE: puts } })
    };
    cloud.faults().on("BatchWriteItem", 1, Mishap::Partial);
    let answer = call(&cloud, "BatchWriteItem", write(&["a", "b", "c"])).await.unwrap();
    assert_eq!(answer["UnprocessedItems"], write(&["b", "c"])["RequestItems"]);
    assert_eq!((is_there(&cloud, "a").await, is_there(&cloud, "b").await), (true, false));
    let rest = json!({ "RequestItems": answer["UnprocessedItems"] });
    call(&cloud, "BatchWriteItem", rest).await.unwrap();
    assert!(is_there(&cloud, "c").await);

    let read = json!({ "RequestItems": { TABLE: { "Keys": [item("a"), item("b")], "ConsistentRead": true } } });
    cloud.faults().on("BatchGetItem", 1, Mishap::Partial);
    let answer = call(&cloud, "BatchGetItem", read).await.unwrap();
    assert_eq!(answer["Responses"][TABLE], json!([item("a")]));
    assert_eq!(answer["UnprocessedKeys"], json!({ TABLE: { "Keys": [item("b")], "ConsistentRead": true } }));

    cloud.faults().on("SendMessageBatch", 1, Mishap::Partial);
    let entries = json!([{ "Id": "x", "MessageBody": "1" }, { "Id": "y", "MessageBody": "2" }]);
    let send = json!({ "QueueUrl": "undercroft-local-Work", "Entries": entries });
    let answer = cloud.call_as("f", "AmazonSQS.SendMessageBatch", &send).await.unwrap();
    assert_eq!((&answer["Successful"][0]["Id"], &answer["Failed"][0]["Id"]), (&json!("x"), &json!("y")));
    assert_eq!(cloud.peek("undercroft-local-Work", 9).unwrap().len(), 1);
}

#[tokio::test]
async fn a_call_that_is_held_does_nothing_until_it_may_go_on() {
    let cloud = cloud(TEMPLATE).await;
    let mut hold = cloud.faults().hold("PutItem", 2);
    put(&cloud, "first").await.unwrap();
    let others = async {
        hold.arrived().await;
        let seen = (is_there(&cloud, "held").await, put(&cloud, "third").await.is_ok());
        drop(hold);
        seen
    };
    let (held, seen) = futures_util::future::join(put(&cloud, "held"), others).await;
    assert_eq!(seen, (false, true), "it waits, and it alone");
    held.unwrap();
    assert!(is_there(&cloud, "held").await);
}
