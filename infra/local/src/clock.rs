//! The clock of the local cloud. Tests pass in one that they can advance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock. Clones share their offset: advancing one advances all.
#[derive(Debug, Clone)]
pub struct Clock {
    source: Source,
    offset_millis: Arc<AtomicU64>,
}

#[derive(Debug, Clone, Copy)]
enum Source {
    System,
    DeployedResources { millis: u64 },
}

impl Clock {
    /// The system's clock. It can be advanced with [`Clock::advance`].
    pub fn system() -> Self {
        Self::from_source(Source::System)
    }

    /// A clock that stands still at `seconds` since the Unix epoch until it is advanced.
    pub fn standing_at(seconds: u64) -> Self {
        Self::from_source(Source::DeployedResources { millis: seconds * 1000 })
    }

    fn from_source(source: Source) -> Self {
        Self { source, offset_millis: Arc::default() }
    }

    /// Advances this clock and all its clones.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.offset_millis.fetch_add(millis, Ordering::SeqCst);
    }

    /// Milliseconds since the Unix epoch.
    pub fn now(&self) -> u64 {
        let base = match self.source {
            Source::System => millis_since_epoch(),
            Source::DeployedResources { millis } => millis,
        };
        base + self.offset_millis.load(Ordering::SeqCst)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

/// The clock of the tables' engine, for time to live and stream records.
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
    fn a_standing_clock_and_its_clones_move_only_when_advanced() {
        let clock = Clock::standing_at(1_000);
        let clone = clock.clone();
        assert_eq!(clock.now(), 1_000_000);
        clone.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), 1_005_000);
    }
}
