//! An error in the template: which resource, which property, and why.

use std::fmt;

/// An error in the template. `property` may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Logical id of the resource, or the name of the template's section.
    pub resource: String,
    /// Property, event or function inside it, dotted.
    pub property: String,
    /// What is wrong.
    pub why: String,
}

impl TemplateError {
    /// An error of one property of one resource.
    pub fn new(resource: impl Into<String>, property: impl Into<String>, why: impl Into<String>) -> Self {
        Self { resource: resource.into(), property: property.into(), why: why.into() }
    }

    /// The same error inside of `resource` and `property`.
    #[must_use]
    pub fn within(self, resource: &str, property: &str) -> Self {
        let path = [property, &self.resource, &self.property];
        let path: Vec<_> = path.into_iter().filter(|part| !part.is_empty()).collect();
        Self::new(resource, path.join("."), self.why)
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.property.as_str() {
            "" => write!(out, "{}: {}", self.resource, self.why),
            property => write!(out, "{}, {property}: {}", self.resource, self.why),
        }
    }
}

impl std::error::Error for TemplateError {}
