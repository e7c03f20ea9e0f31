//! The time limit of a job in one invocation. A longer job stops after its slice and continues in the next invocation.

use undercroft::clock::Clock;

/// Maximum milliseconds of work in one invocation: a third of the worker's timeout, which leaves time for the last page of every
/// job of a batch.
const MILLIS: u64 = 20_000;
/// Default maximum number of items of a slice.
pub const ITEMS: usize = 10_000;

/// The remaining time and items of an invocation, shared by all jobs of a batch.
#[derive(Debug)]
pub struct Slice {
    clock: Clock,
    until: u64,
    items: usize,
}

impl Slice {
    /// A slice that starts now and allows `items`.
    pub fn new(clock: Clock, items: usize) -> Self {
        Self { until: clock.millis() + MILLIS, clock, items }
    }

    /// Whether a job that has processed so many items should stop. Call it after a piece of work, not before the first:
    /// a slice without work would repeat for ever.
    pub fn is_over(&self, items: usize) -> bool {
        items >= self.items || self.clock.millis() >= self.until
    }

    /// The number of items to read next: at most `page`, and at most what the slice allows.
    pub fn room(&self, items: usize, page: i32) -> i32 {
        i32::try_from(self.items.saturating_sub(items)).unwrap_or(i32::MAX).clamp(1, page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_slice_ends_by_its_items_or_by_its_time() {
        let clock = Clock::standing_at(1_000);
        let slice = Slice::new(clock.clone(), 3);
        assert_eq!([0, 2, 3, 4].map(|items| slice.is_over(items)), [false, false, true, true]);
        clock.advance(Duration::from_millis(MILLIS - 1));
        assert!(!slice.is_over(0));
        clock.advance(Duration::from_millis(1));
        assert!(slice.is_over(0));
    }
}
