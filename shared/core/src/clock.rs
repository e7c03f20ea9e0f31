//! The clock, passed as a value so that tests can control it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::macros::format_description;

/// The system clock, or for tests a clock that stands still until it is moved.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    standing_at: Option<u64>,
    moved_by_millis: Arc<AtomicI64>,
    ticks: bool,
}

impl Clock {
    /// A clock that stands at `millis` since the Unix epoch until a test moves it.
    pub fn standing_at(millis: u64) -> Self {
        Self { standing_at: Some(millis), ..Self::default() }
    }

    /// The same clock, but each reading moves it on by a millisecond. A test that needs two times to be equal sees whether
    /// they are one reading.
    pub fn ticking(self) -> Self {
        Self { ticks: true, ..self }
    }

    /// Milliseconds since the Unix epoch.
    pub fn millis(&self) -> u64 {
        let wall = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let real = self.standing_at.map_or_else(wall, u128::from);
        let real = i64::try_from(real).unwrap_or(i64::MAX);
        let moved = self.moved_by_millis.fetch_add(i64::from(self.ticks), Ordering::Relaxed);
        u64::try_from(real.saturating_add(moved)).unwrap_or(0)
    }

    /// Seconds since the Unix epoch.
    pub fn seconds(&self) -> u64 {
        self.millis() / 1000
    }

    /// Whether this clock stands still until it is moved.
    pub fn is_standing(&self) -> bool {
        self.standing_at.is_some()
    }

    /// Moves this clock and all its clones forward. For tests.
    pub fn advance(&self, by: Duration) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.moved_by_millis.fetch_add(millis, Ordering::Relaxed);
    }
}

/// RFC 3339 in UTC with milliseconds: the only output form of times, and it sorts as text.
pub fn rfc3339(millis: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)
        .ok()
        .and_then(|at| at.format(&format).ok())
        .unwrap_or_else(|| "1970-01-01T00:00:00.000Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_one_output_form_that_sorts_as_text() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_645_557_742_007), "2022-02-22T19:22:22.007Z");
        assert!(rfc3339(999) < rfc3339(1_000));
    }
}
