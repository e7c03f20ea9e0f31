//! Every call of a function is checked against its role; policies that cannot be evaluated as in AWS are rejected.

use serde_json::{Value, json};
use undercroft_local::{CallError, LocalCloud, Options, StartError, Template};

use crate::world::{cloud, poll_until_idle, put, succeed};

/// A template with one function under a role with these statements.
fn template(statements: &str, events: &str) -> String {
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (statements, events) = (one_line(statements), one_line(events));
    format!(
        "
Resources:
  Things:
    Type: AWS::DynamoDB::Table
    Properties:
      KeySchema: [{{ AttributeName: id, KeyType: HASH }}]
      AttributeDefinitions: [{{ AttributeName: id, AttributeType: S }}]
      StreamSpecification: {{ StreamViewType: NEW_IMAGE }}
  Work: {{ Type: AWS::SQS::Queue }}
  Logs: {{ Type: AWS::Logs::LogGroup, Properties: {{ LogGroupName: /here }} }}
  FRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {{}}
      Policies:
        - PolicyName: f
          PolicyDocument: {{ Version: '2012-10-17', Statement: [{statements}] }}
  F:
    Type: AWS::Serverless::Function
    Metadata: {{ BuildProperties: {{ Binary: f }} }}
    Properties: {{ Role: !GetAtt FRole.Arn, Events: {{ {events} }} }}
"
    )
}

const OWN_ITEMS: &str =
    "{ Sid: Own, Effect: Allow, Action: ['dynamodb:Get*', 'dynamodb:PutItem'], Resource: !GetAtt Things.Arn,
  Condition: { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': ['own#*'] } } }";

async fn get(cloud: &LocalCloud, id: &str) -> Result<Value, CallError> {
    let request = json!({ "TableName": "undercroft-local-Things", "Key": { "id": { "S": id } } });
    cloud.call_as("f", "DynamoDB_20120810.GetItem", &request).await
}

#[tokio::test]
async fn a_function_may_do_only_what_its_role_allows() {
    let cloud = cloud(&template(OWN_ITEMS, "")).await;
    put(&cloud, "others#1", 1).await;
    assert!(get(&cloud, "own#1").await.is_ok());
    let CallError::Refused { code, message } = get(&cloud, "others#1").await.unwrap_err() else { panic!() };
    assert_eq!(code, "AccessDeniedException");
    for part in ["assumed-role/undercroft-local-FRole/f", "dynamodb:GetItem", ":table/undercroft-local-Things"] {
        assert!(message.contains(part), "{message}");
    }
    let send = json!({ "QueueUrl": "undercroft-local-Work", "MessageBody": "x" });
    assert!(cloud.call_as("f", "AmazonSQS.SendMessage", &send).await.unwrap_err().is("AccessDeniedException"));
    assert!(cloud.call("AmazonSQS.SendMessage", &send).await.is_ok(), "other callers may");
    let read = json!({ "Name": "/undercroft/key" });
    assert!(cloud.call_as("f", "AmazonSSM.GetParameter", &read).await.unwrap_err().is("AccessDeniedException"));
    let unknown_operation = json!({ "Statement": "SELECT * FROM \"undercroft-local-Things\"" });
    let unknown_operation = cloud.call_as("f", "DynamoDB_20120810.ExecuteStatement", &unknown_operation).await;
    assert!(unknown_operation.unwrap_err().is("AccessDeniedException"), "an operation with unknown actions is denied");
}

#[tokio::test]
async fn a_transaction_is_allowed_only_if_all_its_parts_are() {
    let cloud = cloud(&template(OWN_ITEMS, "")).await;
    let put = |id: &str| json!({ "Put": { "TableName": "undercroft-local-Things", "Item": { "id": { "S": id } } } });
    let write = async |items: Value| {
        cloud.call_as("f", "DynamoDB_20120810.TransactWriteItems", &json!({ "TransactItems": items })).await
    };
    assert!(write(json!([put("own#1"), put("own#2")])).await.is_ok());
    assert!(write(json!([put("own#3"), put("others#1")])).await.unwrap_err().is("AccessDeniedException"));
    let delete = json!({ "Delete": { "TableName": "undercroft-local-Things", "Key": { "id": { "S": "own#1" } } } });
    assert!(write(json!([delete])).await.unwrap_err().is("AccessDeniedException"), "PutItem is not DeleteItem");
    let written = get(&cloud, "own#3").await.unwrap();
    assert!(written.get("Item").is_none(), "nothing of a denied transaction is written");
}

#[tokio::test]
async fn an_explicit_deny_overrides_an_allow() {
    let deny = format!(
        "{OWN_ITEMS}, {{ Effect: Deny, Action: dynamodb:*, Resource: '*', Condition: {{ 'ForAllValues:StringEquals': {{ 'dynamodb:LeadingKeys': [own#locked] }} }} }}"
    );
    let cloud = cloud(&template(&deny, "")).await;
    assert!(get(&cloud, "own#1").await.is_ok());
    let CallError::Refused { message, .. } = get(&cloud, "own#locked").await.unwrap_err() else { panic!() };
    assert!(message.contains("explicit deny"), "{message}");
}

#[tokio::test]
async fn grants_that_a_call_relied_on_are_recorded() {
    let twice = format!("{OWN_ITEMS}, {{ Sid: All, Effect: Allow, Action: dynamodb:PutItem, Resource: '*' }}");
    let cloud = cloud(&template(&twice, "")).await;
    get(&cloud, "own#1").await.unwrap();
    let item = json!({ "TableName": "undercroft-local-Things", "Item": { "id": { "S": "own#1" } } });
    cloud.call_as("f", "DynamoDB_20120810.PutItem", &item).await.unwrap();
    let name = |grant: undercroft_local::Grant| format!("{} {} {}", grant.function, grant.statement, grant.action);
    let relied_on: Vec<_> = cloud.grants_relied_on().into_iter().map(name).collect();
    assert_eq!(relied_on, ["f Own dynamodb:Get*"], "either statement would have allowed the PutItem");
    let all: Vec<_> = cloud.grants().into_iter().map(name).collect();
    assert_eq!(all, ["f All dynamodb:PutItem", "f Own dynamodb:Get*", "f Own dynamodb:PutItem"]);
}

#[tokio::test]
async fn event_sources_read_with_the_permissions_of_their_function() {
    let events = "Q: { Type: SQS, Properties: { Queue: !GetAtt Work.Arn } },
      S: { Type: DynamoDB, Properties: { Stream: !GetAtt Things.StreamArn, StartingPosition: TRIM_HORIZON } }";
    let queue = "{ Effect: Allow, Resource: !GetAtt Work.Arn, Action: [sqs:ReceiveMessage, sqs:DeleteMessage, sqs:GetQueueAttributes] }";
    let stream = "{ Effect: Allow, Resource: !GetAtt Things.StreamArn,
      Action: [dynamodb:DescribeStream, dynamodb:GetRecords, dynamodb:GetShardIterator, dynamodb:ListStreams] }";
    let cloud = cloud(&template(&format!("{queue}, {stream}"), events)).await;
    put(&cloud, "a", 1).await;
    cloud
        .call("AmazonSQS.SendMessage", &json!({ "QueueUrl": "undercroft-local-Work", "MessageBody": "m" }))
        .await
        .unwrap();
    let functions = crate::world::Functions::answering(succeed);
    poll_until_idle(&cloud, &functions).await;
    assert_eq!(functions.batches().concat(), ["m", "a"]);

    for (left, missing) in [(queue, "DescribeStream"), (stream, "ReceiveMessage")] {
        let text = template(left, events);
        let refused = LocalCloud::start(Options::in_memory(Template::parse(&text).unwrap())).await;
        let Err(StartError::Template(error)) = refused else { panic!("it started without {missing}") };
        assert!(error.to_string().contains(missing), "{error}");
    }
}

#[tokio::test]
async fn a_policy_that_cannot_be_evaluated_is_rejected_with_its_statement() {
    let statement = |rest: &str| format!("{{ Sid: Odd, Effect: Allow, Action: dynamodb:GetItem, {rest} }}");
    let condition = |operator: &str, key: &str| {
        statement(&format!("Resource: '*', Condition: {{ '{operator}': {{ '{key}': x }} }}"))
    };
    let cases = [
        (condition("NumericLessThan", "dynamodb:LeadingKeys"), vec!["NumericLessThan"]),
        (condition("ForAnyValue:StringEquals", "dynamodb:LeadingKeys"), vec!["ForAnyValue:StringEquals"]),
        (condition("StringEquals", "aws:SourceIp"), vec!["StringEquals", "aws:SourceIp"]),
        (condition("StringEquals", "dynamodb:LeadingKeys"), vec!["dynamodb:LeadingKeys", "ForAllValues"]),
        (statement("NotResource: '*'"), vec!["NotResource"]),
        (statement("Resource: 'arn:${!aws:username}'"), vec!["aws:username"]),
        ("{ Sid: Odd, Effect: Maybe, Action: a, Resource: b }".into(), vec!["Effect"]),
    ];
    for (statement, mut named) in cases {
        named.extend(["FRole", "Odd"]);
        let written = template(&statement.replace("'arn:${!aws:username}'", "!Sub 'arn:${!aws:username}'"), "");
        let refused = LocalCloud::start(Options::in_memory(Template::parse(&written).unwrap())).await;
        let Err(StartError::Template(error)) = refused else { panic!("{statement} was accepted") };
        let message = error.to_string();
        assert!(named.iter().all(|part| message.contains(part)), "{named:?} in {message:?}");
    }
    let boundary = "Resources: { R: { Type: AWS::IAM::Role, Properties: { ManagedPolicyArns: [x] } } }";
    assert!(Template::parse(boundary).unwrap_err().to_string().contains("ManagedPolicyArns"));
}
