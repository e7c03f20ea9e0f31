//! Looking at the records that writes point at: each must be there when the write is made, and be one that the caller may point
//! at. What is left of that rule is a part of the check that the write makes anyway; a rule that DynamoDB cannot be asked costs
//! a read, and the record must then stay of the version that was read.
//!
//! A record that the caller may not point at looks like one that is not there (R64).

use super::Expression;
use super::item::{Item, number};
use super::record::Record;
use super::records::{Records, rule_condition};
use super::write::{Failed, Target};
use crate::error::{Error, Result};
use crate::expr::Input;
use aws_sdk_dynamodb::types::TransactWriteItem;

/// A look at a target, for the write at this position.
pub(super) struct Look<'a> {
    pub position: usize,
    pub target: &'a Target,
    /// Whether the caller needs the right to point at it.
    pub by_right: bool,
    /// Of which version it must be.
    pub version: Option<u64>,
}

impl Records {
    /// Reads the targets whose rule cannot be a condition, and says of which version each is.
    ///
    /// # Errors
    /// For the first of them that is not there, or that the caller may not point at.
    pub(super) async fn seen<'a>(&self, mut looks: Vec<Look<'a>>) -> Result<Vec<Look<'a>>, Failed> {
        for look in &mut looks {
            if look.condition().is_some() {
                continue;
            }
            let stored = self.stored(&look.target.collection, &look.target.id, true).await?;
            let record = stored.filter(|record| !record.deleted && look.allows(record));
            let record = record.ok_or_else(|| Failed::Each(vec![(look.position, look.target.nowhere())]))?;
            look.version = Some(record.version);
        }
        Ok(looks)
    }
}

impl Look<'_> {
    /// The check of it in a transaction; of this version, where another reason asks for it.
    pub fn check(&self, table: &str, now: u64, version: Option<u64>) -> Result<TransactWriteItem> {
        let version = version.or(self.version);
        let seen = version.map(|version| Expression::new("v = :seen").value(":seen", number(version)));
        self.target.is_there(table, now, self.condition().unwrap_or_default().and(seen.unwrap_or_default()))
    }

    /// What is left of the right to point at it; `None` where DynamoDB cannot be asked.
    fn condition(&self) -> Option<Expression> {
        match &self.target.grant {
            Some(grant) if self.by_right => rule_condition(grant),
            _ => Some(Expression::default()),
        }
    }

    fn allows(&self, record: &Record) -> bool {
        !self.by_right || self.target.grant.as_ref().is_some_and(|grant| grant.allows(&record.view(), Input::None))
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
