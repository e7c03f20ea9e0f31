//! Response size: the bytes of a body as a JSON string inside Lambda's own JSON response. Lambda's limit is 6 MB for that
//! response, and a quote inside a JSON text takes four bytes in it.
//!
//! Pages end before they exceed it, responses without pages are refused, and the edge checks every body before it is sent.

use crate::error::Error;
use serde_json::{Map, Value};

/// Maximum weight of a body. Lambda's limit is 6 MiB including headers and envelope.
pub const MOST: usize = 6_000_000;
/// Maximum weight of a page's records, unless it is a single record: half, which leaves room for expanded records.
pub const PAGE: usize = MOST / 2;
/// The weight of a record's server-owned members: id, times and version.
pub const BESIDE_DATA: usize = 250;
/// Maximum weight of one byte of a body: a control character.
const HEAVIEST_BYTE: usize = 6;

/// The error when a response would be too large.
pub const TOO_LARGE: fn() -> Error = || {
    Error::refused(
        "answer_too_large",
        "This response would be larger than the 6 MB that Lambda can return. Request less at a time: a smaller limit, fewer \
         records in a batch, or fewer relations to expand.",
    )
};

/// Maximum weight of a body with this many bytes.
pub fn at_most(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).saturating_mul(HEAVIEST_BYTE)
}

/// The weight of a body.
pub fn of_body(body: &[u8]) -> usize {
    let weigh = |byte: &u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => HEAVIEST_BYTE,
        _ => 1,
    };
    body.iter().map(weigh).sum()
}

/// The weight of JSON object members in a body.
pub fn of_members<'a>(members: impl Iterator<Item = (&'a String, &'a Value)>) -> usize {
    members.map(|(name, value)| of_text(name) + of_value(value) + 2).sum()
}

fn of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(number) => number.as_str().len(),
        Value::String(text) => of_text(text),
        Value::Array(elements) => 2 + elements.iter().map(|element| of_value(element) + 1).sum::<usize>(),
        Value::Object(members) => 2 + of_object(members),
    }
}

fn of_object(members: &Map<String, Value>) -> usize {
    of_members(members.iter())
}

/// A text is escaped twice: as JSON, and again inside Lambda's JSON.
fn of_text(text: &str) -> usize {
    let weigh = |byte: u8| match byte {
        b'"' | b'\\' => 4,
        0..0x20 => HEAVIEST_BYTE + 1,
        _ => 1,
    };
    4 + text.bytes().map(weigh).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// The length of the text as a JSON string, without its quotes.
    fn carried(body: &str) -> usize {
        serde_json::to_string(body).unwrap().len() - 2
    }

    #[test]
    fn the_weight_before_serialisation_matches_the_size_after_it() {
        for value in [
            json!({}),
            json!({ "a": "b", "list": [1, -2.5, true, null], "nested": { "x": [{}] } }),
            json!({ "text": "\"\\\n\u{1}ü😀", "\"": "" }),
        ] {
            let members = value.as_object().unwrap();
            let (weight, taken) = (of_object(members) + 2, carried(&value.to_string()));
            assert!(weight >= taken && weight <= taken + 10, "{value}: {weight}, {taken}");
        }
    }

    proptest! {
        #[test]
        fn no_body_exceeds_its_weight(text in ".{0,50}", other in "[\"\\\\\u{0}-\u{1f}]{0,50}") {
            for text in [&text, &other] {
                prop_assert!(carried(text) <= of_body(text.as_bytes()));
                prop_assert!(of_body(text.as_bytes()) <= at_most(text.len() as u64));
                let object = json!({ text: text });
                prop_assert!(carried(&object.to_string()) <= of_object(object.as_object().unwrap()) + 2);
            }
        }
    }
}
