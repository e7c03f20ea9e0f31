//! Strict JSON: one value, no duplicate names, limited nesting, and only numbers that can be stored exactly.

use crate::error::{Error, FieldError};
use crate::expr::number::{self, Inexact};
use crate::json_pointer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::cell::{Cell, RefCell};

/// Maximum nesting depth.
pub const MAX_DEPTH: usize = 30;
/// Maximum number of reported problems per body.
const MAX_PROBLEMS: usize = 50;
/// `serde_json` represents a number that is no machine integer as an object with one member of this name. A client's object
/// must never be read as such a number.
const NUMBER: &str = "$serde_json::private::Number";
/// The prefix of all such names.
const PRIVATE: &str = "$serde_json::private::";

/// Parses a body. Converts numbers to the canonical form of [`number::exact`].
///
/// # Errors
/// `Invalid` with pointers for duplicate names, deep nesting and numbers that cannot be stored exactly. `BadRequest` with
/// line and column for malformed JSON.
pub fn parse(bytes: &[u8]) -> Result<Value, Error> {
    let border = Border::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let read = Strict { border: &border, place: Position::Body, depth: 0 }.deserialize(&mut reader);
    let read = read.and_then(|value| reader.end().map(|()| value));
    let problems = border.problems.take();
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let malformed = |reason: &dyn std::fmt::Display| {
        Error::bad_request(
            "malformed_json",
            format!("The body is not valid JSON: {reason}. Correct it at that position."),
        )
    };
    let value = read.map_err(|error| malformed(&error))?;
    if border.objects.get() != braces(bytes) {
        return Err(malformed(&format_args!("a name must not begin with {PRIVATE}")));
    }
    Ok(value)
}

/// The number of objects in a JSON text, counted by the opening braces outside its strings.
fn braces(bytes: &[u8]) -> usize {
    let (mut count, mut inside, mut escaped) = (0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = inside,
            b'"' => inside = !inside,
            b'{' if !inside => count += 1,
            _ => {}
        }
    }
    count
}

/// The problems found while reading a body.
#[derive(Default)]
struct Border {
    problems: RefCell<Vec<FieldError>>,
    objects: Cell<usize>,
}

/// The place of a value in the body.
#[derive(Clone, Copy)]
enum Position<'a> {
    Body,
    Element(&'a Position<'a>, usize),
    Member(&'a Position<'a>, &'a str),
}

impl Position<'_> {
    /// The place as a JSON Pointer (RFC 6901).
    fn pointer(&self) -> String {
        match self {
            Self::Body => String::new(),
            Self::Element(list, position) => format!("{}/{position}", list.pointer()),
            Self::Member(object, name) => {
                format!("{}/{}", object.pointer(), json_pointer::escape(name))
            }
        }
    }
}

struct Strict<'a> {
    border: &'a Border,
    place: Position<'a>,
    depth: usize,
}

impl Strict<'_> {
    /// Records a problem and continues, so that several problems are reported at once, up to the maximum.
    fn note<E: serde::de::Error>(&self, code: &'static str, message: impl Into<String>) -> Result<(), E> {
        let mut problems = self.border.problems.borrow_mut();
        problems.push(FieldError::new(self.place.pointer(), code, message));
        if problems.len() < MAX_PROBLEMS { Ok(()) } else { Err(E::custom("too many problems")) }
    }

    fn number<E: serde::de::Error>(&self, text: &str) -> Result<Value, E> {
        let refuse = |reason: Inexact| self.note(reason.code(), reason.message()).map(|()| Value::Null);
        number::exact(text).map(Value::Number).or_else(refuse)
    }

    fn inside<'b>(&'b self, place: Position<'b>) -> Strict<'b> {
        Strict { border: self.border, place, depth: self.depth + 1 }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > MAX_DEPTH {
            self.note::<D::Error>("too_deep", format!("A body may nest at most {MAX_DEPTH} levels deep."))?;
            return Err(D::Error::custom("too deep"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Number::from(value).into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Number::from(value).into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self.inside(Position::Element(&self.place, array.len())))? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name == NUMBER && object.is_empty() {
                return self.number(&members.next_value::<String>()?);
            }
            let member = self.inside(Position::Member(&self.place, &name));
            if object.contains_key(&name) {
                member.note::<A::Error>("duplicate_name", "This name appears twice in one object. Send it once.")?;
            }
            if name.starts_with(PRIVATE) {
                member.note::<A::Error>("reserved_name", "Names with this prefix are reserved. Rename the member.")?;
            }
            let value = members.next_value_seed(member)?;
            object.insert(name, value);
        }
        self.border.objects.set(self.border.objects.get() + 1);
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    fn problems(text: &str) -> Vec<(String, &'static str)> {
        match parse(text.as_bytes()) {
            Ok(value) => panic!("{text} was read as {value}"),
            Err(Error::Invalid(problems)) => problems.into_iter().map(|it| (it.pointer, it.code)).collect(),
            Err(Error::BadRequest { code, .. }) => vec![(String::new(), code)],
            Err(other) => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn ordinary_json_is_read_unchanged() {
        let text = r#"{"a":[1,-2,3.5,true,null,"ü😀"],"b":{"c":{}}}"#;
        assert_eq!(parse(text.as_bytes()).expect("valid"), serde_json::from_str::<Value>(text).expect("valid"));
    }

    #[test]
    fn text_is_unchanged() {
        for text in ["é", "e\u{301}", "👩‍👩‍👧", "a\u{0}b", "\u{feff}", "\u{202e}", "𝔘\u{10ffff}"] {
            let body = serde_json::to_string(text).expect("a string");
            assert_eq!(parse(body.as_bytes()).expect("valid"), Value::from(text));
        }
        assert_eq!(parse(br#""\ud83d\ude00""#).expect("a pair"), "😀");
    }

    #[test]
    fn ambiguous_json_is_refused() {
        for text in [
            "{} {}",
            "",
            "{",
            "NaN",
            "Infinity",
            "-",
            "+1",
            "01",
            "1.",
            ".5",
            "1e",
            "0x10",
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            "\"\n\"",
            "\u{feff}{}",
        ] {
            assert_eq!(problems(text), [(String::new(), "malformed_json")], "{text}");
        }
        assert!(parse(b"\"\xff\"").is_err());
        assert_eq!(problems(r#"{"role":"user","role":"admin"}"#), [("/role".to_owned(), "duplicate_name")]);
        assert_eq!(
            problems(r#"{"a":{"b":1,"\u0062":2},"c":[{"d/~":1,"d/~":1}]}"#),
            [("/a/b".to_owned(), "duplicate_name"), ("/c/0/d~1~0".to_owned(), "duplicate_name")]
        );
    }

    #[test]
    fn a_number_is_kept_exactly_or_refused_with_its_pointer() {
        for (text, kept) in [
            ("1.0", "1"),
            ("-0", "0"),
            ("-0.0", "0"),
            ("1e2", "100"),
            ("0.10", "0.1"),
            ("0.1234567890123456789", "0.1234567890123456789"),
            ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
            ("18446744073709551616", "18446744073709551616"),
            ("9007199254740993", "9007199254740993"),
            ("1e-130", "1e-130"),
            ("99999999999999999999999999999999999999e88", "9.9999999999999999999999999999999999999e+125"),
        ] {
            assert_eq!(parse(text.as_bytes()).expect(text).to_string(), kept, "{text}");
        }
        let body =
            r#"{"a":[1,{"b/c":123456789012345678901234567890123456789}],"d":1e126,"e":-1e-131,"f":1e999999999999}"#;
        assert_eq!(
            problems(body),
            [
                ("/a/1/b~1c", "number_too_precise"),
                ("/d", "number_range"),
                ("/e", "number_range"),
                ("/f", "number_range")
            ]
            .map(|(pointer, code)| (pointer.to_owned(), code))
        );
        assert_eq!(problems(&format!("[{}1e999]", "1e999,".repeat(5_000))).len(), MAX_PROBLEMS);
    }

    #[test]
    fn an_object_is_never_read_as_a_number() {
        for text in [
            r#"{"$serde_json::private::Number":"1"}"#,
            r#"{"a":{"\u0024serde_json::private::Number":"1"}}"#,
            r#"{"a":"{","b":{"$serde_json::private::Number":"1"}}"#,
            r#"{"a":"\"{","b":{"$serde_json::private::Number":"1"}}"#,
            r#"{"$serde_json::private::Number":1}"#,
            r#"{"$serde_json::private::Number":"x","y":1}"#,
        ] {
            assert_eq!(problems(text), [(String::new(), "malformed_json")], "{text}");
        }
        let raw = r#"{"a":1,"$serde_json::private::RawValue":"{\"b\":1,\"b\":2}"}"#;
        assert_eq!(problems(raw), [("/$serde_json::private::RawValue".to_owned(), "reserved_name")]);
        assert!(parse(br#"{"a":"{","b":"\\","c":"\"{","d":{}}"#).is_ok());
    }

    #[test]
    fn nesting_is_limited() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(problems(&nested(MAX_DEPTH + 2)), [("/0".repeat(MAX_DEPTH + 1), "too_deep")]);
        assert_eq!(problems(&nested(100_000)).len(), 1);
        let objects = format!("{}1{}", r#"{"a":"#.repeat(40), "}".repeat(40));
        assert_eq!(problems(&objects), [("/a".repeat(MAX_DEPTH + 1), "too_deep")]);
    }

    proptest! {
        /// A parsed number keeps its value when a handler's shape is read from it.
        #[test]
        fn a_number_keeps_its_value_in_a_shape(digits in "[1-9][0-9]{0,37}", exponent in -129i32..80) {
            let read = parse(format!("{{\"n\":{digits}e{exponent}}}").as_bytes()).expect("in range");
            let shaped = Map::<String, Value>::deserialize(read.clone()).expect("an object");
            prop_assert_eq!(Value::Object(shaped), read.clone());
            prop_assert_eq!(&serde_json::from_str::<Value>(&read.to_string()).expect("JSON"), &read);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), text in r#"[\[\]{}:,"\\a0-9eE.+\- u]{0,40}"#) {
            let _ = parse(&bytes);
            if let Ok(value) = parse(text.as_bytes()) {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{} {}", text, value);
            }
        }
    }
}
