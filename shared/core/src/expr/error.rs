//! What is wrong with an expression, and how large one may be.

use serde::Serialize;

/// The longest expression, in characters.
pub const MAX_CHARS: usize = 4_000;
/// How deep parentheses, lists and `!` may nest.
pub const MAX_DEPTH: usize = 32;
/// How many names and literals an expression may hold.
pub const MAX_TERMS: usize = 300;

/// What is wrong with an expression, a `sort` or a `fields` parameter, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExprError {
    /// The character the trouble starts at, counted from 1.
    pub column: usize,
    /// What is wrong, in words a client can act on.
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
