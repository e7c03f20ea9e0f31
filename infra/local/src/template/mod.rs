//! template.yaml, the one description of the running system: read, checked, and handed on as plain values.
//!
//! yaml (text to JSON) -> shape (refuse by name) -> parameters and scope (intrinsics) -> table, queue, function.

mod function;
mod parameters;
mod queue;
mod refusal;
mod scope;
mod shape;
mod table;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

pub use function::{Batching, Event, Function, QueueEvent, Route, StreamEvent};
pub use queue::Queue;
pub use refusal::Refusal;
pub use scope::{ACCOUNT, REGION, Scope, Unresolved, plain_text};
pub use table::Table;

/// A template that can be executed here.
#[derive(Debug, Clone)]
pub struct Template {
    document: Value,
}

/// One resource as the template writes it: nothing resolved yet.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    /// Its logical id.
    pub name: &'a str,
    /// Its type, such as `AWS::SQS::Queue`.
    pub kind: &'a str,
    body: &'a Value,
}

impl Template {
    /// Reads and checks the template at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is not YAML, or holds something that cannot be honoured here.
    pub fn read(path: &Path) -> Result<Self, Refusal> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Refusal::new(&place, "", error.to_string()))?;
        Self::parse(&text).map_err(|refusal| match refusal.resource.is_empty() {
            true => Refusal { resource: place, ..refusal },
            false => refusal,
        })
    }

    /// Checks the template in `text`.
    ///
    /// # Errors
    /// As [`Template::read`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let document = yaml::parse(text).map_err(|why| Refusal::new("", "", why))?;
        shape::check(&document)?;
        Ok(Self { document })
    }

    /// What the template's references mean for these parameters, before any resource exists.
    ///
    /// # Errors
    /// A parameter is unknown, missing, or not allowed.
    pub fn scope(&self, stack: &str, given: &BTreeMap<String, String>) -> Result<Scope, Refusal> {
        let parameters = parameters::settle(self.document.get("Parameters"), given)?;
        let conditions = self.document.get("Conditions").and_then(Value::as_object).cloned().unwrap_or_default();
        let resources = self.all_resources().map(|resource| resource.name.to_owned()).collect();
        Ok(Scope::new(stack, parameters, conditions, resources))
    }

    /// The resources that exist under `scope`'s conditions and have a meaning here, in the template's order.
    ///
    /// # Errors
    /// A resource's condition cannot be told.
    pub fn resources(&self, scope: &Scope) -> Result<Vec<Resource<'_>>, Refusal> {
        let mut present = Vec::new();
        for resource in self.all_resources().filter(|resource| !shape::is_only_in_aws(resource.kind)) {
            let condition = resource.body.get("Condition").and_then(Value::as_str);
            let exists = condition.map_or(Ok(true), |name| scope.holds(name));
            if exists.map_err(|unresolved| resource.refusal(unresolved))? {
                present.push(resource);
            }
        }
        Ok(present)
    }

    /// The defaults every function starts from.
    pub(crate) fn function_defaults(&self) -> Value {
        self.document.pointer("/Globals/Function").cloned().unwrap_or_else(|| json!({}))
    }

    fn all_resources(&self) -> impl Iterator<Item = Resource<'_>> {
        shape::entries(self.document.get("Resources")).map(|(name, body)| Resource {
            name,
            kind: body.get("Type").and_then(Value::as_str).unwrap_or_default(),
            body,
        })
    }
}

impl Resource<'_> {
    /// The properties that have a meaning here, every reference in them replaced by its value.
    ///
    /// # Errors
    /// See [`Unresolved`].
    pub fn properties(&self, scope: &Scope) -> Result<Value, Unresolved> {
        resolve_honoured(self.kind, self.body.get("Properties"), scope)
    }

    /// The name of the binary that is this function (`Metadata.BuildProperties.Binary`).
    pub(crate) fn binary(&self) -> Option<&str> {
        self.body.pointer("/Metadata/BuildProperties/Binary").and_then(Value::as_str)
    }

    /// Says why this resource cannot be had: a refusal naming it.
    pub fn refusal(&self, unresolved: Unresolved) -> Refusal {
        match unresolved {
            Unresolved::NotYet { reference } => {
                Refusal::new(self.name, reference, "is needed here but never comes to be")
            }
            Unresolved::Refused(refusal) => refusal.within(self.name, ""),
        }
    }
}

/// Resolves the properties of a resource of type `kind`, leaving out those that only matter in AWS: what stands in those
/// may refer to things that have no counterpart here.
pub(crate) fn resolve_honoured(kind: &str, properties: Option<&Value>, scope: &Scope) -> Result<Value, Unresolved> {
    let mut honoured = Map::new();
    for (property, value) in shape::entries(properties).filter(|(property, _)| !shape::leaves_to_aws(kind, property)) {
        let resolved = scope.resolve(value).map_err(|unresolved| match unresolved {
            Unresolved::Refused(refusal) => Unresolved::Refused(refusal.within("", property)),
            not_yet => not_yet,
        })?;
        if let Some(value) = resolved {
            honoured.insert(property.clone(), value);
        }
    }
    Ok(Value::Object(honoured))
}
