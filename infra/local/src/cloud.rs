//! The local cloud as a whole: services up, template executed, mappings ready to be pumped or run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::client::{CallError, Client};
use crate::clock::Clock;
use crate::deploy::{Deployer, Deployment, STACK};
use crate::depths::{self, QueueDepth};
use crate::elsewhere;
use crate::error::StartError;
use crate::folder::DataFolder;
use crate::mapping::{Invoke, Mapping, Patience, Reach};
use crate::permissions::{Grant, Permissions, access_key};
use crate::run::Runner;
use crate::service::faults::Faults;
use crate::service::mail::{Mail, Mails};
use crate::service::objects::{Objects, Summary};
use crate::service::parameters::Parameters;
use crate::service::queues::Queues;
use crate::service::state::State;
use crate::service::tables::Tables;
use crate::service::{Fault, Service, Services};
use crate::signature::{CLOUD, Keys, Signer};
use crate::template::{Function, REGION, Route, Template};

/// How a local cloud is started.
#[derive(Debug)]
pub struct Options {
    /// What to execute.
    pub template: Template,
    /// Values for the template's parameters; those not named keep their defaults.
    pub parameters: BTreeMap<String, String>,
    /// Where data is kept.
    pub data: Data,
    /// Another AWS-compatible endpoint, used for every service that answers there.
    pub endpoint: Option<String>,
    /// What time it is.
    pub clock: Clock,
    /// Where the HTTP API answers, for templates that refer to it.
    pub api: String,
    /// Invocations of one queue's consumer at once, under the limits the template sets.
    pub concurrency: usize,
}

impl Options {
    /// A cloud in memory with the template's defaults: what tests start from.
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

/// Where a cloud keeps its data.
#[derive(Debug)]
pub enum Data {
    /// Nowhere: gone with the cloud.
    Memory,
    /// In a folder, until it is deleted.
    Folder(DataFolder),
}

/// A running local cloud. Dropping it stops it; what was acknowledged is kept.
#[derive(Debug)]
pub struct LocalCloud {
    reach: Reach,
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
        let client = Client::default();
        let state =
            State::open(file("services.db").as_deref()).map_err(|error| StartError::Service(error.to_string()))?;
        let state = Arc::new(state);
        let keys = Keys::of(state.secret("access-keys")?);
        let signer = keys.signer(CLOUD);
        let elsewhere = match &options.endpoint {
            Some(endpoint) => elsewhere::probe(&client, &signer, endpoint).await?,
            None => BTreeMap::new(),
        };
        let tables = Tables::open(file("tables.db").as_deref(), options.clock.clone()).map_err(StartError::Service)?;
        let (door, endpoint) = listen().await?;
        let guards_groups = elsewhere.contains_key(&Service::Queues);

        let services = Arc::new(Services {
            queues: Queues::new(Arc::clone(&state), options.clock.clone(), endpoint.clone())?,
            mails: Mails::new(Arc::clone(&state), options.clock.clone()),
            parameters: Parameters::new(Arc::clone(&state), options.clock.clone()),
            elsewhere,
            tables: tables.clone(),
            client: client.clone(),
            keys: keys.clone(),
            objects: Objects::open(file("objects.db").as_deref(), options.clock.clone(), keys.clone())?,
            permissions: OnceLock::new(),
            faults: Faults::default(),
            writes: watch::Sender::new(0),
        });
        let server = serve(|stop| Arc::clone(&services).serve(door, stop));
        let reach = Reach { client, endpoint, keys, signer, clock: options.clock };
        let deployer =
            Deployer { template: &options.template, scope, reach: &reach, state, api: &options.api, guards_groups };
        let deployment = deployer.deploy().await?;
        deployment.buckets.iter().cloned().for_each(|bucket| services.objects.make(bucket));
        let permissions = deployment.permissions().map_err(StartError::Template)?;
        let _ = services.permissions.set(permissions);
        Ok(Self {
            reach,
            services,
            tables,
            deployment,
            concurrency: options.concurrency.max(1),
            server,
            _folder: folder,
        })
    }

    /// Address of all AWS services, for SDKs.
    pub fn endpoint(&self) -> &str {
        &self.reach.endpoint
    }

    /// The environment of the function with this binary: the template's, how an SDK reaches this cloud, and the access key
    /// (with its secret, which no other cloud shares) by which the function is known and held to its role.
    pub fn environment(&self, function: &str) -> BTreeMap<String, String> {
        let declared = self.deployment.functions.iter().find(|declared| declared.binary == function);
        let key = access_key(function);
        let mut environment = declared.map(|declared| declared.environment.clone()).unwrap_or_default();
        let sdk = [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", REGION),
            ("AWS_DEFAULT_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", &key),
            ("AWS_SECRET_ACCESS_KEY", &self.reach.keys.secret(&key)),
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

    /// Functions with changes of a table that were read for them and are not done: at rest, those that wait to be tried again.
    pub fn behind(&self) -> BTreeSet<&str> {
        let streams = self.deployment.mappings.iter().filter_map(|mapping| match mapping {
            Mapping::Stream(stream) => Some(stream),
            Mapping::Queue(_) => None,
        });
        streams.filter(|stream| stream.is_behind()).map(|stream| stream.function.as_str()).collect()
    }

    /// What is served from another endpoint, and where.
    pub fn elsewhere(&self) -> impl Iterator<Item = (Service, &str)> {
        self.services.elsewhere.iter().map(|(service, address)| (*service, address.as_str()))
    }

    /// All mail that was sent, newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn mails(&self) -> Result<Vec<Mail>, Fault> {
        self.services.mails.all()
    }

    /// Throws all mail away.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub fn clear_mails(&self) -> Result<(), Fault> {
        self.services.mails.clear()
    }

    /// The objects of all buckets, newest first, at most `limit`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn objects(&self, limit: usize) -> Result<Vec<Summary>, Fault> {
        self.services.objects.all(limit)
    }

    /// What is made to go wrong between the functions and this cloud, and what they called.
    pub fn faults(&self) -> &Faults {
        &self.services.faults
    }

    /// How full each queue is.
    ///
    /// # Errors
    /// When the queues do not answer.
    pub async fn queue_depths(&self) -> Result<Vec<QueueDepth>, CallError> {
        depths::of(&self.reach, &self.deployment.queues).await
    }

    /// Messages of a queue as they stand, oldest first, without receiving them. Empty for a queue served elsewhere.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn peek(&self, queue: &str, limit: usize) -> Result<Vec<Value>, Fault> {
        self.services.queues.peek(queue, limit)
    }

    /// Calls a service as an SDK would: `DynamoDB_20120810.Scan`, `AmazonSQS.SendMessage`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, action: &str, body: &Value) -> Result<Value, CallError> {
        self.reach.call(action, body).await
    }

    /// The same, under a function's role.
    ///
    /// # Errors
    /// See [`CallError`]; `AccessDeniedException` where the role does not allow it.
    pub async fn call_as(&self, function: &str, action: &str, body: &Value) -> Result<Value, CallError> {
        self.reach.acting_for(function).call(action, body).await
    }

    /// Signs requests to this cloud as the cloud itself, which may do everything: for tests, and for what stands between.
    pub fn signer(&self) -> &Signer {
        &self.reach.signer
    }

    /// Everything the roles of this cloud's functions allow.
    pub fn grants(&self) -> BTreeSet<Grant> {
        self.services.permissions.get().map(Permissions::grants).unwrap_or_default()
    }

    /// What some call so far could not have done without: no other statement allowed it.
    pub fn grants_relied_on(&self) -> BTreeSet<Grant> {
        self.services.permissions.get().map(Permissions::relied_on).unwrap_or_default()
    }

    /// Runs every mapping once over what is there now, in the template's order. Returns how many records moved: delivered,
    /// filtered out or given up. Zero means that nothing more happens until something is written or time passes.
    ///
    /// # Errors
    /// When a service does not answer.
    pub async fn pump(&self, invoker: &impl Invoke) -> Result<usize, CallError> {
        let mut moved = 0;
        for mapping in &self.deployment.mappings {
            moved += mapping.step(&self.reach, invoker, Patience::None).await?;
        }
        Ok(moved)
    }

    /// Runs every mapping, and what else goes on by itself, for as long as it is polled.
    pub async fn run(&self, invoker: &impl Invoke) {
        let runner = Runner { reach: &self.reach, services: &self.services, invoker, concurrency: self.concurrency };
        let mappings = join_all(self.deployment.mappings.iter().map(|mapping| runner.keep_running(mapping)));
        let sweeping = self.tables.keep_sweeping(&self.services.writes);
        tokio::join!(mappings, sweeping, self.services.objects.keep_sweeping());
    }

    /// Pushes the cloud's clock forward and wakes whoever waits for time to pass.
    pub fn advance(&self, by: Duration) {
        self.reach.clock.advance(by);
        self.services.queues.announce();
        self.services.writes.send_modify(|count| *count += 1);
    }

    /// Removes items past their time to live and objects past their expiry now, as DynamoDB and S3 do in their own time.
    /// Returns how many.
    ///
    /// # Errors
    /// When the tables or the objects cannot be written.
    pub fn expire(&self) -> Result<usize, StartError> {
        let objects = self.services.objects.expire()?;
        Ok(objects + self.tables.sweep().map_err(StartError::Service)?)
    }

    /// Stops serving. All that was acknowledged has been kept already.
    pub async fn shutdown(self) {
        let (stop, server) = self.server;
        // Whoever is still connected is let go: a kept-alive connection would hold the server forever.
        drop(stop);
        server.abort();
        let _ = server.await;
    }
}

async fn listen() -> Result<(TcpListener, String), StartError> {
    let bound = TcpListener::bind(("127.0.0.1", 0)).await;
    let address =
        bound.and_then(|listener| listener.local_addr().map(|address| (listener, format!("http://{address}"))));
    address.map_err(|error| StartError::Service(format!("no loopback port can be had: {error}")))
}

fn serve<F: Future<Output = ()> + Send + 'static>(
    server: impl FnOnce(oneshot::Receiver<()>) -> F,
) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = oneshot::channel();
    #[expect(clippy::disallowed_methods, reason = "no function: a server runs until the cloud is stopped")]
    let server = tokio::spawn(server(stopped));
    (stop, server)
}
