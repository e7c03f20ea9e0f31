//! Exact decimal numbers: stored exactly or refused, with one notation and one order.
//!
//! DynamoDB stores 38 digits and orders by value. A binary float stores about 16, so no number passes through one: input is
//! converted to one canonical text ([`exact`]), which is stored, compared and returned.

use std::cmp::Ordering;

use num_bigint::BigInt;
use serde_json::Number;

/// A decimal in canonical form: `0.d1d2d3... * 10^exponent`, without leading or trailing zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    exponent: i32,
    digits: Vec<u8>,
}

/// Compares two numbers exactly, in any notation.
pub fn compare(left: &Number, right: &Number) -> Ordering {
    match (left.as_i64(), right.as_i64()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => Decimal::of(left).cmp(&Decimal::of(right)),
    }
}

/// Maximum number of significant digits (DynamoDB).
pub const MAX_DIGITS: usize = 38;

/// Why a number cannot be stored exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inexact {
    /// It has more than [`MAX_DIGITS`] significant digits.
    TooPrecise,
    /// It is not zero and is outside the range from 1e-130 up to, but not including, 1e126.
    OutOfRange,
}

impl Inexact {
    /// The stable code of a problem document.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooPrecise => "number_too_precise",
            Self::OutOfRange => "number_range",
        }
    }

    /// What is wrong and what to do.
    pub fn message(self) -> &'static str {
        match self {
            Self::TooPrecise => "A number has at most 38 significant digits. Send a longer one as a string.",
            Self::OutOfRange => "A number must be zero or between 1e-130 and 1e126 in magnitude. Send it as a string.",
        }
    }
}

/// The canonical form of a JSON or CEL number with every digit, or an error.
///
/// # Errors
/// Why the store cannot hold it.
pub fn exact(text: &str) -> Result<Number, Inexact> {
    let decimal = Decimal::from_text(text);
    match decimal.inexact() {
        Some(reason) => Err(reason),
        None => Ok(decimal.number()),
    }
}

/// The sum of two numbers with every digit, or an error.
///
/// # Errors
/// Why the store cannot hold it.
pub fn sum(left: &Number, right: &Number) -> Result<Number, Inexact> {
    let terms = [left, right].map(|number| Decimal::of(number).scaled());
    let scale = terms.iter().map(|(_, scale)| *scale).min().unwrap_or_default();
    // Both are in the range of the store, so the powers of ten have fewer than 300 digits.
    let sum: BigInt = terms
        .into_iter()
        .map(|(value, at)| value * BigInt::from(10).pow(u32::try_from(at - scale).unwrap_or_default()))
        .sum();
    exact(&format!("{sum}e{scale}"))
}

/// The number with the other sign.
pub fn negated(number: &Number) -> Number {
    let decimal = Decimal::of(number);
    Decimal { negative: !decimal.negative && !decimal.digits.is_empty(), ..decimal }.number()
}

impl Decimal {
    /// The value as an integer times a power of ten.
    fn scaled(&self) -> (BigInt, i32) {
        let digits: String = self.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        let magnitude: BigInt = digits.parse().unwrap_or_default();
        let scale = self.exponent - i32::try_from(self.digits.len()).unwrap_or_default();
        (if self.negative { -magnitude } else { magnitude }, scale)
    }

    /// The decimal value of a JSON number.
    pub fn of(number: &Number) -> Self {
        Self::from_text(number.as_str())
    }

    fn inexact(&self) -> Option<Inexact> {
        match self.digits.len() {
            0 => None,
            _ if !(-129..=126).contains(&self.exponent) => Some(Inexact::OutOfRange),
            digits => (digits > MAX_DIGITS).then_some(Inexact::TooPrecise),
        }
    }

    /// The JSON notation of this value: `150`, `0.5`, `1.5e-7`, `1e+50`.
    ///
    /// Without an exponent for at most 38 digits before the point and four zeros after it, else with one. `serde_json` writes
    /// binary floats in the same notation, so each value has one text.
    pub fn number(&self) -> Number {
        // This code writes valid JSON numbers only.
        self.spelled().parse().unwrap_or_else(|_| Number::from(0))
    }

    fn spelled(&self) -> String {
        if self.digits.is_empty() {
            return "0".to_owned();
        }
        let sign = if self.negative { "-" } else { "" };
        let digits: String = self.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        let point = self.exponent;
        match usize::try_from(point) {
            Ok(whole) if whole > MAX_DIGITS => scientific(sign, &digits, point),
            Ok(whole) if whole >= digits.len() => format!("{sign}{digits:0<whole$}"),
            Ok(whole @ 1..) => match digits.split_at_checked(whole) {
                Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
                None => scientific(sign, &digits, point),
            },
            _ if point > -5 => {
                let zeros = usize::try_from(-point).unwrap_or_default();
                format!("{sign}0.{}{digits}", "0".repeat(zeros))
            }
            _ => scientific(sign, &digits, point),
        }
    }

    /// The decimal value of digits with an optional sign, point and exponent, as in JSON and CEL.
    pub fn from_text(text: &str) -> Self {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits: Vec<u8> =
            whole.bytes().chain(fraction.bytes()).filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
        let leading = digits.iter().take_while(|digit| **digit == 0).count();
        let trailing = digits.iter().skip(leading).rev().take_while(|digit| **digit == 0).count();
        let kept: Vec<u8> = digits.get(leading..digits.len() - trailing).unwrap_or_default().to_vec();
        if kept.is_empty() {
            return Self { negative: false, exponent: 0, digits: kept };
        }
        let shift = i64::try_from(whole.len()).unwrap_or(i64::MAX) - i64::try_from(leading).unwrap_or(i64::MAX);
        let exponent = exponent_value(exponent).saturating_add(shift);
        Self { negative, exponent: exponent.clamp(-EXPONENT_LIMIT, EXPONENT_LIMIT) as i32, digits: kept }
    }

    /// Bytes that sort like the numbers. None is a prefix of another.
    pub fn key(&self) -> Vec<u8> {
        if self.digits.is_empty() {
            return vec![ZERO];
        }
        let mut size = ((i64::from(self.exponent) + EXPONENT_LIMIT) as u16).to_be_bytes().to_vec();
        size.extend(self.digits.chunks(2).map(|pair| match pair {
            [tens, units] => tens * 10 + units + 1,
            [tens] => tens * 10 + 1,
            _ => 0,
        }));
        size.push(0);
        let (class, mask) = if self.negative { (NEGATIVE, 0xFF) } else { (POSITIVE, 0x00) };
        std::iter::once(class).chain(size.into_iter().map(|byte| byte ^ mask)).collect()
    }
}

/// `d.ddd` and an exponent, for digits after `0.` at `10^point`.
fn scientific(sign: &str, digits: &str, point: i32) -> String {
    let exponent = point - 1;
    match digits.split_at_checked(1) {
        Some((first, "")) => format!("{sign}{first}e{exponent:+}"),
        Some((first, rest)) => format!("{sign}{first}.{rest}e{exponent:+}"),
        None => "0".to_owned(),
    }
}

/// Exponents are limited to this distance from zero, far beyond the store's range.
const EXPONENT_LIMIT: i64 = 30_000;
const NEGATIVE: u8 = 1;
const ZERO: u8 = 2;
const POSITIVE: u8 = 3;

/// An exponent that overflows an integer counts as the largest one.
fn exponent_value(text: &str) -> i64 {
    let limit = i64::from(u32::MAX);
    match text.strip_prefix('-') {
        Some(magnitude) => -magnitude.parse().unwrap_or(limit).min(limit),
        None => text.trim_start_matches('+').parse().unwrap_or(limit).min(limit),
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |decimal: &Self| match (decimal.digits.is_empty(), decimal.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size =
            |left: &Self, right: &Self| left.exponent.cmp(&right.exponent).then_with(|| left.digits.cmp(&right.digits));
        sign(self).cmp(&sign(other)).then_with(|| if self.negative { size(other, self) } else { size(self, other) })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for Decimal {
    /// One text per value: `15e1` for 150, 150.0 and 1.5e2.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.digits.is_empty() {
            return f.write_str("0");
        }
        let sign = if self.negative { "-" } else { "" };
        let digits: String = self.digits.iter().map(|digit| char::from(b'0' + digit)).collect();
        write!(f, "{sign}{digits}e{}", i64::from(self.exponent) - self.digits.len() as i64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        serde_json::from_str(text).expect("a JSON number")
    }

    #[test]
    fn every_notation_of_a_number_has_one_form() {
        for (texts, canonical) in [
            (["150", "150.0", "1.5e2"], "15e1"),
            (["0", "-0.0", "0e7"], "0"),
            (["-0.5", "-5e-1", "-0.50"], "-5e-1"),
            (["1e23", "100e21", "0.1e24"], "1e23"),
        ] {
            for text in texts {
                assert_eq!(Decimal::from_text(text).to_string(), canonical, "{text}");
            }
        }
    }

    #[test]
    fn a_sum_has_every_digit_or_is_refused() {
        let nines = "99999999999999999999999999999999999999";
        for (left, right, result) in [
            ("0.1", "0.2", Ok("0.3")),
            ("1", "-1", Ok("0")),
            ("-2.5", "1e3", Ok("997.5")),
            ("9007199254740993", "1", Ok("9007199254740994")),
            ("1e50", "0", Ok("1e+50")),
            (nines, "1", Ok("1e+38")),
            (nines, "0.1", Err(Inexact::TooPrecise)),
            ("1e50", "1", Err(Inexact::TooPrecise)),
            ("9e125", "9e125", Err(Inexact::OutOfRange)),
            ("1e-130", "-1e125", Err(Inexact::TooPrecise)),
        ] {
            let written = sum(&number(left), &number(right)).map(|sum| sum.to_string());
            assert_eq!(written, result.map(str::to_owned), "{left} + {right}");
        }
        assert_eq!(negated(&number("-1.50")).to_string(), "1.5");
        assert_eq!(negated(&number("0")).to_string(), "0");
    }

    #[test]
    fn a_number_is_written_in_common_notation() {
        for (text, written) in [
            ("1e0", "1"),
            ("-150.0", "-150"),
            ("1.50", "1.5"),
            ("1e37", "10000000000000000000000000000000000000"),
            ("1e38", "1e+38"),
            ("-123e40", "-1.23e+42"),
            ("0.00001", "0.00001"),
            ("0.000001", "1e-6"),
            ("12345678901234567890.5", "12345678901234567890.5"),
            ("0e99", "0"),
        ] {
            assert_eq!(exact(text).expect(text).as_str(), written);
        }
        assert_eq!(exact("1e126"), Err(Inexact::OutOfRange));
        assert_eq!(exact("1e-131"), Err(Inexact::OutOfRange));
        assert_eq!(exact(&"1".repeat(39)), Err(Inexact::TooPrecise));
        exact(&format!("{}0000", "1".repeat(38))).expect("trailing zeros are not significant");
    }

    #[test]
    fn whole_numbers_next_to_large_floats_keep_their_order() {
        assert_eq!(compare(&number("9007199254740993"), &number("9007199254740992.0")), Ordering::Greater);
        assert_eq!(compare(&number("18446744073709551615"), &number("9223372036854775807")), Ordering::Greater);
        assert_eq!(compare(&number("1"), &number("1.0")), Ordering::Equal);
        assert_eq!(compare(&number("-1e300"), &number("-9")), Ordering::Less);
    }

    #[test]
    fn numbers_beyond_the_store_are_refused() {
        for held in ["0", "-1e-130", "9.99e125", "12345678901234567890"] {
            exact(held).expect(held);
        }
        for refused in ["1e126", "1e-131", "-1e300"] {
            assert_eq!(exact(refused), Err(Inexact::OutOfRange), "{refused}");
        }
    }

    #[test]
    fn a_huge_exponent_neither_overflows_nor_panics() {
        let huge = Decimal::from_text("1e99999999999999999999");
        let tiny = Decimal::from_text("-1e-99999999999999999999");
        assert!(tiny < huge && tiny < Decimal::from_text("0"));
        assert!(tiny.key() < huge.key());
    }

    fn any_number() -> impl Strategy<Value = Number> {
        prop_oneof![
            any::<i64>().prop_map(Number::from),
            any::<u64>().prop_map(Number::from),
            (-1000i64..1000).prop_map(Number::from),
            any::<f64>().prop_filter_map("finite", Number::from_f64),
            (-1000i32..1000).prop_filter_map("finite", |tenths| Number::from_f64(f64::from(tenths) / 10.0)),
        ]
    }

    proptest! {
        #[test]
        fn keys_sort_as_numbers_do(left in any_number(), right in any_number()) {
            let (left_key, right_key) = (Decimal::of(&left).key(), Decimal::of(&right).key());
            prop_assert_eq!(compare(&left, &right), left_key.cmp(&right_key));
            prop_assert!(left_key == right_key || !right_key.starts_with(&left_key));
        }

        #[test]
        fn floats_compare_as_floats(left in any::<f64>(), right in any::<f64>()) {
            prop_assume!(left.is_finite() && right.is_finite());
            let (a, b) = (Number::from_f64(left).unwrap(), Number::from_f64(right).unwrap());
            prop_assert_eq!(Some(compare(&a, &b)), left.partial_cmp(&right));
        }

        #[test]
        fn the_canonical_form_keeps_every_digit_and_is_the_only_one(
            digits in "[0-9]{1,38}",
            point in 0usize..38,
            exponent in -90i32..88,
            negative in any::<bool>(),
        ) {
            let (whole, fraction) = digits.split_at_checked(point).unwrap_or((&digits, ""));
            let sign = if negative { "-" } else { "" };
            let text = format!("{sign}0{whole}.{fraction}0e{exponent}");
            let number = exact(&text).expect("38 digits in range");
            prop_assert_eq!(Decimal::of(&number), Decimal::from_text(&text));
            prop_assert_eq!(exact(number.as_str()).expect("still"), number.clone());
            prop_assert_eq!(&serde_json::from_str::<Number>(number.as_str()).expect("JSON"), &number);
        }

        #[test]
        fn equal_numbers_share_one_text(left in any_number(), right in any_number()) {
            let same_text = Decimal::of(&left).to_string() == Decimal::of(&right).to_string();
            prop_assert_eq!(same_text, compare(&left, &right) == Ordering::Equal);
        }
    }
}
