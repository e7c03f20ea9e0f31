//! The text of a condition, an update or a key condition, with its placeholders.

use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::HashMap;

/// An expression with its placeholders. Values reach DynamoDB only through placeholders (R74).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expression {
    /// The text, as in `attribute_not_exists(pk) AND v = :v`.
    pub text: String,
    /// `#name` to attribute name.
    pub names: HashMap<String, String>,
    /// `:value` to value.
    pub values: HashMap<String, AttributeValue>,
}

impl Expression {
    /// An expression without placeholders.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// Binds `#name`.
    pub fn name(mut self, placeholder: &str, attribute: &str) -> Self {
        self.names.insert(placeholder.to_owned(), attribute.to_owned());
        self
    }

    /// Binds `:value`.
    pub fn value(mut self, placeholder: &str, value: AttributeValue) -> Self {
        self.values.insert(placeholder.to_owned(), value);
        self
    }

    /// Requires both conditions.
    pub fn and(mut self, other: Self) -> Self {
        self.text = match (self.text.is_empty(), other.text.is_empty()) {
            (true, _) => other.text,
            (_, true) => self.text,
            // DynamoDB rejects redundant parentheses.
            _ if is_enclosed(&other.text) => format!("{} AND {}", self.text, other.text),
            _ => format!("{} AND ({})", self.text, other.text),
        };
        self.names.extend(other.names);
        self.values.extend(other.values);
        self
    }

    /// Adds the placeholders of another expression, but not its text.
    pub(crate) fn with_placeholders_of(mut self, other: &Self) -> Self {
        self.names.extend(other.names.clone());
        self.values.extend(other.values.clone());
        self
    }

    pub(super) fn names(&self) -> Option<HashMap<String, String>> {
        Some(self.names.clone()).filter(|names| !names.is_empty())
    }

    pub(super) fn values(&self) -> Option<HashMap<String, AttributeValue>> {
        Some(self.values.clone()).filter(|values| !values.is_empty())
    }
}

/// Whether one pair of parentheses encloses the whole expression. Values are placeholders, so parentheses occur only as
/// syntax.
fn is_enclosed(text: &str) -> bool {
    let mut depth = 0_u32;
    let closes_at_end = text.char_indices().all(|(at, char)| {
        match char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > 0 || at + 1 == text.len()
    });
    text.starts_with('(') && closes_at_end
}

#[cfg(test)]
mod tests {
    use super::Expression;

    #[test]
    fn joined_conditions_are_enclosed_once() {
        let and = |text: &str| Expression::new("a").and(Expression::new(text)).text;
        assert_eq!(and("b OR c"), "a AND (b OR c)");
        assert_eq!(and("(b OR c)"), "a AND (b OR c)");
        assert_eq!(and("(b) OR (c)"), "a AND ((b) OR (c))");
        assert_eq!(and("contains(b, c)"), "a AND (contains(b, c))");
    }
}
