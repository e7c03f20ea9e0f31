//! A function as the template describes it: its binary, its environment and what calls it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::refusal::Refusal;
use super::scope::{Scope, Unresolved, plain_text};
use super::{Resource, Template, resolve_honoured, shape};
use crate::mapping::Filter;

/// One Lambda function.
#[derive(Debug, Clone)]
pub struct Function {
    /// Its name everywhere on this machine: the binary that is this function.
    pub binary: String,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// Its environment as the template gives it, defaults included.
    pub environment: BTreeMap<String, String>,
    /// ARN of the role it runs under; without one it is held to none.
    pub role: Option<String>,
    /// What calls it.
    pub events: Vec<Event>,
}

/// Something that calls a function.
#[derive(Debug, Clone)]
pub enum Event {
    /// An HTTP request.
    Route(Route),
    /// Messages of a queue.
    Queue(QueueEvent),
    /// Changes of a table.
    Stream(StreamEvent),
}

/// A route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// Path as API Gateway writes it, such as `/v1/jobs/{proxy+}`.
    pub path: String,
    /// Method, or `ANY`.
    pub method: String,
    /// Binary of the function that answers.
    pub function: String,
}

/// What queue and stream events have in common.
#[derive(Debug, Clone)]
pub struct Batching {
    /// `Function/Event`, unique in the template: the name its progress is kept under.
    pub name: String,
    /// Most records in one invocation.
    pub size: usize,
    /// How long to wait for a batch to fill.
    pub window: Duration,
    /// Whether the function reports which records failed (`ReportBatchItemFailures`).
    pub reports_failures: bool,
    /// Which records the function wants.
    pub filter: Filter,
}

/// An SQS event source.
#[derive(Debug, Clone)]
pub struct QueueEvent {
    /// How messages are gathered.
    pub batching: Batching,
    /// ARN of the queue.
    pub queue: String,
    /// Most invocations at once, where the template limits them.
    pub maximum_concurrency: Option<usize>,
}

/// A DynamoDB stream event source.
#[derive(Debug, Clone)]
pub struct StreamEvent {
    /// How records are gathered.
    pub batching: Batching,
    /// ARN of the stream.
    pub stream: String,
    /// Whether the first record wanted is the oldest the stream still has, or the first one from now on.
    pub from_oldest: bool,
    /// Whether a batch whose function failed is halved.
    pub bisects: bool,
    /// Retries after the first invocation; `None` is until the record expires.
    pub maximum_retries: Option<u32>,
    /// Age past which a record is given up; `None` is until the record expires.
    pub maximum_age: Option<Duration>,
    /// Batches of one shard at once; order is kept per key.
    pub parallelization: usize,
    /// ARN of the queue that is told of batches given up.
    pub on_failure: Option<String>,
}

impl Function {
    /// Reads one function of the template.
    ///
    /// # Errors
    /// See [`Unresolved`].
    pub fn read(template: &Template, resource: &Resource<'_>, scope: &Scope) -> Result<Self, Unresolved> {
        let refused = |property: &str, why: &str| Unresolved::Refused(Refusal::new("", property, why));
        let binary =
            resource.binary().ok_or_else(|| refused("Metadata.BuildProperties.Binary", "is missing"))?.to_owned();
        let defaults = resolve_honoured(resource.kind, Some(&template.function_defaults()), scope)?;
        let own = resource.properties(scope)?;
        let timeout = own.get("Timeout").or_else(|| defaults.get("Timeout")).map(plain_text);
        let timeout = timeout
            .unwrap_or_else(|| "3".into())
            .parse()
            .map_err(|_| refused("Timeout", "is not a number of seconds"))?;
        let mut environment = variables(&defaults);
        environment.extend(variables(&own));
        let mut events = Vec::new();
        for (name, event) in shape::entries(own.get("Events")) {
            let read =
                Event::read(&binary, name, event).map_err(|refusal| refusal.within("", &format!("Events.{name}")));
            events.extend(read.map_err(Unresolved::Refused)?);
        }
        let role = own.get("Role").or_else(|| defaults.get("Role")).map(plain_text);
        Ok(Self { binary, timeout: Duration::from_secs(timeout), environment, role, events })
    }

    /// The routes that lead here.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.events.iter().filter_map(|event| match event {
            Event::Route(route) => Some(route),
            Event::Queue(_) | Event::Stream(_) => None,
        })
    }
}

impl Event {
    /// Reads one event; `None` where it is disabled.
    fn read(function: &str, name: &str, event: &Value) -> Result<Option<Self>, Refusal> {
        let properties = Properties(event.get("Properties").unwrap_or(&Value::Null));
        if properties.text("Enabled").as_deref() == Some("false") {
            return Ok(None);
        }
        let kind = event.get("Type").and_then(Value::as_str).unwrap_or_default();
        let name = format!("{function}/{name}");
        Ok(Some(match kind {
            "HttpApi" => Self::Route(Route {
                path: properties.required("Path")?,
                method: properties.required("Method")?.to_uppercase(),
                function: function.to_owned(),
            }),
            "SQS" => Self::Queue(QueueEvent::read(name, &properties)?),
            _ => Self::Stream(StreamEvent::read(name, &properties)?),
        }))
    }
}

impl QueueEvent {
    fn read(name: String, properties: &Properties<'_>) -> Result<Self, Refusal> {
        let batching = Batching::read(name, properties, 10)?;
        let queue = properties.required("Queue")?;
        let is_fifo = queue.ends_with(".fifo");
        if is_fifo && !batching.window.is_zero() {
            return Err(Refusal::new("MaximumBatchingWindowInSeconds", "", "a FIFO queue has no batching window"));
        }
        if batching.size > 10 && (is_fifo || batching.window.is_zero()) {
            return Err(Refusal::new("BatchSize", "", "above 10 it needs a standard queue and a batching window"));
        }
        let maximum_concurrency = properties.0.pointer("/ScalingConfig/MaximumConcurrency").map(plain_text);
        Ok(Self { batching, queue, maximum_concurrency: maximum_concurrency.and_then(|text| text.parse().ok()) })
    }
}

impl StreamEvent {
    fn read(name: String, properties: &Properties<'_>) -> Result<Self, Refusal> {
        let from_oldest = match properties.required("StartingPosition")?.as_str() {
            "TRIM_HORIZON" => true,
            "LATEST" => false,
            other => return Err(Refusal::new("StartingPosition", other, "is not a position in a table's stream")),
        };
        let seconds = properties.number("MaximumRecordAgeInSeconds", -1..=604_800)?.filter(|seconds| *seconds >= 0);
        Ok(Self {
            batching: Batching::read(name, properties, 100)?,
            stream: properties.required("Stream")?,
            from_oldest,
            bisects: properties.text("BisectBatchOnFunctionError").as_deref() == Some("true"),
            maximum_retries: properties
                .number("MaximumRetryAttempts", -1..=10_000)?
                .and_then(|count| u32::try_from(count).ok()),
            maximum_age: seconds.map(|seconds| Duration::from_secs(seconds.unsigned_abs())),
            parallelization: properties.number("ParallelizationFactor", 1..=10)?.map_or(1, as_count),
            on_failure: on_failure(properties.0)?,
        })
    }
}

impl Batching {
    fn read(name: String, properties: &Properties<'_>, default_size: usize) -> Result<Self, Refusal> {
        let window = properties.number("MaximumBatchingWindowInSeconds", 0..=300)?.unwrap_or_default();
        let responses =
            properties.0.get("FunctionResponseTypes").and_then(Value::as_array).cloned().unwrap_or_default();
        if let Some(stranger) = responses.iter().find(|kind| *kind != "ReportBatchItemFailures") {
            return Err(Refusal::new("FunctionResponseTypes", plain_text(stranger), "cannot be honoured here"));
        }
        let filter = Filter::parse(properties.0.get("FilterCriteria"));
        Ok(Self {
            name,
            size: properties.number("BatchSize", 1..=10_000)?.map_or(default_size, as_count),
            window: Duration::from_secs(window.unsigned_abs()),
            reports_failures: !responses.is_empty(),
            filter: filter.map_err(|why| Refusal::new("FilterCriteria", "", why))?,
        })
    }
}

/// An event's resolved properties.
struct Properties<'a>(&'a Value);

impl Properties<'_> {
    fn text(&self, property: &str) -> Option<String> {
        self.0.get(property).map(plain_text)
    }

    fn required(&self, property: &str) -> Result<String, Refusal> {
        self.text(property).ok_or_else(|| Refusal::new(property, "", "is missing"))
    }

    fn number(&self, property: &str, allowed: std::ops::RangeInclusive<i64>) -> Result<Option<i64>, Refusal> {
        let Some(text) = self.text(property) else { return Ok(None) };
        match text.parse() {
            Ok(number) if allowed.contains(&number) => Ok(Some(number)),
            _ => {
                Err(Refusal::new(property, "", format!("{text} is not from {} to {}", allowed.start(), allowed.end())))
            }
        }
    }
}

fn on_failure(properties: &Value) -> Result<Option<String>, Refusal> {
    let Some(destination) = properties.pointer("/DestinationConfig/OnFailure") else { return Ok(None) };
    let arn = destination.get("Destination").map(plain_text).unwrap_or_default();
    if arn.contains(":sqs:") {
        return Ok(Some(arn));
    }
    Err(Refusal::new("DestinationConfig", "OnFailure", "only a queue can be told of failures here"))
}

fn variables(properties: &Value) -> BTreeMap<String, String> {
    let variables = properties.pointer("/Environment/Variables");
    shape::entries(variables).map(|(name, value)| (name.clone(), plain_text(value))).collect()
}

fn as_count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(1)
}
