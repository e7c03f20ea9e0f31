//! Errors of expressions, and their maximum size.

use serde::Serialize;

/// Maximum length of an expression, in characters.
pub const MAX_CHARS: usize = 6_000;
/// Maximum nesting depth of parentheses, lists and `!`.
pub const MAX_DEPTH: usize = 32;
/// Maximum number of names and literals in an expression.
pub const MAX_TERMS: usize = 300;

/// An error in an expression, a `sort` or a `fields` parameter, and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExprError {
    /// The column of the error, counted from 1.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl ExprError {
    /// An error at `column`, counted from 1.
    pub fn at(column: usize, message: impl Into<String>) -> Self {
        Self { column, message: message.into() }
    }
}

impl std::fmt::Display for ExprError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "column {}: {}", self.column, self.message)
    }
}

impl std::error::Error for ExprError {}
