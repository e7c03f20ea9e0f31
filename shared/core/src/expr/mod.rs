//! The expression language of filters and rules, a subset of CEL.
//!
//! The lexer (`lex`) turns text into tokens, the parser (`parse`) turns tokens into a tree, and the checker (`check`) checks
//! the tree against a collection's field types and returns an [`Expr`]. An `Expr` is evaluated (`eval`), or folded with what
//! is known of a request (`partial`), which leaves the part that depends on the stored record.
//!
//! # Semantics
//! - A condition must be known to hold. A comparison with a missing field, an order comparison with `null`, or one between
//!   kinds without a common order is *unknown*. `!` of unknown is unknown, and an unknown result is no. So `status != "done"`
//!   does not match a record without `status`, and neither does `!(status == "done")`. CEL calls this an error, which `&&` and
//!   `||` absorb if the other side decides. `has(f)` tests for presence.
//! - `null` is a value: it equals `null` and nothing else. Values of different kinds are unequal.
//! - Numbers are ordered by their exact decimal value (see [`number`]), and text by its UTF-8 bytes.
//! - An anonymous caller has no `auth`: every test of it is unknown (decision 32).
//! - `changed('f')` compares the stored field with the incoming one, including absence, and is never unknown. A hidden field
//!   counts as changed whenever it is sent, and cannot be compared with a value that a caller may choose (decision 31).

mod check;
mod error;
mod eval;
mod lex;
pub mod moment;
pub mod number;
mod parse;
mod partial;
mod refused;
mod text;
mod tree;
mod types;

pub use error::{ExprError, MAX_CHARS, MAX_DEPTH, MAX_TERMS};
pub use eval::{Auth, Datum, Input, Known, RecordRef};
pub use tree::{AuthField, Expr, Op, Operand, Test, Variable};
pub use types::{FieldType, FieldTypes, Kind, Rule, SYSTEM_FIELDS, is_system};

impl Expr {
    /// Parses a filter, whose fields have no prefix: `status == "open" && priority >= 3`.
    ///
    /// # Errors
    /// What is wrong, and the column. A hidden field is refused like a missing one.
    pub fn filter(source: &str, fields: &FieldTypes) -> Result<Self, ExprError> {
        check::filter(&parse::parse(source)?, fields)
    }

    /// Parses a rule, whose names have a prefix: `record.owner == auth.id && !changed('owner')`.
    ///
    /// # Errors
    /// What is wrong, and the column. Names that are not available in `rule` are errors.
    pub fn rule(source: &str, fields: &FieldTypes, rule: Rule) -> Result<Self, ExprError> {
        check::rule(&parse::parse(source)?, fields, rule)
    }
}

#[cfg(test)]
pub(crate) mod tests;
