//! What a list asks for.

use crate::expr::Expr;

use super::ordering::SortField;

/// What a list asks for.
#[derive(Debug, Clone, Copy)]
pub struct ListQuery<'a> {
    /// What folding left of the list rule.
    pub rule: &'a Expr,
    /// The filter, if there is one.
    pub filter: Option<&'a Expr>,
    /// The order asked for. Empty: the order of whatever serves the query, by `createdAt` where that is the collection
    /// itself.
    pub sort: &'a [SortField],
    /// How many items may be read to find the ones asked for, where no index holds exactly those.
    pub scan: Option<u32>,
}
