//! A function of the template: its binary, environment variables, role and events.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::error::TemplateError;
use super::scope::{ResolveError, Scope, plain_text};
use super::{Resource, Template, resolve_supported, supported};
use crate::filter_criteria::FilterCriteria;

/// One Lambda function.
#[derive(Debug, Clone)]
pub struct Function {
    /// The name of its binary, which is also the function's name on this machine.
    pub binary: String,
    /// Timeout of one invocation.
    pub timeout: Duration,
    /// Environment variables, including the defaults in `Globals`.
    pub environment: BTreeMap<String, String>,
    /// ARN of its role; without a role, every call is allowed.
    pub role: Option<String>,
    /// Its events.
    pub events: Vec<Event>,
}

/// An event that invokes a function.
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
    /// Path in API Gateway's syntax, such as `/v1/jobs/{proxy+}`.
    pub path: String,
    /// Method, or `ANY`.
    pub method: String,
    /// Binary of the function.
    pub function: String,
}

/// What queue and stream events have in common.
#[derive(Debug, Clone)]
pub struct Batching {
    /// `Function/Event`, which is unique in the template.
    pub name: String,
    /// Maximum number of records in one invocation (`BatchSize`).
    pub size: usize,
    /// Batching window (`MaximumBatchingWindowInSeconds`).
    pub window: Duration,
    /// Whether the function reports which records failed (`ReportBatchItemFailures`).
    pub reports_failures: bool,
    /// `FilterCriteria`
    pub filter: FilterCriteria,
}

/// An SQS event source.
#[derive(Debug, Clone)]
pub struct QueueEvent {
    /// Batching.
    pub batching: Batching,
    /// ARN of the queue.
    pub queue: String,
    /// `MaximumConcurrency`, if set.
    pub maximum_concurrency: Option<usize>,
}

/// A DynamoDB stream event source.
#[derive(Debug, Clone)]
pub struct StreamEvent {
    /// Batching.
    pub batching: Batching,
    /// ARN of the stream.
    pub stream: String,
    /// Whether `StartingPosition` is `TRIM_HORIZON`, otherwise `LATEST`.
    pub from_oldest: bool,
    /// `BisectBatchOnFunctionError`
    pub bisects: bool,
    /// `MaximumRetryAttempts`; `None` until the record expires.
    pub maximum_retries: Option<u32>,
    /// `MaximumRecordAgeInSeconds`; `None` until the record expires.
    pub maximum_age: Option<Duration>,
    /// `ParallelizationFactor`: concurrent batches of one shard; records of one key stay in order.
    pub parallelization: usize,
    /// ARN of the on-failure destination: a queue that receives a report of each discarded batch.
    pub on_failure: Option<String>,
}

impl Function {
    /// Reads one function of the template.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn read(template: &Template, resource: &Resource<'_>, scope: &Scope) -> Result<Self, ResolveError> {
        let invalid = |property: &str, why: &str| ResolveError::Invalid(TemplateError::new("", property, why));
        let binary =
            resource.binary().ok_or_else(|| invalid("Metadata.BuildProperties.Binary", "is missing"))?.to_owned();
        let defaults = resolve_supported(resource.kind, Some(&template.function_defaults()), scope)?;
        let own = resource.properties(scope)?;
        let timeout = own.get("Timeout").or_else(|| defaults.get("Timeout")).map(plain_text);
        let timeout = timeout
            .unwrap_or_else(|| "3".into())
            .parse()
            .map_err(|_| invalid("Timeout", "is not a number of seconds"))?;
        let mut environment = variables(&defaults);
        environment.extend(variables(&own));
        let mut events = Vec::new();
        for (name, event) in supported::entries(own.get("Events")) {
            let read = Event::read(&binary, name, event).map_err(|error| error.within("", &format!("Events.{name}")));
            events.extend(read.map_err(ResolveError::Invalid)?);
        }
        let role = own.get("Role").or_else(|| defaults.get("Role")).map(plain_text);
        Ok(Self { binary, timeout: Duration::from_secs(timeout), environment, role, events })
    }

    /// The routes of this function.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.events.iter().filter_map(|event| match event {
            Event::Route(route) => Some(route),
            Event::Queue(_) | Event::Stream(_) => None,
        })
    }
}

impl Event {
    /// Reads one event; `None` where it is disabled.
    fn read(function: &str, name: &str, event: &Value) -> Result<Option<Self>, TemplateError> {
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
    fn read(name: String, properties: &Properties<'_>) -> Result<Self, TemplateError> {
        let batching = Batching::read(name, properties, 10)?;
        let queue = properties.required("Queue")?;
        let is_fifo = queue.ends_with(".fifo");
        if is_fifo && !batching.window.is_zero() {
            return Err(TemplateError::new("MaximumBatchingWindowInSeconds", "", "must not be set for a FIFO queue"));
        }
        if batching.size > 10 && (is_fifo || batching.window.is_zero()) {
            return Err(TemplateError::new(
                "BatchSize",
                "",
                "must be at most 10 for a FIFO queue, or without MaximumBatchingWindowInSeconds",
            ));
        }
        let maximum_concurrency = properties.0.pointer("/ScalingConfig/MaximumConcurrency").map(plain_text);
        Ok(Self { batching, queue, maximum_concurrency: maximum_concurrency.and_then(|text| text.parse().ok()) })
    }
}

impl StreamEvent {
    fn read(name: String, properties: &Properties<'_>) -> Result<Self, TemplateError> {
        let from_oldest = match properties.required("StartingPosition")?.as_str() {
            "TRIM_HORIZON" => true,
            "LATEST" => false,
            other => return Err(TemplateError::new("StartingPosition", other, "must be TRIM_HORIZON or LATEST")),
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
    fn read(name: String, properties: &Properties<'_>, default_size: usize) -> Result<Self, TemplateError> {
        let window = properties.number("MaximumBatchingWindowInSeconds", 0..=300)?.unwrap_or_default();
        let responses =
            properties.0.get("FunctionResponseTypes").and_then(Value::as_array).cloned().unwrap_or_default();
        if let Some(unknown) = responses.iter().find(|kind| *kind != "ReportBatchItemFailures") {
            return Err(TemplateError::new(
                "FunctionResponseTypes",
                plain_text(unknown),
                "is not supported by the local cloud",
            ));
        }
        let filter = FilterCriteria::parse(properties.0.get("FilterCriteria"));
        Ok(Self {
            name,
            size: properties.number("BatchSize", 1..=10_000)?.map_or(default_size, as_count),
            window: Duration::from_secs(window.unsigned_abs()),
            reports_failures: !responses.is_empty(),
            filter: filter.map_err(|why| TemplateError::new("FilterCriteria", "", why))?,
        })
    }
}

/// An event's resolved properties.
struct Properties<'a>(&'a Value);

impl Properties<'_> {
    fn text(&self, property: &str) -> Option<String> {
        self.0.get(property).map(plain_text)
    }

    fn required(&self, property: &str) -> Result<String, TemplateError> {
        self.text(property).ok_or_else(|| TemplateError::new(property, "", "is missing"))
    }

    fn number(&self, property: &str, allowed: std::ops::RangeInclusive<i64>) -> Result<Option<i64>, TemplateError> {
        let Some(text) = self.text(property) else { return Ok(None) };
        match text.parse() {
            Ok(number) if allowed.contains(&number) => Ok(Some(number)),
            _ => Err(TemplateError::new(
                property,
                "",
                format!("{text} is not from {} to {}", allowed.start(), allowed.end()),
            )),
        }
    }
}

fn on_failure(properties: &Value) -> Result<Option<String>, TemplateError> {
    let Some(destination) = properties.pointer("/DestinationConfig/OnFailure") else { return Ok(None) };
    let arn = destination.get("Destination").map(plain_text).unwrap_or_default();
    if arn.contains(":sqs:") {
        return Ok(Some(arn));
    }
    Err(TemplateError::new("DestinationConfig", "OnFailure", "the local cloud supports only a queue as a destination"))
}

fn variables(properties: &Value) -> BTreeMap<String, String> {
    let variables = properties.pointer("/Environment/Variables");
    supported::entries(variables).map(|(name, value)| (name.clone(), plain_text(value))).collect()
}

fn as_count(number: i64) -> usize {
    usize::try_from(number).unwrap_or(1)
}
