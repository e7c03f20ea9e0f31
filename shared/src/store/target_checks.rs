//! Looking at the records that writes point at: each must be there when the write is made, and be one that the caller may point
//! at. What is left of that rule is a part of the check that the write makes anyway; a rule that DynamoDB cannot be asked, or
//! one of two, costs a read, and the record must then stay of the version that was read.
//!
//! A record that the caller may not point at looks like one that is not there (R64).

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

/// A look at a target, for the write at this position.
pub(super) struct TargetCheck<'a> {
    pub position: usize,
    pub target: &'a Target,
    /// Whether the caller needs the right to point at it.
    pub by_right: bool,
    /// Of which version it must be.
    pub version: Option<u64>,
}

impl Records {
    /// Reads the targets whose rule cannot be a condition, all together, and says of which version each is.
    ///
    /// # Errors
    /// For each that is not there, or that the caller may not point at.
    pub(super) async fn seen<'a>(&self, mut looks: Vec<TargetCheck<'a>>) -> Result<Vec<TargetCheck<'a>>, Failed> {
        let unasked: Vec<Item> =
            looks.iter().filter(|look| look.condition().is_none()).map(|look| look.target.key()).collect();
        if unasked.is_empty() {
            return Ok(looks);
        }
        // How large they are may not be the caller's to know.
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
    /// Whether the caller may point at this record.
    pub(super) fn may_be_referred_to(&self, record: &Record) -> bool {
        self.grants.iter().any(|grant| grant.allows(&record.view(), Input::None))
    }

    /// What is left of the caller's right to point at it, as a condition; `None` where DynamoDB cannot be asked, and it is read.
    pub(super) fn right(&self) -> Option<Expression> {
        match self.grants.as_slice() {
            [grant] => rule_condition(grant),
            [_, ..] => None,
            [] => Some(Expression::default()),
        }
    }
}

impl TargetCheck<'_> {
    /// The check of it in a transaction; of this version, where another reason asks for it.
    pub fn check(&self, table: &str, now: u64, version: Option<u64>) -> Result<TransactWriteItem> {
        let version = version.or(self.version);
        let seen = version.map(|version| Expression::new("v = :seen").value(":seen", number(version)));
        self.target.is_there(table, now, self.condition().unwrap_or_default().and(seen.unwrap_or_default()))
    }

    /// What is left of the right to point at it; `None` where DynamoDB cannot be asked.
    fn condition(&self) -> Option<Expression> {
        if self.by_right { self.target.right() } else { Some(Expression::default()) }
    }

    fn allows(&self, record: &Record) -> bool {
        !self.by_right || self.target.may_be_referred_to(record)
    }

    /// Why a check of it failed: it is not there or not for this caller, or it is being written or deleted by somebody who may yet
    /// be refused.
    pub fn refusal(&self, old: Option<&Item>) -> Error {
        let visible = old.and_then(Record::from_item).filter(|record| !record.deleted && self.allows(record));
        match visible {
            Some(_) => Error::Unavailable { retry_after: 1, source: None },
            None => self.target.nowhere(),
        }
    }
}
