//! What of a template is executed here, what is knowingly left to AWS, and the refusal of everything else by name.

use serde_json::{Map, Value};

use super::refusal::Refusal;

/// One resource or event type: the properties that are honoured, and those that only matter in AWS.
struct Shape {
    kind: &'static str,
    honoured: &'static [&'static str],
    only_in_aws: &'static [&'static str],
}

const RESOURCES: &[Shape] = &[
    Shape {
        kind: "AWS::Serverless::Function",
        honoured: &["Environment", "Events", "Role", "Timeout"],
        only_in_aws: &[
            "Architectures",
            "AutoPublishAlias",
            "CodeUri",
            "DeploymentPreference",
            "Description",
            "EphemeralStorage",
            "Handler",
            "LoggingConfig",
            "MemorySize",
            "PermissionsBoundary",
            "Policies",
            "RecursiveLoop",
            "ReservedConcurrentExecutions",
            "Runtime",
            "RuntimeManagementConfig",
            "Tags",
            "Tracing",
        ],
    },
    Shape {
        kind: "AWS::Serverless::HttpApi",
        honoured: &[],
        only_in_aws: &[
            "AccessLogSettings",
            "DefaultRouteSettings",
            "Description",
            "DisableExecuteApiEndpoint",
            "Domain",
            "Name",
            "RouteSettings",
            "Tags",
        ],
    },
    Shape {
        kind: "AWS::DynamoDB::Table",
        honoured: &[
            "AttributeDefinitions",
            "GlobalSecondaryIndexes",
            "KeySchema",
            "LocalSecondaryIndexes",
            "StreamSpecification",
            "TimeToLiveSpecification",
        ],
        only_in_aws: &[
            "BillingMode",
            "ContributorInsightsSpecification",
            "DeletionProtectionEnabled",
            "OnDemandThroughput",
            "PointInTimeRecoverySpecification",
            "ProvisionedThroughput",
            "ResourcePolicy",
            "SSESpecification",
            "TableClass",
            "Tags",
            "WarmThroughput",
        ],
    },
    Shape {
        kind: "AWS::SQS::Queue",
        honoured: &[
            "ContentBasedDeduplication",
            "DeduplicationScope",
            "DelaySeconds",
            "FifoQueue",
            "MaximumMessageSize",
            "MessageRetentionPeriod",
            "ReceiveMessageWaitTimeSeconds",
            "RedrivePolicy",
            "VisibilityTimeout",
        ],
        only_in_aws: &[
            "FifoThroughputLimit",
            "KmsDataKeyReusePeriodSeconds",
            "KmsMasterKeyId",
            "RedriveAllowPolicy",
            "SqsManagedSseEnabled",
            "Tags",
        ],
    },
    Shape {
        kind: "AWS::S3::Bucket",
        honoured: &["CorsConfiguration", "LifecycleConfiguration"],
        only_in_aws: &["BucketEncryption", "OwnershipControls", "PublicAccessBlockConfiguration", "Tags"],
    },
    Shape {
        kind: "AWS::IAM::Role",
        honoured: &["Policies"],
        only_in_aws: &["AssumeRolePolicyDocument", "Description", "MaxSessionDuration", "Path", "RoleName", "Tags"],
    },
    Shape {
        kind: "AWS::Logs::LogGroup",
        honoured: &["LogGroupName"],
        only_in_aws: &["DataProtectionPolicy", "KmsKeyId", "LogGroupClass", "RetentionInDays", "Tags"],
    },
];

/// Resource types that exist only to run, watch or guard the others in AWS.
const RESOURCES_ONLY_IN_AWS: &[&str] = &[
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::IAM::ManagedPolicy",
    "AWS::IAM::Policy",
    "AWS::Lambda::Permission",
    "AWS::Logs::MetricFilter",
    "AWS::S3::BucketPolicy",
    "AWS::SES::EmailIdentity",
    "AWS::SQS::QueuePolicy",
];

const EVENTS: &[Shape] = &[
    Shape {
        kind: "HttpApi",
        honoured: &["ApiId", "Method", "Path"],
        only_in_aws: &["RouteSettings", "TimeoutInMillis"],
    },
    Shape {
        kind: "SQS",
        honoured: &[
            "BatchSize",
            "Enabled",
            "FilterCriteria",
            "FunctionResponseTypes",
            "MaximumBatchingWindowInSeconds",
            "Queue",
            "ScalingConfig",
        ],
        only_in_aws: &["KmsKeyArn", "MetricsConfig"],
    },
    Shape {
        kind: "DynamoDB",
        honoured: &[
            "BatchSize",
            "BisectBatchOnFunctionError",
            "DestinationConfig",
            "Enabled",
            "FilterCriteria",
            "FunctionResponseTypes",
            "MaximumBatchingWindowInSeconds",
            "MaximumRecordAgeInSeconds",
            "MaximumRetryAttempts",
            "ParallelizationFactor",
            "StartingPosition",
            "Stream",
        ],
        only_in_aws: &["KmsKeyArn", "MetricsConfig"],
    },
];

const SECTIONS: &[&str] = &[
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Globals",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
    "Transform",
];

const RESOURCE_ATTRIBUTES: &[&str] =
    &["Condition", "DeletionPolicy", "DependsOn", "Metadata", "Properties", "Type", "UpdateReplacePolicy"];

const PARAMETER_PROPERTIES: &[&str] = &[
    "AllowedValues",
    "ConstraintDescription",
    "Default",
    "Description",
    "MaxLength",
    "MaxValue",
    "MinLength",
    "MinValue",
    "NoEcho",
    "Type",
];

/// Refuses, by name, whatever in the document has neither a meaning here nor a place among what only matters in AWS.
///
/// # Errors
/// The first resource and property that cannot be honoured.
pub fn check(document: &Value) -> Result<(), Refusal> {
    only(document, SECTIONS, "template")?;
    match document.get("Transform").and_then(Value::as_str) {
        None | Some("AWS::Serverless-2016-10-31") => {}
        Some(other) => return Err(Refusal::new("Transform", other, "only the serverless transform is understood")),
    }
    for (name, parameter) in entries(document.get("Parameters")) {
        only(parameter, PARAMETER_PROPERTIES, name)?;
    }
    for (section, defaults) in entries(document.get("Globals")) {
        match section.as_str() {
            "Function" => check_properties("Globals", "AWS::Serverless::Function", defaults)?,
            "HttpApi" => check_properties("Globals", "AWS::Serverless::HttpApi", defaults)?,
            _ => return Err(Refusal::new("Globals", section, "defaults for this type are not understood")),
        }
    }
    entries(document.get("Resources")).try_for_each(|(name, resource)| check_resource(name, resource))
}

/// Whether a resource of this type is left to AWS altogether.
pub fn is_only_in_aws(kind: &str) -> bool {
    RESOURCES_ONLY_IN_AWS.contains(&kind)
}

/// Whether a property of this resource type is left to AWS, so that what stands in it is never looked at.
pub fn leaves_to_aws(kind: &str, property: &str) -> bool {
    let shape = RESOURCES.iter().find(|shape| shape.kind == kind);
    shape.is_some_and(|shape| shape.only_in_aws.contains(&property))
}

/// The entries of a mapping, or none where there is no mapping.
pub fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn check_resource(name: &str, resource: &Value) -> Result<(), Refusal> {
    only(resource, RESOURCE_ATTRIBUTES, name)?;
    let Some(kind) = resource.get("Type").and_then(Value::as_str) else {
        return Err(Refusal::new(name, "Type", "is missing"));
    };
    if is_only_in_aws(kind) {
        return Ok(());
    }
    let nothing = Value::Object(Map::new());
    let properties = resource.get("Properties").unwrap_or(&nothing);
    check_properties(name, kind, properties)?;
    entries(properties.get("Events")).try_for_each(|(event, source)| check_event(name, event, source))
}

fn check_event(function: &str, event: &str, source: &Value) -> Result<(), Refusal> {
    let place = format!("Events.{event}");
    let kind = source.get("Type").and_then(Value::as_str).unwrap_or_default();
    let shape = EVENTS.iter().find(|shape| shape.kind == kind);
    let shape =
        shape.ok_or_else(|| Refusal::new(function, &place, format!("events of type {kind:?} are not run here")))?;
    only(source, &["Type", "Properties"], &place).map_err(|refusal| refusal.within(function, ""))?;
    for (property, _) in entries(source.get("Properties")) {
        known(shape, property).map_err(|refusal| refusal.within(function, &place))?;
    }
    Ok(())
}

fn check_properties(name: &str, kind: &str, properties: &Value) -> Result<(), Refusal> {
    let shape = RESOURCES.iter().find(|shape| shape.kind == kind);
    let shape = shape.ok_or_else(|| Refusal::new(name, "Type", format!("{kind} is not run here")))?;
    for (property, _) in entries(Some(properties)) {
        known(shape, property).map_err(|refusal| refusal.within(name, ""))?;
    }
    Ok(())
}

fn known(shape: &Shape, property: &str) -> Result<(), Refusal> {
    if shape.honoured.contains(&property) || shape.only_in_aws.contains(&property) {
        return Ok(());
    }
    Err(Refusal::new("", property, format!("this property of {} cannot be honoured here", shape.kind)))
}

fn only(value: &Value, allowed: &[&str], place: &str) -> Result<(), Refusal> {
    match entries(Some(value)).find(|(key, _)| !allowed.contains(&key.as_str())) {
        Some((key, _)) => Err(Refusal::new(place, key, "cannot be honoured here")),
        None => Ok(()),
    }
}
