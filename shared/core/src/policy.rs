//! May they: a caller, an action and a collection in, a `Grant` out. Pure.
//!
//! The store opens records for a `Grant` and for nothing else, and nothing outside this module can make one. A grant carries
//! what folding the caller into the rule left over; the store turns that into keys, conditions and checks.

use crate::caller::Caller;
use crate::clock::rfc3339;
use crate::error::{Error, Result};
use crate::expr::{Auth, Expr, Input, Known, RecordRef, Rule};
use crate::schema::Collection;
use std::sync::Arc;

/// That a caller may do something with records of a collection, as far as it can be known before one is read.
#[derive(Debug, Clone)]
pub struct Grant {
    collection: Arc<Collection>,
    /// The rule to be held to; `None` where everything is allowed.
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

    /// What only the stored record can decide.
    pub fn residual(&self) -> &Expr {
        &self.residual
    }

    /// Whether what the caller may depends on when they ask.
    pub fn asks_the_time(&self) -> bool {
        self.stated().is_some_and(Expr::asks_the_time)
    }

    /// What only the stored record could have decided at another moment, RFC 3339.
    pub fn residual_at(&self, moment: &str) -> Expr {
        let known = Known { auth: self.auth.as_ref(), now: moment, input: Input::None };
        self.stated().map_or_else(|| self.residual.clone(), |stated| stated.partial(&known))
    }

    /// The rule to be held to, as it stands in the definition.
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

    /// Whether it was given by this rule.
    pub fn is_by(&self, rule: Rule) -> bool {
        self.rule == Some(rule)
    }

    /// Whether it was given to a system job.
    pub fn is_system(&self) -> bool {
        self.is_system
    }

    /// Whether the whole rule allows this stored record, with `input` about to be written.
    pub fn allows(&self, record: &RecordRef, input: Input) -> bool {
        self.rule.is_none_or(|rule| self.holds(rule, record, input))
    }

    /// Whether the caller may read this record, whatever they were granted to do with it: a write answers with a record only
    /// to those who could read it.
    pub fn allows_reading(&self, record: &RecordRef) -> bool {
        self.is_admin || self.holds(Rule::Read, record, Input::None)
    }

    /// Whether a rule of the collection allows this record to the caller.
    fn holds(&self, rule: Rule, record: &RecordRef, input: Input) -> bool {
        let known = Known { auth: self.auth.as_ref(), now: &self.now, input };
        self.collection.rule(rule).is_some_and(|stated| stated.eval(&known, Some(record)))
    }
}

/// Grants an action, with `input` about to be written if it writes.
///
/// # Errors
/// `Unauthenticated` for a caller who might be allowed once signed in; `NotFound` where no record could ever be theirs;
/// `Forbidden` when the rule refuses what they want to write.
pub fn allow(
    caller: &Caller,
    action: Rule,
    collection: &Arc<Collection>,
    asked_at: u64,
    input: Input,
) -> Result<Grant> {
    let auth = auth(caller);
    let now = rfc3339(asked_at);
    // A rule that is absent means admins only.
    let stated = collection.rule(action);
    let is_admin = caller.is_admin();
    let residual = match stated {
        _ if is_admin => Expr::True,
        None => Expr::False,
        Some(stated) => stated.partial(&Known { auth: auth.as_ref(), now: &now, input }),
    };
    if residual == Expr::False {
        return Err(match (caller, action, stated) {
            (Caller::Anonymous, ..) => Error::Unauthenticated("Sign in to send this request."),
            (_, Rule::Create, Some(_)) => Error::Forbidden("the collection's create rule does not allow this record"),
            (_, action, _) => invisible(action),
        });
    }
    let (rule, caller) = ((!is_admin).then_some(action), caller.id().to_owned());
    Ok(Grant { collection: collection.clone(), rule, residual, auth, now, is_admin, is_system: false, caller })
}

/// The grants to point at records of a collection from others: of whoever may read them, and of those whom the rule `refer`
/// lets. Either is enough; there may be none, and one that asks nothing of the record is all there is.
pub fn allow_to_refer(caller: &Caller, collection: &Arc<Collection>, asked_at: u64) -> Vec<Grant> {
    let ask = |rule| allow(caller, rule, collection, asked_at, Input::None).ok();
    let grants: Vec<Grant> = [ask(Rule::Read), ask(Rule::Refer)].into_iter().flatten().collect();
    let open = grants.iter().find(|grant| grant.residual().is_true()).cloned();
    open.map_or(grants, |open| vec![open])
}

/// The authority of the system itself: what follows from something that a caller was granted needs no grant of theirs. Relay and worker
/// alone have it; a lint keeps every other crate from taking it.
#[derive(Debug, Clone)]
pub struct System(());

impl System {
    /// Takes the authority.
    pub fn authority() -> Self {
        Self(())
    }

    /// The grant to do anything with records of a collection. What is written under it says that the system wrote it.
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

/// Who has written what the system has.
const SYSTEM: &str = "system";

/// What a caller hears of what they may not see: the same as of what is not there (R64).
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
