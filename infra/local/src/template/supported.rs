//! The resource types and properties that are supported or ignored. Everything else in a template is rejected.

use serde_json::{Map, Value};

use super::error::TemplateError;

/// A resource or event type: its supported properties, and those that only have an effect in AWS and are ignored.
struct TypeSupport {
    kind: &'static str,
    supported: &'static [&'static str],
    ignored: &'static [&'static str],
}

const RESOURCES: &[TypeSupport] = &[
    TypeSupport {
        kind: "AWS::Serverless::Function",
        supported: &["Environment", "Events", "Role", "Timeout"],
        ignored: &[
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
    TypeSupport {
        kind: "AWS::Serverless::HttpApi",
        supported: &[],
        ignored: &[
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
    TypeSupport {
        kind: "AWS::DynamoDB::Table",
        supported: &[
            "AttributeDefinitions",
            "GlobalSecondaryIndexes",
            "KeySchema",
            "LocalSecondaryIndexes",
            "StreamSpecification",
            "TimeToLiveSpecification",
        ],
        ignored: &[
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
    TypeSupport {
        kind: "AWS::SQS::Queue",
        supported: &[
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
        ignored: &[
            "FifoThroughputLimit",
            "KmsDataKeyReusePeriodSeconds",
            "KmsMasterKeyId",
            "RedriveAllowPolicy",
            "SqsManagedSseEnabled",
            "Tags",
        ],
    },
    TypeSupport {
        kind: "AWS::S3::Bucket",
        supported: &["CorsConfiguration", "LifecycleConfiguration"],
        ignored: &["BucketEncryption", "OwnershipControls", "PublicAccessBlockConfiguration", "Tags"],
    },
    TypeSupport {
        kind: "AWS::IAM::Role",
        supported: &["Policies"],
        ignored: &["AssumeRolePolicyDocument", "Description", "MaxSessionDuration", "Path", "RoleName", "Tags"],
    },
    TypeSupport {
        kind: "AWS::Logs::LogGroup",
        supported: &["LogGroupName"],
        ignored: &["DataProtectionPolicy", "KmsKeyId", "LogGroupClass", "RetentionInDays", "Tags"],
    },
];

/// Resource types that only have an effect in AWS and are ignored.
const IGNORED_RESOURCES: &[&str] = &[
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

const EVENTS: &[TypeSupport] = &[
    TypeSupport {
        kind: "HttpApi",
        supported: &["ApiId", "Method", "Path"],
        ignored: &["RouteSettings", "TimeoutInMillis"],
    },
    TypeSupport {
        kind: "SQS",
        supported: &[
            "BatchSize",
            "Enabled",
            "FilterCriteria",
            "FunctionResponseTypes",
            "MaximumBatchingWindowInSeconds",
            "Queue",
            "ScalingConfig",
        ],
        ignored: &["KmsKeyArn", "MetricsConfig"],
    },
    TypeSupport {
        kind: "DynamoDB",
        supported: &[
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
        ignored: &["KmsKeyArn", "MetricsConfig"],
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

/// Rejects a template with unsupported resources or properties.
///
/// # Errors
/// The first resource and property that are not supported.
pub fn check(document: &Value) -> Result<(), TemplateError> {
    only(document, SECTIONS, "template")?;
    match document.get("Transform").and_then(Value::as_str) {
        None | Some("AWS::Serverless-2016-10-31") => {}
        Some(other) => {
            return Err(TemplateError::new(
                "Transform",
                other,
                "only the transform AWS::Serverless-2016-10-31 is supported",
            ));
        }
    }
    for (name, parameter) in entries(document.get("Parameters")) {
        only(parameter, PARAMETER_PROPERTIES, name)?;
    }
    for (section, defaults) in entries(document.get("Globals")) {
        match section.as_str() {
            "Function" => check_properties("Globals", "AWS::Serverless::Function", defaults)?,
            "HttpApi" => check_properties("Globals", "AWS::Serverless::HttpApi", defaults)?,
            _ => {
                return Err(TemplateError::new(
                    "Globals",
                    section,
                    "defaults for this type are not supported by the local cloud",
                ));
            }
        }
    }
    entries(document.get("Resources")).try_for_each(|(name, resource)| check_resource(name, resource))
}

/// Whether resources of this type are ignored.
pub fn is_ignored_type(kind: &str) -> bool {
    IGNORED_RESOURCES.contains(&kind)
}

/// Whether this property of a resource type is ignored.
pub fn is_ignored_property(kind: &str, property: &str) -> bool {
    let support = RESOURCES.iter().find(|support| support.kind == kind);
    support.is_some_and(|support| support.ignored.contains(&property))
}

/// The entries of a JSON object; none for other values.
pub fn entries(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

fn check_resource(name: &str, resource: &Value) -> Result<(), TemplateError> {
    only(resource, RESOURCE_ATTRIBUTES, name)?;
    let Some(kind) = resource.get("Type").and_then(Value::as_str) else {
        return Err(TemplateError::new(name, "Type", "is missing"));
    };
    if is_ignored_type(kind) {
        return Ok(());
    }
    let nothing = Value::Object(Map::new());
    let properties = resource.get("Properties").unwrap_or(&nothing);
    check_properties(name, kind, properties)?;
    entries(properties.get("Events")).try_for_each(|(event, source)| check_event(name, event, source))
}

fn check_event(function: &str, event: &str, source: &Value) -> Result<(), TemplateError> {
    let place = format!("Events.{event}");
    let kind = source.get("Type").and_then(Value::as_str).unwrap_or_default();
    let support = EVENTS.iter().find(|support| support.kind == kind);
    let support = support.ok_or_else(|| {
        TemplateError::new(function, &place, format!("events of type {kind:?} are not supported by the local cloud"))
    })?;
    only(source, &["Type", "Properties"], &place).map_err(|error| error.within(function, ""))?;
    for (property, _) in entries(source.get("Properties")) {
        check_property(support, property).map_err(|error| error.within(function, &place))?;
    }
    Ok(())
}

fn check_properties(name: &str, kind: &str, properties: &Value) -> Result<(), TemplateError> {
    let support = RESOURCES.iter().find(|support| support.kind == kind);
    let support = support.ok_or_else(|| {
        TemplateError::new(name, "Type", format!("resources of type {kind} are not supported by the local cloud"))
    })?;
    for (property, _) in entries(Some(properties)) {
        check_property(support, property).map_err(|error| error.within(name, ""))?;
    }
    Ok(())
}

fn check_property(support: &TypeSupport, property: &str) -> Result<(), TemplateError> {
    if support.supported.contains(&property) || support.ignored.contains(&property) {
        return Ok(());
    }
    Err(TemplateError::new(
        "",
        property,
        format!("this property of {} is not supported by the local cloud", support.kind),
    ))
}

fn only(value: &Value, allowed: &[&str], place: &str) -> Result<(), TemplateError> {
    match entries(Some(value)).find(|(key, _)| !allowed.contains(&key.as_str())) {
        Some((key, _)) => Err(TemplateError::new(place, key, "is not supported by the local cloud")),
        None => Ok(()),
    }
}
