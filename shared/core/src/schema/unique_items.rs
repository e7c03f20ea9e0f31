//! `uniqueItems` in linear time. The validator's own implementation compares all elements with the same hash, and its hash
//! covers only the nearest binary float of a number and ignores the nesting of lists, so a list can consist of equal hashes.
//! Here each element is serialised canonically, and the texts are compared.

use std::collections::HashSet;

use jsonschema::{Keyword, ValidationError};
use serde_json::{Number, Value};

use crate::expr::number::Decimal;

/// The keyword `uniqueItems`.
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

/// Serialises a value so that exactly the equal values (JSON Schema 2020-12, 4.2.2) give the same text.
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

/// A text with its length in front, so that its end is known whatever it contains.
fn write_text(string: &str, text: &mut String) {
    text.push_str(&format!("\"{}:{string}", string.len()));
}
