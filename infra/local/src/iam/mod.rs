//! IAM: checks every call of a function against its role in template.yaml.
//!
//! [`Caller`] (identified by the access key) -> `required_actions` (the actions and resources of the call) -> `role` (whether its
//! statements allow them) -> the service, or AWS's [`AwsError`]. Callers other than functions (tests, the dashboard, the cloud
//! itself) may do everything. The signature of the call is verified before.

mod caller;
mod pattern;
mod required_action;
mod required_actions;
mod role;
mod table_actions;
mod table_keys;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

pub use caller::{Caller, access_key, is_known};
pub use pattern::matches;
pub use required_action::RequiredAction;
pub use required_actions::{DeployedResources, last_part, required_by_call, required_by_mail};
pub use role::{Decision, Role};
pub use table_keys::TableKeys;

use crate::aws_error::AwsError;
use crate::template::ACCOUNT;

/// The roles of all functions, and the deployed resources.
#[derive(Debug, Default)]
pub struct Permissions {
    roles: BTreeMap<String, FunctionRole>,
    resources: DeployedResources,
    relied_on: Mutex<BTreeSet<Grant>>,
}

/// A function and its role.
#[derive(Debug)]
struct FunctionRole {
    function: String,
    role: Role,
}

/// One action that one statement of a function's role allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Grant {
    /// Binary of the function.
    pub function: String,
    /// The statement's `Sid`.
    pub statement: String,
    /// The action as the template writes it.
    pub action: String,
}

impl Permissions {
    /// Permissions over these resources, without any roles.
    pub fn new(resources: DeployedResources) -> Self {
        Self { resources, ..Self::default() }
    }

    /// Assigns a role to a function. Returns false when another function has the same access key.
    #[must_use]
    pub fn assign(&mut self, function: &str, role: Role) -> bool {
        let function_role = FunctionRole { function: function.to_owned(), role };
        self.roles.insert(access_key(function), function_role).is_none()
    }

    /// The deployed resources.
    pub fn resources(&self) -> &DeployedResources {
        &self.resources
    }

    /// Whether the caller has a role.
    pub fn applies_to(&self, caller: &Caller) -> bool {
        self.function(caller).is_some()
    }

    /// Binary of the calling function, if it has a role.
    pub fn function(&self, caller: &Caller) -> Option<&str> {
        self.roles.get(caller.key()).map(|function_role| function_role.function.as_str())
    }

    /// Checks that the caller may perform all these actions.
    ///
    /// # Errors
    /// `AccessDeniedException`, naming the first action and resource that are not allowed.
    pub fn check(&self, caller: &Caller, required_actions: &[RequiredAction]) -> Result<(), AwsError> {
        let Some(function_role) = self.roles.get(caller.key()) else { return Ok(()) };
        required_actions.iter().try_for_each(|required| match function_role.role.evaluate(required) {
            Decision::Allowed(by) => {
                self.record_use(&function_role.function, &by);
                Ok(())
            }
            Decision::Denied { explicitly } => Err(function_role.denial(required, explicitly)),
        })
    }

    /// All grants of all roles.
    pub fn grants(&self) -> BTreeSet<Grant> {
        let of = |function_role: &FunctionRole| {
            let allowed = function_role.role.allowed_actions();
            let grants = allowed.map(|(statement, action)| Grant::new(&function_role.function, statement, action));
            grants.collect::<Vec<_>>()
        };
        self.roles.values().flat_map(of).collect()
    }

    /// The grants that were the only one to allow some call so far.
    pub fn relied_on(&self) -> BTreeSet<Grant> {
        self.relied_on.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records the grant that allowed a call. A call that several statements allow relies on none of them.
    fn record_use(&self, function: &str, by: &[(&str, &str)]) {
        if let [(statement, action)] = by {
            let mut relied_on = self.relied_on.lock().unwrap_or_else(PoisonError::into_inner);
            relied_on.insert(Grant::new(function, statement, action));
        }
    }
}

impl Grant {
    fn new(function: &str, statement: &str, action: &str) -> Self {
        Self { function: function.to_owned(), statement: statement.to_owned(), action: action.to_owned() }
    }
}

impl FunctionRole {
    fn denial(&self, required: &RequiredAction, explicitly: bool) -> AwsError {
        let RequiredAction { action, resource, .. } = required;
        let why = match explicitly {
            true => "with an explicit deny in an identity-based policy".to_owned(),
            false => format!("because no identity-based policy allows the {action} action"),
        };
        let user = format!("arn:aws:sts::{ACCOUNT}:assumed-role/{}/{}", self.role.name, self.function);
        let message = format!("User: {user} is not authorized to perform: {action} on resource: {resource} {why}");
        AwsError::new("AccessDeniedException", message)
    }
}
