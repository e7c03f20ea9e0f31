//! The AWS services, all at one loopback address.
//!
//! Host and origin check -> authentication (the signature) -> IAM -> `tables` (DynamoDB and DynamoDB Streams), `queues` (SQS),
//! `parameters` (SSM), `mail` (SES), `objects` (S3), or the external endpoint that serves the service.

pub(crate) mod authentication;
mod condition_expressions;
mod connections;
pub mod fault_injection;
pub mod mail;
pub mod objects;
pub mod parameters;
pub mod pause;
mod protocol;
pub mod queues;
pub mod tables;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

pub use protocol::Service;

use crate::aws_error::AwsError;
use crate::http_client::HttpClient;
use crate::iam::{Caller, Permissions, RequiredAction, required_by_call, required_by_mail};
use crate::origin_check;
use crate::signature::{CLOUD, SecretKeys};
use authentication::AuthenticationError;
use connections::ConnectionClosed;
use fault_injection::{FaultInjector, Injection};
use mail::Mails;
use objects::Objects;
use parameters::Parameters;
use protocol::{MAXIMUM_BODY, is_send_email, json_response, operation, target, too_large};
use queues::Queues;
use tables::Tables;

/// Namespaces of the errors that all services share, and of SES's errors.
const SERVICE: &str = "com.amazon.coral.service";
const MAIL: &str = "com.amazonaws.sesv2";

/// All services.
#[derive(Debug)]
pub struct Services {
    /// SQS.
    pub queues: Queues,
    /// SES.
    pub mails: Mails,
    /// SSM.
    pub parameters: Parameters,
    /// S3.
    pub objects: Objects,
    /// The services that an external endpoint serves, and its URL.
    pub external: BTreeMap<Service, String>,
    /// DynamoDB and DynamoDB Streams.
    pub tables: Tables,
    /// Client of the external endpoint.
    pub client: HttpClient,
    /// Secrets of the access keys.
    pub keys: SecretKeys,
    /// The functions' roles; set when the template has been executed.
    pub permissions: OnceLock<Permissions>,
    /// Faults that tests inject.
    pub faults: FaultInjector,
    /// Changes whenever a table was written.
    pub writes: watch::Sender<u64>,
}

impl Services {
    /// Serves on `listener` until `stop` is dropped or receives a message.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: oneshot::Receiver<()>) {
        connections::serve(listener, stop, move |request| {
            let services = Arc::clone(&self);
            async move { services.handle(request).await }
        })
        .await;
    }

    async fn handle(&self, request: Request) -> Result<Response, ConnectionClosed> {
        // Pages may use a bucket's presigned URLs: its CORS rules decide which.
        let is_bucket = self.objects.bucket_of(request.uri().path()).is_some();
        if !origin_check::is_local_host(request.headers(), request.uri()) {
            return Ok((StatusCode::FORBIDDEN, origin_check::FORBIDDEN_HOST).into_response());
        }
        // SDKs do not send these headers, browsers do: no web page may call the services.
        if !is_bucket && origin_check::is_from_browser(request.headers()) {
            return Ok((StatusCode::FORBIDDEN, "this address is for SDKs, not for browsers\n").into_response());
        }
        let request = if is_bucket {
            request
        } else {
            match self.authenticate(request).await {
                Ok(request) => request,
                Err(response) => return Ok(response),
            }
        };
        let (parts, body) = request.into_parts();
        let injection = self.faults.next_injection(&parts, self.permissions.get());
        let request = Request::from_parts(parts, body);
        match injection {
            Some(Injection::Fault(fault)) => fault.inject(request, async |request| self.perform(request).await).await,
            Some(Injection::Pause(gate)) => {
                gate.wait().await;
                Ok(self.perform(request).await)
            }
            None => Ok(self.perform(request).await),
        }
    }

    async fn perform(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        if let Some(bucket) = self.objects.bucket_of(parts.uri.path()) {
            return self.objects.handle(&bucket, parts, body, self.permissions.get()).await;
        }
        let Ok(body) = to_bytes(body, MAXIMUM_BODY).await else { return too_large() };
        let Some(caller) = parts.extensions.get::<Caller>() else {
            return AuthenticationError::Missing.into_error().into_response(SERVICE);
        };
        if is_send_email(&parts) {
            return match self.check(caller, &body, |body, _| Ok(required_by_mail(body))) {
                Ok(()) => json_response(self.mails.send(&body), MAIL, "application/json"),
                Err(denied) => (StatusCode::FORBIDDEN, denied.into_response(MAIL)).into_response(),
            };
        }
        self.call(&parts, caller, body).await
    }

    /// Verifies the signature and adds the caller to the request's extensions. Requests to buckets are authenticated by
    /// [`Objects`]: their bodies are streamed, and presigned URLs are signed differently.
    async fn authenticate(&self, request: Request) -> Result<Request, Response> {
        let (mut parts, body) = request.into_parts();
        let body = to_bytes(body, MAXIMUM_BODY).await.map_err(|_| too_large())?;
        let scopes: &[&str] = match operation(&parts) {
            _ if is_send_email(&parts) => &["ses"],
            Some((Service::Tables, _)) => &["dynamodb"],
            Some((Service::Queues, _)) => &["sqs"],
            Some((Service::Parameters, _)) => &["ssm"],
            None => &["dynamodb", "sqs", "ssm"],
        };
        match authentication::check(&self.keys, scopes, &parts, Some(&body)) {
            Ok(caller) => {
                parts.extensions.insert(caller);
                Ok(Request::from_parts(parts, Body::from(body)))
            }
            Err(error) if is_send_email(&parts) => {
                Err((StatusCode::FORBIDDEN, error.into_error().into_response(MAIL)).into_response())
            }
            Err(error) => Err(error.into_error().into_response(SERVICE)),
        }
    }

    /// Performs a call of one of the JSON protocols.
    async fn call(&self, parts: &Parts, caller: &Caller, body: Bytes) -> Response {
        let target = target(parts);
        let Some((service, action)) = operation(parts) else {
            let why = format!("no local service has the operation {target:?} ({} {})", parts.method, parts.uri.path());
            return AwsError::new("UnknownOperationException", why).into_response("com.amazonaws");
        };
        if let Err(denied) =
            self.check(caller, &body, |body, permissions| required_by_call(target, body, permissions.resources()))
        {
            return denied.into_response(SERVICE);
        }
        if service == Service::Tables
            && let Err(error) = condition_expressions::check(&body)
        {
            return error.into_response("com.amazon.coral.validate");
        }
        match (service, self.external.get(&service)) {
            (_, Some(address)) => self.forward(service, address, action, &parts.headers, body).await,
            (Service::Tables, None) => {
                let response = self.tables.call(action, &body);
                self.notify_writes(action);
                response
            }
            (Service::Queues, None) => {
                json_response(self.queues.call(action, &body).await, "com.amazonaws.sqs", "application/x-amz-json-1.0")
            }
            (Service::Parameters, None) => {
                json_response(self.parameters.call(action, &body), "com.amazonaws.ssm", "application/x-amz-json-1.1")
            }
        }
    }

    /// Wakes the stream event sources if this operation may have written to a table.
    fn notify_writes(&self, action: &str) {
        if tables::writes(action) {
            self.writes.send_modify(|count| *count += 1);
        }
    }

    /// Checks a call against the caller's role, if it has one.
    fn check(
        &self,
        caller: &Caller,
        body: &[u8],
        required_actions: impl FnOnce(&Value, &Permissions) -> Result<Vec<RequiredAction>, AwsError>,
    ) -> Result<(), AwsError> {
        match self.permissions.get().filter(|permissions| permissions.applies_to(caller)) {
            Some(permissions) => {
                permissions.check(caller, &required_actions(&serde_json::from_slice(body)?, permissions)?)
            }
            None => Ok(()),
        }
    }

    async fn forward(
        &self,
        service: Service,
        address: &str,
        action: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response {
        match self.client.forward(address, &as_the_cloud(headers), body).await {
            Ok((status, headers, body)) => {
                match service {
                    Service::Tables => self.notify_writes(action),
                    Service::Queues => self.queues.notify_receivers(),
                    Service::Parameters => {}
                }
                let mut response = (status, body).into_response();
                *response.headers_mut() = headers;
                response
            }
            Err(error) => {
                (StatusCode::BAD_GATEWAY, format!("the external endpoint {address} cannot be reached: {error}"))
                    .into_response()
            }
        }
    }
}

/// The same headers with the cloud's own access key: some emulators separate the resources of different access keys.
fn as_the_cloud(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    let signed = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let renamed = signed.and_then(|text| {
        let (before, credential) = text.split_once("Credential=")?;
        let (_, scope) = credential.split_once('/')?;
        HeaderValue::from_str(&format!("{before}Credential={CLOUD}/{scope}")).ok()
    });
    if let Some(renamed) = renamed {
        headers.insert(header::AUTHORIZATION, renamed);
    }
    headers
}
