//! An action on a resource that a caller needs permission for.

use std::collections::BTreeMap;

use crate::aws_error::AwsError;

/// One action on one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredAction {
    /// The action, such as `dynamodb:PutItem`.
    pub action: String,
    /// ARN of the resource.
    pub resource: String,
    /// Values of the condition keys.
    pub context: BTreeMap<&'static str, Vec<String>>,
}

impl RequiredAction {
    /// An action on a resource, without condition keys.
    pub fn new(action: &str, resource: impl Into<String>) -> Self {
        Self { action: action.to_owned(), resource: resource.into(), context: BTreeMap::new() }
    }

    /// The same, with these values of one condition key.
    #[must_use]
    pub fn with(mut self, key: &'static str, values: Vec<String>) -> Self {
        self.context.insert(key, values);
        self
    }
}

/// The error for an operation that the local cloud has no permissions for.
pub(super) fn unknown_operation(operation: &str) -> AwsError {
    let why = format!("the local cloud does not know which actions {operation} requires, so that no role can allow it");
    AwsError::new("AccessDeniedException", why)
}
