//! Templates: the project's own is executed; unsupported ones are rejected.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use undercroft_local::{LocalCloud, Options, StartError, Template};

use crate::world::cloud;

fn project_template() -> Template {
    Template::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../template.yaml")).unwrap()
}

#[tokio::test]
async fn the_projects_own_template_is_executed_with_tables_queues_and_environments() {
    let cloud = LocalCloud::start(Options::in_memory(project_template())).await.unwrap();
    assert!(cloud.tables().contains(&"undercroft-local-JobsTable".to_owned()));
    let queues: Vec<_> = cloud.queue_depths().await.unwrap().into_iter().map(|depth| depth.queue).collect();
    assert!(queues.contains(&"undercroft-local-JobsFifoQueue.fifo".to_owned()), "{queues:?}");
    let environment = cloud.environment("worker");
    assert_eq!(environment["JOBS_QUEUE_URL"], format!("{}/000000000000/undercroft-local-JobsQueue", cloud.endpoint()));
    assert_eq!(environment["AWS_ENDPOINT_URL"], cloud.endpoint());
    assert_eq!(environment["UNDERCROFT_STACK"], "undercroft-local", "defaults from Globals are in every environment");
    assert!(cloud.routes().iter().any(|route| route.path == "/v1/auth/{proxy+}" && route.function == "auth"));
}

#[tokio::test]
async fn given_parameters_are_in_the_environment() {
    let parameters = BTreeMap::from([("MailFrom".to_owned(), "shop@example.com".to_owned())]);
    let cloud = LocalCloud::start(Options { parameters, ..Options::in_memory(project_template()) }).await.unwrap();
    assert_eq!(cloud.environment("worker")["MAIL_FROM"], "shop@example.com");
}

#[tokio::test]
async fn a_resource_whose_condition_does_not_hold_is_not_created() {
    let cloud = cloud(
        "
Parameters: { Mode: { Type: String, Default: small } }
Conditions: { Large: !Equals [!Ref Mode, large] }
Resources:
  Always: { Type: AWS::SQS::Queue, Properties: { DelaySeconds: !If [Large, 9, 3] } }
  Sometimes: { Type: AWS::SQS::Queue, Condition: Large }
",
    )
    .await;
    let names: Vec<_> = cloud.queue_depths().await.unwrap().into_iter().map(|depth| depth.queue).collect();
    assert_eq!(names, ["undercroft-local-Always"]);
    let url = json!({ "QueueUrl": "undercroft-local-Always", "AttributeNames": ["DelaySeconds"] });
    let attributes = cloud.call("AmazonSQS.GetQueueAttributes", &url).await.unwrap();
    assert_eq!(attributes["Attributes"]["DelaySeconds"], "3");
}

#[tokio::test]
async fn what_is_not_supported_is_rejected_with_its_resource_and_property() {
    let function = |event: &str| {
        format!(
            "Resources:\n  Q: {{ Type: AWS::SQS::Queue, Properties: {{ FifoQueue: true }} }}\n  F:\n    Type: AWS::Serverless::Function\n    Metadata: {{ BuildProperties: {{ Binary: f }} }}\n    Properties: {{ Events: {{ E: {event} }} }}\n"
        )
    };
    let cases = [
        ("Mappings: {}\nResources: {}".to_owned(), vec!["template", "Mappings"]),
        ("Resources: { B: { Type: AWS::SNS::Topic } }".into(), vec!["B", "AWS::SNS::Topic"]),
        (
            "Resources: { B: { Type: AWS::S3::Bucket, Properties: { WebsiteConfiguration: {} } } }".into(),
            vec!["B", "WebsiteConfiguration"],
        ),
        ("Resources: { Q: { Type: AWS::SQS::Queue, Properties: { Colour: red } } }".into(), vec!["Q", "Colour"]),
        ("Resources: { Q: { Type: AWS::SQS::Queue, UpdatePolicy: {} } }".into(), vec!["Q", "UpdatePolicy"]),
        (
            "Resources: { Q: { Type: AWS::SQS::Queue, Properties: { DelaySeconds: !FindInMap [a, b, c] } } }".into(),
            vec!["Q", "DelaySeconds", "Fn::FindInMap"],
        ),
        (
            "Resources: { Q: { Type: AWS::SQS::Queue, Properties: { DelaySeconds: !Ref Nothing } } }".into(),
            vec!["Q", "DelaySeconds", "Nothing"],
        ),
        (
            "Resources: { Q: { Type: AWS::SQS::Queue, Properties: { DelaySeconds: !GetAtt Q.Arn } } }".into(),
            vec!["Q", "Q.Arn"],
        ),
        (function("{ Type: Schedule, Properties: { Schedule: rate(1 minute) } }"), vec!["F", "Events.E", "Schedule"]),
        (function("{ Type: HttpApi, Properties: { Path: /x, Method: GET, Auth: {} } }"), vec!["F", "Events.E", "Auth"]),
        (function("{ Type: SQS, Properties: { Queue: !GetAtt Q.Arn, Colour: red } }"), vec!["F", "Events.E", "Colour"]),
        (
            function("{ Type: SQS, Properties: { Queue: !GetAtt Q.Arn, BatchSize: 11 } }"),
            vec!["F", "Events.E", "BatchSize"],
        ),
        (
            function("{ Type: SQS, Properties: { Queue: !GetAtt Q.Arn, MaximumBatchingWindowInSeconds: 1 } }"),
            vec!["F", "Events.E", "MaximumBatchingWindowInSeconds"],
        ),
        (
            function(
                "{ Type: SQS, Properties: { Queue: !GetAtt Q.Arn, FilterCriteria: { Filters: [{ Pattern: '{\"body\":[{\"wildcard\":\"x*\"}]}' }] } } }",
            ),
            vec!["F", "Events.E", "FilterCriteria", "wildcard"],
        ),
    ];
    for (text, named) in cases {
        let error = match Template::parse(&text) {
            Err(error) => error,
            Ok(template) => match LocalCloud::start(Options::in_memory(template)).await {
                Err(StartError::Template(error)) => error,
                other => panic!("{text}\n{other:?}"),
            },
        };
        let message = error.to_string();
        assert!(named.iter().all(|part| message.contains(part)), "{named:?} in {message:?}");
    }
}
