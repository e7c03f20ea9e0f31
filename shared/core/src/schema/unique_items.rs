//! `uniqueItems`, in time that grows with the list and no faster. The validator's own compares whatever has one hash, and its hash
//! is of the nearest binary float of a number, and of what is in nested lists as if it stood in one: lists can be made of nothing
//! else. Here each element is written in one way, and the texts are held against each other.

use std::collections::HashSet;

use jsonschema::{Keyword, ValidationError};
use serde_json::{Number, Value};

use crate::expr::number::Decimal;

/// What `uniqueItems` asks for.
pub(super) struct UniqueItems {
    is_asked_for: bool,
}

impl UniqueItems {
    /// The keyword with this value.
    pub fn of(value: &Value) -> Self {
        Self { is_asked_for: value.as_bool() == Some(true) }
    }
}

impl<'i> Keyword<'i> for UniqueItems {
    fn validate(&self, instance: &'i Value) -> Result<(), ValidationError<'i>> {
        if self.is_valid(instance) { Ok(()) } else { Err(ValidationError::custom("value has non-unique elements")) }
    }

    fn is_valid(&self, instance: &'i Value) -> bool {
        let Some(elements) = instance.as_array().filter(|_| self.is_asked_for) else { return true };
        let mut seen = HashSet::with_capacity(elements.len());
        elements.iter().all(|element| {
            let mut text = String::new();
            write(element, &mut text);
            seen.insert(text)
        })
    }
}

/// Writes a value so that equal ones (JSON Schema 2020-12, 4.2.2) are one text, and no others are.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Number(number) => write_number(number, text),
        Value::Array(elements) => {
            text.push('[');
            for element in elements {
                write(element, text);
                text.push(',');
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (name, member) in members {
                write_text(name, text);
                write(member, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::String(string) => write_text(string, text),
        Value::Bool(true) => text.push('t'),
        Value::Bool(false) => text.push('f'),
        Value::Null => text.push('n'),
    }
}

fn write_number(number: &Number, text: &mut String) {
    match number.as_i64() {
        Some(integer) => text.push_str(&integer.to_string()),
        None => text.push_str(Decimal::of(number).number().as_str()),
    }
}

/// A text behind its length: whatever is in it, it is known where it ends.
fn write_text(string: &str, text: &mut String) {
    text.push_str(&format!("\"{}:{string}", string.len()));
}
