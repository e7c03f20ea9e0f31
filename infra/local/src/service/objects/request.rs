//! Parses a request: its operation, bucket, key and parameters.

use std::collections::BTreeMap;

use axum::http::Method;
use axum::http::request::Parts;

use crate::aws_error::AwsError;
use crate::iam::RequiredAction;

/// Supported query parameters. Others, such as `acl`, would change the operation and are rejected.
const PARAMETERS: &[&str] = &[
    "continuation-token",
    "list-type",
    "max-keys",
    "partNumber",
    "prefix",
    "response-cache-control",
    "response-content-disposition",
    "response-content-type",
    "start-after",
    "uploadId",
    "uploads",
    "x-id",
];

/// The operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// GetObject.
    Get,
    /// HeadObject.
    Head,
    /// PutObject.
    Put,
    /// DeleteObject.
    Delete,
    /// ListObjectsV2.
    List,
    /// CreateMultipartUpload.
    StartUpload,
    /// UploadPart.
    UploadPart {
        /// The upload.
        upload: String,
        /// From 1 to 10,000.
        number: u32,
    },
    /// CompleteMultipartUpload.
    CompleteUpload {
        /// The upload.
        upload: String,
    },
    /// AbortMultipartUpload.
    AbortUpload {
        /// The upload.
        upload: String,
    },
}

/// The target of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The bucket.
    pub bucket: String,
    /// The key; empty for operations on the bucket.
    pub key: String,
    /// The query's parameters, decoded.
    pub parameters: BTreeMap<String, String>,
}

impl Operation {
    /// Its name in S3's API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Get => "GetObject",
            Self::Head => "HeadObject",
            Self::Put => "PutObject",
            Self::Delete => "DeleteObject",
            Self::List => "ListObjectsV2",
            Self::StartUpload => "CreateMultipartUpload",
            Self::UploadPart { .. } => "UploadPart",
            Self::CompleteUpload { .. } => "CompleteMultipartUpload",
            Self::AbortUpload { .. } => "AbortMultipartUpload",
        }
    }

    /// The IAM action that it requires.
    pub fn required_action(&self, target: &Target) -> RequiredAction {
        let object = format!("arn:aws:s3:::{}/{}", target.bucket, target.key);
        match self {
            Self::Get | Self::Head => RequiredAction::new("s3:GetObject", object),
            Self::Put | Self::StartUpload | Self::UploadPart { .. } | Self::CompleteUpload { .. } => {
                RequiredAction::new("s3:PutObject", object)
            }
            Self::Delete => RequiredAction::new("s3:DeleteObject", object),
            Self::AbortUpload { .. } => RequiredAction::new("s3:AbortMultipartUpload", object),
            Self::List => target.list_action(),
        }
    }
}

impl Target {
    /// The IAM action that listing this bucket requires.
    pub fn list_action(&self) -> RequiredAction {
        RequiredAction::new("s3:ListBucket", format!("arn:aws:s3:::{}", self.bucket))
    }

    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// Reads a path-style request.
///
/// # Errors
/// The operation is not supported, or its parameters are malformed.
pub fn read(parts: &Parts) -> Result<(Operation, Target), AwsError> {
    let path = parts.uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let target = Target { bucket: decode(bucket)?, key: decode(key)?, parameters: parameters(parts)? };
    let is_unknown =
        |name: &&String| !PARAMETERS.contains(&name.as_str()) && !name.to_ascii_lowercase().starts_with("x-amz-");
    if let Some(unknown) = target.parameters.keys().find(is_unknown) {
        return Err(unsupported(&format!("the parameter {unknown}")));
    }
    if target.key.len() > 1024 {
        return Err(AwsError::new("KeyTooLongError", "Your key is too long"));
    }
    let operation = operation(&parts.method, &target)?;
    Ok((operation, target))
}

fn operation(method: &Method, target: &Target) -> Result<Operation, AwsError> {
    let upload = target.parameter("uploadId").map(str::to_owned);
    if target.key.is_empty() {
        return match (method, target.parameter("list-type")) {
            (&Method::GET, Some("2")) => Ok(Operation::List),
            _ => Err(unsupported(&format!("{method} of a bucket"))),
        };
    }
    match (method, upload) {
        (&Method::GET, None) => Ok(Operation::Get),
        (&Method::HEAD, None) => Ok(Operation::Head),
        (&Method::PUT, None) => Ok(Operation::Put),
        (&Method::DELETE, None) => Ok(Operation::Delete),
        (&Method::POST, None) if target.parameters.contains_key("uploads") => Ok(Operation::StartUpload),
        (&Method::PUT, Some(upload)) => Ok(Operation::UploadPart { upload, number: part_number(target)? }),
        (&Method::POST, Some(upload)) => Ok(Operation::CompleteUpload { upload }),
        (&Method::DELETE, Some(upload)) => Ok(Operation::AbortUpload { upload }),
        _ => Err(unsupported(&format!("{method} of an object"))),
    }
}

fn part_number(target: &Target) -> Result<u32, AwsError> {
    let number = target.parameter("partNumber").and_then(|text| text.parse().ok());
    number.filter(|number| (1..=10_000).contains(number)).ok_or_else(|| {
        AwsError::new("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive")
    })
}

fn parameters(parts: &Parts) -> Result<BTreeMap<String, String>, AwsError> {
    let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let each = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name)?, decode(value)?))
    });
    each.collect()
}

/// Decodes percent-encoded text.
fn decode(text: &str) -> Result<String, AwsError> {
    crate::signature::decode(text).ok_or_else(|| AwsError::new("InvalidURI", "Couldn't parse the specified URI."))
}

fn unsupported(what: &str) -> AwsError {
    AwsError::new("NotImplemented", format!("the local S3 does not support {what}"))
}
