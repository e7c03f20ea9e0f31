//! The ids that a filter names. Such a list is read by id, under any rule.

use std::collections::BTreeSet;

use crate::expr::{Expr, Operand, Test};

use super::ranges::equality;

/// Maximum number of ids that a list names, which is what DynamoDB reads at once.
pub const MAX_IDS: usize = 100;

/// The ids to which a filter restricts a list. `None` if it does not.
pub(super) fn ids(filter: &Expr) -> Option<BTreeSet<&str>> {
    match filter {
        Expr::False => Some(BTreeSet::new()),
        Expr::All(parts) => {
            let of_parts = parts.iter().filter_map(ids);
            of_parts.reduce(|some, others| some.intersection(&others).copied().collect())
        }
        Expr::Any(parts) => {
            parts.iter().map(ids).collect::<Option<Vec<_>>>().map(|all| all.into_iter().flatten().collect())
        }
        Expr::Is(Test::In { item, list: Operand::Constant(values) }) if item.record_field() == Some("id") => {
            Some(values.as_array()?.iter().filter_map(|value| value.as_str()).collect())
        }
        Expr::Is(_) => {
            let (_, value) = equality(filter).filter(|(field, _)| *field == "id")?;
            Some(value.as_str().into_iter().collect())
        }
        Expr::True | Expr::Not(_) => None,
    }
}
