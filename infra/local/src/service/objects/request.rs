//! What a request asks for: the operation, and the bucket, key and parameters it names.

use std::collections::BTreeMap;

use axum::http::Method;
use axum::http::request::Parts;

use super::super::fault::Fault;
use crate::permissions::Need;

/// Parameters that say how, and not what; everything else with a meaning in S3 that is not here is refused by name.
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

/// What can be asked for.
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

/// What it is asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The bucket.
    pub bucket: String,
    /// The key; empty for the bucket itself.
    pub key: String,
    /// The query's parameters, decoded.
    pub parameters: BTreeMap<String, String>,
}

impl Operation {
    /// Its name in S3's own reference.
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

    /// The action a role must allow.
    pub fn need(&self, target: &Target) -> Need {
        let object = format!("arn:aws:s3:::{}/{}", target.bucket, target.key);
        match self {
            Self::Get | Self::Head => Need::new("s3:GetObject", object),
            Self::Put | Self::StartUpload | Self::UploadPart { .. } | Self::CompleteUpload { .. } => {
                Need::new("s3:PutObject", object)
            }
            Self::Delete => Need::new("s3:DeleteObject", object),
            Self::AbortUpload { .. } => Need::new("s3:AbortMultipartUpload", object),
            Self::List => target.listing(),
        }
    }
}

impl Target {
    /// What listing this bucket needs.
    pub fn listing(&self) -> Need {
        Need::new("s3:ListBucket", format!("arn:aws:s3:::{}", self.bucket))
    }

    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// Reads a path-style request.
///
/// # Errors
/// The operation is none of those here, or its parameters are not legible.
pub fn read(parts: &Parts) -> Result<(Operation, Target), Fault> {
    let path = parts.uri.path().trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let target = Target { bucket: decode(bucket)?, key: decode(key)?, parameters: parameters(parts)? };
    let known =
        |name: &&String| !PARAMETERS.contains(&name.as_str()) && !name.to_ascii_lowercase().starts_with("x-amz-");
    if let Some(stranger) = target.parameters.keys().find(known) {
        return Err(not_here(&format!("the parameter {stranger}")));
    }
    if target.key.len() > 1024 {
        return Err(Fault::new("KeyTooLongError", "Your key is too long"));
    }
    let operation = operation(&parts.method, &target)?;
    Ok((operation, target))
}

fn operation(method: &Method, target: &Target) -> Result<Operation, Fault> {
    let upload = target.parameter("uploadId").map(str::to_owned);
    if target.key.is_empty() {
        return match (method, target.parameter("list-type")) {
            (&Method::GET, Some("2")) => Ok(Operation::List),
            _ => Err(not_here(&format!("{method} of a bucket"))),
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
        _ => Err(not_here(&format!("{method} of an object"))),
    }
}

fn part_number(target: &Target) -> Result<u32, Fault> {
    let number = target.parameter("partNumber").and_then(|text| text.parse().ok());
    number
        .filter(|number| (1..=10_000).contains(number))
        .ok_or_else(|| Fault::new("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive"))
}

fn parameters(parts: &Parts) -> Result<BTreeMap<String, String>, Fault> {
    let pairs = parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let each = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((decode(name)?, decode(value)?))
    });
    each.collect()
}

/// Percent-encoded text made plain.
fn decode(text: &str) -> Result<String, Fault> {
    crate::signature::decode(text).ok_or_else(|| Fault::new("InvalidURI", "Couldn't parse the specified URI."))
}

fn not_here(what: &str) -> Fault {
    Fault::new("NotImplemented", format!("the local S3 does not do {what}"))
}
