//! Makes what the template describes: tables and queues first, in the order they refer to each other, then functions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::CallError;
use crate::error::StartError;
use crate::mapping::{Checkpoints, Mapping, QueueMapping, Reach, StreamMapping};
use crate::permissions::{Caller, Permissions, Role, Standing, TableKeys, last_part};
use crate::service::objects::Bucket;
use crate::service::state::State;
use crate::template::{
    ACCOUNT, Event, Function, Queue, QueueEvent, REGION, Refusal, Resource, Scope, StreamEvent, Table, Template,
    Unresolved,
};

/// The stack's name: the first part of every physical name.
pub const STACK: &str = "undercroft-local";

/// What stands once the template has been executed.
#[derive(Debug, Default)]
pub struct Deployment {
    /// Names of the tables.
    pub tables: Vec<String>,
    /// The queues.
    pub queues: Vec<DeployedQueue>,
    /// The functions, their environments complete.
    pub functions: Vec<Function>,
    pub(crate) mappings: Vec<Mapping>,
    /// What is known about each table's keys, by its name.
    pub(crate) keys: BTreeMap<String, TableKeys>,
    /// The buckets.
    pub(crate) buckets: Vec<Bucket>,
    /// The roles, by ARN.
    roles: BTreeMap<String, Role>,
}

/// A queue that stands.
#[derive(Debug, Clone)]
pub struct DeployedQueue {
    /// Physical name.
    pub name: String,
    /// Address.
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
    pub reach: &'a Reach,
    pub state: Arc<State>,
    /// Where the HTTP API answers.
    pub api: &'a str,
    /// The queues are served from elsewhere, by something that may not keep FIFO groups closed.
    pub guards_groups: bool,
}

impl Deployer<'_> {
    /// Makes everything, or finds that it is there already.
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
            self.scope.learn(function.name, "", binary);
            self.scope.learn(function.name, "Arn", format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{binary}"));
        }
        while !waiting.is_empty() {
            waiting = self.make_what_can_be_made(waiting, &mut deployment).await?;
        }
        for resource in &functions {
            let function = Function::read(self.template, resource, &self.scope);
            let function = function.map_err(|unresolved| StartError::Template(resource.refusal(unresolved)))?;
            self.map_events(&function, &mut deployment).await?;
            deployment.functions.push(function);
        }
        Ok(deployment)
    }

    /// Makes every resource whose references are known, and returns the others.
    async fn make_what_can_be_made<'r>(
        &mut self,
        waiting: Vec<Resource<'r>>,
        deployment: &mut Deployment,
    ) -> Result<Vec<Resource<'r>>, StartError> {
        let (mut left, mut reason, before) = (Vec::new(), None, waiting.len());
        for resource in waiting {
            match resource.properties(&self.scope) {
                Ok(properties) => self.make(&resource, &properties, deployment).await?,
                Err(Unresolved::NotYet { reference }) => {
                    reason.get_or_insert(resource.refusal(Unresolved::NotYet { reference }));
                    left.push(resource);
                }
                Err(refused) => return Err(StartError::Template(resource.refusal(refused))),
            }
        }
        match reason {
            Some(circle) if left.len() == before => Err(StartError::Template(circle)),
            _ => Ok(left),
        }
    }

    async fn make(
        &mut self,
        resource: &Resource<'_>,
        properties: &Value,
        deployment: &mut Deployment,
    ) -> Result<(), StartError> {
        let name = format!("{STACK}-{}", resource.name);
        let refused = |refusal| StartError::Template(resource.refusal(Unresolved::Refused(refusal)));
        let known = match resource.kind {
            "AWS::DynamoDB::Table" => {
                let table = Table::read(name, properties).map_err(refused)?;
                let made = self.make_table(&table).await?;
                deployment.keep_table(table.name, &made)
            }
            "AWS::SQS::Queue" => {
                let queue = self.make_queue(&Queue::read(&name, properties)).await?;
                deployment.keep_queue(queue)
            }
            // Buckets share one name space with the whole world, in small letters only.
            "AWS::S3::Bucket" => {
                deployment.keep_bucket(Bucket::read(name.to_lowercase(), properties).map_err(refused)?)
            }
            "AWS::IAM::Role" => deployment.keep_role(Role::read(name, properties).map_err(refused)?),
            "AWS::Logs::LogGroup" => {
                let group = text_or(properties, "LogGroupName", &name);
                let arn = format!("arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:*");
                vec![("", group), ("Arn", arn)]
            }
            _ => vec![("", resource.name.to_owned()), ("ApiEndpoint", self.api.to_owned())],
        };
        known.into_iter().for_each(|(attribute, value)| self.scope.learn(resource.name, attribute, value));
        Ok(())
    }

    /// Creates a table, or takes the one that is there if its keys are the template's. Returns its description.
    async fn make_table(&self, table: &Table) -> Result<Value, StartError> {
        let made = match self.describe_table(&table.name).await {
            Ok(existing) if table.has_keys_of(&existing) => self.with_stream(table, existing).await?,
            Ok(_) => return Err(StartError::TableChanged { table: table.name.clone() }),
            Err(error) if error.is("ResourceNotFoundException") => {
                self.call("DynamoDB_20120810.CreateTable", &table.create).await?;
                self.await_table(&table.name).await?
            }
            Err(error) => return Err(error.into()),
        };
        if let Some(attribute) = &table.time_to_live {
            self.enable_time_to_live(&table.name, attribute).await?;
        }
        Ok(made)
    }

    /// Turns on the stream of a table that was made before the template gave it one, as a deployment would.
    async fn with_stream(&self, table: &Table, existing: Value) -> Result<Value, StartError> {
        let is_on = existing.get("LatestStreamArn").is_some_and(Value::is_string);
        let Some(stream) = table.create.get("StreamSpecification").filter(|_| !is_on) else { return Ok(existing) };
        let change = json!({ "TableName": table.name, "StreamSpecification": stream });
        self.call("DynamoDB_20120810.UpdateTable", &change).await?;
        self.await_table(&table.name).await
    }

    /// Waits until the table can be used; the local engine's can at once, others take a moment.
    async fn await_table(&self, name: &str) -> Result<Value, StartError> {
        for _ in 0..100 {
            let described = self.describe_table(name).await?;
            if described.get("TableStatus").is_some_and(|status| status == "ACTIVE") {
                return Ok(described);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(StartError::Service(format!("table {name} does not become active")))
    }

    async fn describe_table(&self, name: &str) -> Result<Value, CallError> {
        let mut answer = self.reach.call("DynamoDB_20120810.DescribeTable", &json!({ "TableName": name })).await?;
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

    /// Creates a queue, or brings the one that is there to the template's attributes.
    async fn make_queue(&self, queue: &Queue) -> Result<DeployedQueue, StartError> {
        let request = json!({ "QueueName": queue.name, "Attributes": queue.attributes });
        let created = match self.reach.call("AmazonSQS.CreateQueue", &request).await {
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

    async fn map_events(&self, function: &Function, deployment: &mut Deployment) -> Result<(), StartError> {
        for event in &function.events {
            let mapping = match event {
                Event::Route(_) => continue,
                Event::Queue(event) => Mapping::Queue(self.map_queue(function, event, deployment).await?),
                Event::Stream(event) => Mapping::Stream(self.map_stream(function, event, deployment).await?),
            };
            deployment.mappings.push(mapping);
        }
        Ok(())
    }

    async fn map_queue(
        &self,
        function: &Function,
        event: &QueueEvent,
        deployment: &Deployment,
    ) -> Result<QueueMapping, StartError> {
        let url = deployment.url_of(&event.queue).map_err(|why| event_refusal(&event.batching.name, why))?;
        let visibility = text(&self.attributes(&url).await?, "VisibilityTimeout").parse().unwrap_or(30);
        let timeout = function.timeout.as_secs();
        if visibility < timeout {
            let why = format!(
                "the queue's VisibilityTimeout of {visibility} s is below the function's Timeout of {timeout} s"
            );
            return Err(event_refusal(&event.batching.name, why));
        }
        let guards = self.guards_groups && event.queue.ends_with(".fifo");
        Ok(QueueMapping {
            function: function.binary.clone(),
            event: event.clone(),
            url,
            visibility: Duration::from_secs(visibility),
            timeout: function.timeout,
            guard: guards.then(Default::default),
        })
    }

    async fn map_stream(
        &self,
        function: &Function,
        event: &StreamEvent,
        deployment: &Deployment,
    ) -> Result<StreamMapping, StartError> {
        let on_failure = event.on_failure.as_ref().map(|queue| deployment.url_of(queue)).transpose();
        let on_failure = on_failure.map_err(|why| event_refusal(&event.batching.name, why))?;
        let checkpoints = Checkpoints::new(Arc::clone(&self.state), &event.batching.name, &event.stream);
        let started = self.reach.clock.now();
        let mapping = StreamMapping::new(function.binary.clone(), event.clone(), on_failure, checkpoints, started);
        mapping.prepare(self.reach).await?;
        Ok(mapping)
    }

    async fn attributes(&self, url: &str) -> Result<Value, StartError> {
        let request = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
        let mut answer = self.call("AmazonSQS.GetQueueAttributes", &request).await?;
        Ok(answer.get_mut("Attributes").map(Value::take).unwrap_or_default())
    }

    async fn call(&self, action: &str, body: &Value) -> Result<Value, StartError> {
        self.reach.call(action, body).await.map_err(|error| StartError::Service(format!("{action}: {error}")))
    }
}

/// What `!Ref` (no name) and `!GetAtt` give for a resource from now on.
type Known = Vec<(&'static str, String)>;

impl Deployment {
    fn keep_table(&mut self, name: String, described: &Value) -> Known {
        let keys = TableKeys::read(described);
        let known = vec![("", name.clone()), ("Arn", keys.arn.clone()), ("StreamArn", keys.stream.clone())];
        self.keys.insert(name.clone(), keys);
        self.tables.push(name);
        known
    }

    fn keep_queue(&mut self, queue: DeployedQueue) -> Known {
        let (name, url, arn) = (queue.name.clone(), queue.url.clone(), queue.arn.clone());
        self.queues.push(queue);
        vec![("", url.clone()), ("QueueUrl", url), ("QueueName", name), ("Arn", arn)]
    }

    fn keep_bucket(&mut self, bucket: Bucket) -> Known {
        let name = bucket.name.clone();
        self.buckets.push(bucket);
        vec![("Arn", format!("arn:aws:s3:::{name}")), ("", name)]
    }

    fn keep_role(&mut self, role: Role) -> Known {
        let (name, arn) = (role.name.clone(), format!("arn:aws:iam::{ACCOUNT}:role/{}", role.name));
        self.roles.insert(arn.clone(), role);
        vec![("", name), ("Arn", arn)]
    }

    /// The roles as the functions hold them. Every mapping's function must be allowed what the mapping does for it.
    ///
    /// # Errors
    /// A role is not of this template, or does not suffice.
    pub(crate) fn permissions(&self) -> Result<Permissions, Refusal> {
        let mut permissions = Permissions::over(Standing {
            tables: self.keys.clone(),
            queues: self.queues.iter().map(|queue| (last_part(&queue.url).to_owned(), queue.arn.clone())).collect(),
        });
        for function in &self.functions {
            let Some(arn) = &function.role else { continue };
            let role = self.roles.get(arn).cloned();
            let role = role.ok_or_else(|| Refusal::new(&function.binary, "Role", "is no role of this template"))?;
            if !permissions.give(&function.binary, role) {
                return Err(Refusal::new(&function.binary, "", "is too like another function's name"));
            }
        }
        for mapping in &self.mappings {
            let allowed = permissions.check(&Caller::function(mapping.function()), &mapping.needs());
            allowed.map_err(|fault| Refusal::new(mapping.function(), "Role", fault.message))?;
        }
        Ok(permissions)
    }

    fn url_of(&self, arn: &str) -> Result<String, String> {
        let queue = self.queues.iter().find(|queue| queue.arn == arn);
        queue.map(|queue| queue.url.clone()).ok_or_else(|| format!("{arn} is no queue of this template"))
    }
}

fn event_refusal(event: &str, why: String) -> StartError {
    StartError::Template(Refusal::new(event, "", why))
}

fn text(value: &Value, field: &str) -> String {
    text_or(value, field, "")
}

fn text_or(value: &Value, field: &str, otherwise: &str) -> String {
    value.get(field).and_then(Value::as_str).unwrap_or(otherwise).to_owned()
}
