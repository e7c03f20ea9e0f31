//! The key codec: encodes values to bytes in the order of the values, so that a range of keys is a range of values.
//!
//! An index's sort key consists of its fields in order and the record's id. Each value starts with a byte for its kind, so
//! absent sorts before `null`, then booleans, numbers and text. No encoding is a prefix of another, except that a text
//! without its terminator is a prefix of every text that begins with it. A descending field has all bits inverted. Kinds
//! never use 0x00 and 0xFF, so these two bytes are below and above every key.
//!
//! An index's partition key is readable text: collection, generation, the index's generation, then the values.

use crate::expr::Datum;
use crate::expr::number::Decimal;

/// Maximum length of a partition key in DynamoDB, in bytes.
pub const MAX_PARTITION_BYTES: usize = 2048;
/// Maximum length of a sort key, in bytes: DynamoDB allows two more, which a page uses to begin directly after a key.
pub const MAX_SORT_BYTES: usize = 1022;
/// Maximum length of the sort key of an entry in an index over elements, in bytes: the entry's key is text, in which a byte may
/// take two.
pub const MAX_ELEMENT_SORT_BYTES: usize = 510;
/// What the store puts before the partition key of such an entry, in bytes.
pub const MAX_ELEMENT_PREFIX_BYTES: usize = 2;
/// A sort key below every other.
pub const LOWEST: u8 = 0x00;
/// A sort key above every other.
pub const HIGHEST: u8 = 0xFF;

const ABSENT: u8 = 0x10;
const NULL: u8 = 0x20;
const FLAG: u8 = 0x30;
const NUMBER: u8 = 0x40;
const TEXT: u8 = 0x50;
const TEXT_END: [u8; 2] = [0x00, 0x01];
const ESCAPED_ZERO: [u8; 2] = [0x00, 0xFF];

/// The bytes of a value in a sort key. Arrays and objects have no order and count as absent.
pub fn encode(value: Option<&Datum>, descending: bool) -> Vec<u8> {
    let mut bytes = vec![kind(value)];
    match value {
        Some(Datum::Flag(flag)) => bytes.push(1 + u8::from(*flag)),
        Some(Datum::Number(number)) => bytes.extend(Decimal::of(number).key()),
        Some(Datum::Text(text)) => {
            bytes.extend(escaped(text));
            bytes.extend(TEXT_END);
        }
        _ => {}
    }
    turned(bytes, descending)
}

/// The common prefix of all texts that begin with `prefix`.
pub fn encode_prefix(prefix: &str, descending: bool) -> Vec<u8> {
    turned(std::iter::once(TEXT).chain(escaped(prefix)).collect(), descending)
}

/// The first byte of every value of the same kind.
pub fn encode_kind(value: &Datum, descending: bool) -> Vec<u8> {
    turned(vec![kind(Some(value))], descending)
}

/// The smallest bytes above everything that begins with `prefix`. No key equals them, because keys end in an id.
pub fn after(prefix: &[u8]) -> Vec<u8> {
    let kept = prefix.iter().rposition(|byte| *byte != u8::MAX);
    let Some((last, head)) = kept.and_then(|last| prefix.get(..=last)).and_then(<[u8]>::split_last) else {
        return vec![HIGHEST];
    };
    head.iter().copied().chain(std::iter::once(last + 1)).collect()
}

/// A value in a partition key. `None` for `null`, arrays and objects.
pub fn partition_part(value: &Datum) -> Option<String> {
    match value {
        Datum::Flag(flag) => Some(format!("b:{flag}")),
        Datum::Number(number) => Some(format!("n:{}", Decimal::of(number))),
        Datum::Text(text) => Some(format!("s:{}", text.replace('%', "%25").replace('#', "%23"))),
        Datum::Null | Datum::Nested(_) | Datum::Texts(_) => None,
    }
}

fn kind(value: Option<&Datum>) -> u8 {
    match value {
        None | Some(Datum::Nested(_) | Datum::Texts(_)) => ABSENT,
        Some(Datum::Null) => NULL,
        Some(Datum::Flag(_)) => FLAG,
        Some(Datum::Number(_)) => NUMBER,
        Some(Datum::Text(_)) => TEXT,
    }
}

fn escaped(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().flat_map(|byte| if byte == 0 { ESCAPED_ZERO.to_vec() } else { vec![byte] })
}

fn turned(bytes: Vec<u8>, descending: bool) -> Vec<u8> {
    if descending { bytes.into_iter().map(|byte| !byte).collect() } else { bytes }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use proptest::prelude::*;
    use serde_json::{Number, Value};

    use super::*;
    use crate::expr::number;

    fn scalar() -> impl Strategy<Value = Option<Value>> {
        let text = prop_oneof!["\\PC{0,12}", "[a-c\u{0}\u{1}\u{ff}]{0,4}"];
        prop_oneof![
            1 => Just(None),
            1 => Just(Some(Value::Null)),
            1 => any::<bool>().prop_map(|flag| Some(flag.into())),
            2 => any::<i64>().prop_map(|number| Some(number.into())),
            2 => (-20i64..20).prop_map(|number| Some(number.into())),
            2 => any::<f64>().prop_filter_map("finite", |float| Some(Some(Value::Number(Number::from_f64(float)?)))),
            4 => text.prop_map(|text| Some(text.into())),
        ]
    }

    /// The specified order, computed without the codec.
    fn order(left: &Option<Value>, right: &Option<Value>) -> Ordering {
        let kind = |value: &Option<Value>| match value {
            None => 0,
            Some(Value::Null) => 1,
            Some(Value::Bool(_)) => 2,
            Some(Value::Number(_)) => 3,
            Some(_) => 4,
        };
        kind(left).cmp(&kind(right)).then_with(|| match (left, right) {
            (Some(Value::Bool(left)), Some(Value::Bool(right))) => left.cmp(right),
            (Some(Value::Number(left)), Some(Value::Number(right))) => number::compare(left, right),
            (Some(Value::String(left)), Some(Value::String(right))) => left.as_bytes().cmp(right.as_bytes()),
            _ => Ordering::Equal,
        })
    }

    fn key(values: &[Option<Value>], directions: &[bool]) -> Vec<u8> {
        let datums: Vec<Option<Datum>> = values.iter().map(|value| value.as_ref().map(Datum::from)).collect();
        datums.iter().zip(directions).flat_map(|(datum, down)| encode(datum.as_ref(), *down)).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn keys_sort_as_their_values_do(
            left in prop::collection::vec(scalar(), 3),
            right in prop::collection::vec(scalar(), 3),
            shared in 0usize..3,
            down in prop::collection::vec(any::<bool>(), 3),
        ) {
            let right: Vec<_> = left.iter().take(shared).chain(right.iter().skip(shared)).cloned().collect();
            let fields = left.iter().zip(&right).zip(&down);
            let mut orders = fields.map(|((left, right), down)| if *down { order(right, left) } else { order(left, right) });
            let expected = orders.find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
            prop_assert_eq!(key(&left, &down).cmp(&key(&right, &down)), expected);
        }

        #[test]
        fn no_value_is_a_prefix_of_another(left in scalar(), right in scalar(), down in any::<bool>()) {
            let (left, right) = (key(&[left], &[down]), key(&[right], &[down]));
            prop_assert!(left == right || !right.starts_with(&left));
        }

        #[test]
        fn a_text_begins_with_another_exactly_if_its_key_does(
            text in "[ab\u{0}]{0,6}",
            prefix in "[ab\u{0}]{0,3}",
            down in any::<bool>(),
        ) {
            let whole = encode(Some(&Datum::Text(&text)), down);
            let beginning = encode_prefix(&prefix, down);
            prop_assert_eq!(whole.starts_with(&beginning), text.starts_with(&prefix));
            prop_assert_eq!(beginning <= whole && whole < after(&beginning), text.starts_with(&prefix));
        }

        #[test]
        fn every_key_is_between_the_lowest_and_the_highest(value in scalar(), down in any::<bool>()) {
            let key = key(&[value], &[down]);
            prop_assert!(vec![LOWEST] < key && key < vec![HIGHEST]);
        }

        #[test]
        fn different_partitions_have_different_names(left in prop::collection::vec("[a#%2s:]{0,4}", 2), right in prop::collection::vec("[a#%2s:]{0,4}", 2)) {
            let name = |values: &[String]| values.iter().filter_map(|value| partition_part(&Datum::Text(value))).collect::<Vec<_>>().join("#");
            prop_assert_eq!(name(&left) == name(&right), left == right);
        }
    }

    #[test]
    fn equal_numbers_share_a_partition_and_kinds_do_not() {
        let part = |text: &str| partition_part(&Datum::from(&serde_json::from_str::<Value>(text).unwrap()));
        assert_eq!(part("1"), part("1.0"));
        assert_eq!(part("150"), part("1.5e2"));
        assert_ne!(part("1"), part("\"1\""));
        assert_ne!(part("true"), part("\"true\""));
        assert_eq!((part("null"), part("[1]"), part("{}")), (None, None, None));
    }
}
