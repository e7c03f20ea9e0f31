//! Reads template.yaml.
//!
//! `yaml` (text to JSON) -> `supported` (rejects unsupported resources and properties) -> `parameters` and `scope` (resolve
//! intrinsic functions) -> `table`, `queue`, `function` (typed values).

mod error;
mod function;
mod parameters;
mod queue;
mod scope;
mod supported;
mod table;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

pub use error::TemplateError;
pub use function::{Batching, Event, Function, QueueEvent, Route, StreamEvent};
pub use queue::Queue;
pub use scope::{ACCOUNT, REGION, ResolveError, Scope, plain_text};
pub use table::Table;

/// A checked template.
#[derive(Debug, Clone)]
pub struct Template {
    document: Value,
}

/// A resource of the template, with unresolved references.
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
    /// The file cannot be read, is not YAML, or contains something that is not supported.
    pub fn read(path: &Path) -> Result<Self, TemplateError> {
        let path_text = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| TemplateError::new(&path_text, "", error.to_string()))?;
        Self::parse(&text).map_err(|error| match error.resource.is_empty() {
            true => TemplateError { resource: path_text, ..error },
            false => error,
        })
    }

    /// Checks the template in `text`.
    ///
    /// # Errors
    /// As [`Template::read`].
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let document = yaml::parse(text).map_err(|why| TemplateError::new("", "", why))?;
        supported::check(&document)?;
        Ok(Self { document })
    }

    /// The scope for these parameter values, before any resource exists.
    ///
    /// # Errors
    /// A parameter is unknown or missing, or its value is not allowed.
    pub fn scope(&self, stack: &str, given: &BTreeMap<String, String>) -> Result<Scope, TemplateError> {
        let parameters = parameters::resolve(self.document.get("Parameters"), given)?;
        let conditions = self.document.get("Conditions").and_then(Value::as_object).cloned().unwrap_or_default();
        let resources = self.all_resources().map(|resource| resource.name.to_owned()).collect();
        Ok(Scope::new(stack, parameters, conditions, resources))
    }

    /// The resources whose conditions hold and that are not ignored, in the template's order.
    ///
    /// # Errors
    /// A resource's condition cannot be evaluated.
    pub fn resources(&self, scope: &Scope) -> Result<Vec<Resource<'_>>, TemplateError> {
        let mut present = Vec::new();
        for resource in self.all_resources().filter(|resource| !supported::is_ignored_type(resource.kind)) {
            let condition = resource.body.get("Condition").and_then(Value::as_str);
            let exists = condition.map_or(Ok(true), |name| scope.holds(name));
            if exists.map_err(|unresolved| resource.error(unresolved))? {
                present.push(resource);
            }
        }
        Ok(present)
    }

    /// The default properties of all functions (`Globals`).
    pub(crate) fn function_defaults(&self) -> Value {
        self.document.pointer("/Globals/Function").cloned().unwrap_or_else(|| json!({}))
    }

    fn all_resources(&self) -> impl Iterator<Item = Resource<'_>> {
        supported::entries(self.document.get("Resources")).map(|(name, body)| Resource {
            name,
            kind: body.get("Type").and_then(Value::as_str).unwrap_or_default(),
            body,
        })
    }
}

impl Resource<'_> {
    /// The supported properties, with all references resolved.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn properties(&self, scope: &Scope) -> Result<Value, ResolveError> {
        resolve_supported(self.kind, self.body.get("Properties"), scope)
    }

    /// The name of the function's binary (`Metadata.BuildProperties.Binary`).
    pub(crate) fn binary(&self) -> Option<&str> {
        self.body.pointer("/Metadata/BuildProperties/Binary").and_then(Value::as_str)
    }

    /// The error with this resource's name.
    pub fn error(&self, unresolved: ResolveError) -> TemplateError {
        match unresolved {
            ResolveError::NotYetCreated { reference } => TemplateError::new(
                self.name,
                reference,
                "is never created: it does not exist, or the references form a cycle",
            ),
            ResolveError::Invalid(error) => error.within(self.name, ""),
        }
    }
}

/// Resolves the properties of a resource of type `kind`, without the ignored ones: they may refer to resources that do not exist
/// locally.
pub(crate) fn resolve_supported(kind: &str, properties: Option<&Value>, scope: &Scope) -> Result<Value, ResolveError> {
    let mut resolved_properties = Map::new();
    for (property, value) in
        supported::entries(properties).filter(|(property, _)| !supported::is_ignored_property(kind, property))
    {
        let resolved = scope.resolve(value).map_err(|unresolved| match unresolved {
            ResolveError::Invalid(error) => ResolveError::Invalid(error.within("", property)),
            not_yet => not_yet,
        })?;
        if let Some(value) = resolved {
            resolved_properties.insert(property.clone(), value);
        }
    }
    Ok(Value::Object(resolved_properties))
}
