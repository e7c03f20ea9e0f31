//! Points in time as text: RFC 3339 in, one canonical form out, so that the order of the text is the order of time.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

const CANONICAL: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The canonical form of an RFC 3339 time: UTC, milliseconds, `Z`. `None` if it is none, is finer than a millisecond, or
/// lies outside the years 0000 to 9999.
pub fn canonical(text: &str) -> Option<String> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?.to_offset(UtcOffset::UTC);
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
    use super::*;

    #[test]
    fn every_way_to_write_a_time_becomes_one() {
        for (text, expected) in [
            ("2026-03-01T12:00:00Z", Some("2026-03-01T12:00:00.000Z")),
            ("2026-03-01T14:00:00.5+02:00", Some("2026-03-01T12:00:00.500Z")),
            ("2026-03-01t12:00:00.120z", Some("2026-03-01T12:00:00.120Z")),
            ("2026-03-01T12:00:00.0001Z", None),
            ("2026-03-01", None),
            ("2026-02-30T12:00:00Z", None),
            ("0000-01-01T00:00:00+01:00", None),
            ("yesterday", None),
        ] {
            assert_eq!(canonical(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn milliseconds_count_from_1970() {
        assert_eq!(milliseconds("1970-01-01T00:00:01.5Z"), Some(1_500));
        assert_eq!(milliseconds("1969-12-31T23:59:59.999Z"), Some(-1));
    }
}
