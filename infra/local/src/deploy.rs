//! Executes the template: creates tables, queues, buckets and roles in the order of their references, then functions and event
//! sources.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::aws_client::AwsClient;
use crate::database::Database;
use crate::event_source::{Checkpoints, EventSource, FifoGroupLocks, QueueEventSource, StreamEventSource};
use crate::http_client::CallError;
use crate::iam::{Caller, DeployedResources, Permissions, Role, TableKeys, last_part};
use crate::service::objects::Bucket;
use crate::start_error::StartError;
use crate::template::{
    ACCOUNT, Event, Function, Queue, QueueEvent, REGION, ResolveError, Resource, Scope, StreamEvent, Table, Template,
    TemplateError,
};

/// The stack's name: the first part of every physical name.
pub const STACK: &str = "undercroft-local";

/// The result of executing the template.
#[derive(Debug, Default)]
pub struct Deployment {
    /// Names of the tables.
    pub tables: Vec<String>,
    /// The queues.
    pub queues: Vec<DeployedQueue>,
    /// The functions, with complete environment variables.
    pub functions: Vec<Function>,
    pub(crate) event_sources: Vec<EventSource>,
    /// The keys of each table, by its name.
    pub(crate) keys: BTreeMap<String, TableKeys>,
    /// The buckets.
    pub(crate) buckets: Vec<Bucket>,
    /// The roles, by ARN.
    roles: BTreeMap<String, Role>,
}

/// A deployed queue.
#[derive(Debug, Clone)]
pub struct DeployedQueue {
    /// Physical name.
    pub name: String,
    /// URL.
    pub url: String,
    /// ARN.
    pub arn: String,
    /// ARN of its dead-letter queue.
    pub dead_letters: Option<String>,
}

/// Executes a template.
pub(crate) struct Deployer<'a> {
    pub template: &'a Template,
    pub scope: Scope,
    pub aws: &'a AwsClient,
    pub database: Arc<Database>,
    /// URL of the HTTP API.
    pub api: &'a str,
    /// Whether an external endpoint serves the queues, so that FIFO groups must be locked here.
    pub locks_groups: bool,
}

impl Deployer<'_> {
    /// Creates all resources, or uses the existing ones.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn deploy(mut self) -> Result<Deployment, StartError> {
        let mut deployment = Deployment::default();
        let resources = self.template.resources(&self.scope).map_err(StartError::Template)?;
        let (functions, mut waiting): (Vec<_>, Vec<_>) =
            resources.into_iter().partition(|resource| resource.kind == "AWS::Serverless::Function");
        for function in &functions {
            let binary = function.binary().unwrap_or(function.name);
            self.scope.define(function.name, "", binary);
            self.scope.define(function.name, "Arn", format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{binary}"));
        }
        while !waiting.is_empty() {
            waiting = self.create_resolvable(waiting, &mut deployment).await?;
        }
        for resource in &functions {
            let function = Function::read(self.template, resource, &self.scope);
            let function = function.map_err(|unresolved| StartError::Template(resource.error(unresolved)))?;
            self.create_event_sources(&function, &mut deployment).await?;
            deployment.functions.push(function);
        }
        Ok(deployment)
    }

    /// Creates the resources whose references can be resolved, and returns the others.
    async fn create_resolvable<'r>(
        &mut self,
        waiting: Vec<Resource<'r>>,
        deployment: &mut Deployment,
    ) -> Result<Vec<Resource<'r>>, StartError> {
        let (mut left, mut unresolved, before) = (Vec::new(), None, waiting.len());
        for resource in waiting {
            match resource.properties(&self.scope) {
                Ok(properties) => self.create(&resource, &properties, deployment).await?,
                Err(ResolveError::NotYetCreated { reference }) => {
                    unresolved.get_or_insert(resource.error(ResolveError::NotYetCreated { reference }));
                    left.push(resource);
                }
                Err(invalid) => return Err(StartError::Template(resource.error(invalid))),
            }
        }
        match unresolved {
            Some(error) if left.len() == before => Err(StartError::Template(error)),
            _ => Ok(left),
        }
    }

    async fn create(
        &mut self,
        resource: &Resource<'_>,
        properties: &Value,
        deployment: &mut Deployment,
    ) -> Result<(), StartError> {
        let name = format!("{STACK}-{}", resource.name);
        let invalid = |error| StartError::Template(resource.error(ResolveError::Invalid(error)));
        let references = match resource.kind {
            "AWS::DynamoDB::Table" => {
                let table = Table::read(name, properties).map_err(invalid)?;
                let description = self.create_table(&table).await?;
                deployment.add_table(table.name, &description)
            }
            "AWS::SQS::Queue" => {
                let queue = self.create_queue(&Queue::read(&name, properties)).await?;
                deployment.add_queue(queue)
            }
            // Bucket names must be in lower case.
            "AWS::S3::Bucket" => deployment.add_bucket(Bucket::read(name.to_lowercase(), properties).map_err(invalid)?),
            "AWS::IAM::Role" => deployment.add_role(Role::read(name, properties).map_err(invalid)?),
            "AWS::Logs::LogGroup" => {
                let group = text_or(properties, "LogGroupName", &name);
                let arn = format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:*");
                vec![("", group), ("Arn", arn)]
            }
            _ => vec![("", resource.name.to_owned()), ("ApiEndpoint", self.api.to_owned())],
        };
        references.into_iter().for_each(|(attribute, value)| self.scope.define(resource.name, attribute, value));
        Ok(())
    }

    /// Creates a table, or uses the existing one if it has the same keys. Returns its description.
    async fn create_table(&self, table: &Table) -> Result<Value, StartError> {
        let description = match self.describe_table(&table.name).await {
            Ok(existing) if table.has_keys_of(&existing) => self.with_stream(table, existing).await?,
            Ok(_) => return Err(StartError::TableChanged { table: table.name.clone() }),
            Err(error) if error.is("ResourceNotFoundException") => {
                self.call("DynamoDB_20120810.CreateTable", &table.create).await?;
                self.wait_for_table(&table.name).await?
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(attribute) = &table.time_to_live {
            self.enable_time_to_live(&table.name, attribute).await?;
        }
        Ok(description)
    }

    /// Enables the stream of an existing table if the template declares one.
    async fn with_stream(&self, table: &Table, existing: Value) -> Result<Value, StartError> {
        let is_on = existing.get("LatestStreamArn").is_some_and(Value::is_string);
        let Some(stream) = table.create.get("StreamSpecification").filter(|_| !is_on) else { return Ok(existing) };
        let change = json!({ "TableName": table.name, "StreamSpecification": stream });
        self.call("DynamoDB_20120810.UpdateTable", &change).await?;
        self.wait_for_table(&table.name).await
    }

    /// Waits until a table is active. With the local engine it is active at once.
    async fn wait_for_table(&self, name: &str) -> Result<Value, StartError> {
        for _ in 0..100 {
            let described = self.describe_table(name).await?;
            if described.get("TableStatus").is_some_and(|status| status == "ACTIVE") {
                return Ok(described);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(StartError::Service(format!("table {name} is not ACTIVE after 10 s")))
    }

    async fn describe_table(&self, name: &str) -> Result<Value, CallError> {
        let mut answer = self.aws.call("DynamoDB_20120810.DescribeTable", &json!({ "TableName": name })).await?;
        Ok(answer.get_mut("Table").map(Value::take).unwrap_or_default())
    }

    async fn enable_time_to_live(&self, table: &str, attribute: &str) -> Result<(), StartError> {
        let described = self.call("DynamoDB_20120810.DescribeTimeToLive", &json!({ "TableName": table })).await?;
        let current = described.pointer("/TimeToLiveDescription/AttributeName").and_then(Value::as_str);
        if current == Some(attribute) {
            return Ok(());
        }
        let specification = json!({ "AttributeName": attribute, "Enabled": true });
        let request = json!({ "TableName": table, "TimeToLiveSpecification": specification });
        self.call("DynamoDB_20120810.UpdateTimeToLive", &request).await.map(drop)
    }

    /// Creates a queue, or updates the attributes of the existing one.
    async fn create_queue(&self, queue: &Queue) -> Result<DeployedQueue, StartError> {
        let request = json!({ "QueueName": queue.name, "Attributes": queue.attributes });
        let created = match self.aws.call("AmazonSQS.CreateQueue", &request).await {
            Err(error) if error.is("QueueNameExists") || error.is("QueueAlreadyExists") => {
                self.update_queue(queue).await?
            }
            created => created?,
        };
        let url = text(&created, "QueueUrl");
        let attributes = self.attributes(&url).await?;
        let redrive = attributes
            .get("RedrivePolicy")
            .and_then(Value::as_str)
            .and_then(|text| serde_json::from_str::<Value>(text).ok());
        Ok(DeployedQueue {
            name: queue.name.clone(),
            arn: text(&attributes, "QueueArn"),
            dead_letters: redrive.map(|policy| text(&policy, "deadLetterTargetArn")),
            url,
        })
    }

    async fn update_queue(&self, queue: &Queue) -> Result<Value, StartError> {
        let found = self.call("AmazonSQS.GetQueueUrl", &json!({ "QueueName": queue.name })).await?;
        let mut attributes = queue.attributes.clone();
        attributes.remove("FifoQueue");
        let request = json!({ "QueueUrl": found.get("QueueUrl"), "Attributes": attributes });
        self.call("AmazonSQS.SetQueueAttributes", &request).await?;
        Ok(found)
    }

    async fn create_event_sources(&self, function: &Function, deployment: &mut Deployment) -> Result<(), StartError> {
        for event in &function.events {
            let source = match event {
                Event::Route(_) => continue,
                Event::Queue(event) => EventSource::Queue(self.queue_event_source(function, event, deployment).await?),
                Event::Stream(event) => {
                    EventSource::Stream(self.stream_event_source(function, event, deployment).await?)
                }
            };
            deployment.event_sources.push(source);
        }
        Ok(())
    }

    async fn queue_event_source(
        &self,
        function: &Function,
        event: &QueueEvent,
        deployment: &Deployment,
    ) -> Result<QueueEventSource, StartError> {
        let url = deployment.url_of(&event.queue).map_err(|why| event_source_error(&event.batching.name, why))?;
        let visibility = text(&self.attributes(&url).await?, "VisibilityTimeout").parse().unwrap_or(30);
        let timeout = function.timeout.as_secs();
        if visibility < timeout {
            let why = format!(
                "the queue's VisibilityTimeout of {visibility} s must not be less than the function's Timeout of {timeout} s"
            );
            return Err(event_source_error(&event.batching.name, why));
        }
        let locks_groups = self.locks_groups && event.queue.ends_with(".fifo");
        Ok(QueueEventSource {
            function: function.binary.clone(),
            event: event.clone(),
            url,
            visibility: Duration::from_secs(visibility),
            timeout: function.timeout,
            group_locks: locks_groups.then(FifoGroupLocks::default),
        })
    }

    async fn stream_event_source(
        &self,
        function: &Function,
        event: &StreamEvent,
        deployment: &Deployment,
    ) -> Result<StreamEventSource, StartError> {
        let on_failure = event.on_failure.as_ref().map(|queue| deployment.url_of(queue)).transpose();
        let on_failure = on_failure.map_err(|why| event_source_error(&event.batching.name, why))?;
        let checkpoints = Checkpoints::new(Arc::clone(&self.database), &event.batching.name, &event.stream);
        let started = self.aws.clock.now();
        let source = StreamEventSource::new(function.binary.clone(), event.clone(), on_failure, checkpoints, started);
        source.prepare(self.aws).await?;
        Ok(source)
    }

    async fn attributes(&self, url: &str) -> Result<Value, StartError> {
        let request = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
        let mut answer = self.call("AmazonSQS.GetQueueAttributes", &request).await?;
        Ok(answer.get_mut("Attributes").map(Value::take).unwrap_or_default())
    }

    async fn call(&self, action: &str, body: &Value) -> Result<Value, StartError> {
        self.aws.call(action, body).await.map_err(|error| StartError::Service(format!("{action}: {error}")))
    }
}

/// The values of `!Ref` (empty name) and `!GetAtt` for a resource.
type References = Vec<(&'static str, String)>;

impl Deployment {
    fn add_table(&mut self, name: String, described: &Value) -> References {
        let keys = TableKeys::read(described);
        let known = vec![("", name.clone()), ("Arn", keys.arn.clone()), ("StreamArn", keys.stream.clone())];
        self.keys.insert(name.clone(), keys);
        self.tables.push(name);
        known
    }

    fn add_queue(&mut self, queue: DeployedQueue) -> References {
        let (name, url, arn) = (queue.name.clone(), queue.url.clone(), queue.arn.clone());
        self.queues.push(queue);
        vec![("", url.clone()), ("QueueUrl", url), ("QueueName", name), ("Arn", arn)]
    }

    fn add_bucket(&mut self, bucket: Bucket) -> References {
        let name = bucket.name.clone();
        self.buckets.push(bucket);
        vec![("Arn", format!("arn:aws:s3:::{name}")), ("", name)]
    }

    fn add_role(&mut self, role: Role) -> References {
        let (name, arn) = (role.name.clone(), format!("arn:aws:iam::{ACCOUNT}:role/{}", role.name));
        self.roles.insert(arn.clone(), role);
        vec![("", name), ("Arn", arn)]
    }

    /// The functions' roles. Each function with an event source must be allowed the actions that the event source requires.
    ///
    /// # Errors
    /// A role is not declared in the template, or does not allow these actions.
    pub(crate) fn permissions(&self) -> Result<Permissions, TemplateError> {
        let mut permissions = Permissions::new(DeployedResources {
            tables: self.keys.clone(),
            queues: self.queues.iter().map(|queue| (last_part(&queue.url).to_owned(), queue.arn.clone())).collect(),
        });
        for function in &self.functions {
            let Some(arn) = &function.role else { continue };
            let role = self.roles.get(arn).cloned();
            let role =
                role.ok_or_else(|| TemplateError::new(&function.binary, "Role", "is not a role of this template"))?;
            if !permissions.assign(&function.binary, role) {
                return Err(TemplateError::new(
                    &function.binary,
                    "",
                    "has the same letters and digits as another function's name: rename one of them",
                ));
            }
        }
        for source in &self.event_sources {
            let allowed = permissions.check(&Caller::function(source.function()), &source.required_actions());
            allowed.map_err(|error| TemplateError::new(source.function(), "Role", error.message))?;
        }
        Ok(permissions)
    }

    fn url_of(&self, arn: &str) -> Result<String, String> {
        let queue = self.queues.iter().find(|queue| queue.arn == arn);
        queue.map(|queue| queue.url.clone()).ok_or_else(|| format!("{arn} is not a queue of this template"))
    }
}

fn event_source_error(event: &str, why: String) -> StartError {
    StartError::Template(TemplateError::new(event, "", why))
}

fn text(value: &Value, field: &str) -> String {
    text_or(value, field, "")
}

fn text_or(value: &Value, field: &str, otherwise: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or(otherwise).to_owned()
}
