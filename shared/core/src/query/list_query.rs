//! A list query.

use crate::expr::Expr;

use super::ordering::SortField;

/// A list query.
#[derive(Debug, Clone, Copy)]
pub struct ListQuery<'a> {
    /// The residual list rule.
    pub rule: &'a Expr,
    /// The filter, if any.
    pub filter: Option<&'a Expr>,
    /// The requested order. Empty: the order of the access path, by `createdAt` for the collection itself.
    pub sort: &'a [SortField],
    /// How many items may be read if no index contains exactly the requested records.
    pub scan: Option<u32>,
}
