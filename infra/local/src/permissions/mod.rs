//! Who may do what: the roles of template.yaml, held against every call a function makes.
//!
//! Front door -> [`Caller`] (who calls, by access key, as in AWS) -> `needs` (which actions on which resources the call
//! is) -> `role` (whether its statements allow them) -> the service, or [`Fault`] with AWS's own words. Whoever is no
//! function (a test, the desk, this cloud itself) may do everything. That the caller is who it says is proven before.

mod caller;
mod needs;
mod pattern;
mod role;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

pub use caller::{Caller, access_key, is_known};
pub use needs::{Need, Standing, last_part, of_call, of_mail};
pub use pattern::matches;
pub use role::Role;
pub use tables::TableKeys;

use crate::service::Fault;
use crate::template::ACCOUNT;

/// The roles of all functions, and what is known of the things they speak of.
#[derive(Debug, Default)]
pub struct Permissions {
    holders: BTreeMap<String, Holder>,
    standing: Standing,
    relied_on: Mutex<BTreeSet<Grant>>,
}

/// A function and its role.
#[derive(Debug)]
struct Holder {
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
    /// Permissions over what stands; nobody holds a role yet.
    pub fn over(standing: Standing) -> Self {
        Self { standing, ..Self::default() }
    }

    /// Gives a function its role. False where another function already has the same access key.
    #[must_use]
    pub fn give(&mut self, function: &str, role: Role) -> bool {
        let holder = Holder { function: function.to_owned(), role };
        self.holders.insert(access_key(function), holder).is_none()
    }

    /// What stands.
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether this caller is held to a role.
    pub fn bind(&self, caller: &Caller) -> bool {
        self.function(caller).is_some()
    }

    /// Binary of the function that calls, where it is one with a role.
    pub fn function(&self, caller: &Caller) -> Option<&str> {
        self.holders.get(caller.key()).map(|holder| holder.function.as_str())
    }

    /// Whether the caller may do all of this.
    ///
    /// # Errors
    /// `AccessDeniedException`, naming the first action and resource that are not allowed.
    pub fn check(&self, caller: &Caller, needs: &[Need]) -> Result<(), Fault> {
        let Some(holder) = self.holders.get(caller.key()) else { return Ok(()) };
        needs.iter().try_for_each(|need| match holder.role.verdict(need) {
            role::Verdict::Allowed(by) => {
                self.remember(&holder.function, &by);
                Ok(())
            }
            role::Verdict::Denied { explicitly } => Err(holder.denial(need, explicitly)),
        })
    }

    /// Everything the roles allow.
    pub fn grants(&self) -> BTreeSet<Grant> {
        let of = |holder: &Holder| {
            let allowed = holder.role.allowed_actions();
            let grants = allowed.map(|(statement, action)| Grant::new(&holder.function, statement, action));
            grants.collect::<Vec<_>>()
        };
        self.holders.values().flat_map(of).collect()
    }

    /// What some call so far could not have done without.
    pub fn relied_on(&self) -> BTreeSet<Grant> {
        self.relied_on.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A call that two statements allow relies on neither.
    fn remember(&self, function: &str, by: &[(&str, &str)]) {
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

impl Holder {
    fn denial(&self, need: &Need, explicitly: bool) -> Fault {
        let Need { action, resource, .. } = need;
        let why = match explicitly {
            true => "with an explicit deny in an identity-based policy".to_owned(),
            false => format!("because no identity-based policy allows the {action} action"),
        };
        let user = format!("arn:aws:sts::{ACCOUNT}:assumed-role/{}/{}", self.role.name, self.function);
        let message = format!("User: {user} is not authorized to perform: {action} on resource: {resource} {why}");
        Fault::new("AccessDeniedException", message)
    }
}
