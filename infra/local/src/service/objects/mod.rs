//! S3, as far as the functions use it: objects put and got whole, by range or in parts, and links that need no signature
//! of their own.
//!
//! request (which operation on which object) -> presigned (is the link as it was signed) and the caller's role -> store
//! (metadata and bytes) -> answer. Bodies pass through in pieces: no object is ever in memory whole.

mod answer;
mod body;
mod cors;
mod listing;
mod multipart;
mod presigned;
mod reading;
mod request;
mod store;
mod writing;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::response::Response;
use serde_json::Value;

pub use cors::CorsRule;
pub use request::{Operation, Target, read};
pub use store::Summary;

use super::fault::Fault;
use crate::clock::Clock;
use crate::permissions::Permissions;
use crate::service::authentic;
use crate::signature::Keys;
use crate::template::{Refusal, plain_text};
use answer::refuse;
use store::Store;

/// How often objects past their expiry are removed; S3 does it once a day.
const SWEEP_EVERY: std::time::Duration = std::time::Duration::from_secs(3600);

/// A bucket that stands.
#[derive(Debug, Clone, Default)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Which pages may ask for what.
    pub cors: Vec<CorsRule>,
    /// After how many days its objects expire, by the beginning of their keys.
    pub expiry: Vec<(String, u64)>,
    /// After how many days uploads that nobody completed go, if they do.
    pub abandoned: Option<u64>,
}

/// The service.
#[derive(Debug)]
pub struct Objects {
    store: Store,
    clock: Clock,
    keys: Keys,
    buckets: std::sync::RwLock<Vec<Bucket>>,
}

impl Bucket {
    /// Reads a bucket's resolved properties.
    ///
    /// # Errors
    /// A rule holds what cannot be honoured here.
    pub fn read(name: String, properties: &Value) -> Result<Self, Refusal> {
        let rules = properties.pointer("/LifecycleConfiguration/Rules").and_then(Value::as_array);
        let rules = rules.into_iter().flatten().map(Lifecycle::read).collect::<Result<Vec<_>, _>>()?;
        let expiry = rules.iter().filter_map(|rule| Some((rule.prefix.clone(), rule.expires?))).collect();
        let abandoned = rules.iter().filter_map(|rule| rule.abandoned).min();
        Ok(Self { name, cors: CorsRule::read_all(properties)?, expiry, abandoned })
    }
}

/// A lifecycle rule.
struct Lifecycle {
    /// What its keys begin with.
    prefix: String,
    /// After how many days its objects go.
    expires: Option<u64>,
    /// After how many days uploads go that nobody completed.
    abandoned: Option<u64>,
}

impl Lifecycle {
    fn read(rule: &Value) -> Result<Self, Refusal> {
        let known = ["AbortIncompleteMultipartUpload", "ExpirationInDays", "Id", "Prefix", "Status"];
        let mut names = rule.as_object().into_iter().flat_map(serde_json::Map::keys);
        let abandoned = rule.pointer("/AbortIncompleteMultipartUpload/DaysAfterInitiation");
        let stranger = names.find(|name| !known.contains(&name.as_str()));
        // Which uploads a prefix is about is not looked at here.
        let prefixed = (abandoned.is_some() && rule.get("Prefix").is_some()).then_some("Prefix");
        if let Some(stranger) = stranger.map(String::as_str).or(prefixed) {
            return Err(Refusal::new("LifecycleConfiguration", stranger, "cannot be honoured here"));
        }
        let enabled = rule.get("Status").is_some_and(|status| status == "Enabled");
        let days = |days: Option<&Value>| days.filter(|_| enabled).and_then(|days| plain_text(days).parse().ok());
        let prefix = rule.get("Prefix").map(plain_text).unwrap_or_default();
        Ok(Self { prefix, expires: days(rule.get("ExpirationInDays")), abandoned: days(abandoned) })
    }
}

impl Objects {
    /// The service over the objects kept at `path`, or none, in memory.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: Option<&std::path::Path>, clock: Clock, keys: Keys) -> Result<Self, Fault> {
        let store = Store::open(path, clock.now())?;
        Ok(Self { store, clock, keys, buckets: std::sync::RwLock::default() })
    }

    /// Makes a bucket, or takes on what the template now says of it.
    pub fn make(&self, bucket: Bucket) {
        let mut buckets = self.buckets.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        buckets.retain(|one| one.name != bucket.name);
        buckets.push(bucket);
    }

    /// The bucket a path leads to, if it is one.
    pub fn bucket_of(&self, path: &str) -> Option<Bucket> {
        let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let buckets = self.buckets.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        buckets.iter().find(|bucket| bucket.name == name).cloned()
    }

    /// All objects, newest first, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn all(&self, limit: usize) -> Result<Vec<Summary>, Fault> {
        self.store.newest(limit)
    }

    /// Removes objects past their bucket's expiry, and what replaced objects left behind. Returns how many objects.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn expire(&self) -> Result<usize, Fault> {
        let buckets = self.buckets.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let now = self.clock.now();
        let rules = buckets.iter().flat_map(|bucket| bucket.expiry.iter().map(|rule| (bucket.name.as_str(), rule)));
        let removed = rules.map(|(bucket, (prefix, days))| {
            self.store.remove_older(bucket, prefix, now.saturating_sub(days * 86_400_000), now)
        });
        let removed = removed.sum::<Result<usize, Fault>>()?;
        for bucket in &buckets {
            let Some(days) = bucket.abandoned else { continue };
            self.store.abandon(&bucket.name, now.saturating_sub(days * 86_400_000), now)?;
        }
        self.store.sweep(now)?;
        Ok(removed)
    }

    /// Expires now and then, for as long as it is polled.
    pub async fn keep_sweeping(&self) {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        loop {
            ticks.tick().await;
            // What cannot be removed now is removed later.
            let _ = self.expire();
        }
    }

    /// Answers one request to a bucket, the browser's questions about it included.
    pub async fn answer(
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
            Err(fault) => refuse(&fault, parts.uri.path()),
        };
        if let Some(origin) = origin {
            cors::allow(&bucket.cors, &origin, &method, response.headers_mut());
        }
        response
    }

    async fn perform(&self, parts: &Parts, body: Body, permissions: Option<&Permissions>) -> Result<Response, Fault> {
        let (operation, target) = request::read(parts)?;
        let caller = if presigned::is(parts) {
            presigned::check(&self.keys, parts, self.clock.now())?
        } else if parts.headers.contains_key(header::ORIGIN) {
            // A page holds no key of its own: all it can have been given is a link.
            return Err(denied("a page may only use presigned links"));
        } else {
            // The body is held against its announced hash while it is kept.
            authentic::check(&self.keys, &["s3"], parts, None).map_err(authentic::Refused::into_s3_fault)?
        };
        let may_list = permissions.is_none_or(|all| all.check(&caller, &[target.listing()]).is_ok());
        if let Some(permissions) = permissions {
            permissions.check(&caller, &[operation.need(&target)]).map_err(|fault| denied(&fault.message))?;
        }
        let performed = self.dispatch(&operation, &target, parts, body).await;
        // Whoever may not list must not learn what is there.
        performed.map_err(|fault| if fault.code == "NoSuchKey" && !may_list { denied("Access Denied") } else { fault })
    }

    async fn dispatch(
        &self,
        operation: &Operation,
        target: &Target,
        parts: &Parts,
        body: Body,
    ) -> Result<Response, Fault> {
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

fn denied(why: &str) -> Fault {
    Fault::new("AccessDenied", why)
}
