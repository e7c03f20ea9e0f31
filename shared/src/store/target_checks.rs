//! Target checks: each record that a write points at must exist when the write commits, and the caller must be allowed to
//! refer to it. The residual rule becomes part of the condition check. If DynamoDB cannot evaluate the rule, or one of two
//! rules, the target is read first and the check requires the version that was read.
//!
//! A record that the caller may not refer to is treated as missing (R64).

use super::Expression;
use super::conditions::rule_condition;
use super::intent::{Failed, Target};
use super::item::{Item, number};
use super::record::Record;
use super::records::Records;
use super::references::place;
use crate::cost;
use crate::error::{Error, Result};
use crate::expr::Input;
use aws_sdk_dynamodb::types::TransactWriteItem;

/// A check of a target, for the write at this position.
pub(super) struct TargetCheck<'a> {
    pub position: usize,
    pub target: &'a Target,
    /// Whether the caller needs the right to refer to it.
    pub by_right: bool,
    /// The version that the check requires, if any.
    pub version: Option<u64>,
}

impl Records {
    /// Reads the targets whose rule cannot become a condition, all together, and records their versions.
    ///
    /// # Errors
    /// One for each target that does not exist or that the caller may not refer to.
    pub(super) async fn seen<'a>(&self, mut looks: Vec<TargetCheck<'a>>) -> Result<Vec<TargetCheck<'a>>, Failed> {
        let unasked: Vec<Item> =
            looks.iter().filter(|look| look.condition().is_none()).map(|look| look.target.key()).collect();
        if unasked.is_empty() {
            return Ok(looks);
        }
        // The caller may not know the size of these records.
        cost::withhold();
        let found = self.latest(unasked.iter()).await?;
        let mut errors = Vec::new();
        for look in looks.iter_mut().filter(|look| look.condition().is_none()) {
            let record = found.get(&place(&look.target.key())).filter(|record| !record.deleted && look.allows(record));
            match record {
                Some(record) => look.version = Some(record.version),
                None => errors.push((look.position, look.target.nowhere())),
            }
        }
        if errors.is_empty() { Ok(looks) } else { Err(Failed::Each(errors)) }
    }
}

impl Target {
    /// Whether the caller may refer to this record.
    pub(super) fn may_be_referred_to(&self, record: &Record) -> bool {
        self.grants.iter().any(|grant| grant.allows(&record.view(), Input::None))
    }

    /// The residual of the caller's right to refer to it, as a condition. `None` if DynamoDB cannot evaluate it and the
    /// target is read instead.
    pub(super) fn right(&self) -> Option<Expression> {
        match self.grants.as_slice() {
            [grant] => rule_condition(grant),
            [_, ..] => None,
            [] => Some(Expression::default()),
        }
    }
}

impl TargetCheck<'_> {
    /// Its check in a transaction, requiring this version if another check needs one.
    pub fn check(&self, table: &str, now: u64, version: Option<u64>) -> Result<TransactWriteItem> {
        let version = version.or(self.version);
        let seen = version.map(|version| Expression::new("v = :seen").value(":seen", number(version)));
        self.target.is_there(table, now, self.condition().unwrap_or_default().and(seen.unwrap_or_default()))
    }

    /// The residual of the right to refer to it. `None` if DynamoDB cannot evaluate it.
    fn condition(&self) -> Option<Expression> {
        if self.by_right { self.target.right() } else { Some(Expression::default()) }
    }

    fn allows(&self, record: &Record) -> bool {
        !self.by_right || self.target.may_be_referred_to(record)
    }

    /// Why its check failed: the target is missing or hidden from this caller, or a concurrent request that may still fail is
    /// writing or deleting it.
    pub fn refusal(&self, old: Option<&Item>) -> Error {
        let visible = old.and_then(Record::from_item).filter(|record| !record.deleted && self.allows(record));
        match visible {
            Some(_) => Error::Unavailable { retry_after: 1, source: None },
            None => self.target.nowhere(),
        }
    }
}
