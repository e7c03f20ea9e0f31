//! Authorisation: a caller, an action and a collection in, a `Grant` out. Pure.
//!
//! The store opens records only for a `Grant`, and only this module can create one. A grant contains the residual rule after
//! the caller is folded in; the store turns it into keys, conditions and checks.

use crate::caller::Caller;
use crate::clock::rfc3339;
use crate::error::{Error, Result};
use crate::expr::{Auth, Expr, Input, Known, RecordRef, Rule};
use crate::schema::Collection;
use std::sync::Arc;

/// Permission of a caller for an action on records of a collection, as far as it can be decided before a record is read.
#[derive(Debug, Clone)]
pub struct Grant {
    collection: Arc<Collection>,
    /// The rule to check. `None` if everything is allowed.
    rule: Option<Rule>,
    residual: Expr,
    auth: Option<Auth>,
    now: String,
    is_admin: bool,
    is_system: bool,
    caller: String,
}

impl Grant {
    /// The collection.
    pub fn collection(&self) -> &Arc<Collection> {
        &self.collection
    }

    /// The residual rule, which only the stored record can decide.
    pub fn residual(&self) -> &Expr {
        &self.residual
    }

    /// Whether the permission depends on the time of the request.
    pub fn asks_the_time(&self) -> bool {
        self.stated().is_some_and(Expr::asks_the_time)
    }

    /// The time of the request, RFC 3339: the `request.time` of the rule.
    pub fn asked_at(&self) -> &str {
        &self.now
    }

    /// The residual rule at another time, RFC 3339.
    pub fn residual_at(&self, moment: &str) -> Expr {
        let known = Known { auth: self.auth.as_ref(), now: moment, input: Input::None };
        self.stated().map_or_else(|| self.residual.clone(), |stated| stated.partial(&known))
    }

    /// The rule as the definition contains it.
    fn stated(&self) -> Option<&Expr> {
        self.rule.and_then(|rule| self.collection.rule(rule))
    }

    /// The caller's id, stored with what they write.
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// Whether this caller sees hidden fields and writes read-only ones.
    pub fn is_admin(&self) -> bool {
        self.is_admin
    }

    /// Whether this rule granted it.
    pub fn is_by(&self, rule: Rule) -> bool {
        self.rule == Some(rule)
    }

    /// Whether it is the grant of a system job.
    pub fn is_system(&self) -> bool {
        self.is_system
    }

    /// Whether the whole rule allows this stored record, with `input` as the data to write.
    pub fn allows(&self, record: &RecordRef, input: Input) -> bool {
        self.rule.is_none_or(|rule| self.holds(rule, record, input))
    }

    /// Whether the caller may read this record, whatever the grant is for: the response to a write contains the record only
    /// if the caller may read it.
    pub fn allows_reading(&self, record: &RecordRef) -> bool {
        self.is_admin || self.holds(Rule::Read, record, Input::None)
    }

    /// The residual of the read rule for this caller: what [`Grant::allows_reading`] asks of a record.
    pub fn residual_to_read(&self) -> Expr {
        let known = Known { auth: self.auth.as_ref(), now: &self.now, input: Input::None };
        match self.collection.rule(Rule::Read) {
            _ if self.is_admin => Expr::True,
            Some(stated) => stated.partial(&known),
            None => Expr::False,
        }
    }

    /// The error for a write that the rule refuses. Callers who may read the record, and could change it otherwise, learn which
    /// tests of the input do not hold. To others the record is missing (R64).
    pub fn refusal(&self, record: &RecordRef, input: Input) -> Error {
        let known = Known { auth: self.auth.as_ref(), now: &self.now, input };
        let refused = match (self.rule, self.stated()) {
            (Some(Rule::Update), Some(stated)) if self.allows_reading(record) => stated.refused_input(&known, record),
            (rule, _) => return invisible(rule.unwrap_or(Rule::Update)),
        };
        if matches!(refused, Expr::True | Expr::False) {
            return invisible(Rule::Update);
        }
        let tests = refused.tests();
        let mut fields = tests.iter().flat_map(|test| test.fields());
        let is_hidden = |name: &str| self.collection.field(name).is_some_and(|field| field.value.hidden);
        let why = match fields.any(is_hidden) {
            true => "because of a field that you may not see".to_owned(),
            false => format!("because `{}` does not hold", refused.without_texts()),
        };
        let what_to_do = "Change something else, or ask an admin to change the rule.";
        Error::Forbidden(format!("The collection's update rule does not allow this change, {why}. {what_to_do}").into())
    }

    /// Whether a rule of the collection allows this record to the caller.
    fn holds(&self, rule: Rule, record: &RecordRef, input: Input) -> bool {
        let known = Known { auth: self.auth.as_ref(), now: &self.now, input };
        self.collection.rule(rule).is_some_and(|stated| stated.eval(&known, Some(record)))
    }
}

/// Grants an action, with `input` as the data to write, if any.
///
/// # Errors
/// `Unauthenticated` for an anonymous caller who might be allowed after signing in. `NotFound` when no record could ever be
/// allowed. `Forbidden` when the rule refuses the data to write. An update is granted, with a residual that no record satisfies,
/// if the rule refuses only this input: see [`Grant::refusal`].
pub fn allow(
    caller: &Caller,
    action: Rule,
    collection: &Arc<Collection>,
    asked_at: u64,
    input: Input,
) -> Result<Grant> {
    let auth = auth(caller);
    let now = rfc3339(asked_at);
    // A missing rule allows admins only.
    let stated = collection.rule(action);
    let is_admin = caller.is_admin();
    let residual = match stated {
        _ if is_admin => Expr::True,
        None => Expr::False,
        Some(stated) => stated.partial(&Known { auth: auth.as_ref(), now: &now, input }),
    };
    // Whether the rule refuses this input alone: the stored record then decides between 403 and 404, see `Grant::refusal`.
    let may_otherwise = |stated: &Expr| {
        let known = Known { auth: auth.as_ref(), now: &now, input: Input::None };
        let may_read = collection.rule(Rule::Read).is_some_and(|read| read.partial(&known) != Expr::False);
        may_read && stated.beside_input().partial(&known) != Expr::False
    };
    let is_open = match (caller, action, stated) {
        (Caller::User(_), Rule::Update, Some(stated)) => residual != Expr::False || may_otherwise(stated),
        _ => residual != Expr::False,
    };
    if !is_open {
        return Err(match (caller, action, stated) {
            (Caller::Anonymous, ..) => Error::Unauthenticated("Sign in to send this request."),
            (_, Rule::Create, Some(_)) => Error::Forbidden(
                "The collection's create rule does not allow this record. Change its data, or ask an admin to change the rule."
                    .into(),
            ),
            (_, action, _) => invisible(action),
        });
    }
    let (rule, caller) = ((!is_admin).then_some(action), caller.id().to_owned());
    Ok(Grant { collection: collection.clone(), rule, residual, auth, now, is_admin, is_system: false, caller })
}

/// The grants to refer to records of a collection from other records: for callers who may read them, and for callers that the
/// rule `refer` allows. One is enough. There may be none; a grant without a residual rule makes the other unnecessary.
pub fn allow_to_refer(caller: &Caller, collection: &Arc<Collection>, asked_at: u64) -> Vec<Grant> {
    let ask = |rule| allow(caller, rule, collection, asked_at, Input::None).ok();
    let grants: Vec<Grant> = [ask(Rule::Read), ask(Rule::Refer)].into_iter().flatten().collect();
    let open = grants.iter().find(|grant| grant.residual().is_true()).cloned();
    open.map_or(grants, |open| vec![open])
}

/// The authority of the system: consequences of a granted action need no grant of the caller. Only relay and worker use it; a
/// lint enforces that for all other crates.
#[derive(Debug, Clone)]
pub struct System(());

impl System {
    /// Takes the authority.
    pub fn authority() -> Self {
        Self(())
    }

    /// A grant for everything on records of a collection. Records written under it name the system as their author.
    pub fn grant(&self, collection: &Arc<Collection>, now: u64) -> Grant {
        Grant {
            collection: collection.clone(),
            rule: None,
            residual: Expr::True,
            auth: None,
            now: rfc3339(now),
            is_admin: true,
            is_system: true,
            caller: SYSTEM.to_owned(),
        }
    }
}

/// The author of the system's writes.
const SYSTEM: &str = "system";

/// The error for records the caller may not see, equal to the error for missing ones (R64).
pub fn invisible(action: Rule) -> Error {
    match action {
        Rule::List | Rule::Create => Error::NotFound("collection"),
        Rule::Read | Rule::Update | Rule::Delete | Rule::Undelete | Rule::Refer => Error::NotFound("record"),
    }
}

fn auth(caller: &Caller) -> Option<Auth> {
    match caller {
        Caller::Anonymous => None,
        Caller::User(user) => Some(Auth {
            id: user.id.clone(),
            email: user.email.clone(),
            roles: user.roles.clone(),
            verified: user.verified,
        }),
    }
}
