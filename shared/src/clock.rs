//! Re-exports the clock, and waits for a time.

use std::time::Duration;
pub use undercroft_core::clock::{Clock, rfc3339};

/// Waits until this time of this clock, in milliseconds since the Unix epoch.
pub async fn sleep_until(clock: &Clock, millis: u64) {
    loop {
        let left = millis.saturating_sub(clock.millis());
        match clock.is_standing() {
            _ if left == 0 => return,
            // A clock that a test moves sends no notification, so its time is polled.
            true => tokio::time::sleep(Duration::from_millis(2)).await,
            false => tokio::time::sleep(Duration::from_millis(left)).await,
        }
    }
}
