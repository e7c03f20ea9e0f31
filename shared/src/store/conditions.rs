//! Write conditions: what must hold for the stored record. DynamoDB checks them with the write.

use super::Expression;
use super::item::{self, number};
use crate::error::Error;
use crate::expr::Expr;
use crate::policy::Grant;
use crate::preconditions::{IfMatch, IfNoneMatch, Preconditions};
use crate::query::condition;

pub(super) const OTHER_VERSION: Error = Error::PreconditionFailed(
    "The record's current version does not satisfy If-Match or If-None-Match; read the record again.",
);

pub(super) fn alive() -> Expression {
    Expression::new("attribute_exists(pk) AND attribute_not_exists(del)")
}

/// The request's conditions on the stored version.
pub(super) fn version_condition(preconditions: &Preconditions) -> Expression {
    let wanted = match &preconditions.if_match {
        IfMatch::Versions(versions) => is_one_of("v", versions),
        IfMatch::Absent | IfMatch::Any => Expression::default(),
    };
    let unwanted = match preconditions.if_none_match {
        IfNoneMatch::Absent => return wanted,
        // `If-None-Match: *` rules out any existing record, and a missing record is nothing to change.
        IfNoneMatch::Any => is_one_of("n", &[]),
        IfNoneMatch::Tags(_) => {
            let versions = is_one_of("n", &preconditions.unwanted_versions());
            Expression { text: format!("NOT {}", versions.text), ..versions }
        }
    };
    wanted.and(unwanted)
}

fn is_one_of(prefix: &str, versions: &[u64]) -> Expression {
    // No version can match. `v` compared with a version that no record has expresses that.
    let versions = if versions.is_empty() { &[0][..] } else { versions };
    let placeholders: Vec<String> = (0..versions.len()).map(|at| format!(":{prefix}{at}")).collect();
    let start = Expression::new(format!("v IN ({})", placeholders.join(", ")));
    placeholders.iter().zip(versions).fold(start, |all, (name, version)| all.value(name, number(*version)))
}

/// The residual rule as a write condition. `None` if DynamoDB cannot evaluate it.
pub(super) fn rule_condition(grant: &Grant) -> Option<Expression> {
    residual_condition(grant.residual())
}

/// The residual rule together with that of the read rule: the caller may write the record and may read it.
pub(super) fn condition_to_read_and_write(grant: &Grant) -> Option<Expression> {
    let to_read = grant.residual_to_read();
    if to_read == *grant.residual() {
        rule_condition(grant)
    } else {
        residual_condition(&grant.residual().clone().and(to_read))
    }
}

fn residual_condition(residual: &Expr) -> Option<Expression> {
    if *residual == Expr::True {
        return Some(Expression::default());
    }
    let asked = condition(residual, "d")?;
    let mut all = Expression::new(asked.expression);
    all.names.extend(asked.names);
    all.values.extend(asked.values.iter().map(|(name, value)| (name.clone(), item::from_json(value))));
    Some(all)
}
