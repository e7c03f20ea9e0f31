//! The local cloud: its services run, the template is executed, and its event sources can be polled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::aws_client::AwsClient;
use crate::aws_error::AwsError;
use crate::clock::Clock;
use crate::data_folder::DataFolder;
use crate::database::Database;
use crate::deploy::{Deployer, Deployment, STACK};
use crate::event_source::{self, EventSource, Invoke, PollMode};
use crate::external_endpoint;
use crate::http_client::{CallError, HttpClient};
use crate::iam::{Grant, Permissions, access_key};
use crate::poller::Poller;
use crate::queue_depth::{self, QueueDepth};
use crate::service::fault_injection::FaultInjector;
use crate::service::mail::{self, Mail, Mails};
use crate::service::objects::{Objects, Summary};
use crate::service::parameters::{self, Parameters};
use crate::service::queues::{self, Queues};
use crate::service::tables::Tables;
use crate::service::{Service, Services};
use crate::signature::{CLOUD, SecretKeys, Signer};
use crate::start_error::StartError;
use crate::template::{Function, REGION, Route, Template};

/// Schemas of the tables in the services' database.
const SCHEMAS: [&str; 4] = [queues::SCHEMA, mail::SCHEMA, parameters::SCHEMA, event_source::SCHEMA];

/// Options of a local cloud.
#[derive(Debug)]
pub struct Options {
    /// The template to execute.
    pub template: Template,
    /// Values of the template's parameters; the others keep their defaults.
    pub parameters: BTreeMap<String, String>,
    /// Where data is stored.
    pub data: Data,
    /// URL of an external AWS-compatible endpoint, used for every service that it serves.
    pub endpoint: Option<String>,
    /// The clock.
    pub clock: Clock,
    /// URL of the HTTP API, for templates that refer to it.
    pub api: String,
    /// Maximum concurrent invocations of one queue's function; the template may set a lower limit.
    pub concurrency: usize,
}

impl Options {
    /// A cloud in memory with the template's default parameters, for tests.
    pub fn in_memory(template: Template) -> Self {
        Self {
            template,
            parameters: BTreeMap::new(),
            data: Data::Memory,
            endpoint: None,
            clock: Clock::system(),
            api: "http://127.0.0.1:9000".into(),
            concurrency: 1,
        }
    }
}

/// Where a cloud stores its data.
#[derive(Debug)]
pub enum Data {
    /// In memory, until the cloud is stopped.
    Memory,
    /// In a data folder.
    Folder(DataFolder),
}

/// A running local cloud. Dropping it stops it; acknowledged writes are stored.
#[derive(Debug)]
pub struct LocalCloud {
    aws: AwsClient,
    services: Arc<Services>,
    tables: Tables,
    deployment: Deployment,
    concurrency: usize,
    server: (oneshot::Sender<()>, JoinHandle<()>),
    _folder: Option<DataFolder>,
}

impl LocalCloud {
    /// Starts the services and executes the template.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let folder = match options.data {
            Data::Memory => None,
            Data::Folder(folder) => Some(folder),
        };
        let file = |name: &str| folder.as_ref().map(|folder| folder.file(name));
        let scope = options.template.scope(STACK, &options.parameters).map_err(StartError::Template)?;
        let client = HttpClient::default();
        let database = Database::open(file("services.db").as_deref(), &SCHEMAS)
            .map_err(|error| StartError::Service(error.to_string()))?;
        let database = Arc::new(database);
        let keys = SecretKeys::new(database.secret("access-keys")?);
        let signer = keys.signer(CLOUD);
        let external = match &options.endpoint {
            Some(endpoint) => external_endpoint::probe(&client, &signer, endpoint).await?,
            None => BTreeMap::new(),
        };
        let tables = Tables::open(file("tables.db").as_deref(), options.clock.clone()).map_err(StartError::Service)?;
        let (listener, endpoint) = listen().await?;
        let locks_groups = external.contains_key(&Service::Queues);

        let services = Arc::new(Services {
            queues: Queues::new(Arc::clone(&database), options.clock.clone(), endpoint.clone())?,
            mails: Mails::new(Arc::clone(&database), options.clock.clone()),
            parameters: Parameters::new(Arc::clone(&database), options.clock.clone()),
            external,
            tables: tables.clone(),
            client: client.clone(),
            keys: keys.clone(),
            objects: Objects::open(file("objects.db").as_deref(), options.clock.clone(), keys.clone())?,
            permissions: OnceLock::new(),
            faults: FaultInjector::default(),
            writes: watch::Sender::new(0),
        });
        let server = serve(|stop| Arc::clone(&services).serve(listener, stop));
        let aws = AwsClient { client, endpoint, keys, signer, clock: options.clock };
        let deployer =
            Deployer { template: &options.template, scope, aws: &aws, database, api: &options.api, locks_groups };
        let deployment = deployer.deploy().await?;
        deployment.buckets.iter().cloned().for_each(|bucket| services.objects.create_bucket(bucket));
        let permissions = deployment.permissions().map_err(StartError::Template)?;
        let _ = services.permissions.set(permissions);
        Ok(Self { aws, services, tables, deployment, concurrency: options.concurrency.max(1), server, _folder: folder })
    }

    /// URL of all AWS services, for SDKs.
    pub fn endpoint(&self) -> &str {
        &self.aws.endpoint
    }

    /// The environment variables of the function with this binary: those of the template, the endpoint, and the access key that
    /// identifies the function and its role.
    pub fn environment(&self, function: &str) -> BTreeMap<String, String> {
        let declared = self.deployment.functions.iter().find(|declared| declared.binary == function);
        let key = access_key(function);
        let mut environment = declared.map(|declared| declared.environment.clone()).unwrap_or_default();
        let sdk = [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", &key),
            ("AWS_SECRET_ACCESS_KEY", &self.aws.keys.secret(&key)),
        ];
        environment.extend(sdk.map(|(name, value)| (name.to_owned(), value.to_owned())));
        environment
    }

    /// The template's functions.
    pub fn functions(&self) -> &[Function] {
        &self.deployment.functions
    }

    /// The template's HTTP routes, sorted by path.
    pub fn routes(&self) -> Vec<Route> {
        let mut routes: Vec<_> = self.functions().iter().flat_map(Function::routes).cloned().collect();
        routes.sort();
        routes
    }

    /// Names of the tables.
    pub fn tables(&self) -> &[String] {
        &self.deployment.tables
    }

    /// Names of the queues.
    pub fn queues(&self) -> impl Iterator<Item = &str> {
        self.deployment.queues.iter().map(|queue| queue.name.as_str())
    }

    /// Functions whose stream event source has read records that are not done, such as those that wait for a retry.
    pub fn behind(&self) -> BTreeSet<&str> {
        let streams = self.deployment.event_sources.iter().filter_map(|source| match source {
            EventSource::Stream(stream) => Some(stream),
            EventSource::Queue(_) => None,
        });
        streams.filter(|stream| stream.is_behind()).map(|stream| stream.function.as_str()).collect()
    }

    /// The services that the external endpoint serves, with its URL.
    pub fn external_services(&self) -> impl Iterator<Item = (Service, &str)> {
        self.services.external.iter().map(|(service, address)| (*service, address.as_str()))
    }

    /// All sent mail, newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn mails(&self) -> Result<Vec<Mail>, AwsError> {
        self.services.mails.all()
    }

    /// Deletes all mail.
    ///
    /// # Errors
    /// The database cannot be written.
    pub fn clear_mails(&self) -> Result<(), AwsError> {
        self.services.mails.clear()
    }

    /// Up to `limit` objects of all buckets, newest first.
    ///
    /// # Errors
    /// The objects cannot be read.
    pub fn objects(&self, limit: usize) -> Result<Vec<Summary>, AwsError> {
        self.services.objects.all(limit)
    }

    /// Injects faults into the functions' calls, and records their calls.
    pub fn faults(&self) -> &FaultInjector {
        &self.services.faults
    }

    /// The number of messages in each queue.
    ///
    /// # Errors
    /// SQS returned an error.
    pub async fn queue_depths(&self) -> Result<Vec<QueueDepth>, CallError> {
        queue_depth::count_messages(&self.aws, &self.deployment.queues).await
    }

    /// Up to `limit` messages of a queue, oldest first, without receiving them. Empty for a queue of an external endpoint.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn peek(&self, queue: &str, limit: usize) -> Result<Vec<Value>, AwsError> {
        self.services.queues.peek(queue, limit)
    }

    /// Calls a service as an SDK would: `DynamoDB_20120810.Scan`, `AmazonSQS.SendMessage`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, action: &str, body: &Value) -> Result<Value, CallError> {
        self.aws.call(action, body).await
    }

    /// The same with a function's access key and role.
    ///
    /// # Errors
    /// See [`CallError`]; `AccessDeniedException` if the role does not allow the call.
    pub async fn call_as(&self, function: &str, action: &str, body: &Value) -> Result<Value, CallError> {
        self.aws.as_function(function).call(action, body).await
    }

    /// A signer with the cloud's own access key, which may do everything, for tests.
    pub fn signer(&self) -> &Signer {
        &self.aws.signer
    }

    /// All grants of the functions' roles.
    pub fn grants(&self) -> BTreeSet<Grant> {
        self.services.permissions.get().map(Permissions::grants).unwrap_or_default()
    }

    /// The grants that were the only one to allow some call so far.
    pub fn grants_relied_on(&self) -> BTreeSet<Grant> {
        self.services.permissions.get().map(Permissions::relied_on).unwrap_or_default()
    }

    /// Polls every event source once, in the template's order. Returns the number of records that were delivered, filtered out or
    /// discarded. Zero means that nothing more happens until something is written or time passes.
    ///
    /// # Errors
    /// A service returned an error.
    pub async fn pump(&self, invoker: &impl Invoke) -> Result<usize, CallError> {
        let mut moved = 0;
        for source in &self.deployment.event_sources {
            moved += source.poll(&self.aws, invoker, PollMode::Immediate).await?;
        }
        Ok(moved)
    }

    /// Runs the event sources and the expiry of items and objects, for as long as it is polled.
    pub async fn run(&self, invoker: &impl Invoke) {
        let poller = Poller { aws: &self.aws, services: &self.services, invoker, concurrency: self.concurrency };
        let event_sources = join_all(self.deployment.event_sources.iter().map(|source| poller.run(source)));
        let sweeping = self.tables.keep_sweeping(&self.services.writes);
        tokio::join!(event_sources, sweeping, self.services.objects.keep_sweeping());
    }

    /// Advances the cloud's clock, and wakes the tasks that wait for it.
    pub fn advance(&self, by: Duration) {
        self.aws.clock.advance(by);
        self.services.queues.notify_receivers();
        self.services.writes.send_modify(|count| *count += 1);
    }

    /// Deletes items past their time to live and expired objects now. Returns their number.
    ///
    /// # Errors
    /// The tables or the objects cannot be written.
    pub fn expire(&self) -> Result<usize, StartError> {
        let objects = self.services.objects.expire()?;
        Ok(objects + self.tables.sweep().map_err(StartError::Service)?)
    }

    /// Stops the services. Acknowledged writes are stored already.
    pub async fn shutdown(self) {
        let (stop, server) = self.server;
        // Open connections are closed: a kept-alive connection would keep the server running.
        drop(stop);
        server.abort();
        let _ = server.await;
    }
}

async fn listen() -> Result<(TcpListener, String), StartError> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).await;
    let address =
        bound.and_then(|listener| listener.local_addr().map(|address| (listener, format!("http://{address}"))));
    address.map_err(|error| StartError::Service(format!("cannot open a loopback port: {error}")))
}

fn serve<F: Future<Output = ()> + Send + 'static>(
    server: impl FnOnce(oneshot::Receiver<()>) -> F,
) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    #[expect(clippy::disallowed_methods, reason = "no function: a server runs until the cloud is stopped")]
    let server = tokio::spawn(server(stopped));
    (stop, server)
}
