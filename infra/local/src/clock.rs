//! What time it is, for every service of the local cloud: handed in at start, so that a test can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where time comes from. Clones share their offset, so advancing one advances all.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    offset_millis: Arc<AtomicU64>,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    System,
    Standing { millis: u64 },
}

impl Clock {
    /// The machine's clock. It can still be pushed forward with [`Clock::advance`].
    pub fn system() -> Self {
        Self::from_source(Source::System)
    }

    /// A clock that stands still at `seconds` since the Unix epoch until it is advanced.
    pub fn standing_at(seconds: u64) -> Self {
        Self::from_source(Source::Standing { millis: seconds * 1000 })
    }

    fn from_source(source: Source) -> Self {
        Self { source, offset_millis: Arc::default() }
    }

    /// Moves this clock and all its clones forward.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.offset_millis.fetch_add(millis, Ordering::SeqCst);
    }

    /// Milliseconds since the Unix epoch, the unit every AWS timestamp here is kept in.
    pub fn now(&self) -> u64 {
        let base = match self.source {
            Source::System => millis_since_epoch(),
            Source::Standing { millis } => millis,
        };
        base + self.offset_millis.load(Ordering::SeqCst)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// The tables' engine reads the same clock: time to live and stream records follow it.
impl dynoxide::storage_backend::Clock for Clock {
    fn now_unix_secs(&self) -> u64 {
        self.now() / 1000
    }

    fn now_unix_secs_f64(&self) -> f64 {
        Duration::from_millis(self.now()).as_secs_f64()
    }
}

fn millis_since_epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_clock_moves_only_when_it_is_advanced_and_takes_its_clones_along() {
        let clock = Clock::standing_at(1_000);
        let clone = clock.clone();
        assert_eq!(clock.now(), 1_000_000);
        clone.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), 1_005_000);
    }
}
