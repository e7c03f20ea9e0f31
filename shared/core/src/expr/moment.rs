//! Times as text: accepts RFC 3339 and returns one canonical form whose text order is the order of time.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

const CANONICAL: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The canonical form of an RFC 3339 time: UTC, milliseconds, `Z`. `None` if it is malformed, is finer than a millisecond, is
/// a leap second (which has no separate millisecond), or is outside the years 0000 to 9999.
pub fn canonical(text: &str) -> Option<String> {
    // The parser accepts any character between date and time, unlike the schema's format.
    let separated = text.as_bytes().get(10).is_some_and(|separator| separator.eq_ignore_ascii_case(&b'T'));
    if !separated {
        return None;
    }
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?.checked_to_offset(UtcOffset::UTC)?;
    let exact = moment.nanosecond() % 1_000_000 == 0 && (0..=9999).contains(&moment.year());
    if exact { moment.format(CANONICAL).ok() } else { None }
}

/// Milliseconds since 1970 of an RFC 3339 time.
pub fn milliseconds(text: &str) -> Option<i64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    i64::try_from(moment.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_notation_of_a_time_has_one_canonical_form() {
        for (text, expected) in [
            ("2026-03-01T12:00:00Z", Some("2026-03-01T12:00:00.000Z")),
            ("2026-03-01T14:00:00.5+02:00", Some("2026-03-01T12:00:00.500Z")),
            ("2026-03-01t12:00:00.120z", Some("2026-03-01T12:00:00.120Z")),
            ("2026-03-01T12:00:00.0001Z", None),
            ("2026-03-01", None),
            ("2026-02-30T12:00:00Z", None),
            ("0000-01-01T00:00:00Z", Some("0000-01-01T00:00:00.000Z")),
            ("0000-01-01T00:00:00+01:00", None),
            ("9999-12-31T23:59:59.999Z", Some("9999-12-31T23:59:59.999Z")),
            ("9999-12-31T23:59:59.999-00:01", None),
            ("+10000-01-01T00:00:00Z", None),
            ("-0001-01-01T00:00:00Z", None),
            ("2024-02-29T23:59:59.9+23:59", Some("2024-02-29T00:00:59.900Z")),
            ("2026-01-01T00:30:00+05:45", Some("2025-12-31T18:45:00.000Z")),
            ("2026-03-01T12:00:00-00:00", Some("2026-03-01T12:00:00.000Z")),
            ("2026-03-01T12:00:00.123000000Z", Some("2026-03-01T12:00:00.123Z")),
            ("2026-03-01T12:00:00.1230001Z", None),
            ("2026-03-01T12:00:00.Z", None),
            ("2026-03-01T12:00:00,5Z", None),
            ("2026-03-01T12:00:00", None),
            ("2026-03-01T12:00Z", None),
            ("2026-03-01T24:00:00Z", None),
            ("2026-03-01T12:00:00+24:00", None),
            ("2026-03-01 12:00:00Z", None),
            ("2026-03-01_12:00:00Z", None),
            (" 2026-03-01T12:00:00Z", None),
            ("2026-W09-7T12:00:00Z", None),
            ("20260301T120000Z", None),
            ("２０２６-03-01T12:00:00Z", None),
            // UTC milliseconds cannot represent a leap second; it would become another time.
            ("2016-12-31T23:59:60Z", None),
            ("2016-12-31T23:59:60.5Z", None),
            ("2017-01-01T00:59:60+01:00", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(canonical(text).as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_the_text_is_the_order_of_time(left in written(), right in written()) {
            let (Some(before), Some(after)) = (canonical(&left), canonical(&right)) else { return Ok(()) };
            prop_assert_eq!(before.cmp(&after), milliseconds(&left).cmp(&milliseconds(&right)), "{} {}", left, right);
            prop_assert_eq!(canonical(&before), Some(before.clone()));
            prop_assert_eq!(milliseconds(&before), milliseconds(&left));
        }

        #[test]
        fn any_text_is_a_time_or_none(text in "[0-9TtZz:.+ -]{0,32}|\\PC{0,32}") {
            if let Some(canonical) = canonical(&text) {
                prop_assert_eq!(canonical.len(), 24);
            }
        }
    }

    /// A time as clients write it, sometimes invalid.
    fn written() -> impl Strategy<Value = String> {
        let date = (prop_oneof![Just(2026), 0..10_000], 1..13, 1..32);
        let time = (0..24, 0..60, 0..61, prop_oneof![Just(None), (0..1_000).prop_map(Some)]);
        let offset = prop_oneof![
            Just("Z".to_owned()),
            (0..24, 0..60).prop_map(|(hour, minute)| format!("-{hour:02}:{minute:02}"))
        ];
        (date, time, offset).prop_map(|((year, month, day), (hour, minute, second, millis), offset)| {
            let fraction = millis.map(|millis| format!(".{millis:03}")).unwrap_or_default();
            format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}{offset}")
        })
    }

    #[test]
    fn milliseconds_count_from_1970() {
        assert_eq!(milliseconds("1970-01-01T00:00:01.5Z"), Some(1_500));
        assert_eq!(milliseconds("1969-12-31T23:59:59.999Z"), Some(-1));
    }
}
