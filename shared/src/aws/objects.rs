//! Objects in one S3 bucket: read by range, written whole or in parts, and presigned links for browsers. Calls S3 without its
//! SDK, as `service` calls SSM and SES.
//!
//! Calls are not retried here: the caller is a job, and jobs are retried. Every call may be repeated. Starting an upload
//! twice leaves an incomplete one, which the bucket's lifecycle rule removes.

use super::Aws;
use crate::error::Source;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_types::body::SdkBody;
pub use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// Timeout of one call, sufficient for a part of a few megabytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The objects of one bucket.
#[derive(Debug, Clone)]
pub struct Objects {
    aws: Aws,
    bucket: String,
}

/// The metadata of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Bytes.
    pub size: u64,
    /// Its ETag, quotes included. It changes with every byte.
    pub etag: String,
    /// Content type.
    pub content_type: String,
}

/// A presigned link. It permits what its signer's role permits, on this one object.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The permitted operation.
    pub kind: LinkKind<'a>,
    /// The object.
    pub key: &'a str,
    /// Its lifetime: at most a week, and never longer than that of the signing credentials.
    pub good_for: Duration,
}

/// The operation of a link.
#[derive(Debug, Clone, Copy)]
pub enum LinkKind<'a> {
    /// GET; a browser saves it under this name.
    Download {
        /// A plain file name: letters, digits, `-`, `_` and `.`.
        saved_as: &'a str,
    },
    /// PUT of exactly this many bytes of this type; S3 refuses any other.
    Upload {
        /// Bytes.
        length: u64,
        /// The required `Content-Type` of the upload.
        content_type: &'a str,
    },
}

/// S3's response, with any status.
struct StoredResponse {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Objects {
    /// The objects of this bucket.
    pub fn new(aws: Aws, bucket: String) -> Self {
        Self { aws, bucket }
    }

    /// The metadata of an object. `None` if it does not exist.
    ///
    /// # Errors
    /// When S3 refuses or does not respond.
    pub async fn head(&self, key: &str) -> Result<Option<Head>, Source> {
        let answer = self.call(Method::HEAD, key, "", &[], Bytes::new()).await?;
        match answer.status {
            404 => Ok(None),
            _ => answer.accepted("HeadObject")?.head().map(Some),
        }
    }

    /// The bytes of an object in `range`, as far as they exist. `None` if the object does not exist. With the tag of an
    /// earlier read, a changed object is an error instead of mixed content.
    ///
    /// # Errors
    /// When S3 refuses or does not respond.
    pub async fn read(&self, key: &str, range: Range<u64>, etag: Option<&str>) -> Result<Option<Vec<u8>>, Source> {
        if range.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let bytes = format!("bytes={}-{}", range.start, range.end - 1);
        let mut headers = vec![("range", bytes.as_str())];
        headers.extend(etag.map(|etag| ("if-match", etag)));
        let answer = self.call(Method::GET, key, "", &headers, Bytes::new()).await?;
        match (answer.status, answer.code().as_str()) {
            (404, "NoSuchKey") => Ok(None),
            // The range is beyond the end of the object.
            (416, _) => Ok(Some(Vec::new())),
            _ => Ok(Some(answer.accepted("GetObject")?.body)),
        }
    }

    /// Writes a whole object, replacing any existing one. Returns its tag.
    ///
    /// # Errors
    /// When S3 refuses or does not respond.
    pub async fn put(&self, key: &str, content_type: &str, bytes: impl Into<Bytes>) -> Result<String, Source> {
        let answer = self.call(Method::PUT, key, "", &[("content-type", content_type)], bytes.into()).await?;
        Ok(answer.accepted("PutObject")?.header("etag"))
    }

    /// Starts a multipart upload. Returns the upload's id.
    ///
    /// # Errors
    /// When S3 refuses or does not respond.
    pub async fn start_upload(&self, key: &str, content_type: &str) -> Result<String, Source> {
        let answer = self.call(Method::POST, key, "uploads=", &[("content-type", content_type)], Bytes::new()).await?;
        let answer = answer.accepted("CreateMultipartUpload")?;
        Ok(answer.element("UploadId").ok_or("the response to CreateMultipartUpload has no UploadId")?)
    }

    /// Uploads one part: number 1 to 10,000, and at least 5 MiB unless it is the last. Returns its tag. `None` if the upload
    /// does not exist any more.
    ///
    /// # Errors
    /// When S3 refuses or does not respond.
    pub async fn upload_part(
        &self,
        key: &str,
        upload: &str,
        number: u32,
        bytes: impl Into<Bytes>,
    ) -> Result<Option<String>, Source> {
        let query = format!("partNumber={number}&uploadId={}", encode(upload, false));
        let answer = self.call(Method::PUT, key, &query, &[], bytes.into()).await?;
        match answer.code().as_str() {
            "NoSuchUpload" => Ok(None),
            _ => Ok(Some(answer.accepted("UploadPart")?.header("etag"))),
        }
    }

    /// Completes an upload from these parts and tags, in this order. False if the upload does not exist any more: it was
    /// completed or aborted.
    ///
    /// # Errors
    /// When S3 refuses or does not respond.
    pub async fn complete_upload(&self, key: &str, upload: &str, parts: &[(u32, String)]) -> Result<bool, Source> {
        let part = |(number, etag): &(u32, String)| {
            let etag = etag.replace('"', "&quot;");
            format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>")
        };
        let parts: String = parts.iter().map(part).collect();
        let list = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let query = format!("uploadId={}", encode(upload, false));
        let answer = self.call(Method::POST, key, &query, &[], list.into()).await?;
        // S3 may answer 200 and still report an error in the body.
        match answer.code().as_str() {
            "" => answer.accepted("CompleteMultipartUpload").map(|_| true),
            "NoSuchUpload" => Ok(false),
            _ => Err(answer.refusal("CompleteMultipartUpload")),
        }
    }

    /// Signs a link. Sends nothing.
    ///
    /// # Errors
    /// When the lifetime would be less than a second or more than a week.
    pub fn link(&self, link: &Link<'_>, now: SystemTime) -> Result<String, Source> {
        let (method, query, headers) = link.parts();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if link.good_for < Duration::from_secs(1) || link.good_for > Duration::from_secs(604_800) {
            return Err("a link must be valid for at least a second and at most a week".into());
        }
        let mut settings = settings();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
        settings.expires_in = Some(link.good_for);
        let mut request = Request::builder().method(method).uri(self.address(link.key, &query)).body(())?;
        self.sign(&mut request, &headers, SignableBody::UnsignedPayload, settings, now)?;
        Ok(request.uri().to_string())
    }

    /// Path-style if the environment overrides the endpoint, else virtual-hosted.
    fn address(&self, key: &str, query: &str) -> String {
        let (bucket, key) = (&self.bucket, encode(key, true));
        let mark = if query.is_empty() { "" } else { "?" };
        match self.aws.endpoint("S3") {
            Some(base) => format!("{}/{bucket}/{key}{mark}{query}", base.trim_end_matches('/')),
            None => format!("https://{bucket}.s3.{}.amazonaws.com/{key}{mark}{query}", self.aws.region),
        }
    }

    async fn call(
        &self,
        method: Method,
        key: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<StoredResponse, Source> {
        let mut request = Request::builder().method(method).uri(self.address(key, query)).body(())?;
        for (name, value) in headers {
            request.headers_mut().insert(http::HeaderName::from_bytes(name.as_bytes())?, value.parse()?);
        }
        // S3 requires a length even for an empty body.
        request.headers_mut().insert(http::header::CONTENT_LENGTH, body.len().into());
        self.sign(&mut request, headers, SignableBody::Bytes(&body), settings(), SystemTime::now())?;
        crate::cost::trip();
        let answered = async {
            let response = self.aws.connector.call(request.map(|()| SdkBody::from(body)).try_into()?).await?;
            let response = response.try_into_http1x()?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await?.to_bytes().to_vec();
            Ok(StoredResponse { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        tokio::time::timeout(PATIENCE, answered).await.map_err(|_| "S3 did not answer in time")?
    }

    fn sign<B>(
        &self,
        request: &mut Request<B>,
        headers: &[(&str, &str)],
        body: SignableBody<'_>,
        settings: SigningSettings,
        now: SystemTime,
    ) -> Result<(), Source> {
        let identity = self.aws.credentials.clone().into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.aws.region)
            .name("s3")
            .time(now)
            .settings(settings)
            .build()?
            .into();
        let (method, uri) = (request.method().to_string(), request.uri().to_string());
        let signable = SignableRequest::new(&method, &uri, headers.iter().copied(), body)?;
        let (instructions, _signature) = sign(signable, &params)?.into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

impl Link<'_> {
    /// Method, query and the headers that the link's user must send.
    fn parts(&self) -> (Method, String, Vec<(&str, String)>) {
        match self.kind {
            LinkKind::Download { saved_as } => {
                let disposition = encode(&format!("attachment; filename=\"{saved_as}\""), false);
                (Method::GET, format!("response-content-disposition={disposition}"), Vec::new())
            }
            LinkKind::Upload { length, content_type } => {
                let headers = vec![("content-length", length.to_string()), ("content-type", content_type.to_owned())];
                (Method::PUT, String::new(), headers)
            }
        }
    }
}

impl StoredResponse {
    /// The response, if it is a success.
    fn accepted(self, operation: &str) -> Result<Self, Source> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(self.refusal(operation)) }
    }

    fn refusal(&self, operation: &str) -> Source {
        let message = self.element("Message").unwrap_or_default();
        format!("{operation} failed with {} {}: {message}", self.status, self.code()).into()
    }

    /// The error code. Empty if there is none.
    fn code(&self) -> String {
        self.element("Code").unwrap_or_default()
    }

    fn head(&self) -> Result<Head, Source> {
        let size = self.header("content-length").parse().map_err(|_| "the response to HeadObject has no length")?;
        Ok(Head { size, etag: self.header("etag"), content_type: self.header("content-type") })
    }

    fn header(&self, name: &str) -> String {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    }

    /// The text of an element of the XML response. The elements read contain neither markup nor entities. An object's own
    /// bytes are not an S3 response.
    fn element(&self, name: &str) -> Option<String> {
        if !self.header("content-type").contains("xml") || (200..300).contains(&self.status) && self.is_object() {
            return None;
        }
        let text = std::str::from_utf8(&self.body).ok()?;
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    }

    fn is_object(&self) -> bool {
        self.headers.contains_key("accept-ranges")
    }
}

/// S3 signs paths as they are sent, and requires the body's hash.
fn settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings
}

/// Percent-encoding as signatures require it: everything but letters, digits and `-._~`.
fn encode(text: &str, keeps_slashes: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keeps_slashes && byte == b'/');
    let each = text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") });
    each.collect()
}
