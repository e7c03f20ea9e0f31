//! Says yes or no about a record: the one expression language, a subset of CEL, for filters and for rules.
//!
//! Text is cut into words (`lex`), words become a tree (`parse`), the tree is checked against a collection's field types
//! (`check`) and comes out as an [`Expr`]. An `Expr` is evaluated (`eval`) or folded over what is known of a request
//! (`partial`), which leaves what only the stored record can decide.
//!
//! # What an expression means
//! - It grants only what it proves. A comparison with an absent field, with `null` where an order is asked for, or
//!   between kinds that have no common order is *unknown*; `!` of unknown is unknown; an unknown answer is no. So
//!   `status != "done"` does not match a record without `status`, and neither does `!(status == "done")`. CEL calls the
//!   same thing an error, and lets `&&` and `||` absorb it where the other side decides. `has(f)` asks for presence.
//! - `null` is a value: it equals `null` and nothing else. Values of different kinds are unequal.
//! - All numbers share one order, the order of the decimals their text spells (see [`number`]); text is ordered by its
//!   UTF-8 bytes.
//! - Without a caller there is no `auth`: what is asked of it is unknown (decision 32).
//! - `changed('f')` compares the stored field with the incoming one, absence included, and is never unknown. A hidden field
//!   counts as changed whenever it is sent, and is compared with nothing that a caller may choose (decision 31).

mod check;
mod error;
mod eval;
mod lex;
pub mod moment;
pub mod number;
mod parse;
mod partial;
mod text;
mod tree;
mod types;

pub use error::{ExprError, MAX_CHARS, MAX_DEPTH, MAX_TERMS};
pub use eval::{Auth, Datum, Input, Known, RecordRef};
pub use tree::{AuthField, Expr, Op, Operand, Test, Variable};
pub use types::{FieldType, FieldTypes, Kind, Rule, SYSTEM_FIELDS, is_system};

impl Expr {
    /// Reads a filter, in which the fields of the record stand bare: `status == "open" && priority >= 3`.
    ///
    /// # Errors
    /// What is wrong and at which column; a hidden field is refused exactly as one that does not exist.
    pub fn filter(source: &str, fields: &FieldTypes) -> Result<Self, ExprError> {
        check::filter(&parse::parse(source)?, fields)
    }

    /// Reads a rule, in which everything has its owner's name: `record.owner == auth.id && !changed('owner')`.
    ///
    /// # Errors
    /// What is wrong and at which column, a name that `rule` does not know included.
    pub fn rule(source: &str, fields: &FieldTypes, rule: Rule) -> Result<Self, ExprError> {
        check::rule(&parse::parse(source)?, fields, rule)
    }
}

#[cfg(test)]
pub(crate) mod tests;
