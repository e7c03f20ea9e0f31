//! The environment variables, read once while a function starts.
//!
//! template.yaml sets the variables of each function. An `App` reads them by name and fails to start if one is missing; the
//! error names the variable. Other code does not read the environment.

use std::collections::HashMap;

/// A function's environment variables.
#[derive(Debug, Clone, Default)]
pub struct Env(HashMap<String, String>);

impl Env {
    /// The variables of this process.
    pub fn of_process() -> Self {
        Self(std::env::vars().collect())
    }

    /// A required variable.
    pub fn required(&self, name: &'static str) -> Result<String, MissingVariable> {
        self.optional(name).map(str::to_owned).ok_or(MissingVariable(name))
    }

    /// An optional variable. An empty value counts as absent.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The path of this stack's keys in SSM Parameter Store: `/undercroft/<stack>`.
    pub fn parameter_path(&self) -> Result<String, MissingVariable> {
        Ok(format!("/undercroft/{}", self.required("UNDERCROFT_STACK")?))
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

/// A variable that template.yaml should set for this function.
#[derive(Debug)]
pub struct MissingVariable(pub &'static str);

impl std::fmt::Display for MissingVariable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "The environment variable {} is missing. Add it to this function in template.yaml.", self.0)
    }
}

impl std::error::Error for MissingVariable {}
