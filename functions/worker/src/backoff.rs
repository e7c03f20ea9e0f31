//! The wait of a failed job before its next attempt: exponential, with jitter so that jobs that failed together are not retried
//! together.

use undercroft::id;

/// Wait before the second attempt, in seconds.
const FIRST_SECONDS: u64 = 2;
/// Longest wait, in seconds.
const LONGEST_SECONDS: u64 = 3_600;

/// Seconds to wait after `attempts` failures: between half and all of 2, 4, 8, ... up to an hour.
pub fn seconds(attempts: u32) -> u64 {
    let full = FIRST_SECONDS.saturating_mul(1 << attempts.saturating_sub(1).min(20)).min(LONGEST_SECONDS);
    let [chance] = id::random::<1>();
    full / 2 + (full - full / 2) * u64::from(chance) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_doubles_with_jitter_between_half_and_all_of_it() {
        for (attempts, full) in [(1, 2), (2, 4), (3, 8), (5, 32), (12, 3_600), (40, 3_600)] {
            for _ in 0..100 {
                let wait = seconds(attempts);
                assert!((full / 2..=full).contains(&wait), "{attempts}: {wait}");
            }
        }
    }
}
