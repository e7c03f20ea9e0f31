//! Injected faults happen once, to calls of functions only; calls are recorded.

use std::time::Duration;

use serde_json::{Value, json};
use undercroft_local::{Call, CallError, Fault, LocalCloud};

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

/// Whether the item exists, read without faults.
async fn is_there(cloud: &LocalCloud, id: &str) -> bool {
    let get = json!({ "TableName": TABLE, "Key": item(id), "ConsistentRead": true });
    cloud.call("DynamoDB_20120810.GetItem", &get).await.unwrap().get("Item").is_some()
}

#[tokio::test]
async fn a_call_fails_before_or_after_it_was_performed_and_the_next_one_works() {
    let cloud = cloud(TEMPLATE).await;
    let cases = [
        (Fault::LostRequest, "", false),
        (Fault::LostAnswer, "", true),
        (Fault::TornAnswer, "", true),
        (Fault::FailedBefore, "InternalServerError", false),
        (Fault::FailedAfter, "InternalServerError", true),
        (Fault::Throttled, "ProvisionedThroughputExceededException", false),
        (Fault::Conflict, "TransactionConflictException", false),
        (Fault::Overtaken, "ConditionalCheckFailedException", false),
        (Fault::TooLarge, "ValidationException", false),
    ];
    for (fault, code, done) in cases {
        let id = format!("{fault:?}");
        cloud.faults().on("PutItem", 1, fault);
        match put(&cloud, &id).await.unwrap_err() {
            CallError::Refused { code: said, .. } => assert_eq!(said, code, "{fault:?}"),
            CallError::Unreachable(why) => assert!(code.is_empty(), "{fault:?}: {why}"),
        }
        assert_eq!(is_there(&cloud, &id).await, done, "{fault:?}");
        put(&cloud, &id).await.unwrap();
        assert!(is_there(&cloud, &id).await);
    }
    assert_eq!(cloud.faults().clear(), 0, "all planned faults were injected");
}

#[tokio::test]
async fn a_silent_call_gets_no_response() {
    let cloud = cloud(TEMPLATE).await;
    for (fault, done) in [(Fault::SilentBefore, false), (Fault::SilentAfter, true)] {
        let id = format!("{fault:?}");
        cloud.faults().on_call(1, fault);
        cloud.faults().record();
        // Wait until the call was made and performed; then the caller stops waiting.
        let called = async {
            while cloud.faults().calls().is_empty() {
                tokio::task::yield_now().await;
            }
            while done && !is_there(&cloud, &id).await {}
        };
        tokio::select! {
            answered = put(&cloud, &id) => panic!("there was a response: {answered:?}"),
            called = tokio::time::timeout(Duration::from_secs(60), called) => called.expect("the call was made"),
        }
        assert_eq!(is_there(&cloud, &id).await, done, "{fault:?}");
    }
}

#[tokio::test]
async fn calls_are_counted_by_operation_or_in_total_and_recorded_in_order() {
    let cloud = cloud(TEMPLATE).await;
    cloud.faults().record();
    cloud.faults().on("PutItem", 2, Fault::FailedBefore);
    cloud.faults().on_call(4, Fault::Throttled);
    put(&cloud, "1").await.unwrap();
    assert!(is_there(&cloud, "1").await, "the test's own calls do not count");
    let get = json!({ "TableName": TABLE, "Key": item("1") });
    call(&cloud, "GetItem", get.clone()).await.unwrap();
    put(&cloud, "2").await.unwrap_err();
    call(&cloud, "GetItem", get.clone()).await.unwrap_err();
    call(&cloud, "GetItem", get).await.unwrap();
    let recorded = |operation: &str, fault| Call { function: "f".into(), operation: operation.into(), fault };
    let expected = [
        recorded("PutItem", None),
        recorded("GetItem", None),
        recorded("PutItem", Some(Fault::FailedBefore)),
        recorded("GetItem", Some(Fault::Throttled)),
        recorded("GetItem", None),
    ];
    assert_eq!(cloud.faults().calls(), expected);
    assert!(cloud.faults().calls().is_empty(), "calls are returned once");
    cloud.faults().on("DeleteItem", 1, Fault::LostAnswer);
    assert_eq!(cloud.faults().clear(), 1, "one fault was not injected");
}

#[tokio::test]
async fn a_transaction_with_a_conflict_is_not_performed() {
    let cloud = cloud(TEMPLATE).await;
    let put = |id: &str| json!({ "Put": { "TableName": TABLE, "Item": item(id) } });
    let both = json!({ "TransactItems": [put("a"), put("b")] });
    cloud.faults().on("TransactWriteItems", 1, Fault::Conflict);
    let refused = call(&cloud, "TransactWriteItems", both.clone()).await.unwrap_err();
    assert!(refused.is("TransactionCanceledException"), "{refused}");
    assert!(!is_there(&cloud, "a").await);
    call(&cloud, "TransactWriteItems", both).await.unwrap();
    assert!(is_there(&cloud, "b").await);
}

#[tokio::test]
async fn of_a_batch_only_the_first_entry_is_processed() {
    let cloud = cloud(TEMPLATE).await;
    let write = |ids: &[&str]| {
        let puts: Vec<_> = ids.iter().map(|id| json!({ "PutRequest": { "Item": item(id) } })).collect();
        json!({ "RequestItems": { TABLE: puts } })
    };
    cloud.faults().on("BatchWriteItem", 1, Fault::Partial);
    let answer = call(&cloud, "BatchWriteItem", write(&["a", "b", "c"])).await.unwrap();
    assert_eq!(answer["UnprocessedItems"], write(&["b", "c"])["RequestItems"]);
    assert_eq!((is_there(&cloud, "a").await, is_there(&cloud, "b").await), (true, false));
    let rest = json!({ "RequestItems": answer["UnprocessedItems"] });
    call(&cloud, "BatchWriteItem", rest).await.unwrap();
    assert!(is_there(&cloud, "c").await);

    let read = json!({ "RequestItems": { TABLE: { "Keys": [item("a"), item("b")], "ConsistentRead": true } } });
    cloud.faults().on("BatchGetItem", 1, Fault::Partial);
    let answer = call(&cloud, "BatchGetItem", read).await.unwrap();
    assert_eq!(answer["Responses"][TABLE], json!([item("a")]));
    assert_eq!(answer["UnprocessedKeys"], json!({ TABLE: { "Keys": [item("b")], "ConsistentRead": true } }));

    cloud.faults().on("SendMessageBatch", 1, Fault::Partial);
    let entries = json!([{ "Id": "x", "MessageBody": "1" }, { "Id": "y", "MessageBody": "2" }]);
    let send = json!({ "QueueUrl": "undercroft-local-Work", "Entries": entries });
    let answer = cloud.call_as("f", "AmazonSQS.SendMessageBatch", &send).await.unwrap();
    assert_eq!((&answer["Successful"][0]["Id"], &answer["Failed"][0]["Id"]), (&json!("x"), &json!("y")));
    assert_eq!(cloud.peek("undercroft-local-Work", 9).unwrap().len(), 1);
}

#[tokio::test]
async fn a_paused_call_is_not_performed_until_it_continues() {
    let cloud = cloud(TEMPLATE).await;
    let mut paused = cloud.faults().pause("PutItem", 2);
    put(&cloud, "first").await.unwrap();
    let others = async {
        paused.reached().await;
        let seen = (is_there(&cloud, "paused").await, put(&cloud, "third").await.is_ok());
        drop(paused);
        seen
    };
    let (result, seen) = futures_util::future::join(put(&cloud, "paused"), others).await;
    assert_eq!(seen, (false, true), "only this call waits");
    result.unwrap();
    assert!(is_there(&cloud, "paused").await);
}
