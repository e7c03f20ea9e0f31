//! How long a job may go on in one invocation. What takes longer gives way after its slice and goes on in the next.

use undercroft::clock::Clock;

/// Work of this many milliseconds is enough for one invocation: a third of the worker's timeout, so that the last page of
/// every job of a batch still has its time.
const MILLIS: u64 = 20_000;
/// Default maximum number of items of a slice.
pub const ITEMS: usize = 10_000;

/// What is left of an invocation. All jobs of a batch share one.
#[derive(Debug)]
pub struct Slice {
    clock: Clock,
    until: u64,
    items: usize,
}

impl Slice {
    /// A slice that begins now and has room for `items`.
    pub fn new(clock: Clock, items: usize) -> Self {
        Self { until: clock.millis() + MILLIS, clock, items }
    }

    /// Whether a job that has worked on so many items should give way. Ask after a piece of work, not before the first:
    /// a slice that does nothing never ends.
    pub fn is_over(&self, items: usize) -> bool {
        items >= self.items || self.clock.millis() >= self.until
    }

    /// How many items to read next: at most `page`, and no more than the slice has room for.
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
