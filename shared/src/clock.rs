//! Time, handed in so that tests can move it, and waiting for it.

use std::time::Duration;
pub use undercroft_core::clock::{Clock, rfc3339};

/// Waits until this time of this clock, in milliseconds since the Unix epoch.
pub async fn sleep_until(clock: &Clock, millis: u64) {
    loop {
        let left = millis.saturating_sub(clock.millis());
        match clock.is_standing() {
            _ if left == 0 => return,
            // Nobody is told when the clock is moved.
            true => tokio::time::sleep(Duration::from_millis(2)).await,
            false => tokio::time::sleep(Duration::from_millis(left)).await,
        }
    }
}
