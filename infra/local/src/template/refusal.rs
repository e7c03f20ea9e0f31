//! What is said when the template asks for something the local cloud cannot honour: which resource, which property.

use std::fmt;

/// The template cannot be executed here. `resource` and `property` name the place; `property` may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Logical id of the resource, or the name of the template's section.
    pub resource: String,
    /// Property, event or function inside it, dotted.
    pub property: String,
    /// What about it cannot be honoured.
    pub why: String,
}

impl Refusal {
    /// A refusal of one property of one resource.
    pub fn new(resource: impl Into<String>, property: impl Into<String>, why: impl Into<String>) -> Self {
        Self { resource: resource.into(), property: property.into(), why: why.into() }
    }

    /// The same refusal, its place known to be inside `resource` and `property`.
    #[must_use]
    pub fn within(self, resource: &str, property: &str) -> Self {
        let path = [property, &self.resource, &self.property];
        let path: Vec<_> = path.into_iter().filter(|part| !part.is_empty()).collect();
        Self::new(resource, path.join("."), self.why)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.property.as_str() {
            "" => write!(out, "{}: {}", self.resource, self.why),
            property => write!(out, "{}, {property}: {}", self.resource, self.why),
        }
    }
}

impl std::error::Error for Refusal {}
