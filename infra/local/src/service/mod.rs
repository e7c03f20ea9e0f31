//! One loopback address for all of AWS: every SDK call arrives here and goes to the service it names.
//!
//! Front door (no page, no foreign name) -> who calls, proven by the signature -> tables (DynamoDB and Streams), queues (SQS), parameters (SSM), mail (SES), objects
//! (S3), or, for what another endpoint serves, on to there.

pub(crate) mod authentic;
pub(crate) mod connections;
mod fault;
pub mod faults;
pub mod hold;
pub mod mail;
pub mod objects;
mod operands;
pub mod parameters;
pub mod queues;
pub mod state;
pub mod tables;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use authentic::Refused;
pub use fault::Fault;

use crate::client::Client;
use crate::host;
use crate::permissions::{Caller, Need, Permissions, of_call, of_mail};
use crate::signature::{CLOUD, Keys};
use faults::{Befalls, Cut, Faults};
use mail::Mails;
use objects::Objects;
use parameters::Parameters;
use queues::Queues;
use tables::Tables;

/// DynamoDB's own limit on a request, the largest of the services here.
const MAXIMUM_BODY: usize = 16 * 1024 * 1024;

/// Where errors live that every service has, and those of SES.
const SERVICE: &str = "com.amazon.coral.service";
const MAIL: &str = "com.amazonaws.sesv2";

/// An AWS service that can be served from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// DynamoDB and DynamoDB Streams.
    Tables,
    /// SQS.
    Queues,
    /// SSM Parameter Store.
    Parameters,
}

/// All services behind the one address.
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
    /// Services that another endpoint serves, and its address.
    pub elsewhere: BTreeMap<Service, String>,
    /// DynamoDB and its streams.
    pub tables: Tables,
    /// Client for what is served elsewhere.
    pub client: Client,
    /// The secrets that calls are signed with.
    pub keys: Keys,
    /// The functions' roles, once the template has been executed.
    pub permissions: OnceLock<Permissions>,
    /// What is made to go wrong.
    pub faults: Faults,
    /// Moves whenever something was written to a table.
    pub writes: watch::Sender<u64>,
}

impl Services {
    /// Serves on `listener` until `stop` is dropped or sent to.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: oneshot::Receiver<()>) {
        connections::serve(listener, stop, move |request| {
            let services = Arc::clone(&self);
            async move { services.front_door(request).await }
        })
        .await;
    }

    async fn front_door(&self, request: Request) -> Result<Response, Cut> {
        // A bucket says itself which pages may use its links.
        let for_pages = self.objects.bucket_of(request.uri().path()).is_some();
        if !host::is_this_machine(request.headers(), request.uri()) {
            return Ok((StatusCode::FORBIDDEN, host::REFUSAL).into_response());
        }
        // SDKs say nothing of pages. A browser does, whatever page is open: no page may speak for the developer.
        if !for_pages && host::is_from_a_page(request.headers()) {
            return Ok((StatusCode::FORBIDDEN, "this address is for SDKs, not for browsers\n").into_response());
        }
        let request = if for_pages {
            request
        } else {
            match self.authenticated(request).await {
                Ok(request) => request,
                Err(refused) => return Ok(refused),
            }
        };
        let (parts, body) = request.into_parts();
        let befalls = self.faults.befalls(&parts, self.permissions.get());
        let request = Request::from_parts(parts, body);
        match befalls {
            Some(Befalls::Mishap(mishap)) => mishap.strike(request, async |request| self.answer(request).await).await,
            Some(Befalls::Hold(gate)) => {
                gate.pass().await;
                Ok(self.answer(request).await)
            }
            None => Ok(self.answer(request).await),
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        if let Some(bucket) = self.objects.bucket_of(parts.uri.path()) {
            return self.objects.answer(&bucket, parts, body, self.permissions.get()).await;
        }
        let Ok(body) = to_bytes(body, MAXIMUM_BODY).await else { return too_large() };
        let Some(caller) = parts.extensions.get::<Caller>() else {
            return Refused::Missing.into_fault().into_answer(SERVICE);
        };
        if is_mail(&parts) {
            return match self.check(caller, &body, |body, _| Ok(of_mail(body))) {
                Ok(()) => as_json(self.mails.send(&body), MAIL, "application/json"),
                Err(denied) => (StatusCode::FORBIDDEN, denied.into_answer(MAIL)).into_response(),
            };
        }
        self.call(&parts, caller, body).await
    }

    /// The same request with whom it is proven to be from among its extensions. Buckets see to that by themselves: their
    /// bodies are not read whole, and their links are signed otherwise.
    async fn authenticated(&self, request: Request) -> Result<Request, Response> {
        let (mut parts, body) = request.into_parts();
        let body = to_bytes(body, MAXIMUM_BODY).await.map_err(|_| too_large())?;
        let scopes: &[&str] = match asked(&parts) {
            _ if is_mail(&parts) => &["ses"],
            Some((Service::Tables, _)) => &["dynamodb"],
            Some((Service::Queues, _)) => &["sqs"],
            Some((Service::Parameters, _)) => &["ssm"],
            None => &["dynamodb", "sqs", "ssm"],
        };
        match authentic::check(&self.keys, scopes, &parts, Some(&body)) {
            Ok(caller) => {
                parts.extensions.insert(caller);
                Ok(Request::from_parts(parts, Body::from(body)))
            }
            Err(refused) if is_mail(&parts) => {
                Err((StatusCode::FORBIDDEN, refused.into_fault().into_answer(MAIL)).into_response())
            }
            Err(refused) => Err(refused.into_fault().into_answer(SERVICE)),
        }
    }

    /// Answers a call of one of the JSON protocols, which name what they want in a header.
    async fn call(&self, parts: &Parts, caller: &Caller, body: Bytes) -> Response {
        let target = target(parts);
        let Some((service, action)) = asked(parts) else {
            let why = format!("no service here answers {} {} {target}", parts.method, parts.uri.path());
            return Fault::new("UnknownOperationException", why).into_answer("com.amazonaws");
        };
        if let Err(denied) = self.check(caller, &body, |body, known| of_call(target, body, known.standing())) {
            return denied.into_answer(SERVICE);
        }
        if service == Service::Tables
            && let Err(refused) = operands::check(&body)
        {
            return refused.into_answer("com.amazon.coral.validate");
        }
        match (service, self.elsewhere.get(&service)) {
            (_, Some(address)) => self.pass_on(service, address, action, &parts.headers, body).await,
            (Service::Tables, None) => {
                let response = self.tables.answer(action, &body);
                self.tell_of(action);
                response
            }
            (Service::Queues, None) => {
                as_json(self.queues.answer(action, &body).await, "com.amazonaws.sqs", "application/x-amz-json-1.0")
            }
            (Service::Parameters, None) => {
                as_json(self.parameters.answer(action, &body), "com.amazonaws.ssm", "application/x-amz-json-1.1")
            }
        }
    }

    /// Wakes whoever follows the tables, where this call may have written to one.
    fn tell_of(&self, action: &str) {
        if tables::writes(action) {
            self.writes.send_modify(|count| *count += 1);
        }
    }

    /// Holds a call against the caller's role, where it has one.
    fn check(
        &self,
        caller: &Caller,
        body: &[u8],
        needs: impl FnOnce(&Value, &Permissions) -> Result<Vec<Need>, Fault>,
    ) -> Result<(), Fault> {
        match self.permissions.get().filter(|permissions| permissions.bind(caller)) {
            Some(permissions) => permissions.check(caller, &needs(&serde_json::from_slice(body)?, permissions)?),
            None => Ok(()),
        }
    }

    async fn pass_on(
        &self,
        service: Service,
        address: &str,
        action: &str,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response {
        match self.client.pass_on(address, &as_the_cloud(headers), body).await {
            Ok((status, headers, body)) => {
                match service {
                    Service::Tables => self.tell_of(action),
                    Service::Queues => self.queues.announce(),
                    Service::Parameters => {}
                }
                let mut response = (status, body).into_response();
                *response.headers_mut() = headers;
                response
            }
            Err(error) => (StatusCode::BAD_GATEWAY, format!("{address} does not answer: {error}")).into_response(),
        }
    }
}

/// Whether a request is to the one route of SES that there is.
fn is_mail(parts: &Parts) -> bool {
    parts.method == Method::POST && parts.uri.path() == "/v2/email/outbound-emails"
}

/// What the JSON protocols name an operation in.
fn target(parts: &Parts) -> &str {
    parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default()
}

/// The service and the operation a request names, where it is one of those here.
fn asked(parts: &Parts) -> Option<(Service, &str)> {
    let (prefix, action) = target(parts).split_once('.')?;
    Some((service_of(prefix)?, action))
}

fn too_large() -> Response {
    Fault::new("RequestTooLarge", "the request is larger than any service takes").into_answer("com.amazonaws")
}

fn service_of(prefix: &str) -> Option<Service> {
    match prefix {
        "DynamoDB_20120810" | "DynamoDBStreams_20120810" => Some(Service::Tables),
        "AmazonSQS" => Some(Service::Queues),
        "AmazonSSM" => Some(Service::Parameters),
        _ => None,
    }
}

/// The same headers, signed for by the cloud's own key: some emulators keep apart what different keys made.
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

fn as_json(answer: Result<Value, Fault>, namespace: &str, content_type: &'static str) -> Response {
    match answer {
        Ok(value) => {
            let mut response = Response::new(Body::from(value.to_string()));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            response
        }
        Err(fault) => fault.into_answer(namespace),
    }
}
