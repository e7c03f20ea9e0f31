//! S3, as far as the functions use it: objects are read and written whole, by range or in parts, also with presigned URLs.
//!
//! `request` (which operation on which object) -> `presigned` or the signature, and the caller's role -> `store` (metadata and
//! bytes) -> response. Bodies are streamed: no object is in memory as a whole.

mod body;
mod cors;
mod listing;
mod multipart;
mod presigned;
mod reading;
mod request;
mod store;
mod writing;
mod xml_response;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::response::Response;
use serde_json::Value;

pub use request::{Operation, Target, read};
pub use store::Summary;

use crate::aws_error::AwsError;
use crate::clock::Clock;
use crate::iam::Permissions;
use crate::service::authentication;
use crate::signature::SecretKeys;
use crate::template::{TemplateError, plain_text};
use cors::CorsRule;
use store::Store;
use xml_response::error_response;

/// How often expired objects are deleted; S3 does it once a day.
const SWEEP_EVERY: std::time::Duration = std::time::Duration::from_secs(3600);

/// A bucket.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// Name.
    pub name: String,
    /// CORS rules.
    pub cors: Vec<CorsRule>,
    /// Key prefixes, and the number of days after which their objects expire.
    pub expiry: Vec<(String, u64)>,
    /// The number of days after which incomplete uploads are deleted.
    pub incomplete: Option<u64>,
}

/// The service.
#[derive(Debug)]
pub struct Objects {
    store: Store,
    clock: Clock,
    keys: SecretKeys,
    buckets: std::sync::RwLock<Vec<Bucket>>,
}

impl Bucket {
    /// Reads a bucket's resolved properties.
    ///
    /// # Errors
    /// A rule contains something that is not supported.
    pub fn read(name: String, properties: &Value) -> Result<Self, TemplateError> {
        let rules = properties.pointer("/LifecycleConfiguration/Rules").and_then(Value::as_array);
        let rules = rules.into_iter().flatten().map(Lifecycle::read).collect::<Result<Vec<_>, _>>()?;
        let expiry = rules.iter().filter_map(|rule| Some((rule.prefix.clone(), rule.expires?))).collect();
        let incomplete = rules.iter().filter_map(|rule| rule.incomplete).min();
        Ok(Self { name, cors: CorsRule::read_all(properties)?, expiry, incomplete })
    }
}

/// A lifecycle rule.
struct Lifecycle {
    /// Key prefix.
    prefix: String,
    /// The number of days after which objects expire.
    expires: Option<u64>,
    /// The number of days after which incomplete uploads are deleted.
    incomplete: Option<u64>,
}

impl Lifecycle {
    fn read(rule: &Value) -> Result<Self, TemplateError> {
        let known = ["AbortIncompleteMultipartUpload", "ExpirationInDays", "Id", "Prefix", "Status"];
        let mut names = rule.as_object().into_iter().flat_map(serde_json::Map::keys);
        let incomplete = rule.pointer("/AbortIncompleteMultipartUpload/DaysAfterInitiation");
        let unknown = names.find(|name| !known.contains(&name.as_str()));
        // A prefix is not supported for incomplete uploads.
        let prefixed = (incomplete.is_some() && rule.get("Prefix").is_some()).then_some("Prefix");
        if let Some(unknown) = unknown.map(String::as_str).or(prefixed) {
            return Err(TemplateError::new("LifecycleConfiguration", unknown, "is not supported by the local cloud"));
        }
        let enabled = rule.get("Status").is_some_and(|status| status == "Enabled");
        let days = |days: Option<&Value>| days.filter(|_| enabled).and_then(|days| plain_text(days).parse().ok());
        let prefix = rule.get("Prefix").map(plain_text).unwrap_or_default();
        Ok(Self { prefix, expires: days(rule.get("ExpirationInDays")), incomplete: days(incomplete) })
    }
}

impl Objects {
    /// The service over the objects in the file at `path`, or an empty one in memory.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: Option<&std::path::Path>, clock: Clock, keys: SecretKeys) -> Result<Self, AwsError> {
        let store = Store::open(path, clock.now())?;
        Ok(Self { store, clock, keys, buckets: std::sync::RwLock::default() })
    }

    /// Creates a bucket, or updates its configuration.
    pub fn create_bucket(&self, bucket: Bucket) {
        let mut buckets = self.buckets.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        buckets.retain(|one| one.name != bucket.name);
        buckets.push(bucket);
    }

    /// The bucket that a path begins with.
    pub fn bucket_of(&self, path: &str) -> Option<Bucket> {
        let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let buckets = self.buckets.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        buckets.iter().find(|bucket| bucket.name == name).cloned()
    }

    /// Up to `limit` objects, newest first.
    ///
    /// # Errors
    /// The objects cannot be read.
    pub fn all(&self, limit: usize) -> Result<Vec<Summary>, AwsError> {
        self.store.newest(limit)
    }

    /// Deletes expired objects, incomplete uploads and unused bytes. Returns the number of deleted objects.
    ///
    /// # Errors
    /// The objects cannot be written.
    pub fn expire(&self) -> Result<usize, AwsError> {
        let buckets = self.buckets.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let now = self.clock.now();
        let rules = buckets.iter().flat_map(|bucket| bucket.expiry.iter().map(|rule| (bucket.name.as_str(), rule)));
        let removed = rules.map(|(bucket, (prefix, days))| {
            self.store.remove_older(bucket, prefix, now.saturating_sub(days * 86_400_000), now)
        });
        let removed = removed.sum::<Result<usize, AwsError>>()?;
        for bucket in &buckets {
            let Some(days) = bucket.incomplete else { continue };
            self.store.delete_uploads(&bucket.name, now.saturating_sub(days * 86_400_000), now)?;
        }
        self.store.sweep(now)?;
        Ok(removed)
    }

    /// Deletes expired objects periodically, for as long as it is polled.
    pub async fn keep_sweeping(&self) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        loop {
            ticks.tick().await;
            // An error is retried with the next tick.
            let _ = self.expire();
        }
    }

    /// Handles one request to a bucket, including CORS preflights.
    pub async fn handle(
        &self,
        bucket: &Bucket,
        parts: Parts,
        body: Body,
        permissions: Option<&Permissions>,
    ) -> Response {
        let origin = parts.headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).map(str::to_owned);
        if parts.method == Method::OPTIONS {
            return cors::preflight(&bucket.cors, &parts.headers);
        }
        let method = parts.method.clone();
        let mut response = match self.perform(&parts, body, permissions).await {
            Ok(response) => response,
            Err(error) => error_response(&error, parts.uri.path()),
        };
        if let Some(origin) = origin {
            cors::allow(&bucket.cors, &origin, &method, response.headers_mut());
        }
        response
    }

    async fn perform(
        &self,
        parts: &Parts,
        body: Body,
        permissions: Option<&Permissions>,
    ) -> Result<Response, AwsError> {
        let (operation, target) = request::read(parts)?;
        let caller = if presigned::is_presigned(parts) {
            presigned::verify(&self.keys, parts, self.clock.now())?
        } else if parts.headers.contains_key(header::ORIGIN) {
            // A web page has no access key: it can only use presigned URLs.
            return Err(AwsError::access_denied("web pages may only use presigned URLs"));
        } else {
            // The body is compared with its declared hash while it is stored.
            authentication::check(&self.keys, &["s3"], parts, None)
                .map_err(authentication::AuthenticationError::into_s3_error)?
        };
        let may_list = permissions.is_none_or(|all| all.check(&caller, &[target.list_action()]).is_ok());
        if let Some(permissions) = permissions {
            permissions
                .check(&caller, &[operation.required_action(&target)])
                .map_err(|error| AwsError::access_denied(&error.message))?;
        }
        let performed = self.dispatch(&operation, &target, parts, body).await;
        // A caller that may not list the bucket must not learn which objects exist.
        performed.map_err(|error| {
            if error.code == "NoSuchKey" && !may_list { AwsError::access_denied("Access Denied") } else { error }
        })
    }

    async fn dispatch(
        &self,
        operation: &Operation,
        target: &Target,
        parts: &Parts,
        body: Body,
    ) -> Result<Response, AwsError> {
        let now = self.clock.now();
        let store = &self.store;
        match operation {
            Operation::Get => reading::get(store, target, parts),
            Operation::Head => reading::head(store, target, parts),
            Operation::Put => writing::put(store, target, parts, body, now).await,
            Operation::Delete => writing::delete(store, target, now),
            Operation::List => listing::list(store, target),
            Operation::StartUpload => multipart::start(store, target, parts, now),
            Operation::UploadPart { upload, number } => {
                multipart::part(store, target, upload, *number, parts, body, now).await
            }
            Operation::CompleteUpload { upload } => multipart::complete(store, target, upload, parts, body, now).await,
            Operation::AbortUpload { upload } => multipart::abort(store, target, upload, now),
        }
    }
}
