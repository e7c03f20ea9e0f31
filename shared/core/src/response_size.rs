//! What an answer weighs: the bytes it takes where it leaves, as one JSON string inside Lambda's own JSON answer. Lambda carries
//! 6 MB of that, and a quote in a text takes four bytes by then.
//!
//! Pages end before they grow too heavy; what cannot be paged is refused; and the edge looks once more at whatever leaves.

use crate::error::Error;
use serde_json::{Map, Value};

/// The most a body may weigh. Lambda takes 6 MiB with the headers and all that is around them.
pub const MOST: usize = 6_000_000;
/// What the records of a page weigh at most, if there is more than one: half, so that what is expanded has room beside them.
pub const PAGE: usize = MOST / 2;
/// What the server keeps beside a record's data weighs this much: id, times and version.
pub const BESIDE_DATA: usize = 250;
/// The most that one byte of a body weighs: a control character.
const HEAVIEST_BYTE: usize = 6;

/// The answer where one would weigh too much.
pub const TOO_LARGE: fn() -> Error = || {
    Error::refused(
        "answer_too_large",
        "this answer would be larger than the 6 MB that Lambda carries: ask for less at a time, by a smaller limit, fewer \
         records in a batch, or less to expand",
    )
};

/// What a body of so many bytes weighs at most.
pub fn at_most(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).saturating_mul(HEAVIEST_BYTE)
}

/// What a body weighs.
pub fn of_body(body: &[u8]) -> usize {
    let weigh = |byte: &u8| match byte {
        b'"' | b'\\' => 2,
        0..0x20 => HEAVIEST_BYTE,
        _ => 1,
    };
    body.iter().map(weigh).sum()
}

/// What members of a JSON object are going to weigh in a body.
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

/// A text is escaped twice: as JSON, and that again.
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

    /// What the text takes as a string in JSON, without the quotes around it.
    fn carried(body: &str) -> usize {
        serde_json::to_string(body).unwrap().len() - 2
    }

    #[test]
    fn what_is_weighed_before_it_is_written_weighs_what_it_then_takes() {
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
        fn no_body_takes_more_than_it_weighs(text in ".{0,50}", other in "[\"\\\\\u{0}-\u{1f}]{0,50}") {
            for text in [&text, &other] {
                prop_assert!(carried(text) <= of_body(text.as_bytes()));
                prop_assert!(of_body(text.as_bytes()) <= at_most(text.len() as u64));
                let object = json!({ text: text });
                prop_assert!(carried(&object.to_string()) <= of_object(object.as_object().unwrap()) + 2);
            }
        }
    }
}
